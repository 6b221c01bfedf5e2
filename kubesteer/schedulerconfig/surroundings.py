"""Where the scheduler runs, and what follows: how it reaches the API server, and which names it can resolve.

A file does not say where its scheduler runs. It is told by --in-pod, or by what the file names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubesteer.schedulerconfig.findings import Finding, warning
from kubesteer.schedulerconfig.ours import split

DEFAULT_SCHEDULER = "default-scheduler"
_SERVICE = "kubesteer-extender"

Config = Mapping[str, Any]


def surroundings(config: Config, in_pod: bool | None = None) -> Iterator[Finding]:
    """What does not work where this scheduler runs; in_pod: in a pod with the cluster's DNS, where that is known."""
    kubeconfig = config.get("clientConnection", {}).get("kubeconfig")
    names = list(_cluster_names(config))
    if in_pod is None:
        in_pod = not kubeconfig and bool(names or _is_second(config))
    if in_pod:
        return
    if not kubeconfig:
        path = "clientConnection.kubeconfig"
        reason = "with --config the scheduler ignores --kubeconfig, and outside a pod it does not start without one"
        fix = "write its path, such as /etc/kubernetes/scheduler.conf (--in-pod says that it has a ServiceAccount)"
        yield warning("no-kubeconfig", path, kubeconfig, reason, fix)
    for path, host, secure in names:
        reason = f"a static pod, or another with hostNetwork, asks the node's DNS, which does not know {host}"
        fix = "write the Service's cluster IP"
        if secure:
            fix += f", and tlsConfig.serverName: {host} for its certificate"
        fix += "; --in-pod says that the scheduler has the cluster's DNS (dnsPolicy: ClusterFirstWithHostNet)"
        yield warning("cluster-dns", path, host, reason, fix)


def scheduler_names(config: Config) -> list[str]:
    """By which pods choose the profiles of this scheduler."""
    return [each.get("schedulerName", DEFAULT_SCHEDULER) for each in config.get("profiles", [])] or [DEFAULT_SCHEDULER]


def _is_second(config: Config) -> bool:
    return DEFAULT_SCHEDULER not in scheduler_names(config)


def _cluster_names(config: Config) -> Iterator[tuple[str, str, bool]]:
    """Path and host of each extender whose name only the cluster's DNS knows, and whether the calls are TLS."""
    for number, entry in enumerate(config.get("extenders", [])):
        parts = split(str(entry.get("urlPrefix", "")))
        host = (parts and parts.hostname) or ""
        labels = host.split(".")
        if labels[2:3] == ["svc"] or (labels[0] == _SERVICE and len(labels) <= 2):
            yield f"extenders[{number}].urlPrefix", host, bool(parts and parts.scheme == "https")
