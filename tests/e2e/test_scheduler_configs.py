"""The files in scheduler-config/ and `kubesteer config check`, held against the real kube-scheduler of each minor.

With --write-config-to it reads, completes and validates a file, builds the scheduler, and ends, without a cluster.
"""

from __future__ import annotations

import copy
import json
import random
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.making import KUBEADM
from kubesteer.schedulerconfig.minors import TESTED
from kubesteer.schedulerconfig.score_plugins import default_weights, profile_weights
from tests.certificates import Authority
from tests.scheduler_config.documents import CA, CASES, EGRESS, INGRESS, SLO, Case, document, managing
from tests.scheduler_config.texts import HEAD, NAMES, TEXTS, Text
from tools.cluster import objects
from tools.cluster.bundles import CONTROL_PLANE, OLDER, SCHEDULERS
from tools.cluster.extender import ROOT, Extender, scheduler_config, scheduler_entry
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kubesteer.schedulerconfig.findings import Finding
    from tools.cluster.build import Binaries
    from tools.cluster.controlplane import ControlPlane

FOLDER = ROOT / "scheduler-config"
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml"))
NOWHERE = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "bed", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "bed"}}],
    "current-context": "bed",
    "users": [{"name": "bed", "user": {"token": "none"}}],
}
BUNDLES = {int(each.kubernetes_version.split(".")[1]): each.name for each in (CONTROL_PLANE, OLDER, *SCHEDULERS)}
MUTATIONS = 100
"""For each minor."""
MAY_REFUSE = {"unknown-plugin", "no-kubeconfig", "negative-weight"}
"""Warnings of what a scheduler refuses that has no such plugin, or no ServiceAccount."""


@dataclass(frozen=True, slots=True)
class Schedulers:
    """The real programs, started to read a file and end."""

    binaries: Binaries
    folder: Path
    authority: Authority

    def complete(self, text: str, minor: int, loader: type = yaml.SafeLoader) -> tuple[Any, str]:
        """The file as the scheduler completes it, or None and why it refuses."""
        source, written = self.folder / "given.yaml", self.folder / "completed.yaml"
        source.write_bytes(self.with_real_certificates(text).encode())
        written.unlink(missing_ok=True)
        bundle = BUNDLES[minor]
        if not (self.binaries.folders[bundle] / "bin" / "kube-scheduler").exists():
            pytest.skip(f"1.{minor} is not built: run `python -m tools.cluster build {bundle}`")
        flags = ("--config", source, "--write-config-to", written, "--secure-port=0")
        command = [self.binaries.path("kube-scheduler", bundle=bundle), *flags]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if result.returncode != 0:
            return None, result.stderr
        return yaml.load(written.read_text(), loader), ""

    def complete_object(self, given: Any, minor: int) -> tuple[Any, str]:
        """The same for an object; the kubeconfig that it names is there."""
        given = copy.deepcopy(given)
        connection = given.get("clientConnection") if isinstance(given, dict) else None
        if isinstance(connection, dict) and isinstance(named := connection.get("kubeconfig"), str) and named:
            connection["kubeconfig"] = KUBEADM
        return self.complete(json.dumps(given), minor)

    def kubeconfig(self) -> Path:
        file = self.folder / "kubeconfig"
        file.write_text(json.dumps(NOWHERE))
        return file

    def with_real_certificates(self, text: str) -> str:
        """The scheduler reads them at its start; what the files name is there on a cluster only."""
        cert_file, key_file = self.authority.issue("kube-scheduler")
        text = text.replace(KUBEADM, str(self.kubeconfig()))
        for name, file in (("ca.crt", self.authority.ca_file), ("tls.crt", cert_file), ("tls.key", key_file)):
            text = text.replace(f"/etc/kubesteer/{name}", str(file))
        return text


