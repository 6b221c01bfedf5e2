"""`kubesteer deploy` with other overlays than its default on a whole real cluster, as their users go about it.

With cert-manager's own controllers; with an etcd outside the cluster; in-place by the very commands of its README, on a
node whose scheduler is kubeadm's static pod.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
import yaml

from kubesteer.certificates.issuing import common_name_of, dns_names_of, usages_of
from kubesteer.certificates.pems import read_certificate, signed_by
from kubesteer.certificates.values import wanted
from tests.etcd_access.by_hand import printed
from tests.manifests.written import MANIFESTS
from tools.cluster.bundles import CERT_MANAGER, CONTROL_PLANE
from tools.cluster.nodes.certificates import Authority
from tools.cluster.nodes.files import KUBERNETES
from tools.cluster.ports import free_ports
from tools.cluster.waiting import eventually

from .deploy_command import Command, add_settings, judged, pods_of, shell_of, well
from .fixtures import binaries, kubesteer_image, node_binaries, whole_bed
from .real_pods import identity, is_ready

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.cluster.build import Binaries
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "kubesteer_image", "node_binaries", "whole_bed"]

pytestmark = pytest.mark.overlays

NODE = "real-0"
"""Of the control plane: its kubelet runs kubeadm's scheduler."""
CONFIG = "--config=/etc/kubernetes/kubesteer/scheduler-config.yaml"
FILES = "ca.crt", "tls.crt", "tls.key"
PAIR = ("cert", "crt"), ("key", "key")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for settings of the user's own: agents trust their node's virtual interface."""
    folder = tmp_path_factory.mktemp("repository") / "manifests"
    shutil.copytree(MANIFESTS, folder)
    add_settings(folder / "base/agent/settings.yaml", "network", trust_virtual=True)
    return folder


@pytest.fixture(scope="module")
def command(whole_bed: ControlPlane, node_binaries: Binaries, manifests: Path) -> Command:
    return Command(whole_bed, node_binaries.path("kubectl"), manifests)


@pytest.fixture
def cert_manager(command: Command, node_binaries: Binaries) -> None:
    """Its kinds, and its controllers beside the cluster."""
    if not node_binaries.has(CERT_MANAGER):
        pytest.fail("certmanager: not built; run `python -m tools.cluster build certmanager`", pytrace=False)
    bed = command.bed
    for file in node_binaries.files(CERT_MANAGER):
        bed.kubectl("apply", "--server-side", "-f", str(file))
    program = node_binaries.path("cert-manager", bundle=CERT_MANAGER.name)
    bed.launch("cert-manager", [program, f"--kubeconfig={bed.kubeconfig}"], "", lambda: True)


@pytest.mark.usefixtures("cert_manager")
def test_certificates_by_cert_manager(command: Command) -> None:
    told = command.deploy("--overlay", "cert-manager", "--yes", "--timeout", "180")
    assert (told.code, told.document["proof"]["holds"]) == (0, True), told.text
    for leaf in wanted("kubesteer").leaves:
        signer, held = (secret(command.bed, name) for name in (leaf.authority, leaf.secret))
        certificate = read_certificate(held["tls.crt"])
        assert signed_by(certificate, read_certificate(signer["tls.crt"])), leaf.secret
        said = common_name_of(certificate.subject), frozenset(usages_of(certificate)), dns_names_of(certificate)
        assert said == (leaf.common_name, leaf.usages, leaf.dns_names)
    told = command.run("undeploy", "--yes")
    assert (told.code, told.document["comparison"]["left"]) == (0, []), told.text


def secret(bed: ControlPlane, name: str) -> dict[str, bytes]:
    data = bed.client.get("Secret", name, namespace="kubesteer")["data"]
    return {file: base64.b64decode(content) for file, content in data.items()}


def test_more_members_of_etcd_and_one_that_lost_its_volume_by_the_documented_steps(
    command: Command, tmp_path: Path
) -> None:
    """While a member joins anew, the other two run on as they are."""
    bed, shell = command.bed, shell_of(command, tmp_path)
    told = command.deploy("--yes", "--timeout", "200")
    assert told.code == 0, told.text
    three = "--overlay", "three-etcd-members", "--yes", "--timeout", "200"
    told = command.deploy(*three)
    assert (told.code, judged(told, "etcd")["level"]) == (2, "refuse"), told.text
    shell(*printed("Another number of members of etcd"))
    told = command.deploy(*three)
    assert (told.code, told.document["proof"]["holds"]) == (0, True), told.text
    eventually(lambda: well(command), within_s=60, what="well", every_s=2)
    lost = "kubesteer-etcd-2"
    kept = {each["metadata"]["name"]: identity(each) for each in pods_of(bed, "etcd")}
    assert len(kept) == 3
    bed.kubectl("delete", f"persistentvolumeclaim/data-{lost}", "--namespace=kubesteer", "--wait=false")
    bed.kubectl("delete", f"pod/{lost}", "--namespace=kubesteer")
    begin, *_ = printed("Backup and restore of rewards")
    end = "kubectl -n kubesteer delete pod kubesteer-etcd-by-hand\n"
    shell(begin, *printed("A member of etcd is lost with its volume"), end)
    now = {each["metadata"]["name"]: identity(each) for each in pods_of(bed, "etcd")}
    assert {name for name in kept if kept[name] == now[name]} == kept.keys() - {lost}
    eventually(lambda: well(command), within_s=60, what="well again", every_s=2)
    told = command.run("undeploy", "--yes")
    assert (told.code, told.document["comparison"]["left"]) == (0, []), told.text


@pytest.fixture
def own_etcd(command: Command, node_binaries: Binaries, tmp_path: Path) -> str:
    """An etcd outside the cluster, over mTLS, with its clients' Secrets in the cluster; gives its address."""
    bed = command.bed
    client, peer = free_ports(2)
    host = bed.real.addresses.machine
    authority = Authority.new("etcd of the user's own")
    authority.write(tmp_path / "ca.crt", tmp_path / "ca.key")
    authority.issue_server(tmp_path / "tls.crt", tmp_path / "tls.key", name="etcd", addresses=[host])
    bed.kubectl("apply", "--server-side", "-f", str(command.manifests / "base/common/namespace.yaml"))
    for user in ("extender", "agent"):
        folder = tmp_path / user
        folder.mkdir()
        shutil.copy(tmp_path / "ca.crt", folder)
        authority.issue_client(folder / "tls.crt", folder / "tls.key", name=f"kubesteer-{user}", group="")
        files = [f"--from-file={folder / file}" for file in FILES]
        bed.kubectl("create", "secret", "generic", f"kubesteer-{user}-etcd", "--namespace=kubesteer", *files)
    started = [
        node_binaries.path("etcd"),
        f"--data-dir={tmp_path / 'data'}",
        f"--listen-client-urls=https://{host}:{client}",
        f"--advertise-client-urls=https://{host}:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--client-cert-auth",
        f"--trusted-ca-file={tmp_path / 'ca.crt'}",
        f"--cert-file={tmp_path / 'tls.crt'}",
        f"--key-file={tmp_path / 'tls.key'}",
    ]
    bed.launch("own-etcd", started, "", lambda: True)
    return f"{host}:{client}"


