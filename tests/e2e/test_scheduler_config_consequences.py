"""What a real kube-scheduler does with files that it takes: the sentences of `kubesteer config check`, one by one."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from kubesteer.schedulerconfig.connection import called_path
from tools.cluster import objects
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import scheduler_config
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.cluster.build import Binaries
    from tools.cluster.client import Client

SLOT = "example.com/slot"
PRIORITY = "wins"


@dataclass(slots=True)
class Extender:
    """It lets all nodes through, likes one of them, and answers 404 to what it does not know. Records what is called."""

    favourite: str = ""
    url: str = ""
    paths: list[str] = field(default_factory=list)

    def answer(self, path: str, args: dict[str, Any]) -> Any:
        self.paths.append(path)
        if path.endswith("filter"):
            return {"NodeNames": args["NodeNames"]}
        if path == "/prioritize":
            return [{"Host": each, "Score": 10 * (each == self.favourite)} for each in args["NodeNames"]]
        return None

    def entry(self, **fields: Any) -> dict[str, Any]:
        return {"urlPrefix": self.url, "nodeCacheCapable": True, "httpTimeout": "5s", "ignorable": True, **fields}


@dataclass(frozen=True, slots=True)
class Bed:
    control: ControlPlane
    older: bool

    @property
    def client(self) -> Client:
        return self.control.client


@contextmanager
def serving(extender: Extender) -> Iterator[Extender]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            args = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            # The path as it was sent: http.server itself would make one slash of two.
            answer = extender.answer(urlsplit(f"http://host{self.raw_requestline.split()[1].decode()}").path, args)
            body = json.dumps(answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a test's output is its own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        extender.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield extender
        server.shutdown()


@pytest.fixture(scope="module", params=[False, True], ids=["1.37", "1.34"])
def bed(older_binaries: Binaries, request: pytest.FixtureRequest) -> Iterator[Bed]:
    with ControlPlane(older_binaries, older=request.param) as running:
        running.client.create(
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": PRIORITY},
                "value": 1000,
            }
        )
        yield Bed(running, request.param)


@contextmanager
def scheduler(bed: Bed, *entries: dict[str, Any]) -> Iterator[None]:
    bed.control.start_scheduler(scheduler_config(*entries), older=bed.older)
    try:
        yield
    finally:
        bed.control.stop_scheduler()


def node_of(bed: Bed, name: str) -> str | None:
    return bed.client.get("Pod", name)["spec"].get("nodeName")


def place(bed: Bed, name: str, **spec: Any) -> None:
    """A pod that only the nodes with its name as a label may carry."""
    limits = {SLOT: "1"} if "priorityClassName" in spec else {}
    bed.client.create(
        objects.pod(name, limits=limits, spec={"nodeSelector": {"test": name.split("-", maxsplit=1)[0]}, **spec})
    )


def why_pending(bed: Bed, name: str) -> str:
    """The message of the scheduler's last try; empty before it."""
    conditions = bed.client.get("Pod", name).get("status", {}).get("conditions", [])
    return next((each.get("message", "") for each in conditions if each["status"] == "False"), "")


def test_the_calls_go_to_the_trimmed_prefix_a_slash_and_the_verb(bed: Bed) -> None:
    called = [
        ("", "filter"),
        ("//", "filter"),
        ("", "/filter"),
        ("", "filter/"),
        ("/x/", "y/filter"),
        ("", "filter?a=b"),
        ("?a=b", "filter"),
    ]
    bed.client.create(objects.node("paths", labels={"test": "paths"}))
    with serving(Extender()) as extender:
        entries = [extender.entry(urlPrefix=extender.url + prefix, filterVerb=verb) for prefix, verb in called]
        with scheduler(bed, *entries):
            place(bed, "paths")
            eventually(lambda: node_of(bed, "paths"), within_s=30, what="the pod is bound: all is ignorable")
    # An empty path is sent as /.
    assert extender.paths[: len(called)] == [called_path(extender.url + prefix, verb) or "/" for prefix, verb in called]


@pytest.mark.parametrize("ignorable", [True, False])
def test_a_bind_verb_that_is_not_answered_stops_all_pods_where_it_is_not_ignorable(bed: Bed, ignorable: bool) -> None:
    name = f"bind{ignorable}".lower()
    bed.client.create(objects.node(name, labels={"test": name}))
    with serving(Extender()) as extender, scheduler(bed, extender.entry(bindVerb="bind", ignorable=ignorable)):
        place(bed, name)
        eventually(lambda: len(extender.paths) > (not ignorable), within_s=60, what="bind is called, and again")
        if ignorable:
            eventually(lambda: node_of(bed, name), within_s=30, what="the scheduler binds it itself")
        assert (node_of(bed, name) is None) is not ignorable
    assert set(extender.paths) == {"/bind"}


@pytest.mark.parametrize("ignorable", [True, False])
def test_a_preempt_verb_that_is_not_answered_stops_preemption_where_it_is_not_ignorable(
    bed: Bed, ignorable: bool
) -> None:
    name = f"preempt{ignorable}".lower()
    bed.client.create(objects.node(name, resources={SLOT: "1"}, labels={"test": name}))
    weak = f"{name}-weak"
    bed.client.create(objects.pod(weak, limits={SLOT: "1"}, spec={"nodeName": name}))

    def is_leaving() -> bool:
        there = {each["metadata"]["name"]: each["metadata"] for each in bed.client.list_all("Pod")}
        return weak not in there or "deletionTimestamp" in there[weak]

    with serving(Extender()) as extender, scheduler(bed, extender.entry(preemptVerb="preempt", ignorable=ignorable)):
        place(bed, f"{name}-strong", priorityClassName=PRIORITY)
        eventually(lambda: extender.paths == ["/preempt"], within_s=60, what="preempt is called")
        eventually(lambda: why_pending(bed, f"{name}-strong"), within_s=60, what="the scheduler says why it waits")
        if ignorable:
            eventually(is_leaving, within_s=30, what="the weak pod is told to go")
        assert is_leaving() is ignorable


@pytest.mark.parametrize(("weight", "node"), [(14, "first"), (16, "second")])
def test_one_extenders_weight_counts_against_anothers_as_it_stands(bed: Bed, weight: int, node: str) -> None:
    # The first likes one node: 10 * 10 * 15 points. The second likes the other: 1,400 or 1,600.
    name = f"share{weight}"
    for each in ("first", "second"):
        bed.client.create(objects.node(f"{name}-{each}", labels={"test": name}))
    with serving(Extender(f"{name}-first")) as first, serving(Extender(f"{name}-second")) as second:
        verbs = {"prioritizeVerb": "prioritize"}
        with scheduler(bed, first.entry(weight=15, **verbs), second.entry(weight=weight, **verbs)):
            place(bed, name)
            eventually(lambda: node_of(bed, name), within_s=30, what="the pod is bound")
    assert node_of(bed, name) == f"{name}-{node}"


def test_a_name_that_only_pods_resolve_fails_outside_a_pod(bed: Bed) -> None:
    host = "kubesteer-extender.kubesteer.svc"
    bed.client.create(objects.node("names", labels={"test": "names"}))
    entry = {"urlPrefix": f"http://{host}:8888", "filterVerb": "filter", "nodeCacheCapable": True}
    with scheduler(bed, entry):
        place(bed, "names")
        said = eventually(lambda: why_pending(bed, "names"), within_s=60, what="the scheduler says why it waits")
    assert host in said
    assert node_of(bed, "names") is None
