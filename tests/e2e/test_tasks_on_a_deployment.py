"""What people do with a deployed kubesteer, on a whole real cluster of three nodes, in this order.

`kubesteer rewards --kubeconfig` by a user with the rights of docs/operations.md alone; the example workload; undeploy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.manifests.written import MANIFESTS, ROOT
from tools.cluster.waiting import eventually

from .deploy_command import Command, add_settings
from .fixtures import binaries, kubesteer_image, node_binaries, whole_bed

if TYPE_CHECKING:
    from pathlib import Path

    from tools.cluster.build import Binaries
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "kubesteer_image", "node_binaries", "whole_bed"]

ROLE = "kubesteer-rewards"


@pytest.fixture(scope="module")
def command(whole_bed: ControlPlane, node_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """kubesteer is deployed."""
    folder = tmp_path_factory.mktemp("repository") / "manifests"
    shutil.copytree(MANIFESTS, folder)
    add_settings(folder / "base/agent/settings.yaml", "network", trust_virtual=True)
    made = Command(whole_bed, node_binaries.path("kubectl"), folder)
    told = made.deploy("--yes", "--timeout", "240")
    assert all(each["is_done"] for each in told.document["parts"]), told.text
    return made


def documented_role() -> dict[str, Any]:
    text = (ROOT / "docs/operations.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    [role] = [block for block in blocks if block.get("kind") == "Role" and block["metadata"]["name"] == ROLE]
    return role


@dataclass(frozen=True, slots=True)
class Operator:
    kubeconfig: Path
    kubectl: Path

    def run(self, *arguments: str) -> tuple[int, str]:
        cluster = ["--kubeconfig", str(self.kubeconfig), "--kubectl", str(self.kubectl)]
        ended = subprocess.run(
            [sys.executable, "-m", "kubesteer", "rewards", *arguments, *cluster],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr


def operator(command: Command, name: str, role: dict[str, Any]) -> Operator:
    """A ServiceAccount with that role in kubesteer's namespace and no other right."""
    bed, where = command.bed, "default"
    bed.kubectl("create", "serviceaccount", name, f"--namespace={where}")
    bed.client.create({**role, "metadata": {**role["metadata"], "name": name}})
    bed.kubectl(
        "create", "rolebinding", name, f"--role={name}", f"--serviceaccount={where}:{name}", "--namespace=kubesteer"
    )
    token = bed.kubectl("create", "token", name, f"--namespace={where}").strip()
    return Operator(bed.kubeconfig_for(token, name), command.kubectl)


def test_a_repaired_node_is_forgotten_by_a_user_with_the_documented_rights(command: Command) -> None:
    user, node = operator(command, "operator", documented_role()), command.bed.real.names[0]
    code, told = user.run("set", "web", node, "--mean", "0.1", "--evidence", "20")
    assert (code, told.splitlines()[0]) == (0, f"set: web on {node}: mean 0.1, evidence 20")

    def believed() -> bool:
        # A running agent takes the belief over and writes its own record of it.
        code, told = user.run("explain", "web", node)
        assert code == 0, told
        return "edited" in told

    eventually(believed, within_s=60, every_s=1, what="what was set is explained")
    code, told = user.run("reset", "--node", node, "--yes")
    assert (code, told.endswith("reset: 1 pair\n")) == (0, True), told
    code, told = user.run("show", "--node", node)
    assert (code, told) == (0, f"no rewards on node '{node}' in the store\n")


def test_a_user_who_may_read_one_secret_only_reads(command: Command) -> None:
    role = documented_role()
    role["rules"][0]["resourceNames"] = ["kubesteer-extender-etcd"]
    user = operator(command, "reader", role)
    assert user.run("show")[0] == 0
    code, told = user.run("set", "web", "n", "--mean", "0.1", "--evidence", "20")
    assert code == 1
    assert 'secrets "kubesteer-agent-etcd" is forbidden' in told


def test_no_tunnel_and_no_certificate_is_left(command: Command, tmp_path: Path) -> None:
    user = Operator(command.bed.kubeconfig, command.kubectl)
    assert user.run("show", "--json")[0] == 0
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [
        line for line in running.splitlines() if "port-forward" in line and str(command.bed.kubeconfig) in line
    ] == []


def test_the_example_workload_runs_and_undeploy_takes_the_namespaces_policy_with_it(command: Command) -> None:
    bed, policy = command.bed, "mutatingadmissionpolicies,mutatingadmissionpolicybindings"
    bed.kubectl("apply", "-f", str(ROOT / "examples/namespace-scheduler.yaml"))
    bed.kubectl("apply", "-f", str(ROOT / "examples/deployment.yaml"))

    def placed() -> bool:
        pods = bed.client.list_all("Pod", namespace="default")
        return len(pods) == 3 and all(each["spec"].get("nodeName") for each in pods)

    eventually(placed, within_s=60, what="the example's pods are placed by the deployed scheduler")
    bed.kubectl("delete", "-f", str(ROOT / "examples/deployment.yaml"))
    told = command.run("undeploy", "--yes")
    assert told.code == 0, told.text
    assert bed.kubectl("get", policy, "--output=name") == ""
