"""Each ServiceAccount has the rights that the code uses, and no other.

Which clients a service uses is found in its imports; what each client asks of the API server is found by running it
against one that writes everything down.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kubesteer.clients.kubelet.summary import pod_counters
from kubesteer.clients.kubernetes.events import NodeReference, create_event, pod_events
from kubesteer.clients.kubernetes.own_node import OwnNode, own_node
from kubesteer.clients.kubernetes.pod_runs import pods_of_node
from kubesteer.clients.kubernetes.reflector import Pace, Reflector
from kubesteer.clients.kubernetes.source import KubernetesSource
from kubesteer.clients.metrics_server import Answer
from kubesteer.model.network import DEFAULT_NETWORK
from tests.cluster_state.sink import RecordingSink

from .written import ROOT, written

Right = tuple[str, str, str]
"""API group, resource and verb."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALLERS = {"reflector.py", "own_node.py", "events.py"}
"""The only modules that call the API server; what is run below must reach each of them."""


class Recorder:
    """Stands for ApiServer and for the kubelet's MetricsServer; answers empty lists, and a watch that stays open."""

    def __init__(self) -> None:
        self.rights: set[Right] = set()
        self.watching = asyncio.Event()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        listed = path.rpartition("/")[2] in {"nodes", "pods", "events"}
        self._note("list" if listed else "get", path)
        return json.dumps(
            {"metadata": {"resourceVersion": "1"}, "items": []} if listed else {"metadata": {"name": "n"}}
        ).encode()

    async def post(self, path: str, _body: bytes) -> bytes:
        self._note("create", path)
        return b"{}"

    async def patch(self, path: str, _body: bytes, *, content_type: str) -> bytes:
        assert content_type
        self._note("patch", path)
        return b"{}"

    async def stream(self, path: str, _params: Mapping[str, str], *, silence_s: float) -> AsyncGenerator[bytes, None]:
        assert silence_s > 0
        self._note("watch", path)
        self.watching.set()
        yield b""
        await asyncio.Event().wait()

    async def ask(self, path: str) -> Answer:
        """The kubelet asks for `get` on nodes/stats when /stats/summary is read."""
        assert path.startswith("/stats/")
        self.rights.add(("", "nodes/stats", "get"))
        return Answer(200, b'{"pods": []}')

    def _note(self, verb: str, path: str) -> None:
        found = re.fullmatch(r"/api/v1/(?:namespaces/[^/]+/)?(\w+)(?:/[^/]+(/\w+)?)?", path)
        assert found, path
        self.rights.add(("", found[1] + (found[2] or ""), verb))


async def follow(api: Recorder, resource: Any) -> None:
    """List and watch until the watch is open."""
    await until_watching(
        api,
        Reflector(api, resource, pace=Pace(), random=Random(0), clock=time.monotonic, sleep=asyncio.sleep).run(),  # type: ignore[arg-type]
    )


async def until_watching(api: Recorder, running: Awaitable[None]) -> None:
    task = asyncio.ensure_future(running)
    async with asyncio.timeout(5):
        await api.watching.wait()
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def change_own_node(api: Recorder) -> None:
    node = OwnNode(api, "n")  # type: ignore[arg-type]
    await node.publish({"kubesteer.io/egress-bps": 1})
    await node.set_condition("c", status=True, reason="r", message="m", now=NOW)


async def taint_own_node(api: Recorder) -> None:
    await OwnNode(api, "n").set_taint("k", present=True)  # type: ignore[arg-type]


def nothing(_: Any) -> None:
    pass


CLIENTS: Mapping[str, Callable[[Recorder], Awaitable[Any]]] = {
    "KubernetesSource": lambda api: until_watching(
        api,
        KubernetesSource(api, DEFAULT_NETWORK, random=Random(0)).run(RecordingSink()),  # type: ignore[arg-type]
    ),
    "OwnNode": change_own_node,
    "own_node": lambda api: follow(api, own_node("n", put=nothing, delete=nothing)),
    "pods_of_node": lambda api: follow(api, pods_of_node("n", put=nothing, delete=nothing)),
    "create_event": lambda api: create_event(api, NodeReference("n", "u"), reason="r", message="m", now=NOW),  # type: ignore[arg-type]
    "pod_events": lambda api: pod_events(api, "default", "u"),  # type: ignore[arg-type]
    "pod_counters": pod_counters,  # type: ignore[arg-type]
}


async def rights_used(service: str) -> set[Right]:
    imported = {
        name
        for file in (ROOT / service).rglob("*.py")
        for names in re.findall(r"from kubesteer\.clients\.kube\S+ import ([^()\n]+|\([^)]+\))", file.read_text())
        for name in re.findall(r"\w+", names)
    }
    api = Recorder()
    for name in imported & CLIENTS.keys():
        await CLIENTS[name](api)
        api.watching.clear()
    return api.rights


def rights_granted(role: str) -> set[Right]:
    [found] = [
        each.object
        for each in written()
        if each.object["kind"] == "ClusterRole" and each.object["metadata"]["name"] == role
    ]
    return {
        (group, resource, verb)
        for rule in found["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("service", "role"), [("extender", "kubesteer-extender"), ("monitor_agent", "kubesteer-agent")]
)
async def test_a_service_account_has_the_rights_that_its_service_uses_and_no_other(service: str, role: str) -> None:
    assert await rights_used(service) == rights_granted(role)


async def test_only_the_component_for_the_taint_gives_what_a_taint_takes() -> None:
    api = Recorder()
    await taint_own_node(api)
    assert api.rights == rights_granted("kubesteer-agent-taint")
    assert not api.rights & rights_granted("kubesteer-agent")


def test_the_clients_run_here_are_all_that_call_the_api_server() -> None:
    calls = {
        file.name
        for package in ("kubesteer", "extender", "monitor_agent")
        for file in (ROOT / package).rglob("*.py")
        if re.search(r"\b_?api\.(?:get|post|put|patch|delete|stream)\(", file.read_text())
    }
    assert calls == CALLERS


def test_who_uses_the_api_is_found_in_every_file_of_a_service() -> None:
    """A client that a service imports by another way would be missed."""
    for service in ("extender", "monitor_agent"):
        for file in Path(ROOT / service).rglob("*.py"):
            assert not re.search(
                r"^\s*import kubesteer|import_module|from kubesteer\.clients import", file.read_text(), re.M
            )


def test_the_role_bindings_give_each_role_to_its_own_account() -> None:
    bindings = [each.object for each in written() if each.object["kind"].endswith("RoleBinding")]
    given = {(b["roleRef"]["name"], s["name"]) for b in bindings for s in b["subjects"]}
    assert given == {
        ("kubesteer-extender", "kubesteer-extender"),
        ("kubesteer-agent", "kubesteer-agent"),
        ("kubesteer-agent-taint", "kubesteer-agent"),
        ("system:kube-scheduler", "kubesteer-scheduler"),
        ("system:volume-scheduler", "kubesteer-scheduler"),
        ("extension-apiserver-authentication-reader", "kubesteer-scheduler"),
        ("kubesteer-scheduler-lease", "kubesteer-scheduler"),
    }
    assert {s["namespace"] for b in bindings for s in b["subjects"]} == {"kubesteer"}


def test_no_role_gives_secrets_wildcards_or_ways_to_more_rights() -> None:
    dangerous = {"*", "escalate", "bind", "impersonate"}
    for each in written():
        for rule in each.object.get("rules", ()) if each.object["kind"].endswith("Role") else ():
            assert not dangerous & {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}, str(each)
            assert "secrets" not in rule["resources"], str(each)
