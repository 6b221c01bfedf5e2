"""What the test bed is made of, and the hash that says when it must be made again.

Only names, versions and hashes live here; nothing is built or started.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    package: str
    cold_minutes: float
    """About how long the first build takes on 2 cores, after the programs before it in the bundle."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Programs of one Go module that are built and cached together."""

    name: str
    module: Path
    programs: tuple[Program, ...]
    own_sources: tuple[Path, ...] = ()
    stamp_kubernetes_version: bool = False
    static: bool = False
    """Built without cgo, so that the programs run in any root file system."""
    tags: str = ""
    files_of: str = ""
    """The module whose source has `files`, by their paths there, that are kept beside the programs."""
    files: tuple[str, ...] = ()

    @property
    def kubernetes_version(self) -> str:
        """Such as `1.37.2`, as the go.mod requires it."""
        return self.version_of("k8s.io/kubernetes")

    def version_of(self, required: str) -> str:
        """The version of another module that the go.mod requires, without its v."""
        text = self.module.joinpath("go.mod").read_text()
        found = re.search(rf"^(?:require )?\s*{re.escape(required)} v(\S+)", text, re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.module / 'go.mod'}: no line requires {required}; add it")
        return found.group(1)

    @property
    def linker_flags(self) -> str:
        """Kubernetes' own servers report v0.0.0, which clients refuse, unless the linker is told a version."""
        flags = "-s -w"
        if self.stamp_kubernetes_version:
            version = self.kubernetes_version
            major, minor, _ = version.split(".")
            for name, value in (("gitVersion", f"v{version}"), ("gitMajor", major), ("gitMinor", minor)):
                flags += f" -X k8s.io/component-base/version.{name}={value}"
        return flags

    @property
    def environment(self) -> dict[str, str]:
        """What the compiler's environment has beside its usual one."""
        return {"CGO_ENABLED": "0"} if self.static else {}

    @property
    def build_flags(self) -> tuple[str, ...]:
        tags = (f"-tags={self.tags}",) if self.tags else ()
        return (*tags, "-ldflags", self.linker_flags)

    def fingerprint(self, go_environment: str) -> str:
        """Hash of all that the binaries depend on."""
        digest = hashlib.sha256()
        own = (*self.environment.values(), self.tags) if self.static else ()
        for part in (
            go_environment,
            self.linker_flags,
            *(program.package for program in self.programs),
            *own,
            *self.files,
        ):
            digest.update(part.encode() + b"\0")
        for path in (self.module / "go.mod", self.module / "go.sum", *self.own_sources):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


def _own_programs(module: Path) -> tuple[Program, ...]:
    """The programs that are written here, a folder each."""
    return tuple(Program(main.parent.name, f"./{main.parent.name}", 0.1) for main in sorted(module.glob("*/main.go")))


def _own_sources(module: Path) -> tuple[Path, ...]:
    return tuple(sorted(module.glob("*/*.go")))


CONTROL_PLANE = Bundle(
    name="controlplane",
    module=HERE / "controlplane",
    programs=(
        Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 3.5),
        Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 1.5),
        Program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 0.8),
        Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", 0.4),
        Program("etcd", "go.etcd.io/etcd/server/v3", 0.1),
    ),
    stamp_kubernetes_version=True,
)
OWN = Bundle(
    name="own",
    module=HERE / "controlplane",
    programs=_own_programs(HERE / "controlplane"),
    own_sources=_own_sources(HERE / "controlplane"),
)
KWOK = Bundle(
    name="kwok",
    module=HERE / "kwok",
    programs=(Program("kwok", "sigs.k8s.io/kwok/cmd/kwok", 1.1),),
    files_of="sigs.k8s.io/kwok",
    files=tuple(
        f"kustomize/stage/{stage}.yaml"
        for stage in (
            "node/fast/node-initialize",
            "node/heartbeat-with-lease/node-heartbeat-with-lease",
            "pod/fast/pod-ready",
            "pod/fast/pod-complete",
            "pod/fast/pod-delete",
            "pod/chaos/pod-container-running-failed",
            "pod/chaos/pod-init-container-running-failed",
        )
    ),
)
OLDER = Bundle(
    name="older",
    module=HERE / "older",
    programs=(
        Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 3.5),
        Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 1.5),
    ),
    stamp_kubernetes_version=True,
)
SCHEDULERS = tuple(
    Bundle(
        name=f"scheduler-{minor}",
        module=HERE / f"scheduler-{minor}",
        programs=(Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 3.5),),
        stamp_kubernetes_version=True,
    )
    for minor in ("1.35", "1.36")
)
"""The minors between, of which only the scheduler's reading of its configuration is tested."""
KUBELET = Bundle(
    name="kubelet",
    module=HERE / "kubelet",
    programs=(
        Program("kubelet", "k8s.io/kubernetes/cmd/kubelet", 0.5),
        Program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", 0.2),
        Program("kubeadm", "k8s.io/kubernetes/cmd/kubeadm", 0.8),
    ),
    stamp_kubernetes_version=True,
)
CONTAINERD = Bundle(
    name="containerd",
    module=HERE / "containerd",
    programs=(
        Program("containerd", "github.com/containerd/containerd/v2/cmd/containerd", 2.5),
        Program("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", 0.2),
        Program("ctr", "github.com/containerd/containerd/v2/cmd/ctr", 0.2),
        *_own_programs(HERE / "containerd"),
    ),
    own_sources=_own_sources(HERE / "containerd"),
    static=True,
    tags="no_btrfs,no_devmapper,no_zfs",
)
IN_PODS = Bundle(
    name="inpods",
    module=HERE / "inpods",
    programs=(
        Program("coredns", "github.com/coredns/coredns", 2),
        Program("etcd", "go.etcd.io/etcd/server/v3", 0.2),
        Program("etcdctl", "go.etcd.io/etcd/etcdctl/v3", 0.1),
        Program("etcdutl", "go.etcd.io/etcd/etcdutl/v3", 0.1),
    ),
    static=True,
)
HELM = Bundle(
    name="helm",
    module=HERE / "helm",
    programs=(Program("helm", "helm.sh/helm/v4/cmd/helm", 1),),
)
CERT_MANAGER = Bundle(
    name="certmanager",
    module=HERE / "certmanager",
    programs=(Program("cert-manager", "./cert-manager", 2),),
    own_sources=_own_sources(HERE / "certmanager"),
    files_of="github.com/cert-manager/cert-manager",
    files=tuple(
        f"deploy/crds/cert-manager.io_{kind}.yaml"
        for kind in ("certificaterequests", "certificates", "clusterissuers", "issuers")
    ),
)
NETPOL = Bundle(
    name="netpol",
    module=HERE / "netpol",
    programs=(Program("netpol", "./netpol", 1.5),),
    own_sources=_own_sources(HERE / "netpol"),
    static=True,
)
EVERYTHING = (
    *(CONTROL_PLANE, OWN, KWOK, OLDER, *SCHEDULERS, KUBELET, CONTAINERD),
    *(IN_PODS, HELM, CERT_MANAGER, NETPOL),
)
NODES = (KUBELET, CONTAINERD, IN_PODS)
"""What real nodes need beside a control plane, and what runs in pods of a whole cluster."""
ALWAYS = (CONTROL_PLANE, OWN, KWOK)
"""What `build` makes when it is not told otherwise; an older minor and real nodes are built on demand."""
