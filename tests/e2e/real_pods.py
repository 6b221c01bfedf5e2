"""Pods that really run, for tests on real nodes: what they do, and what the kubelet says of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.cluster.nodes.images import PYTHON
from tools.cluster.objects import pod
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tools.cluster.client import Client
    from tools.cluster.controlplane import ControlPlane

PORT = 5201


def runs(
    name: str,
    script: str,
    *,
    node: str,
    container: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """A pod on that node whose container runs a shell script. `container` adds fields to it; `about` is for `pod`."""
    made = pod(name, **about)
    [main] = made["spec"]["containers"]
    main |= {"image": PYTHON, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script], **(container or {})}
    made["spec"] |= {"nodeName": node, "terminationGracePeriodSeconds": 1, **(spec or {})}
    return made


def seen(
    client: Client, name: str, check: Callable[[dict[str, Any]], Any], *, what: str, within_s: float = 60
) -> dict[str, Any]:
    """The pod, once `check` of it holds."""

    def checked() -> dict[str, Any] | None:
        found = client.get("Pod", name)
        return found if check(found) else None

    return eventually(checked, within_s=within_s, what=f"pod {name} {what}", every_s=0.2) or {}


def container_status(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the kubelet says of the pod's one container; without any field before it says anything."""
    statuses = found["status"].get("containerStatuses") or [{}]
    return dict(statuses[0])


def restarts(found: Mapping[str, Any]) -> int:
    return int(container_status(found).get("restartCount", 0))


def last_end(found: Mapping[str, Any]) -> dict[str, Any]:
    """How the run before the present one ended."""
    return dict(container_status(found).get("lastState", {}).get("terminated", {}))


def waiting_reason(found: Mapping[str, Any]) -> str:
    return str(container_status(found).get("state", {}).get("waiting", {}).get("reason", ""))


def is_running(found: Mapping[str, Any]) -> bool:
    return "running" in container_status(found).get("state", {})


def condition(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A pod's or a node's condition; without any field before there is one."""
    return next((dict(row) for row in found["status"].get("conditions", ()) if row["type"] == name), {})


def is_ready(found: Mapping[str, Any]) -> bool:
    return condition(found, "Ready").get("status") == "True"


def start(client: Client, *pods: dict[str, Any]) -> list[dict[str, Any]]:
    """Create the pods; return them as they are when all are ready."""
    client.create_all(pods)
    return [seen(client, made["metadata"]["name"], is_ready, what="ready") for made in pods]


def event_reasons(client: Client, name: str) -> set[str]:
    """Reasons of the events about a pod."""
    about = {"fieldSelector": f"involvedObject.name={name}"}
    return {str(event["reason"]) for event in client.list_all("Event", namespace="default", params=about)}


def server(name: str, *, node: str, **about: Any) -> dict[str, Any]:
    """A pod that takes iperf3 traffic on PORT once it is ready."""
    listens = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    return runs(name, f"exec iperf3 --server --port {PORT}", node=node, container={"readinessProbe": listens}, **about)


def push(bed: ControlPlane, client_pod: str, address: str, *, for_s: float, options: tuple[str, ...] = ()) -> float:
    """Send from a running pod to an iperf3 server for so long; return what arrived there, bit/s."""
    command = ("iperf3", "--json", "--client", address, "--port", str(PORT), "--time", f"{for_s:g}", *options)
    report = json.loads(bed.kubectl("exec", client_pod, "--", *command))
    return float(report["end"]["sum_received"]["bits_per_second"])


def restart_kubelet(bed: ControlPlane, node: str) -> None:
    """SIGKILL the kubelet and start it again; return when it has told the API server how the node is."""
    kubelet = bed.real.part("kubelet", node)
    bed.kill(kubelet)
    # The status that the old kubelet wrote would look like the new one's.
    bed.client.patch("Node", node, {"status": {"nodeInfo": {"bootID": "none"}}}, subresource="status")
    bed.restart(kubelet)
    eventually(
        lambda: bed.client.get("Node", node)["status"]["nodeInfo"]["bootID"] != "none",
        within_s=30,
        what=f"{node}: status of the new kubelet",
    )


def identity(found: dict[str, Any]) -> tuple[str, str, int]:
    """What changes when a pod is replaced or its container started again."""
    return found["metadata"]["uid"], container_status(found)["containerID"], restarts(found)
