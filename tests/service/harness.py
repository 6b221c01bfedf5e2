"""The real extender in this process: built by its own composition root, over a cluster and rewards that a test gives.

`service` builds it and talks to its two applications directly; `running` serves it on real sockets. Nothing is
asserted here but that verbs answer 200.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from extender.app import Parts, build, serve
from extender.logs import make_logger
from extender.settings import Settings
from extender.warnings import WarningSink
from kubesteer.clients.kubernetes.port import ClusterSink, ClusterStatus
from kubesteer.clients.rewards.memory import MemoryNodeStates, MemorySource, MemoryStore
from kubesteer.model.cluster import NodeSummary, PodSummary, summarise_node, summarise_pod
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.node_state import NodeState, encode_state, state_key
from kubesteer.model.reward import RewardRecord, encode_key, encode_value
from tests.builders import Json, node, node_object, pod_object
from tests.waiting import WITHIN_S

START_S = 1_800_000_000.0
"""Unix time at which every test begins."""
GO_KEYS = ("Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error")


class GivenCluster:
    """A cluster source that has what the test put into the sink; satisfies ClusterSource."""

    def __init__(self, *, synced: bool) -> None:
        self.state = ClusterStatus(
            kind="file",
            nodes_synced=synced,
            pods_synced=synced,
            last_contact_age_s=0.0 if synced else None,
            last_error=None if synced else "no such file",
        )

    async def run(self, sink: ClusterSink) -> None:
        await asyncio.get_running_loop().create_future()

    def status(self) -> ClusterStatus:
        return self.state

    def sync(self) -> None:
        self.state = replace(self.state, nodes_synced=True, pods_synced=True, last_contact_age_s=0.0, last_error=None)


@dataclass
class Clock:
    """Time that a test moves by hand: the wall clock and the steady one."""

    now_s: float = START_S

    def __call__(self) -> float:
        return self.now_s

    def move(self, by_s: float) -> None:
        self.now_s += by_s


@dataclass(frozen=True)
class Service:
    """One extender and what a test holds of it."""

    parts: Parts
    cluster: GivenCluster
    store: MemoryStore
    clock: Clock
    output: io.StringIO

    async def post(self, verb: str, body: Any) -> Any:
        """The decoded answer of a verb, which must come with status 200. Bytes go as they are."""
        response = await self.response(verb, body)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        return json.loads(response.content)

    async def response(self, verb: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with client_of(self.parts.verbs) as client:
            return await client.post(f"{self.parts.settings.listen.path_prefix}/{verb}", content=content)

    async def filter(self, pod: Json, names: Iterable[str]) -> Any:
        return await self.post("filter", args(pod, names))

    async def prioritize(self, pod: Json, names: Iterable[str]) -> dict[str, int]:
        """Scores by node name."""
        return {entry["Host"]: entry["Score"] for entry in await self.post("prioritize", args(pod, names))}

    async def ops(self, path: str) -> httpx.Response:
        async with client_of(self.parts.ops) as client:
            return await client.get(path)

    async def explain(self, pod: Json, names: Iterable[str]) -> dict[str, Any]:
        """What /explain tells of each node, by name."""
        async with client_of(self.parts.ops) as client:
            response = await client.post("/explain", content=json.dumps(args(pod, names)))
        return {one["node"]: one for one in response.json()["nodes"]}

    def metric(self, name: str, **labels: str) -> float:
        value = self.parts.metrics.registry.get_sample_value(f"kubesteer_{name}", labels)
        return 0.0 if value is None else value

    def lines(self) -> list[Any]:
        """What was logged, line by line."""
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    def put_node(self, api_object: Json) -> None:
        self.parts.state.put_node(node_numbers(api_object))

    def hear(self) -> None:
        """The watch of pods is heard now, and everything it told is known."""
        self.parts.state.pods_heard(self.clock.now_s)

    def put_pod(self, api_object: Json) -> None:
        """What the watch does when it tells of a pod."""
        self.parts.arrivals.put_pod(pod_numbers(api_object))


def service(
    *nodes: Json,
    pods: Iterable[Json] = (),
    rewards: Iterable[RewardRecord] = (),
    node_states: Iterable[NodeState] = (),
    synced: bool = True,
    warning_sink: WarningSink | None = None,
    reward_settings: Json | None = None,
    **groups: Any,
) -> Service:
    """An extender that knows these nodes (by default node-1 and node-2), pods, rewards and states.

    groups are settings; those of the group rewards come as reward_settings.
    """
    cluster, clock, output = GivenCluster(synced=synced), Clock(), io.StringIO()
    with contextlib.redirect_stdout(output):
        log = make_logger(as_json=True, level="debug")
    store = MemoryStore()
    for record in rewards:
        store.put_entry(encode_key(store.prefix, record.node, record.pod_type), encode_value(record))
    for state in node_states:
        store.put_entry(state_key(store.prefix, state.node), encode_state(state))
    parts = build(
        Settings(rewards=reward_settings or {}, **groups),
        cluster,
        lambda sink: MemorySource(store, sink, clock=time.monotonic),
        log,
        node_states_into=lambda sink: MemoryNodeStates(store, sink, clock=time.monotonic),
        warning_sink=warning_sink,
        unix_s=clock,
        clock=clock,
    )
    assert isinstance(parts.rewards, MemorySource)
    assert isinstance(parts.node_states_source, MemoryNodeStates)
    parts.rewards.resync()
    parts.node_states_source.resync()
    built = Service(parts, cluster, store, clock, output)
    for api_object in nodes or (node("node-1"), node("node-2")):
        built.put_node(api_object)
    for api_object in pods:
        built.put_pod(api_object)
    return built


def args(pod: Json, names: Iterable[str]) -> Json:
    """ExtenderArgs as kube-scheduler sends them with nodeCacheCapable: true."""
    return {"Pod": pod, "Nodes": None, "NodeNames": list(names)}


def nodes_args(pod: Json, nodes: Sequence[Json]) -> Json:
    """ExtenderArgs as kube-scheduler sends them with nodeCacheCapable: false."""
    return {"Pod": pod, "Nodes": {"metadata": {}, "items": list(nodes)}, "NodeNames": None}


def node_numbers(api_object: Json) -> NodeSummary:
    return summarise_node(node_object(api_object), DEFAULT_NETWORK)


def pod_numbers(api_object: Json) -> PodSummary:
    return summarise_pod(pod_object(api_object), DEFAULT_NETWORK)


@contextlib.asynccontextmanager
async def running(built: Service) -> AsyncIterator[tuple[int, int]]:
    """Serve it on free loopback ports until the block ends; gives the verbs' port and the ops port."""
    started = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(built.parts, lambda verbs, ops: started.set_result((verbs, ops))))
    await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    verbs_url, ops_url = started.result()
    try:
        yield _port(verbs_url, built.parts.settings.listen.path_prefix), _port(ops_url)
    finally:
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            await serving


def on_free_ports(**groups: Any) -> dict[str, Any]:
    """Settings for `running`: free ports, no drain."""
    listen = {"port": 0, "drain_s": 0, "grace_s": 5, **groups.pop("listen", {})}
    return {"listen": listen, "ops": {"port": 0}, **groups}


def http_post(verb: str, body: bytes, *more_headers: str) -> bytes:
    """A whole request as bytes."""
    lines = [f"POST /{verb} HTTP/1.1", "Host: extender", f"Content-Length: {len(body)}", *more_headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


@contextlib.asynccontextmanager
async def connected(port: int, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One connection to a loopback port; options are asyncio's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://extender")


def _port(url: str, prefix: str = "") -> int:
    return int(url.removesuffix(prefix).rpartition(":")[2])
