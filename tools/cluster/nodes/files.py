"""The files and command lines of one real node. Pure; nothing is written or started here."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .images import PAUSE
from .packages import CNI_PLUGINS

if TYPE_CHECKING:
    from collections.abc import Sequence

REAL = "bed.kubesteer.io/real-node"
"""The label by which KWOK, which manages every other node, leaves a real one alone."""
KUBELET_PORT, HEALTH_PORT, PROXY_HEALTH_PORT = 10250, 10248, 10256
POD_BRIDGE = "pods"
FILE_SYSTEM_MIB = 512
"""Size of the node's file system for volumes, small so that a pod can fill it."""
KUBERNETES = "/etc/kubernetes"
"""Where kubeadm keeps a node's files; the kubelet runs the static pods of its manifests/."""
STATE_FOLDERS = {
    "containerd": "/var/lib/containerd",
    "cni": "/var/lib/cni",
    "pods": "/var/log/pods",
    "containers": "/var/log/containers",
    "kubernetes": KUBERNETES,
}
ANSWERED_SYSCTLS = {"vm/overcommit_memory": 1, "kernel/panic": 10, "kernel/panic_on_oops": 1}
"""What a kubelet wants to find, and would else change for the whole machine."""


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """Where one node keeps its files, seen from inside and outside alike."""

    name: str
    directory: Path
    cgroup: str

    @property
    def containerd_config(self) -> Path:
        return self.directory / "containerd.toml"

    @property
    def kubelet_config(self) -> Path:
        return self.directory / "kubelet.json"

    @property
    def kube_proxy_config(self) -> Path:
        return self.directory / "kube-proxy.json"

    @property
    def cni_folder(self) -> Path:
        return self.directory / "net.d"


def holder(layout: NodeLayout, pause: Path) -> list[str | Path]:
    """The program whose namespaces are the node; with it everything in them ends."""
    command = ("unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc")
    return [*_resolved(command), "sh", "-euc", _machine_script(layout, pause)]


def room_holder() -> list[str | Path]:
    """The program whose network namespace is the machine room."""
    return [*_resolved(("unshare", "--net", "--fork", "--kill-child")), "sleep", "infinity"]


def inside(holder_pid: int, command: Sequence[str | Path]) -> list[str | Path]:
    """Run a command on the node, as a child of nsenter that ends when nsenter does, also by SIGKILL."""
    spaces = Path("/proc") / str(holder_pid) / "ns"
    enter = (
        "nsenter",
        f"--net={spaces / 'net'}",
        f"--mount={spaces / 'mnt'}",
        f"--uts={spaces / 'uts'}",
        f"--pid={spaces / 'pid_for_children'}",
    )
    return [*_resolved(enter), "setpriv", "--pdeathsig", "KILL", *command]


def containerd(program: Path, layout: NodeLayout) -> list[str | Path]:
    return [program, f"--config={layout.containerd_config}"]


def kubelet(program: Path, layout: NodeLayout, *, kubeconfig: Path, address: str) -> list[str | Path]:
    return [
        program,
        f"--config={layout.kubelet_config}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={layout.name}",
        f"--node-ip={address}",
        f"--node-labels={REAL}=true",
        f"--cert-dir={layout.directory / 'pki'}",
    ]


def kube_proxy(program: Path, layout: NodeLayout) -> list[str | Path]:
    return [program, f"--config={layout.kube_proxy_config}"]


def kube_proxy_configuration(layout: NodeLayout, *, kubeconfig: Path) -> dict[str, Any]:
    """KubeProxyConfiguration. What a node says to a Service gets its address; what its pods say keeps theirs."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": layout.name,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "detectLocalMode": "BridgeInterface",
        "detectLocal": {"bridgeInterface": POD_BRIDGE},
        "healthzBindAddress": f"0.0.0.0:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": ["primary"],
        "iptables": {"localhostNodePorts": False, "syncPeriod": "30s", "minSyncPeriod": "100ms"},
        # Zero leaves the machine's own limits alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def containerd_toml(shim: Path, plugins: Path, layout: NodeLayout) -> str:
    """Containerd's configuration. `restrict_oom_score_adj`: runc fails in the dark where it may not lower the score."""
    cri = "plugins.'io.containerd.cri.v1"
    return f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "/run/containerd/containerd.sock"
[{cri}.images'.pinned_images]
sandbox = "{PAUSE}"
[{cri}.runtime']
restrict_oom_score_adj = true
[{cri}.runtime'.cni]
bin_dirs = ["{plugins}", "{CNI_PLUGINS}"]
conf_dir = "{layout.cni_folder}"
[{cri}.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = "{shim}"
[{cri}.runtime'.containerd.runtimes.runc.options]
BinaryName = "/usr/sbin/runc"
SystemdCgroup = false
"""


def cni_configuration(pods: str) -> str:
    """A bridge for the node's pods, and the bandwidth annotations. Pods keep their address on the way out."""
    address_range = {"ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {
        "type": "bridge",
        "bridge": POD_BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", **address_range},
    }
    bandwidth = {"type": "bounded-bandwidth", "capabilities": {"bandwidth": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "bed", "plugins": [bridge, bandwidth]}, indent=2)


def kubelet_configuration(layout: NodeLayout, *, client_ca: Path, dns: str | None) -> dict[str, Any]:
    """KubeletConfiguration. It reports often and sees pressure soon, so that tests need not wait.

    `dns` is the address that pods ask for names, where there is one.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "enforceNodeAllocatable": ["pods"],
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "port": KUBELET_PORT,
        "healthzPort": HEALTH_PORT,
        "healthzBindAddress": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "resolvConf": "",
        "registerNode": True,
        "staticPodPath": f"{KUBERNETES}/manifests",
        "syncFrequency": "10s",
        "volumeStatsAggPeriod": "5s",
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "10s",
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "20%", "imagefs.available": "1%"},
        "evictionPressureTransitionPeriod": "10s",
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
        **({"clusterDNS": [dns], "clusterDomain": "cluster.local"} if dns else {}),
    }


def _machine_script(layout: NodeLayout, pause: Path) -> str:
    """What the node's first process does: mounts of the node's own, then nothing.

    /sys shows only the node's interfaces, and with it the cgroups that are mounted below it have to come along.
    """
    at = shlex.quote(str(layout.directory))
    lines = [
        f"hostname {layout.name}",
        f"cd {at}",
        f"mkdir -p cgroup sysctl {' '.join(STATE_FOLDERS)} kubernetes/manifests",
        f"mkdir -p /var/lib/kubelet {' '.join(STATE_FOLDERS.values())}",
        "mount --rbind /sys/fs/cgroup cgroup",
        "mount -t sysfs sysfs /sys",
        "mount --rbind cgroup /sys/fs/cgroup",
        "umount --lazy cgroup",
        "mount -t tmpfs tmpfs /run",
        f"mount -t tmpfs -o size={FILE_SYSTEM_MIB}m tmpfs /var/lib/kubelet",
        *(f"mount --bind {folder} {target}" for folder, target in STATE_FOLDERS.items()),
    ]
    for name, value in ANSWERED_SYSCTLS.items():
        file = f"sysctl/{Path(name).name}"
        lines += [f"echo {value} > {file}", f"mount --bind {file} /proc/sys/{name}"]
    return "\n".join([*lines, "mount --make-rshared /", "touch /run/mounted", f"exec {shlex.quote(str(pause))}"])


def _resolved(command: Sequence[str]) -> list[str]:
    """With the program's whole path, so that a later run can tell the process by it."""
    return [shutil.which(command[0]) or command[0], *command[1:]]
