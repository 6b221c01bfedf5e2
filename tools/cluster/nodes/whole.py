"""What makes real nodes a whole cluster, as objects: name service, volumes, rights of kube-proxy. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .pod_images import COREDNS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DNS = "10.96.0.10"
PROXY_USER = "system:kube-proxy"
SYSTEM = "kube-system"
STORAGE_CLASS = "local"
VOLUMES = 8
"""Of each node."""
VOLUME_SIZE = "10Gi"
COREFILE = """\
.:53 {
    errors
    health {
        lameduck 1s
    }
    ready
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 5
    }
    loop
}
"""
RBAC = "rbac.authorization.k8s.io"


def proxy_rights() -> list[dict[str, Any]]:
    return [_binding("bed-node-proxier", "system:node-proxier", {"kind": "User", "apiGroup": RBAC, "name": PROXY_USER})]


def name_service() -> list[dict[str, Any]]:
    """CoreDNS, two replicas, answering for the cluster's own names alone."""
    about = {"name": "coredns", "namespace": SYSTEM, "labels": {"k8s-app": "kube-dns"}}
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": SYSTEM}
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about},
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": rules},
        _binding("system:coredns", "system:coredns", account),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"Corefile": COREFILE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": about,
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": about["labels"]},
                "template": {"metadata": {"labels": about["labels"]}, "spec": _name_server()},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**about, "name": "kube-dns"},
            "spec": {"clusterIP": DNS, "selector": about["labels"], "ports": ports},
        },
    ]


def storage_class() -> dict[str, Any]:
    """The default one. Nobody makes its volumes: they are there."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volumes(node: str, folders: Iterable[Path]) -> list[dict[str, Any]]:
    """A volume of VOLUME_SIZE for each folder; each must be there on the node. Nothing enforces the size."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{node}-{folder.name}"},
            "spec": {
                "capacity": {"storage": VOLUME_SIZE},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": str(folder)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }
        for folder in folders
    ]


def _name_server() -> dict[str, Any]:
    return {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "containers": [
            {
                "name": "coredns",
                "image": COREDNS,
                "args": ["-conf", "/etc/coredns/Corefile"],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}},
                "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}, "limits": {"memory": "170Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }


def _binding(name: str, role: str, subject: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
