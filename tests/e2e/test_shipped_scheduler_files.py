"""Each file of scheduler-config/ byte for byte, given to the real kube-scheduler by its flag --config alone.

What the files name by absolute path stands there: /etc and /run of a mount namespace of the scheduler's own.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.certificates import Authority
from tests.e2e.test_scheduler_configs import allow_lease
from tests.scheduler_config.documents import EGRESS, INGRESS, SLO
from tools.cluster import objects
from tools.cluster.bundles import CONTROL_PLANE, OLDER, SCHEDULERS
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import ROOT
from tools.cluster.process import Guard, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.cluster.build import Binaries

FOLDER = ROOT / "scheduler-config"
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml"))
OLDEST = "1.34"
SCHEDULED = (CONTROL_PLANE, OLDER, *SCHEDULERS)
IN_A_POD = "second-scheduler.yaml"
"""The file of a scheduler with a ServiceAccount; the others are those of the cluster's own."""
ENTER = """
mount --bind "$1/etc" /etc
mount --bind "$1/run" /run
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def bed_of(older_binaries: Binaries) -> Iterator[Callable[[str], ControlPlane]]:
    """The control plane for a minor, of the oldest or of the newest, with a node that every pod fits on."""
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    with ExitStack() as running:

        @cache
        def started(*, older: bool) -> ControlPlane:
            bed = running.enter_context(ControlPlane(older_binaries, older=older))
            bed.client.create(objects.node("a", resources=dict.fromkeys((EGRESS, INGRESS, SLO), "10G")))
            allow_lease(bed, "kubesteer")
            return bed

        yield lambda minor: started(older=minor == OLDEST)


def root_of(folder: Path, bed: ControlPlane, *, in_a_pod: bool) -> Path:
    """The scheduler's /etc and /run: kubeadm's kubeconfig, or a pod's ServiceAccount; and the certificates."""
    authority = Authority(folder, "authority")
    cert_file, key_file = authority.issue("kube-scheduler")
    certificates, kubeadm = folder / "etc/kubesteer", folder / "etc/kubernetes"
    account = folder / "run/secrets/kubernetes.io/serviceaccount"
    for each in (certificates, kubeadm, account):
        each.mkdir(parents=True)
    for name, file in (("ca.crt", authority.ca_file), ("tls.crt", cert_file), ("tls.key", key_file)):
        shutil.copy(file, certificates / name)
    kubeconfig = bed.layout.kubeconfig("system:kube-scheduler")
    if in_a_pod:
        (account / "token").write_text(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"])
        shutil.copy(bed.layout.ca_file, account / "ca.crt")
    else:
        shutil.copy(kubeconfig, kubeadm / "scheduler.conf")
    return folder


@pytest.mark.parametrize("file", FILES)
def test_a_shipped_file_starts_the_scheduler_as_it_is_and_the_scheduler_binds_a_pod(
    bed_of: Callable[[str], ControlPlane], older_binaries: Binaries, tmp_path: Path, file: str
) -> None:
    minor, way = file.split("/")
    bed = bed_of(minor)
    [bundle] = [each for each in SCHEDULED if each.kubernetes_version.startswith(f"{minor}.")]
    in_a_pod, name = way == IN_A_POD, f"{way.removesuffix('.yaml')}-{minor}"
    root = root_of(tmp_path, bed, in_a_pod=in_a_pod)
    pod_of = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(bed.layout.api_port)}
    environment = [f"{variable}={value}" for variable, value in pod_of.items()] if in_a_pod else []
    program = older_binaries.path("kube-scheduler", bundle=bundle.name)
    # No port of its own, which another scheduler on this machine may have.
    start = [program, "--config", FOLDER / file, "--secure-port=0"]
    command = ["unshare", "--mount", "sh", "-euc", ENTER, "enter", root, "env", "-i", *environment, *start]
    profiles = yaml.safe_load((FOLDER / file).read_text()).get("profiles", [{}])
    spec = {"schedulerName": profiles[0].get("schedulerName", "default-scheduler")}
    bed.client.create(objects.pod(name, limits={EGRESS: "300M"}, spec=spec))
    with Guard() as guard:
        scheduler = Process("kube-scheduler", command, directory=tmp_path, log=tmp_path / "log", guard=guard)
        # kubesteer does not answer here, and each file is ignorable: the pod is bound all the same.
        scheduler.wait_until(lambda: bed.client.get("Pod", name)["spec"].get("nodeName") == "a", within_s=60)
        scheduler.stop()  # asked to end, it gives up its lease, which the next one takes
