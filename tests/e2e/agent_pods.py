"""The agent as an image and as the objects that run it on every node, with no right that it does not use.

Only files and objects are made here; the scenario applies them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.cluster.nodes.images import SITE_PACKAGES, base_layer, site_packages_layer
from tools.cluster.nodes.oci import Image, write_archive, write_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/kubesteer/agent:test"
NAME = "kubesteer-agent"
NAMESPACE = "kube-system"
PORT = 8890
UID = 65532

VERBS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): ("list", "watch"),
    ("", "nodes"): ("list", "watch"),
    ("", "nodes/status"): ("patch",),
    ("", "nodes/stats"): ("get",),
    ("", "events"): ("create", "list"),
}
"""What the agent does, by API group and resource."""


def write_image(cache: Path, folder: Path) -> Path:
    """Write an archive with IMAGE: Debian's Python, the locked wheels, and the packages of this checkout."""
    code = folder / "code.tar"
    write_layer(code, {f"opt/kubesteer/{package}": ROOT / package for package in ("kubesteer", "monitor_agent")})
    archive = folder / "agent.oci.tar"
    image = Image(
        IMAGE,
        [base_layer(cache), site_packages_layer(cache, ROOT / "requirements.lock"), code],
        entrypoint=["python3", "-m", "monitor_agent"],
        environment={"PYTHONPATH": f"/{SITE_PACKAGES}:/opt/kubesteer", "PYTHONDONTWRITEBYTECODE": "1"},
        user=str(UID),
    )
    write_archive(archive, [image])
    return archive


def objects(settings: Mapping[str, Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """ServiceAccount, its rights, and the DaemonSet. Settings by group; they reach the agent as variables."""
    about = {"name": NAME, "namespace": NAMESPACE, "labels": {"app": NAME}}
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        for (group, resource), verbs in VERBS.items()
    ]
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": about,
            "spec": {
                "selector": {"matchLabels": {"app": NAME}},
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": _pod_spec(settings)},
            },
        },
    ]


def _pod_spec(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """hostNetwork: the speed of the node's interface is seen in the node's own network namespace only."""
    fields = {
        "NODE_NAME": "spec.nodeName",
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "KUBESTEER_AGENT_OPS__HOST": "status.podIP",
    }
    variables = {
        f"KUBESTEER_AGENT_{group}__{name}".upper(): value if isinstance(value, str) else json.dumps(value)
        for group, values in {"ops": {"port": PORT}, **settings}.items()
        for name, value in values.items()
    }
    return {
        "serviceAccountName": NAME,
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "agent",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "env": [
                    *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
                    *({"name": name, "value": value} for name, value in variables.items()),
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1},
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "initialDelaySeconds": 15},
                "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}},
            }
        ],
    }
