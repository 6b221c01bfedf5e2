"""Nodes and pods as large as real ones, as the dictionaries of their JSON: managedFields, images, volumes and all.

Sizes count here, so these are not the small objects of the scenarios. Pure.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

NICS_BPS = ("1G", "10G", "25G")
POD_TYPE = "web"
ZONES = 3


def node_name(number: int) -> str:
    """As cloud providers name them: long enough to cost something on the wire."""
    return f"ip-10-{number // 250 // 250}-{number // 250 % 250}-{number % 250}.internal"


def node(number: int) -> Json:
    """About 6 kB: 20 images, four conditions, managedFields; one of three NICs."""
    name = node_name(number)
    amounts = {
        "cpu": "32",
        "memory": "128Gi",
        "pods": "110",
        "ephemeral-storage": "203056560Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "kubesteer.io/egress-bps": NICS_BPS[number % len(NICS_BPS)],
        "kubesteer.io/ingress-bps": NICS_BPS[number % len(NICS_BPS)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": "m7.8xlarge",
                "topology.kubernetes.io/region": "region-1",
                "topology.kubernetes.io/zone": f"region-1{'abc'[number % ZONES]}",
            },
            "annotations": {
                "node.alpha.kubernetes.io/ttl": "0",
                "csi.volume.kubernetes.io/nodeid": f'{{"csi":"{name}"}}',
            },
            "managedFields": _managed_fields("kubelet", 14),
        },
        "spec": {"podCIDR": f"10.{number // 250}.{number % 250}.0/24", "providerID": f"cloud:///zone/{name}"},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [_condition("Ready", "True"), *(_condition(kind, "False") for kind in _PRESSURES)],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": name}],
            "images": [
                {"names": [f"registry.example/team-{i}/service-{i}@sha256:{i:064x}"], "sizeBytes": 50_000_000 + i}
                for i in range(20)
            ],
            "nodeInfo": {
                "machineID": f"{number:032x}",
                "systemUUID": f"{number:032x}",
                "kernelVersion": "6.8.0",
                "osImage": "Linux",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.37.2",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


def pod(name: str, *, uid: str | None = None, on_node: str | None = None, egress: str = "10M") -> Json:
    """About 4.3 kB: two containers, an init container, volumes, tolerations, managedFields; asks for bandwidth."""
    slo = {"kubesteer.io/egress-bps": egress, "kubesteer.io/ingress-bps": egress}
    metadata: Json = {
        "name": name,
        "namespace": "default",
        "labels": {"podtype": POD_TYPE, "app": "web", "pod-template-hash": "6d4b75cb6d", "team": "storefront"},
        "annotations": {"prometheus.io/scrape": "true", "kubectl.kubernetes.io/restartedAt": "2026-11-22T22:41:07Z"},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "web-6d4b75cb6d",
                "uid": "b6f5a7de-6c92-4f0e-9d44-6f4f0e1c2d3b",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
        "managedFields": _managed_fields("kube-controller-manager", 16),
    }
    if uid is not None:
        metadata["uid"] = uid
    spec: Json = {
        "containers": [
            _container("main", {"cpu": "250m", "memory": "256Mi", **slo}, slo),
            _container("proxy", {"cpu": "100m", "memory": "128Mi"}, {}),
        ],
        "initContainers": [_container("prepare", {"cpu": "10m", "memory": "16Mi"}, {})],
        "volumes": [{"name": f"volume-{i}", "emptyDir": {}} for i in range(3)],
        "tolerations": [
            {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for key in ("not-ready", "unreachable")
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
    }
    if on_node is not None:
        spec["nodeName"] = on_node
    status = {"phase": "Pending", "qosClass": "Burstable"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


def _condition(kind: str, status: str) -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": f"Kubelet{kind}",
        "message": f"kubelet tells {kind}",
        "lastHeartbeatTime": "2026-11-22T22:41:07Z",
        "lastTransitionTime": "2026-11-22T22:41:07Z",
    }


def _container(name: str, requests: Json, limits: Json) -> Json:
    return {
        "name": name,
        "image": f"registry.example/storefront/{name}:1.2.3",
        "command": [f"/bin/{name}", "--config", "/etc/config.yaml"],
        "env": [{"name": f"SETTING_{i}", "value": f"value of setting {i}"} for i in range(6)],
        "resources": {"requests": requests, "limits": limits},
        "volumeMounts": [{"name": f"volume-{i}", "mountPath": f"/var/lib/{i}"} for i in range(3)],
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def _managed_fields(manager: str, fields: int) -> list[Json]:
    owned: Json = {
        f'k:{{"type":"Field{i}"}}': {".": {}, "f:lastHeartbeatTime": {}, "f:status": {}} for i in range(fields)
    }
    return [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-22T22:41:07Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {"f:conditions": owned}},
        }
    ]
