"""Makes control_plane/ anew with a real API server, scheduler and kubectl: python -m tests.recorded.record (1 minute).

The programs write every byte that is kept; this module only brings things about and listens. Bodies are kept as they
came, one a line. Keys, tokens and host names are in none of them, and that is checked before anything is written.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import sys
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.waiting import wait_until
from tools.cluster.build import cache_folder, find
from tools.cluster.client import ApiError
from tools.cluster.controlplane import ControlPlane
from tools.cluster.objects import node, pod

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent / "control_plane"
EGRESS, INGRESS = "kubesteer.io/egress-bps", "kubesteer.io/ingress-bps"
LONG_NAME = "-".join(["node"] * 50) + "-abc"
LIVE = "status.phase!=Succeeded,status.phase!=Failed"
WATCHED_S = 45
"""The server ends the watches itself after so long, a bookmark before that."""
PAGE = 6


def main() -> None:
    """Start a control plane, let things happen, keep what was said."""
    with ControlPlane(find(cache_folder(os.environ))) as bed:
        taken = Taken(bed)
        with taken.extenders() as urls:
            bed.start_scheduler({"extenders": _extenders(*urls)})
            make_nodes(bed)
            make_pods(bed)
            versions = {name: taken.list_in_pages(name) for name in ("nodes", "pods")}
            watches = [taken.watch(name, version) for name, version in versions.items()]
            let_things_happen(bed)
            if not all(each.is_alive() for each in watches):
                raise TimeoutError(f"WATCHED_S: {WATCHED_S} s were too short here; make it longer")
            wait_until(lambda: all(not each.is_alive() for each in watches))
        taken.keep("kubectl-describe-nodes.txt", bed.kubectl("describe", "nodes").encode())
        taken.keep_errors()
        taken.write(FOLDER)
    print(f"{FOLDER}: {sum(each.stat().st_size for each in FOLDER.iterdir())} bytes")


def _extenders(names_url: str, nodes_url: str) -> list[dict[str, Any]]:
    verbs = {"filterVerb": "filter", "prioritizeVerb": "prioritize", "preemptVerb": "preempt", "weight": 1}
    return [
        {"urlPrefix": names_url, "nodeCacheCapable": True, "bindVerb": "bind", **verbs},
        {"urlPrefix": nodes_url, "nodeCacheCapable": False, **verbs},
    ]


def make_nodes(bed: ControlPlane) -> None:
    """Usual ones, one with a name as long as names get, one without allocatable, one with a quantity as large."""
    network = {EGRESS: "10G", INGRESS: "10G"}
    client = bed.client
    client.create_all([node(f"node-{number}", resources=network) for number in range(3)])
    short = {"kubernetes.io/hostname": "long"}
    client.create(node(LONG_NAME, cpu="3500m", memory="7812500Ki", resources={EGRESS: "1P"}, labels=short))
    bare = node("node-bare")
    del bare["status"]["allocatable"]
    client.create(bare)
    client.create(node("node-small", cpu="1", memory="1Gi", labels={"size": "small"}, resources=network))


def make_pods(bed: ControlPlane) -> None:
    """Every way to ask that the scheduler counts, bound by the real scheduler."""
    client = bed.client
    client.create(
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "heavy"},
            "handler": "heavy",
            "overhead": {"podFixed": {"cpu": "250m", "memory": "120Mi"}},
        }
    )
    for name, value in (("low", 1), ("high", 1000)):
        client.create(
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
        )
    small = {"nodeSelector": {"size": "small"}}
    client.create(pod("low", requests={"cpu": "800m"}, spec={"priorityClassName": "low", **small}))
    init = {"image": "registry.example/init"}
    asking = {"resources": {"requests": {"cpu": "700m", "memory": "64Mi"}}}
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}}}
    everything = [
        pod("plain", requests={"cpu": "100m", "memory": "128Mi"}, limits={"cpu": "200m"}),
        pod("nothing"),
        pod(
            "init",
            requests={"cpu": "0.3"},
            spec={"initContainers": [{"name": "proxy", **init, **sidecar}, {"name": "fetch", **init, **asking}]},
        ),
        pod("overhead", requests={"cpu": "1e-1", "memory": "1e8"}, spec={"runtimeClassName": "heavy"}),
        pod("resource", limits={EGRESS: "300M"}),
        pod("annotated", annotations={"kubernetes.io/egress-bandwidth": "300M"}),
        pod("wrong", annotations={"kubernetes.io/egress-bandwidth": "10Mbps"}),
        pod("whole", spec={"resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}}),
        pod("finalized", requests={"cpu": "10m"}),
        pod("ends", requests={"cpu": "20m"}),
    ]
    everything[-2]["metadata"]["finalizers"] = ["example.com/hold"]
    for each in everything:
        client.create(each)
    names = ["low", *(each["metadata"]["name"] for each in everything)]
    wait_until(lambda: all(_is_bound(bed, name) for name in names))
    client.create(pod("gated", spec={"schedulingGates": [{"name": "example.com/wait"}]}))
    client.create(pod("huge", requests={"cpu": "1000"}))
    wait_until(lambda: _condition(bed, "huge") == "Unschedulable")


def let_things_happen(bed: ControlPlane) -> None:
    """Each kind of event that a watch tells, while the watches are open."""
    client = bed.client
    client.create(
        pod("high", requests={"cpu": "900m"}, spec={"priorityClassName": "high", "nodeSelector": {"size": "small"}})
    )
    wait_until(lambda: "nominatedNodeName" in bed.client.get("Pod", "high")["status"])
    client.delete("Pod", "low")  # No kubelet is there to end it.
    wait_until(lambda: _is_bound(bed, "high"))
    stays = {"nodeSelector": {"kubernetes.io/hostname": "node-1"}}
    manifest = json.dumps(pod("applied", requests={"cpu": "40m"}, spec=stays))
    bed.kubectl("apply", "-f", "-", stdin=manifest)
    wait_until(lambda: _is_bound(bed, "applied"))
    bed.kubectl("annotate", "pod", "applied", "kubernetes.io/ingress-bandwidth=1M")
    bed.kubectl("label", "node", "node-1", "pool=blue")
    bed.kubectl("cordon", "node-2")
    bed.kubectl("taint", "node", "node-0", "example.com/soon=yes:PreferNoSchedule")
    client.patch("Node", "node-1", {"status": {"capacity": {EGRESS: "9500M"}}}, subresource="status")
    client.patch("Pod", "gated", {"spec": {"schedulingGates": None}})
    wait_until(lambda: _is_bound(bed, "gated"))
    bed.kubectl("patch", "pod", "plain", "--subresource=resize", "--type=merge", f"--patch={_resized('150m')}")
    client.delete("Pod", "finalized")
    client.patch("Pod", "ends", {"status": {"phase": "Succeeded"}}, subresource="status")
    client.delete("Pod", "annotated")
    client.delete("Node", "node-bare")


def _resized(cpu: str) -> str:
    return json.dumps(
        {
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "resources": {"requests": {"cpu": cpu, "memory": "128Mi"}, "limits": {"cpu": "200m"}},
                    }
                ]
            }
        }
    )


def _is_bound(bed: ControlPlane, name: str) -> bool:
    return bool(bed.client.get("Pod", name)["spec"].get("nodeName"))


def _condition(bed: ControlPlane, name: str) -> str:
    conditions = bed.client.get("Pod", name)["status"].get("conditions", [])
    return next((each.get("reason", "") for each in conditions if each["type"] == "PodScheduled"), "")


class Taken:
    """What was heard so far, by file."""

    def __init__(self, bed: ControlPlane) -> None:
        self._bed = bed
        self._files: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()
        user = json.loads(bed.kubeconfig.read_text())["users"][0]["user"]
        self._token = user["token"]
        self._http = httpx.Client(
            base_url=bed.url,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            verify=ssl.create_default_context(cafile=str(bed.layout.ca_file)),
            timeout=60.0,
        )

    def keep(self, file: str, body: bytes) -> None:
        """Append to a file, from any thread."""
        with self._lock:
            self._files.setdefault(file, []).append(body)

    def list_in_pages(self, plural: str) -> str:
        """Every page as a line. Returns the version of the list."""
        params = {"limit": str(PAGE)} | ({"fieldSelector": LIVE} if plural == "pods" else {})
        while True:
            body = self._http.get(f"/api/v1/{plural}", params=params).raise_for_status().content
            self.keep(f"list-{plural}.jsonl", _line(body))
            metadata = json.loads(body)["metadata"]
            if not metadata.get("continue"):
                return str(metadata["resourceVersion"])
            params["continue"] = metadata["continue"]

    def watch(self, plural: str, version: str) -> threading.Thread:
        """A thread that keeps every byte until the server ends the watch."""
        params = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        params |= {"timeoutSeconds": str(WATCHED_S)} | ({"fieldSelector": LIVE} if plural == "pods" else {})
        opened = threading.Event()

        def listen() -> None:
            with self._http.stream("GET", f"/api/v1/{plural}", params=params) as answer:
                opened.set()
                self.keep(f"watch-{plural}.jsonl", b"".join(answer.iter_raw()))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        wait_until(opened.is_set)
        return thread

    @contextmanager
    def extenders(self) -> Iterator[list[str]]:
        """Two extenders that let everything be and keep every call, one a line: {"verb", "body"}. Yields their URLs."""
        with ExitStack() as stack:
            urls = []
            for what in ("names", "nodes"):
                server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, self._bed, f"calls-with-{what}.jsonl"))
                stack.callback(server.server_close)
                threading.Thread(target=server.serve_forever, daemon=True).start()
                stack.callback(server.shutdown)
                urls.append(f"http://127.0.0.1:{server.server_address[1]}")
            yield urls

    def keep_errors(self) -> None:
        """A line for each: {"asked", "status", "retry_after", "body"}."""
        first = self._http.get("/api/v1/pods", params={"limit": "1"}).json()["metadata"]
        self._compact(int(first["resourceVersion"]))
        self._bed.kill("kube-apiserver")
        self._bed.restart("kube-apiserver")
        old = {"limit": "1", "continue": first["continue"]}
        self._keep_error("page of a list from before the compaction", "GET", "/api/v1/pods", params=old)
        long_ago = {"watch": "true", "resourceVersion": "1", "timeoutSeconds": "3"}
        self._keep_error("watch from before the compaction", "GET", "/api/v1/pods", params=long_ago)
        self._keep_error("token of nobody", "GET", "/api/v1/pods", headers={"Authorization": "Bearer none"})
        scheduler = {"Authorization": f"Bearer {self._token_of('system:kube-scheduler')}"}
        self._keep_error("no right", "GET", "/api/v1/secrets", headers=scheduler)
        self._keep_error("no such pod", "GET", "/api/v1/namespaces/default/pods/none")
        again = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
        self._keep_error("made twice", "POST", "/api/v1/namespaces", json=again)
        nameless: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "P"},
            "spec": {"containers": []},
        }
        self._keep_error("no valid pod", "POST", "/api/v1/namespaces/default/pods", json=nameless)
        self._guard_by_budget("resource")
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "resource"}}
        self._keep_error("evicted too soon", "POST", "/api/v1/namespaces/default/pods/resource/eviction", json=eviction)
        self._bed.kill("etcd")
        wait_until(lambda: self._http.get("/readyz").status_code != 200)
        self._keep_error("not ready", "GET", "/readyz")

    def write(self, folder: Path) -> None:
        """Replace the folder. Raises ValueError where something may not be published."""
        secrets = (self._token, socket.gethostname(), str(Path.home()), str(self._bed.layout.directory))
        for file, parts in self._files.items():
            for secret in secrets:
                if secret.encode() in b"".join(parts):
                    raise ValueError(f"{file}: it holds {secret!r}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file, parts in self._files.items():
            (folder / file).write_bytes(b"".join(parts))

    def _keep_error(self, asked: str, method: str, path: str, **kwargs: Any) -> None:
        answer = self._http.request(method, path, **kwargs)
        error = {"asked": asked, "status": answer.status_code, "retry_after": answer.headers.get("Retry-After")}
        self.keep("errors.jsonl", _line(json.dumps({**error, "body": answer.text}).encode()))

    def _token_of(self, user: str) -> str:
        return str(json.loads(self._bed.layout.kubeconfig(user).read_text())["users"][0]["user"]["token"])

    def _compact(self, version: int) -> None:
        body = {"revision": str(version), "physical": True}
        for key in ("later-1", "later-2"):
            httpx.post(f"{self._bed.layout.etcd_url}/v3/kv/put", json={"key": key, "value": ""}).raise_for_status()
        body["revision"] = str(version + 1)
        httpx.post(f"{self._bed.layout.etcd_url}/v3/kv/compaction", json=body).raise_for_status()

    def _guard_by_budget(self, running: str) -> None:
        self._bed.client.patch("Pod", running, {"status": {"phase": "Running"}}, subresource="status")
        self._bed.client.create(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "all"},
                "spec": {"minAvailable": 1, "selector": {}},
            }
        )


def _handler(taken: Taken, bed: ControlPlane, file: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            verb = self.path.rsplit("/", 1)[-1]
            taken.keep(file, _line(json.dumps({"verb": verb, "body": body.decode()}).encode()))
            answer = json.dumps(_answer(bed, verb, json.loads(body))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing is printed for a call."""

    return Handler


