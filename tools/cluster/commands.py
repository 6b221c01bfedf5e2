"""The files and command lines of one control plane. Pure but for writing the files; nothing is started here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .nodes.files import REAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"
USERS = {
    "admin": "system:masters",
    "system:kube-scheduler": "",
    "system:kube-controller-manager": "",
}
"""User name to group. The roles of the last two are made by the API server itself."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one control plane keeps its files, and the ports of its two servers."""

    directory: Path
    etcd_port: int
    etcd_peer_port: int
    api_port: int
    address: str = LOOPBACK
    """Where the API server listens."""
    own_authority: bool = False
    """Whether ca.crt signs the API server's certificate; else it makes one for itself, which signs itself."""

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.api_port}"

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self.etcd_port}"

    @property
    def ca_file(self) -> Path:
        """What clients trust the API server by."""
        return self.directory / "certificates" / ("ca.crt" if self.own_authority else "apiserver.crt")

    def kubeconfig(self, user: str = "admin") -> Path:
        return self.directory / f"{user.replace(':', '-')}.kubeconfig"

    def log(self, part: str) -> Path:
        return self.directory / "logs" / f"{part}.log"


def write_files(layout: Layout, users: Mapping[str, str], tokens: Mapping[str, str]) -> None:
    """Make the folders, the token file and one kubeconfig a user. `users` has each one's group, `tokens` the token."""
    for folder in ("certificates", "logs"):
        (layout.directory / folder).mkdir()
    rows = [f'{tokens[user]},{user},{user},"{group}"' for user, group in users.items()]
    (layout.directory / "tokens.csv").write_text("\n".join(rows) + "\n")
    for user in users:
        layout.kubeconfig(user).write_text(json.dumps(kubeconfig(layout, tokens[user]), indent=2))


def kubeconfig(layout: Layout, token: str) -> dict[str, Any]:
    cluster = {"server": layout.url, "certificate-authority": str(layout.ca_file)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": cluster}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "user"}}],
        "current-context": "bed",
    }


def etcd(program: Path, layout: Layout) -> list[str | Path]:
    peer = f"http://127.0.0.1:{layout.etcd_peer_port}"
    return [
        program,
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={layout.etcd_url}",
        f"--advertise-client-urls={layout.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def api_server(
    program: Path, layout: Layout, *, controller_manager: bool, load_test: bool, flags: Sequence[str]
) -> list[str | Path]:
    """Two admission plugins wait for work of the controller manager, so without it they are off."""
    command: list[str | Path] = [
        program,
        f"--etcd-servers={layout.etcd_url}",
        f"--bind-address={layout.address}",
        f"--advertise-address={layout.address}",
        "--endpoint-reconciler-type=none",
        f"--secure-port={layout.api_port}",
        f"--cert-dir={layout.directory / 'certificates'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--service-account-key-file={layout.directory / 'sa.pub'}",
        f"--service-account-signing-key-file={layout.directory / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={layout.directory / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
    ]
    if not controller_manager:
        command.append("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
    if load_test:
        command += [
            "--enable-priority-and-fairness=false",
            "--max-requests-inflight=3000",
            "--max-mutating-requests-inflight=1000",
        ]
    return [*command, *flags]


def controller_manager(program: Path, layout: Layout, port: int) -> list[str | Path]:
    return [
        program,
        f"--kubeconfig={layout.kubeconfig('system:kube-controller-manager')}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--service-account-private-key-file={layout.directory / 'sa.key'}",
        f"--root-ca-file={layout.ca_file}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def scheduler(program: Path, config: Path, port: int) -> list[str | Path]:
    return [
        program,
        f"--config={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics",
    ]


def scheduler_configuration(config: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Complete a KubeSchedulerConfiguration with version, connection and no leader election, where it has none."""
    connection = {"kubeconfig": str(layout.kubeconfig("system:kube-scheduler")), "qps": 5000, "burst": 5000}
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        **config,
        "clientConnection": {**connection, **config.get("clientConnection", {})},
    }


def kwok(program: Path, layout: Layout, port: int, stages: Sequence[Path]) -> list[str | Path]:
    return [
        program,
        f"--kubeconfig={layout.kubeconfig()}",
        f"--manage-nodes-with-label-selector=!{REAL}",
        "--node-lease-duration-seconds=40",
        f"--server-address=127.0.0.1:{port}",
        *(f"--config={stage}" for stage in stages),
    ]
