"""The three extenders of upstream's own integration scenario, and how kube-scheduler is told of them.

Upstream's scenario (the scheduler's extender integration test): five nodes, one pod that asks for foo.com/bar, three
extenders of weights 3, 4 and 10. The first allows machines 1 to 3 and likes machine2. The second allows 2, 3 and 5,
likes machine3, binds, and manages foo.com/bar, which the scheduler ignores. The third works on node names, allows
1 to 3 and likes machine2 five times as much. The pod goes to machine2; without the third it would go to machine3.
"""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from .client import ApiError, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

MANAGED_RESOURCE = "foo.com/bar"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one extender allows and likes. `favourite` scores 10 times `factor`, every other node `factor`."""

    name: str
    allows: frozenset[str]
    favourite: str
    factor: int = 1


FIRST = Behaviour("extender1", frozenset({"machine1", "machine2", "machine3"}), "machine2")
SECOND = Behaviour("extender2", frozenset({"machine2", "machine3", "machine5"}), "machine3")
THIRD = Behaviour("extender3", frozenset({"machine1", "machine2", "machine3"}), "machine2", factor=5)


@contextmanager
def serving(client: Client, *behaviours: Behaviour) -> Iterator[list[str]]:
    """Serve the extenders, and yield their URLs. Bindings are made with `client`."""
    with ExitStack() as stack:
        urls = []
        for behaviour in behaviours:
            server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(behaviour, client))
            stack.callback(server.server_close)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            urls.append(f"http://127.0.0.1:{server.server_address[1]}")
        yield urls


def configuration(first_url: str, second_url: str, third: dict[str, Any] | None) -> dict[str, Any]:
    """The scheduler configuration's fields for the scenario. `third` is made by `third_entry`; None leaves it out."""
    both = {"filterVerb": "filter", "prioritizeVerb": "prioritize"}
    extenders: list[dict[str, Any]] = [
        {"urlPrefix": first_url, "weight": 3, **both},
        {
            "urlPrefix": second_url,
            "weight": 4,
            "bindVerb": "bind",
            "managedResources": [{"name": MANAGED_RESOURCE, "ignoredByScheduler": True}],
            **both,
        },
    ]
    return {"extenders": extenders if third is None else [*extenders, third]}


def third_entry(url: str, **fields: Any) -> dict[str, Any]:
    """The third extender's entry: weight 10, node names only. `fields` adds or replaces some."""
    entry = {"urlPrefix": url, "filterVerb": "filter", "prioritizeVerb": "prioritize", "weight": 10}
    return {**entry, "nodeCacheCapable": True, **fields}


def nodes_and_pod() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The scenario's objects: nodes that say only that they are ready and take 32 pods, and the pod."""
    ready = [{"type": "Ready", "status": "True", "reason": "Schedulable"}]
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"machine{number}"},
            "status": {"capacity": {"pods": "32"}, "allocatable": {"pods": "32"}, "conditions": ready},
        }
        for number in range(1, 6)
    ]
    container = {"name": "main", "image": "pause", "resources": {"limits": {MANAGED_RESOURCE: "1"}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "extender-test-pod", "namespace": "default"},
        "spec": {"containers": [container]},
    }
    return nodes, pod


def _handler(behaviour: Behaviour, client: Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            args = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            verbs = {"/filter": _filter, "/prioritize": _prioritize}
            verb = verbs.get(self.path)
            answer = _bind(args, client) if self.path == "/bind" else verb and verb(behaviour, args)
            body = json.dumps(answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a test's output is its own."""

    return Handler


def _names(args: dict[str, Any]) -> list[str]:
    if args["NodeNames"] is not None:
        return list(args["NodeNames"])
    return [item["metadata"]["name"] for item in args["Nodes"]["items"]]


def _filter(behaviour: Behaviour, args: dict[str, Any]) -> dict[str, Any]:
    """Answer in the form asked: names for names, whole nodes for whole nodes."""
    names = _names(args)
    kept = [name for name in names if name in behaviour.allows]
    answer: dict[str, Any] = {
        "FailedNodes": {name: f"extender failed: {behaviour.name}" for name in names if name not in behaviour.allows}
    }
    if args["NodeNames"] is not None:
        return {**answer, "NodeNames": kept}
    items = [item for item in args["Nodes"]["items"] if item["metadata"]["name"] in behaviour.allows]
    return {**answer, "Nodes": {**args["Nodes"], "items": items}}


def _prioritize(behaviour: Behaviour, args: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"Host": name, "Score": behaviour.factor * (10 if name == behaviour.favourite else 1)} for name in _names(args)
    ]


def _bind(args: dict[str, Any], client: Client) -> dict[str, str]:
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": args["PodName"], "namespace": args["PodNamespace"], "uid": args["PodUID"]},
        "target": {"kind": "Node", "name": args["Node"]},
    }
    path = f"/api/v1/namespaces/{args['PodNamespace']}/pods/{args['PodName']}/binding"
    try:
        client.request("POST", path, binding)
    except ApiError as error:
        return {"Error": str(error)}
    return {"Error": ""}