@pytest.fixture(scope="module")
def schedulers(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Schedulers:
    folder = tmp_path_factory.mktemp("scheduler-config")
    return Schedulers(binaries, folder, Authority(folder, "authority"))


def refuses(findings: list[Finding]) -> bool:
    """Whether the check says that a stock scheduler does not start outside a pod."""
    return any(each.severity == "error" or each.rule in MAY_REFUSE for each in findings)


@pytest.mark.parametrize("file", FILES)
def test_the_scheduler_of_its_minor_takes_each_file_and_reads_what_is_meant(schedulers: Schedulers, file: str) -> None:
    text, minor = (FOLDER / file).read_text(), int(file.split("/", maxsplit=1)[0].removeprefix("1."))
    meant = yaml.safe_load(schedulers.with_real_certificates(text))
    in_a_pod = {"clientConnection": {"kubeconfig": KUBEADM}}  # here it has no ServiceAccount
    completed, refusal = schedulers.complete_object(in_a_pod | meant, minor)
    assert completed, refusal
    [extender] = completed["extenders"]
    shown = {name: value for name, value in meant["extenders"][0].items() if value is not False}
    for resource in shown.get("managedResources", []):
        resource.pop("ignoredByScheduler")
    assert extender == shown
    [profile] = completed["profiles"]
    assert profile["schedulerName"] == meant.get("profiles", [{}])[0].get("schedulerName", "default-scheduler")
    assert completed["leaderElection"]["resourceName"] == meant.get("leaderElection", {}).get(
        "resourceName", "kube-scheduler"
    )
    # As completed, the file names every plugin and weight; it must add up to what kubesteer took the defaults for.
    assert profile_weights(meant.get("profiles", [{}])[0], minor) == default_weights(minor)
    everywhere = {each["name"]: each["weight"] for each in profile["plugins"]["multiPoint"]["enabled"]}
    scoring = profile["plugins"]["score"].get("enabled") or [{"name": n, "weight": w} for n, w in everywhere.items()]
    weights = {each["name"]: each["weight"] for each in scoring if each["weight"]}
    assert weights | {name: 1 for name in default_weights(minor) if everywhere.get(name) == 0} == default_weights(minor)


@pytest.mark.parametrize("minor", TESTED)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_scheduler_refuses_what_the_check_calls_an_error_and_takes_the_rest(
    schedulers: Schedulers, case: Case, minor: int
) -> None:
    completed, refusal = schedulers.complete_object(case.document, minor)
    assert (completed is None) is refuses(check(case.document, minor, in_pod=False)), refusal


@pytest.mark.parametrize("minor", TESTED)
@pytest.mark.parametrize("case", TEXTS.values(), ids=TEXTS)
def test_the_scheduler_reads_a_text_as_the_table_says(schedulers: Schedulers, case: Text, minor: int) -> None:
    completed, refusal = schedulers.complete(case.text, minor)
    weights = None if completed is None else tuple(each["weight"] for each in completed["extenders"])
    assert weights == case.weights, refusal


@pytest.mark.parametrize("minor", TESTED)
@pytest.mark.parametrize("word", NAMES)
def test_the_scheduler_takes_a_word_for_what_the_table_says(schedulers: Schedulers, word: str, minor: int) -> None:
    completed, refusal = schedulers.complete(f"{HEAD}profiles: [{{schedulerName: {word}}}]\n", minor, yaml.BaseLoader)
    name = None if completed is None else completed["profiles"][0]["schedulerName"]
    assert name == NAMES[word], refusal


@pytest.mark.parametrize("minor", TESTED)
def test_the_check_and_the_scheduler_agree_on_what_chance_makes_of_a_file(schedulers: Schedulers, minor: int) -> None:
    refused = 0
    for seed in range(MUTATIONS):
        given = mutated(RICH, random.Random(f"{minor} {seed}"))
        found = check(given, minor, in_pod=False)
        if any(each.rule == "negative-weight" for each in found):
            continue  # whether it overflows depends on the order of all Score plugins
        completed, refusal = schedulers.complete_object(given, minor)
        assert (completed is None) is refuses(found), f"seed {seed}: {refusal}\n{json.dumps(given)}"
        refused += completed is None
    assert MUTATIONS * 0.2 < refused < MUTATIONS * 0.9


RICH = document(
    managing(EGRESS, urlPrefix="https://127.0.0.1:8888", enableHTTPS=True, tlsConfig={"serverName": "kubesteer"}),
    parallelism=16,
    percentageOfNodesToScore=50,
    podInitialBackoffSeconds=1,
    podMaxBackoffSeconds=10,
    leaderElection={"leaderElect": True, "leaseDuration": "15s", "renewDeadline": "10s", "resourceLock": "leases"},
    clientConnection={"kubeconfig": KUBEADM, "qps": 50, "burst": 100, "contentType": "application/json"},
    enableProfiling=True,
    profiles=[
        {
            "schedulerName": "default-scheduler",
            "percentageOfNodesToScore": 10,
            "plugins": {
                "score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeAffinity", "weight": 2}]},
                "multiPoint": {"enabled": [{"name": "TaintToleration", "weight": 4}]},
            },
            "pluginConfig": [{"name": "Other"}],
        },
        {"schedulerName": "kubesteer"},
    ],
)
VALUES = (
    *(None, True, False, 0, -1, 1, 7, 101, 1.5, 2**31, 2**63, "", "x", "true", "1s", "-3s"),
    *("a.io/b", EGRESS, "default-scheduler", "NodeAffinity", [], [None], {}, [{}]),
)


