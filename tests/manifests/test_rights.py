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
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kubesteer.cli.keeping.snapshots import Snapshots
from kubesteer.clients.kubelet.summary import pod_counters
from kubesteer.clients.kubernetes.certificate_requests import (
    Csr,
    RequestAnswers,
    answer_to,
    ask_for_certificate,
    requests_to,
)
from kubesteer.clients.kubernetes.events import NodeReference, create_event, pod_events
from kubesteer.clients.kubernetes.objects import Metadata
from kubesteer.clients.kubernetes.own_node import OwnNode, own_node, uid_of
from kubesteer.clients.kubernetes.pod_runs import pods_of_node
from kubesteer.clients.kubernetes.reflector import Pace, Reflector
from kubesteer.clients.kubernetes.reviews import READINESS_DETAILS, Reviews
from kubesteer.clients.kubernetes.secrets import Secrets
from kubesteer.clients.kubernetes.source import KubernetesSource
from kubesteer.clients.metrics_server import Answer
from kubesteer.model.errors import ClusterUnavailable
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.secrets import SecretWrite
from tests.cluster_state.sink import RecordingSink
from tests.service.harness import service as extender_service
from tests.waiting import WITHIN_S

from .written import ROOT, written

Right = tuple[str, str, str]
"""API group, resource and verb."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALLERS = {
    "reflector.py",
    "own_node.py",
    "events.py",
    "reviews.py",
    "certificate_requests.py",
    "one_object.py",
    "secrets.py",
}
"""The only modules that call the API server; what is run below must reach each of them."""


class Recorder:
    """Stands for ApiServer and for the kubelet's MetricsServer; answers empty lists, and a watch that stays open."""

    def __init__(self) -> None:
        self.rights: set[Right] = set()
        self.watching = asyncio.Event()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        listed = path.rpartition("/")[2] in {"nodes", "pods", "events", "certificatesigningrequests"}
        self._note("list" if listed else "get", path)
        return json.dumps(
            {"metadata": {"resourceVersion": "1"}, "items": []} if listed else {"metadata": {"name": "n"}}
        ).encode()

    async def post(self, path: str, _body: bytes) -> bytes:
        """Every token is somebody's, who may do everything."""
        self._note("create", path)
        return b'{"metadata": {"name": "n"}, "status": {"authenticated": true, "user": {"username": "somebody"}, "allowed": true}}'

    async def patch(self, path: str, _body: bytes, *, content_type: str) -> bytes:
        assert content_type
        self._note("patch", path)
        return b'{"metadata": {"name": "n"}}'

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
        path = path.partition("?")[0]
        found = re.fullmatch(r"/(?:api|apis/([\w.]+))/v1/(?:namespaces/[^/]+/)?(\w+)(?:/[^/]+(/\w+)?)?", path)
        assert found, path
        self.rights.add((found[1] or "", found[2] + (found[3] or ""), verb))


async def follow(api: Recorder, resource: Any) -> None:
    """List and watch until the watch is open."""
    await until_watching(
        api,
        Reflector(api, resource, pace=Pace(), random=Random(0), clock=time.monotonic, sleep=asyncio.sleep).run(),  # type: ignore[arg-type]
    )


async def until_watching(api: Recorder, running: Awaitable[None]) -> None:
    task = asyncio.ensure_future(running)
    async with asyncio.timeout(WITHIN_S):
        await api.watching.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def change_own_node(api: Recorder) -> None:
    node = OwnNode(api, "n")  # type: ignore[arg-type]
    await node.publish({"kubesteer.io/egress-bps": 1})
    await node.set_condition("c", status=True, reason="r", message="m", now=NOW)


async def taint_own_node(api: Recorder) -> None:
    await OwnNode(api, "n").set_taint("k", present=True)  # type: ignore[arg-type]


async def see_own_node(api: Recorder) -> None:
    with suppress(ClusterUnavailable):  # there is none here
        await uid_of(api, "n")  # type: ignore[arg-type]


def nothing(_: Any) -> None:
    pass