def _answer(bed: ControlPlane, verb: str, asked: dict[str, Any]) -> Any:
    match verb:
        case "filter":
            return {"Nodes": asked["Nodes"], "NodeNames": asked["NodeNames"]}
        case "prioritize":
            names = asked["NodeNames"] or [each["metadata"]["name"] for each in asked["Nodes"]["items"]]
            return [{"Host": name, "Score": 0} for name in names]
        case "preempt":
            if victims := asked.get("NodeNameToMetaVictims"):
                return {"NodeNameToMetaVictims": victims}
            by_name = asked["NodeNameToVictims"].items()
            metas = {
                name: {"Pods": [{"UID": each["metadata"]["uid"]} for each in victims["Pods"]]}
                for name, victims in by_name
            }
            return {"NodeNameToMetaVictims": metas}
    target = {"apiVersion": "v1", "kind": "Node", "name": asked["Node"]}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": asked["PodName"]}, "target": target}
    try:
        bed.client.request(
            "POST", f"/api/v1/namespaces/{asked['PodNamespace']}/pods/{asked['PodName']}/binding", binding
        )
    except ApiError as error:
        return {"Error": str(error)}
    return {}


def _line(body: bytes) -> bytes:
    return body.rstrip(b"\n") + b"\n"


if __name__ == "__main__":
    sys.exit(main())