def mutated(given: Any, chance: random.Random) -> Any:
    """A copy with one or two fields replaced, renamed, left out or doubled."""
    given = copy.deepcopy(given)
    for _ in range(chance.choice((1, 1, 2))):
        holder, key = chance.choice(list(spots(given)))
        kind = chance.random()
        if kind < 0.7:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
        elif kind < 0.8 and isinstance(holder, dict):
            holder[f"{key}s"] = holder.pop(key)
        elif kind < 0.9:
            del holder[key]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
    return given


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in it that holds something."""
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(each, dict | list):
            yield from spots(each)


@pytest.mark.parametrize(
    ("way", "asked", "comes"),
    [
        pytest.param("all-pods", {}, True, id="all pods: one without an SLO comes"),
        pytest.param("slo-pods-only", {EGRESS: "300M"}, True, id="SLO pods only: one with an SLO comes"),
        pytest.param("slo-pods-only", {INGRESS: "300M"}, True, id="SLO pods only: either direction"),
        pytest.param("slo-pods-only", {}, False, id="SLO pods only: one without does not"),
        pytest.param("depcon2", {SLO: "300M"}, True, id="DepCon2: one with its resource comes"),
        pytest.param("depcon2", {EGRESS: "300M"}, False, id="DepCon2: one with another does not"),
        pytest.param("short-list", {}, True, id="short list: comes"),
        pytest.param("pinned-weights", {}, True, id="pinned weights: comes"),
        pytest.param("mtls", {}, True, id="mutual TLS: comes"),
        pytest.param("second-scheduler", {}, True, id="second scheduler: one that chose it comes"),
    ],
)
def test_the_pods_that_are_meant_come_to_kubesteer_and_all_are_bound(
    control_plane: ControlPlane, tmp_path: Path, way: str, asked: dict[str, str], comes: bool
) -> None:
    bed, name = control_plane, f"{way}-{'-'.join(asked).split('/')[-1]}".strip("-").lower()
    resources = dict.fromkeys((EGRESS, INGRESS, SLO), "10G")
    for node in ("a", "b"):
        bed.client.create(objects.node(f"{name}-{node}", resources=resources, labels={"test": name}))
    config = yaml.safe_load((FOLDER / f"1.{max(TESTED)}" / f"{way}.yaml").read_text())
    config.pop("clientConnection", None)  # the bed has its own
    scheduler_name = config.get("profiles", [{}])[0].get("schedulerName", "default-scheduler")
    settings, tls = secured(tmp_path) if "tlsConfig" in config["extenders"][0] else ({}, {})
    settings |= {"filter": {"shortlist": 1}} if way == "short-list" else {}
    with Extender({"cluster": {"source": "kubernetes", "kubeconfig": str(bed.kubeconfig)}, **settings}) as extender:
        config["extenders"][0] |= {"urlPrefix": extender.url, "ignorable": False, **tls}
        if lease := config.get("leaderElection", {}).get("resourceName"):
            allow_lease(bed, lease)
        bed.start_scheduler(config)
        try:
            spec = {"schedulerName": scheduler_name, "nodeSelector": {"test": name}}
            bed.client.create(objects.pod(name, limits=asked, spec=spec))
            eventually(
                lambda: bed.client.get("Pod", name)["spec"].get("nodeName"), within_s=30, what=f"{name} is bound"
            )
        finally:
            bed.stop_scheduler()
        assert (extender.metric("kubesteer_request_seconds_count") > 0) is comes


def secured(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mutual TLS: kubesteer's settings, and the scheduler's."""
    authority = Authority(folder, "authority")
    (cert, key), (client_cert, client_key) = authority.issue("kubesteer"), authority.issue("kube-scheduler")
    settings = {"cert_file": str(cert), "key_file": str(key), "client_ca_file": str(authority.ca_file)}
    files = {"caFile": str(authority.ca_file), "certFile": str(client_cert), "keyFile": str(client_key)}
    return {"tls": settings}, {"tlsConfig": files}


