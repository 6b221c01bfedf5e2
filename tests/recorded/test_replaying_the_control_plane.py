"""What a real API server and scheduler wrote is read as they meant it; kubectl's own count of each node says so."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import deque
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.wire.arguments import ArgumentsReader, NamesArguments, NodesArguments
from extender.wire.names import IS_COMPILED, find_nothing, finder
from kubesteer.clients.kubernetes.api import ApiRefused
from kubesteer.clients.kubernetes.reflector import Pace, Reflector
from kubesteer.clients.kubernetes.resource import nodes_into, pods_into
from kubesteer.model.cluster import summarise_node, summarise_pod, unusable_pod
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.quantity import parse_quantity, to_milli, to_units
from kubesteer.placement.cluster_state import ClusterState
from kubesteer.placement.table import CPU, MEMORY, NETWORK
from tests.cluster_state.conftest import connected
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.examples import examples
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from kubesteer.model.cluster import PodSummary

FOLDER = Path(__file__).parent / "control_plane"
RESOURCES = {
    "cpu": CPU,
    "memory": MEMORY,
    **{each.resource_names[0]: NETWORK + i for i, each in enumerate(DEFAULT_NETWORK)},
}


def lines(file: str) -> list[Any]:
    return [json.loads(line) for line in (FOLDER / file).read_text().splitlines()]


ERRORS = lines("errors.jsonl")
NAME_CALLS, NODE_CALLS = (
    [call for call in lines(f"calls-with-{what}.jsonl") if call["verb"] in ("filter", "prioritize")]
    for what in ("names", "nodes")
)


class Replay:
    """Answers as the API server did: the recorded pages, then the recorded watch in chunks, then silence."""

    def __init__(self, plural: str, chunks: Sequence[bytes]) -> None:
        self._pages = deque((FOLDER / f"list-{plural}.jsonl").read_bytes().splitlines())
        self._chunks = chunks
        self.told = asyncio.Event()

    async def get(self, _path: str, _params: dict[str, str] | None = None) -> bytes:
        return self._pages.popleft()

    async def stream(self, _path: str, _params: dict[str, str], *, silence_s: float) -> AsyncGenerator[bytes, None]:
        for chunk in self._chunks:
            yield chunk
        self.told.set()
        await asyncio.Event().wait()


def watched(plural: str) -> bytes:
    return (FOLDER / f"watch-{plural}.jsonl").read_bytes()


async def replayed(nodes: Sequence[bytes], pods: Sequence[bytes]) -> tuple[ClusterState, list[str]]:
    """The state after both recordings, and what was skipped."""
    state = ClusterState(len(DEFAULT_NETWORK), charge_ttl_s=10.0)
    never_waits: dict[str, Any] = {"pace": Pace(), "random": Random(1), "clock": lambda: 0.0, "sleep": asyncio.sleep}
    skipped: list[str] = []
    for plural, into, chunks in (("nodes", nodes_into, nodes), ("pods", pods_into, pods)):
        api = Replay(plural, chunks)
        reflector = Reflector(api, into(state, DEFAULT_NETWORK), **never_waits)  # type: ignore[arg-type]
        running = asyncio.create_task(reflector.run())
        await api.told.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        skipped += reflector.skipped.values()
    return state, skipped


def counted(state: ClusterState) -> dict[str, dict[str, int]]:
    """Requests by node and resource."""
    table = state.table
    return {
        name: {resource: int(table.requested[at, row]) for resource, at in RESOURCES.items()}
        for name, row in table.rows.items()
        if table.known[row]
    }


def described() -> dict[str, dict[str, int]]:
    """The same as `kubectl describe nodes` printed it."""
    nodes = {}
    for text in re.split(r"\n\n\n", (FOLDER / "kubectl-describe-nodes.txt").read_text()):
        name = re.search(r"Name:\s+(\S+)", text)
        allocated = text.split("Allocated resources:", 1)[1]
        assert name
        found = {resource: re.search(rf"\n  {resource}\s+(\S+)", allocated) for resource in RESOURCES}
        nodes[name[1]] = {
            resource: (to_milli if resource == "cpu" else to_units)(parse_quantity(one[1])) if one else 0
            for resource, one in found.items()
        }
    return nodes


def by_annotation() -> dict[str, dict[str, int]]:
    """What only kubesteer counts: of the pods that stay, `applied` asks for 1M by annotation."""
    applied = [one["object"] for one in map(json.loads, watched("pods").splitlines()) if one["type"] == "MODIFIED"]
    [*_, last] = [each for each in applied if each["metadata"]["name"] == "applied"]
    return {last["spec"]["nodeName"]: {"kubesteer.io/ingress-bps": 10**6}}


def expected() -> dict[str, dict[str, int]]:
    nodes = described()
    for name, more in by_annotation().items():
        for resource, amount in more.items():
            nodes[name][resource] += amount
    return nodes


async def test_each_node_is_counted_as_kubectl_counts_it() -> None:
    state, skipped = await replayed([watched("nodes")], [watched("pods")])
    assert counted(state) == expected()
    assert sum(node["cpu"] for node in described().values()) > 1000, "kubectl saw the pods"
    assert [each.split(":")[0] for each in skipped] == [], "nothing that the API server took is skipped"


def test_what_was_recorded_holds_what_it_is_for() -> None:
    """Else these tests would be silent about it."""
    events = [json.loads(line) for line in watched("pods").splitlines()]
    assert {each["type"] for each in events} == {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}
    assert any("nominatedNodeName" in each["object"]["status"] for each in events)
    assert any("deletionTimestamp" in each["object"]["metadata"] for each in events)
    assert max(len(name) for name in described()) == 253
    assert len((FOLDER / "list-pods.jsonl").read_bytes().splitlines()) > 1, "a list of several pages"
    asked = {call["verb"] for what in ("names", "nodes") for call in lines(f"calls-with-{what}.jsonl")}
    assert asked == {"filter", "prioritize", "bind", "preempt"}


cuts = st.lists(st.floats(0, 1), max_size=20)


def pieces(body: bytes, at: Sequence[float]) -> list[bytes]:
    ends = [0, *sorted(int(each * len(body)) for each in at), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(ends)]


@settings(max_examples=examples(40))
@given(cuts, cuts)
def test_wherever_the_network_cuts_the_watch_the_count_is_the_same(nodes: list[float], pods: list[float]) -> None:
    state, _ = asyncio.run(replayed(pieces(watched("nodes"), nodes), pieces(watched("pods"), pods)))
    assert counted(state) == expected()


async def test_the_scheduler_s_names_are_found_by_both_ways_of_reading() -> None:
    state, _ = await replayed([], [])
    compiled, pure = (
        ArgumentsReader(names_body_bytes=10**6, find=find) for find in (finder(state.table), find_nothing)
    )
    for call in NAME_CALLS:
        body = call["body"].encode()
        first, second = compiled.read(body), pure.read(body)
        assert isinstance(first, NamesArguments)
        assert isinstance(second, NamesArguments)
        assert list(first.names) == list(second.names) == json.loads(body)["NodeNames"]
        assert first.pod == second.pod
        assert second.found is None
        if IS_COMPILED:
            assert first.found is not None, "its bytes are those that the short way is made for"
            assert [state.table.names[row] for row in first.found.rows] == list(first.names)


def test_a_call_with_names_and_one_with_nodes_are_the_same_question() -> None:
    """The scheduler asks both extenders about each pod, the second with those that the first let pass: all."""
    with_names = {(call["verb"], summary_of(call).uid): call for call in NAME_CALLS}
    with_nodes = {(call["verb"], summary_of(call).uid): call for call in NODE_CALLS}
    assert with_names.keys() == with_nodes.keys()
    assert len(with_names) > 20
    for key, call in with_names.items():
        names, nodes = (read(each) for each in (call, with_nodes[key]))
        assert isinstance(nodes, NodesArguments)
        assert sorted(names.names) == sorted(nodes.names)
        assert [summarise_node(node, DEFAULT_NETWORK).name for node in nodes.nodes] == list(nodes.names)


def read(call: dict[str, str]) -> NamesArguments | NodesArguments:
    return ArgumentsReader(names_body_bytes=10**6).read(call["body"].encode())


def summary_of(call: dict[str, str]) -> PodSummary:
    pod = read(call).pod
    try:
        return summarise_pod(pod, DEFAULT_NETWORK)
    except InvalidQuantity as exc:
        assert pod.metadata.name == "wrong"
        return unusable_pod(pod, DEFAULT_NETWORK, str(exc))


@pytest.mark.parametrize("error", [each for each in ERRORS if each["status"] >= 400], ids=lambda each: each["asked"])
async def test_an_error_is_told_by_its_number_and_in_the_server_s_words(error: dict[str, Any]) -> None:
    async with FakeApi() as fake, connected(fake) as server:
        fake.refusals["list"].extend([Refusal(error["status"], body=error["body"])] * 2)
        with pytest.raises(ApiRefused) as told:
            await server.get("/api/v1/pods", {"limit": "1"})
    assert told.value.status == error["status"]
    if error["body"].startswith("{"):
        assert json.loads(error["body"])["message"] in str(told.value)


async def test_a_watch_from_before_the_compaction_asks_for_a_new_list() -> None:
    """It is answered by 200 and one line that says 410."""
    [expired] = [each for each in ERRORS if each["asked"] == "watch from before the compaction"]
    state = ClusterState(len(DEFAULT_NETWORK), charge_ttl_s=10.0)
    api = Replay("pods", [expired["body"].encode()])
    api._pages.extend((FOLDER / "list-pods.jsonl").read_bytes().splitlines())
    reflector = Reflector(
        api,  # type: ignore[arg-type]
        pods_into(state, DEFAULT_NETWORK),
        pace=Pace(first_wait_s=0.0, longest_wait_s=0.0),
        random=Random(1),
        clock=lambda: 0.0,
        sleep=asyncio.sleep,
    )
    running = asyncio.create_task(reflector.run())
    await until(lambda: reflector.lists == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