CLIENTS: Mapping[str, Callable[[Recorder], Awaitable[Any]]] = {
    "KubernetesSource": lambda api: until_watching(
        api,
        KubernetesSource(api, DEFAULT_NETWORK, random=Random(0)).run(RecordingSink()),  # type: ignore[arg-type]
    ),
    "OwnNode": change_own_node,
    "uid_of": see_own_node,
    "own_node": lambda api: follow(api, own_node("n", put=nothing, delete=nothing)),
    "pods_of_node": lambda api: follow(api, pods_of_node("n", put=nothing, delete=nothing)),
    "create_event": lambda api: create_event(api, NodeReference("n", "u"), reason="r", message="m", now=NOW),  # type: ignore[arg-type]
    "pod_events": lambda api: pod_events(api, "default", "u", by=["kubelet"]),  # type: ignore[arg-type]
    "pod_counters": pod_counters,  # type: ignore[arg-type]
    "ask_for_certificate": lambda api: ask_for_certificate(api, b"", signer="s", prefix="p"),  # type: ignore[arg-type]
    "answer_to": lambda api: answer_to(api, "n"),  # type: ignore[arg-type]
    "Reviews": lambda api: Reviews(api).ask(["Bearer token"], "get", "/metrics"),
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


def rights_granted(role: str, kind: str = "ClusterRole") -> set[Right]:
    [found] = [
        each.object for each in written() if each.object["kind"] == kind and each.object["metadata"]["name"] == role
    ]
    return {
        (group, resource, verb)
        for rule in found["rules"]
        if "nonResourceURLs" not in rule
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("service", "roles"),
    [
        ("extender", ["kubesteer-extender"]),
        # The second one is the component monitoring's, the third one node-certificates'.
        ("monitor_agent", ["kubesteer-agent", "kubesteer-agent-reviews", "kubesteer-agent-requests"]),
    ],
)
async def test_a_service_account_has_the_rights_that_its_service_uses_and_no_other(
    service: str, roles: list[str]
) -> None:
    granted = [rights_granted(role) for role in roles]
    assert await rights_used(service) == set().union(*granted)
    assert sum(map(len, granted)) == len(set().union(*granted))


def test_only_the_component_monitoring_lets_agents_review_tokens() -> None:
    assert rights_granted("kubesteer-agent-reviews") == {
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    }
    [file] = {each.file for each in written() if each.object["metadata"]["name"] == "kubesteer-agent-reviews"}
    assert file.parent.name == "monitoring"


def test_who_may_read_the_ops_ports_may_read_every_page_and_a_scraper_metrics_alone() -> None:
    pages = {getattr(route, "path", "") for route in extender_service().parts.ops.routes}
    reader = urls_granted("kubesteer-ops-reader")
    assert {url for url, _ in reader} == {page_right(page) for page in pages - {"/healthz"}}
    assert {url for url, verb in reader if verb == "post"} == {"/explain"}
    assert urls_granted("kubesteer-metrics-reader") == {("/metrics", "get")}


def page_right(page: str) -> str:
    """What a role names for a page: those below a mount, and the details of readiness."""
    if page.startswith("/docs/"):
        return "/docs/*"
    return {"/static-offline-docs": "/static-offline-docs/*", "/readyz": READINESS_DETAILS}.get(page, page)


def urls_granted(name: str) -> set[tuple[str, str]]:
    [role] = [e.object for e in written() if (e.object["kind"], e.object["metadata"]["name"]) == ("ClusterRole", name)]
    return {(url, verb) for rule in role["rules"] for url in rule["nonResourceURLs"] for verb in rule["verbs"]}


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
        ("kubesteer-ops-reader", "kubesteer-status"),
        ("kubesteer-agent", "kubesteer-agent"),
        ("kubesteer-agent-taint", "kubesteer-agent"),
        ("kubesteer-agent-reviews", "kubesteer-agent"),
        ("kubesteer-keeper-reviews", "kubesteer-keeper"),
        ("kubesteer-metrics-reader", "kubesteer-metrics"),
        ("kubesteer-agent-requests", "kubesteer-agent"),
        ("kubesteer-keeper", "kubesteer-keeper"),
        ("kubesteer-keeper-certificates", "kubesteer-keeper"),
        ("kubesteer-keeper-requests", "kubesteer-keeper"),
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
            named = {name for names in rule.values() for name in names}
            assert not dangerous & named, str(each)
            assert "secrets" not in named or each.object["metadata"]["name"].startswith("kubesteer-keeper"), str(each)


async def use_secrets(api: Recorder) -> None:
    secrets = Secrets(api, "kubesteer")  # type: ignore[arg-type]
    stored = (await secrets.read(["s"]))["s"]
    for over in (None, stored):
        await secrets.write(SecretWrite("s", over, {}, {}, "why"))


async def answer_requests(api: Recorder) -> None:
    """It follows nodes too, and approves and signs, which the API server asks for beside the patches."""
    csr, answers = Csr(metadata=Metadata(name="c")), RequestAnswers(api)  # type: ignore[arg-type]
    await answers.decide(csr, "Approved", reason="r", message="m", now=NOW)
    await answers.hand_out(csr, b"")
    await follow(api, requests_to("s", put=nothing, delete=nothing))
    api.watching.clear()
    await follow(api, own_node("n", put=nothing, delete=nothing))
    api.rights |= {("certificates.k8s.io", "signers", verb) for verb in ("approve", "sign")}


async def test_the_keeper_has_the_rights_that_its_parts_use_and_no_other() -> None:
    making, answering, looking = Recorder(), Recorder(), Recorder()
    await use_secrets(making)
    await Snapshots(looking, "kubesteer").step()  # type: ignore[arg-type]
    await answer_requests(answering)
    assert making.rights == rights_granted("kubesteer-keeper-certificates", "Role")
    assert answering.rights == rights_granted("kubesteer-keeper-requests")
    assert rights_granted("kubesteer-keeper", "Role") == {("", "secrets", "get")} | looking.rights


def test_all_rights_of_the_keeper_but_to_create_and_list_are_for_names() -> None:
    for each in written():
        if each.object["kind"].endswith("Role") and each.object["metadata"]["name"].startswith("kubesteer-keeper"):
            for rule in each.object["rules"]:
                by_name = set(rule["verbs"]) <= {"create", "list", "watch"} or "resourceNames" in rule
                assert by_name or rule["resources"][0].startswith("certificatesigningrequests/"), str(each)
