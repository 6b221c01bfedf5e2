"""`kubesteer rewards` through the kubeconfig: an etcd with authentication on, and in kubectl's place a script.

The script gives the Secrets that it has and, as the tunnel's end, etcd's own port. On a real cluster:
tests/e2e/test_tasks_on_a_deployment.py.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubesteer.clients.rewards.etcd_access import Role, agents_role, extender_role, root_role
from tests.cli.command import Result, run
from tests.etcd_access.secured import SecuredEtcd

PREFIX = "/kubesteer"
READER, AGENT, ROOT = "kubesteer-extender-etcd", "kubesteer-agent-etcd", "kubesteer-etcd-maintenance"
KUBECTL = """#!{python}
import json, signal, sys
from pathlib import Path
here, arguments = Path({here!r}), sys.argv[1:]
with (here / "asked").open("a") as asked:
    asked.write(json.dumps(arguments) + "\\n")
words = [each for each in arguments if not each.startswith("-")]
if words[0] == "get":
    secret = here / words[2]
    sys.stdout.write(secret.read_text() if secret.exists() else "")
elif words[0] == "port-forward":
    port = (here / "port").read_text()
    if not port:
        sys.exit('Error from server (NotFound): services "kubesteer-etcd" not found')
    print(f"Forwarding from 127.0.0.1:{{port}} -> 2379", flush=True)
    signal.pause()
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    folder: Path

    def run(self, *arguments: str) -> Result:
        return run("rewards", *arguments, "--context", "prod", "--kubectl", str(self.folder / "kubectl"))

    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]

    def secrets_read(self) -> list[str]:
        return [each[each.index("secret") + 1] for each in self.asked() if "secret" in each]


@pytest.fixture(scope="module")
def etcd() -> Iterator[SecuredEtcd]:
    with SecuredEtcd() as server:
        yield server


def deployed(folder: Path, etcd: SecuredEtcd, *agents: Role) -> Deployment:
    """As the keeper has it, with these users of agents."""

    async def mend() -> None:
        access = etcd.access()
        await access.mend([root_role(), extender_role(PREFIX), *agents], {}, looks=9)
        await access.close()

    asyncio.run(mend())
    names = {READER: "kubesteer-extender", AGENT: "kubesteer-agent", ROOT: "root"}
    for secret, user in names.items():
        files = etcd.identities.client_options(user)
        content = {"ca.crt": files["ca_file"], "tls.crt": files["cert_file"], "tls.key": files["key_file"]}
        data = {name: base64.b64encode(file.read_bytes()).decode() for name, file in content.items()}
        (folder / secret).write_text(json.dumps({"kind": "Secret", "data": data}))
    (folder / "port").write_text(str(etcd.port))
    kubectl = folder / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable, here=str(folder)))
    kubectl.chmod(0o755)
    return Deployment(folder)


@pytest.fixture
def deployment(tmp_path: Path, etcd: SecuredEtcd) -> Deployment:
    return deployed(tmp_path, etcd, agents_role(PREFIX))


def test_a_repaired_node_is_reset_with_the_least_certificate_for_each_step(deployment: Deployment) -> None:
    assert deployment.run("set", "web", "node-3", "--mean", "0.1", "--evidence", "20").code == 0
    shown = deployment.run("show", "--node", "node-3", "--json").json["rewards"]
    assert [(each["podType"], each["node"]) for each in shown] == [("web", "node-3")]
    assert deployment.run("reset", "--node", "node-3", "--yes").out.endswith("reset: 1 pair\n")
    # set writes; show reads; reset looks at first, then writes.
    assert deployment.secrets_read() == [AGENT, READER, READER, AGENT]
    assert deployment.run("show", "--node", "node-3", "--json").json["rewards"] == []


def test_kubectl_is_asked_for_that_context_the_secret_and_a_tunnel_and_nothing_else(deployment: Deployment) -> None:
    deployment.run("show", "--kubeconfig", "/a/kubeconfig", "--namespace", "kubesteer")
    get, forward = deployment.asked()
    where = ["--kubeconfig=/a/kubeconfig", "--context=prod"]
    assert [each for each in get if "managed" not in each] == [
        *where, "get", "secret", READER, "--output=json", "--ignore-not-found", "--namespace=kubesteer",
    ]  # fmt: skip
    assert forward == [*where, "port-forward", "--namespace=kubesteer", "service/kubesteer-etcd", ":2379"]


def test_what_was_exported_from_a_cluster_is_imported_into_it(deployment: Deployment, tmp_path: Path) -> None:
    deployment.run("set", "web", "node-1", "--mean", "0.9", "--evidence", "5")
    file = tmp_path / "rewards.yaml"
    assert deployment.run("export", "--output", str(file)).code == 0
    told = deployment.run("import", str(file), "--overwrite")
    assert (told.code, told.out.startswith("imported: ")) == (0, True)


def test_with_certificates_for_each_node_the_secret_that_may_write_is_named(tmp_path: Path, etcd: SecuredEtcd) -> None:
    deployment = deployed(tmp_path, etcd)
    setting = ("set", "web", "node-4", "--mean", "0.1", "--evidence", "1")
    refused = deployment.run(*setting)
    assert refused.code == 1
    assert refused.err.endswith(f"with certificates for each node only root writes for all: add --secret {ROOT}")
    assert deployment.run(*setting, "--secret", ROOT).code == 0


def test_what_is_not_there_is_named_with_the_way_out(deployment: Deployment) -> None:
    (deployment.folder / "port").write_text("")
    without_service = deployment.run("show")
    assert without_service.code == 1
    assert 'services "kubesteer-etcd" not found' in without_service.err
    assert without_service.err.endswith("an etcd outside the cluster is named with --etcd")
    (deployment.folder / READER).unlink()
    without_secret = deployment.run("show", "--namespace", "mine")
    assert without_secret.code == 1
    assert without_secret.err.startswith(f"secret mine/{READER} is not there; is kubesteer deployed")


@pytest.mark.parametrize("option", [("--etcd", "a:1"), ("--file", "/f"), ("--ca-file", "/f")])
def test_a_cluster_and_a_store_are_not_given_together(option: tuple[str, str]) -> None:
    result = run("rewards", "show", "--namespace", "kubesteer", *option)
    assert (result.code, result.err) == (1, f"{option[0]}, --namespace: give a store or a cluster, not both")


def test_the_environments_store_does_not_count_beside_a_cluster(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBESTEER_ETCD", "nowhere:1")
    monkeypatch.setenv("KUBESTEER_ETCD_CA_FILE", "/nowhere")
    assert deployment.run("show").code == 0