def test_rewards_in_an_etcd_of_the_users_own(
    command: Command, node_binaries: Binaries, own_etcd: str, tmp_path: Path
) -> None:
    """Its clients' Secrets are somebody else's to `kubesteer keep --once`, which makes the others."""
    bed = command.bed
    file = command.manifests / "overlays/external-etcd/kustomization.yaml"
    text, count = re.subn(r"endpoints=\[.*\]", f'endpoints=["{own_etcd}"]', file.read_text())
    assert count == 1
    file.write_text(text)
    settings = tmp_path / "certificates.yaml"
    where = {"kubeconfig": str(bed.kubeconfig)}
    settings.write_text(yaml.safe_dump({"cluster": where, "certificates": {"make": True}, "etcd": {"manage": False}}))
    made = subprocess.run(
        [sys.executable, "-m", "kubesteer", "keep", "--config", settings, "--once", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert set(json.loads(made.stdout)["foreign"]) == {"kubesteer-extender-etcd", "kubesteer-agent-etcd"}
    told = command.deploy("--overlay", "external-etcd", "--yes", "--timeout", "180")
    assert (told.code, told.document["proof"]["holds"]) == (0, True), told.text
    as_agent = [f"--cacert={tmp_path / 'ca.crt'}", *(f"--{kind}={tmp_path / 'agent/tls'}.{end}" for kind, end in PAIR)]
    asked = [node_binaries.path("etcdctl", bundle="inpods"), f"--endpoints={own_etcd}", *as_agent]
    states = subprocess.run(
        [*asked, "get", "--prefix", "--keys-only", "/kubesteer/nodes/"], capture_output=True, text=True, check=True
    )
    assert {each.rpartition("/")[2] for each in states.stdout.split()} == set(bed.real.names)
    assert bed.client.list_all("StatefulSet", namespace="kubesteer", api_version="apps/v1") == []
    told = command.run("undeploy", "--yes")
    assert (told.code, told.document["comparison"]["left"]) == (0, []), told.text


@pytest.fixture
def at_the_control_plane(
    command: Command, node_binaries: Binaries, tmp_path: Path
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """A shell on a node with kubeadm's files and its scheduler, a static pod, in the place of the bed's."""
    bed = command.bed
    for program, bundle in (("kubectl", "controlplane"), ("kubeadm", "kubelet")):
        (tmp_path / program).symlink_to(node_binaries.path(program, bundle=bundle))

    def run(script: str) -> subprocess.CompletedProcess[str]:
        begin = f"export PATH={tmp_path}:$PATH; cd {command.manifests / 'overlays/in-place'}\n"
        return bed.real.attempt(NODE, "bash", "-euo", "pipefail", "-c", begin + script)

    for file, user in (("admin.conf", "admin"), ("scheduler.conf", "system:kube-scheduler")):
        told = run(
            f"kubectl --kubeconfig {bed.layout.kubeconfig(user)} config view --raw --flatten > {KUBERNETES}/{file}"
        )
        assert told.returncode == 0, told.stderr
    kubeadm = {"apiVersion": "kubeadm.k8s.io/v1beta4"}
    api = {"advertiseAddress": bed.real.addresses.machine, "bindPort": bed.layout.api_port}
    cluster = {
        **kubeadm,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": f"v{CONTROL_PLANE.kubernetes_version}",
        "scheduler": {"extraArgs": [{"name": "v", "value": "3"}]},
    }
    init = {**kubeadm, "kind": "InitConfiguration", "localAPIEndpoint": api}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump_all([cluster, init]))
    bed.stop_scheduler()
    for phase in ("control-plane scheduler", f"upload-config kubeadm --kubeconfig {KUBERNETES}/admin.conf"):
        told = run(f"kubeadm init phase {phase} --config {tmp_path}/cluster.yaml")
        assert told.returncode == 0, told.stderr
    eventually(lambda: scheduler_runs(bed, configured=False), within_s=90, what="kubeadm's scheduler")
    return run


def scheduler_runs(bed: ControlPlane, *, configured: bool) -> bool:
    """kubeadm's static pod is ready, with the flags of its cluster, and with kubesteer's configuration or without it."""
    found = bed.client.list_all("Pod", namespace="kube-system", params={"labelSelector": "component=kube-scheduler"})
    commands = [each["spec"]["containers"][0]["command"] for each in found if is_ready(each)]
    return any("--v=3" in each and (CONFIG in each) == configured for each in commands)


def test_in_place_by_the_steps_of_its_readme_and_back(
    command: Command, at_the_control_plane: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    """The keeper makes the certificates here; else these are the overlay and the steps as they are written."""
    bed, run = command.bed, at_the_control_plane
    mine = command.manifests / "overlays/mine"
    mine.mkdir()
    layers = {"resources": ["../in-place"], "components": ["../../components/self-signed"]}
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(layers))
    readme = (mine.parent / "in-place/README.md").read_text()
    steps = [textwrap.dedent(each) for each in re.findall(r"^ *```sh\n(.*?)^ *```$", readme, re.MULTILINE | re.DOTALL)]
    _, certificate, configuration, check, manifest, check_again, undo = steps

    told = command.deploy("--overlay", "mine", "--yes", "--timeout", "180")
    assert (told.code, "does not ask kubesteer yet" in told.text) == (0, True), told.text

    for step in (certificate, configuration):
        done = run(step)
        assert done.returncode == 0, done.stderr
    early = run(check)
    assert (early.returncode, early.stdout.count("FAULT")) == (2, 2), early.stdout
    done = run(manifest)
    assert done.returncode == 0, done.stderr
    eventually(lambda: run(check_again).returncode == 0, within_s=90, what="check.sh says all is well", every_s=2)
    eventually(lambda: scheduler_runs(bed, configured=True), within_s=60, what="the new scheduler")
    told = command.deploy("--overlay", "mine")
    assert (told.code, told.document["proof"]["holds"]) == (0, True), told.text

    done = run(undo)
    assert done.returncode == 0, done.stderr
    eventually(lambda: scheduler_runs(bed, configured=False), within_s=90, what="as it was")
    assert command.run("undeploy", "--yes").code == 0