def allow_lease(bed: ControlPlane, name: str) -> None:
    """What the head of second-scheduler.yaml asks for: the scheduler's own role names the lease kube-scheduler."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name, "namespace": "kube-system"}}
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [name]}
    bed.client.create(role | {"kind": "Role", "rules": [rule | {"verbs": ["get", "update"]}]})
    subject = {"kind": "User", "name": "system:kube-scheduler", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    bed.client.create(role | {"kind": "RoleBinding", "subjects": [subject], "roleRef": reference})


@pytest.mark.parametrize(
    ("weight", "node"),
    [
        pytest.param(4, "plugins", id="4 * 100 points lose against 500"),
        pytest.param(6, "kubesteer", id="6 * 100 win"),
        pytest.param(15, "kubesteer", id="the weight of all-pods.yaml wins against any two plugins"),
    ],
)
def test_an_extenders_weight_counts_as_much_as_a_plugins(control_plane: ControlPlane, weight: int, node: str) -> None:
    bed, name = control_plane, f"weight-{weight}"
    # One node has all the points of NodeAffinity (2 * 100) and TaintToleration (3 * 100), the other kubesteer's 10:
    # the pod asks for half of what the first can send, and a tenth of what the other can.
    preferred = objects.node(f"{name}-plugins", resources={EGRESS: "1G"}, labels={"test": name, "preferred": "yes"})
    tainted = objects.node(f"{name}-kubesteer", resources={EGRESS: "5G"}, labels={"test": name})
    tainted["spec"] = {"taints": [{"key": "avoid", "effect": "PreferNoSchedule"}]}
    for each in (preferred, tainted):
        bed.client.create(each)
    term = {"matchExpressions": [{"key": "preferred", "operator": "Exists"}]}
    wish = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}
    spec = {"nodeSelector": {"test": name}, "affinity": {"nodeAffinity": wish}}
    with Extender({"cluster": {"source": "kubernetes", "kubeconfig": str(bed.kubeconfig)}}) as extender:
        bed.start_scheduler(scheduler_config(scheduler_entry(extender, weight=weight, ignorable=False)))
        try:
            bed.client.create(objects.pod(name, limits={EGRESS: "500M"}, spec=spec))
            eventually(
                lambda: bed.client.get("Pod", name)["spec"].get("nodeName"), within_s=30, what=f"{name} is bound"
            )
        finally:
            bed.stop_scheduler()
    assert bed.client.get("Pod", name)["spec"]["nodeName"] == f"{name}-{node}"


def test_the_files_name_certificates_where_the_tests_put_real_ones() -> None:
    named = {
        path
        for file in FILES
        for path in yaml.safe_load((FOLDER / file).read_text())["extenders"][0].get("tlsConfig", {}).values()
    }
    assert named == {CA, "/etc/kubesteer/tls.crt", "/etc/kubesteer/tls.key"}
