"""The Helm chart: it renders what kustomize renders, API servers take it, and an uninstallation leaves nothing.

Both renderings are parsed and held equal object by object, whatever is in them; texts in ConfigMaps are parsed too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from extender import settings_file as extender_settings
from kubesteer.schedulerconfig.minors import TESTED
from kubesteer.schedulerconfig.score_plugins import default_weights, share_weight
from monitor_agent import settings_file as agent_settings
from tests.chart.rendering import ENDPOINTS, VARIANTS, Helm, Objects, Variant, differences, objects_of
from tools.chart.making import CHART, MANIFESTS
from tools.cluster.bundles import HELM
from tools.cluster.controlplane import ControlPlane
from tools.cluster.waiting import eventually

from .operators import OPERATORS, empty_bed, is_older
from .test_manifests import KUSTOMIZATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tools.cluster.build import Binaries

__all__ = ["empty_bed"]

NAMESPACE = "steering"
"""Not the manifests' own, so that nothing rests on its name."""
LEVEL = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def helm(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    if not binaries.has(HELM):
        pytest.skip("Helm is not built: run `python -m tools.cluster build helm`")
    return Helm(binaries.path("helm", bundle=HELM.name), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def kustomize(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Variant], str]:
    def render(variant: Variant) -> str:
        folder = tmp_path_factory.mktemp("kustomize").resolve()
        to = os.path.relpath(MANIFESTS, folder)
        components = [f"{to}/components/{name}" for name in variant.components]
        content = {"resources": [f"{to}/{variant.folder}"], "components": components}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
        command = [binaries.path("kubectl"), "kustomize", folder]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return render


def without(found: Objects, kind: str) -> Objects:
    return {key: thing for key, thing in found.items() if key[0] != kind}


@pytest.mark.parametrize("name", VARIANTS)
def test_both_renderings_are_equal_object_by_object(
    helm: Helm, kustomize: Callable[[Variant], str], tmp_path: Path, name: str
) -> None:
    variant = VARIANTS[name]
    ours, theirs = objects_of(helm.render(variant.values)), objects_of(kustomize(variant))
    theirs = without(theirs, "Namespace")
    if name == "dev":
        # It has settings of its own, shorter by what is so by default; they mean the same to both services.
        assert [*loaded(ours, tmp_path)] == [*loaded(theirs, tmp_path)]
    assert list(differences(ours, theirs)) == []


def loaded(found: Objects, folder: Path) -> list[object]:
    """The settings as the two services read them, which are taken out."""
    read = []
    for service, load in (("extender", extender_settings.load), ("agent", lambda file: agent_settings.load(file, {}))):
        data = found["ConfigMap", "kubesteer", f"kubesteer-{service}"]["data"]
        file = folder / f"{service}.yaml"
        file.write_text(yaml.safe_dump(data.pop("settings.yaml")))
        read.append(load(file))
    return read


def test_every_kustomization_has_its_values() -> None:
    folders = {each.folder for each in VARIANTS.values()}
    components = {name for each in VARIANTS.values() for name in each.components}
    assert folders == set(KUSTOMIZATIONS)
    assert components | {"second-scheduler", "cert-manager", "self-signed"} == {
        folder.name for folder in (MANIFESTS / "components").iterdir()
    }


def test_the_namespace_is_rendered_when_it_is_asked_for(helm: Helm, kustomize: Callable[[Variant], str]) -> None:
    ours = objects_of(helm.render({"namespace": {"create": True}}))
    assert ours == objects_of(kustomize(VARIANTS["self-signed"]))


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_follows_the_releases_namespace(helm: Helm, name: str) -> None:
    """Names in certificates and settings, subjects of rights and users in policies. Only the keeper has to be told."""
    values = VARIANTS[name].values
    moved, here = helm.render(values, namespace="elsewhere"), helm.render(values)
    spaces = {namespace for _, namespace, _ in objects_of(moved)}
    assert spaces == {"", "elsewhere"} | ({"kube-system"} if "kube-system\n" in here else set())
    assert not [line for line in moved.splitlines() if re.search(r"kubesteer\.svc|serviceaccount:kubesteer:", line)]
    [*told] = differences(objects_of(moved.replace("elsewhere", "kubesteer")), objects_of(here))
    assert {line.partition(":")[0] for line in told} <= {f"/{KEEPERS}/data/settings.yaml/cluster"}
    if keepers := objects_of(moved).get(("ConfigMap", "elsewhere", "kubesteer-keeper")):
        assert keepers["data"]["settings.yaml"]["cluster"] == {"namespace": "elsewhere"}


EXTENDER, AGENT, SCHEDULER, ETCD, KEEPER = (
    (kind, "kubesteer", f"kubesteer-{name}")
    for kind, name in (
        ("Deployment", "extender"),
        ("DaemonSet", "agent"),
        ("Deployment", "scheduler"),
        ("StatefulSet", "etcd"),
        ("Deployment", "keeper"),
    )
)
CONFIG, KEEPERS = (("ConfigMap", "kubesteer", f"kubesteer-{name}") for name in ("scheduler", "keeper"))
CLAIM = "/spec/volumeClaimTemplates/0/spec"
SNAPSHOTS = ("PersistentVolumeClaim", "kubesteer", "kubesteer-etcd-snapshots")
POD, CONTAINER = "/spec/template/spec", "/spec/template/spec/containers/0"
EFFECTS = [
    ("image.repository", "registry.example.com/k", EXTENDER, f"{CONTAINER}/image", "registry.example.com/k:0.1.0"),
    ("image.tag", "1.2.3", AGENT, f"{CONTAINER}/image", "localhost/kubesteer:1.2.3"),
    ("image.pullPolicy", "Always", KEEPER, f"{CONTAINER}/imagePullPolicy", "Always"),
    ("imagePullSecrets", [{"name": "r"}], ETCD, f"{POD}/imagePullSecrets", [{"name": "r"}]),
    ("namespace.create", True, ("Namespace", "", "kubesteer"), f"/metadata/labels/{LEVEL}", "privileged"),
    ("certificates", "cert-manager", ("Issuer", "kubesteer", "kubesteer-wire"), "/kind", "Issuer"),
    (
        "scheduler.kind",
        "in-place",
        ("NetworkPolicy", "kubesteer", "kubesteer-extender-in-place"),
        "/kind",
        "NetworkPolicy",
    ),
    ("scheduler.name", "network", CONFIG, "/data/config.yaml/profiles/0/schedulerName", "network"),
    ("scheduler.replicas", 1, CONFIG, "/data/config.yaml/leaderElection", {"leaderElect": False}),
    ("scheduler.image.repository", "k.example.com/s", SCHEDULER, f"{CONTAINER}/image", "k.example.com/s:v1.37.2"),
    ("scheduler.image.tag", "v1.36.3", SCHEDULER, f"{CONTAINER}/image", "registry.k8s.io/kube-scheduler:v1.36.3"),
    ("scheduler.weight", 40, CONFIG, "/data/config.yaml/extenders/0/weight", 40),
    ("scheduler.config", {"parallelism": 8}, CONFIG, "/data/config.yaml/parallelism", 8),
    ("scheduler.resources", {"limits": {"memory": "3Gi"}}, SCHEDULER, f"{CONTAINER}/resources/limits/memory", "3Gi"),
    ("extender.replicas", 3, EXTENDER, "/spec/replicas", 3),
    ("extender.resources", {"limits": {"memory": "1Gi"}}, EXTENDER, f"{CONTAINER}/resources/limits/memory", "1Gi"),
    ("agent.resources", {"limits": {"memory": "1Gi"}}, AGENT, f"{CONTAINER}/resources/limits/memory", "1Gi"),
    ("keeper.resources", {"limits": {"memory": "1Gi"}}, KEEPER, f"{CONTAINER}/resources/limits/memory", "1Gi"),
    (
        "keeper.settings",
        {"log": {"level": "debug"}},
        KEEPERS,
        "/data/settings.yaml/log/level",
        "debug",
    ),
    ("etcd.image", "e.example.com/etcd:v3.7.9", ETCD, f"{CONTAINER}/image", "e.example.com/etcd:v3.7.9"),
    ("etcd.storageClass", "fast", ETCD, f"{CLAIM}/storageClassName", "fast"),
    ("etcd.storage", "9Gi", ETCD, f"{CLAIM}/resources/requests/storage", "9Gi"),
    ("etcd.snapshots.storage", "9Gi", SNAPSHOTS, "/spec/resources/requests/storage", "9Gi"),
    (
        "etcd.snapshots.schedule",
        "*/5 2 * * *",
        ("CronJob", "kubesteer", "kubesteer-etcd-maintenance"),
        "/spec/schedule",
        "*/5 2 * * *",
    ),
    ("etcd.resources", {"limits": {"memory": "3Gi"}}, ETCD, f"{CONTAINER}/resources/limits/memory", "3Gi"),
    ("monitoring.enabled", True, ("PrometheusRule", "kubesteer", "kubesteer"), "/kind", "PrometheusRule"),
    ("nodeCertificates", True, ("ClusterRole", "", "kubesteer-keeper-requests"), "/kind", "ClusterRole"),
    ("networkTaint", True, ("ClusterRole", "", "kubesteer-agent-taint"), "/kind", "ClusterRole"),
    (
        "trustedNodes",
        True,
        KEEPER,
        "/spec/template/spec/nodeSelector/node-restriction.kubernetes.io/kubesteer",
        "trusted",
    ),
]
ELSEWHERE = {"etcd.enabled", "etcd.endpoints", "monitoring.namespace", "extender.settings", "agent.settings"}
"""Values that do nothing alone, or much at once: other tests are about them."""


def nested(name: str, value: object) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def at(thing: Any, path: str) -> Any:
    """The value at a path such as /spec/containers/0; names with a slash in them come last."""
    first, _, rest = path.removeprefix("/").partition("/")
    if isinstance(thing, list):
        return at(thing[int(first)], rest) if rest else thing[int(first)]
    if first not in thing:
        return thing[path.removeprefix("/")]
    return at(thing[first], rest) if rest else thing[first]


@pytest.mark.parametrize(
    ("name", "value", "key", "path", "want"), [pytest.param(*each, id=each[0]) for each in EFFECTS]
)
def test_a_value_changes(
    helm: Helm, name: str, value: object, key: tuple[str, str, str], path: str, want: object
) -> None:
    before = objects_of(helm.render({}))
    assert key not in before or before[key] != objects_of(helm.render(nested(name, value)))[key]
    assert at(objects_of(helm.render(nested(name, value)))[key], path) == want


def test_every_value_has_a_test() -> None:
    def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
        for name, value in values.items():
            is_group = isinstance(value, dict) and value and name != "resources"
            yield from leaves(value, f"{prefix}{name}.") if is_group else [f"{prefix}{name}"]

    written = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {name for name, *_ in EFFECTS} | ELSEWHERE == set(leaves(written))


def test_settings_are_merged_over_the_charts_own_and_read_by_the_services(helm: Helm, tmp_path: Path) -> None:
    """A number of ten digits stays one."""
    values = {
        "extender": {"settings": {"filter": {"shortlist": 10}, "limits": {"nodes_body_bytes": 1_000_000_000}}},
        "agent": {"settings": {"log": {"level": "warning"}}},
    }
    extender, agent = loaded(objects_of(helm.render(values)), tmp_path)
    assert (extender.filter.shortlist, extender.limits.nodes_body_bytes) == (10, 1_000_000_000)
    assert (extender.listen.drain_s, extender.rewards.source) == (10, "etcd"), "the chart's own, beside them"
    assert (agent.log.level, agent.store.kind) == ("warning", "etcd")


def test_prometheus_is_let_in_from_its_own_namespace(helm: Helm) -> None:
    found = objects_of(helm.render({"monitoring": {"enabled": True, "namespace": "watching"}}))
    [rule] = found["NetworkPolicy", "kubesteer", "kubesteer-metrics"]["spec"]["ingress"]
    labels = rule["from"][0]["namespaceSelector"]["matchLabels"]
    assert labels == {"kubernetes.io/metadata.name": "watching"}


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        ("v1.34.1", "v1.34.1"),
        ("v1.36.2-gke.1182000", "v1.36.2"),
        ("v1.37.0+k3s1", "v1.37.0"),
        ("v1.35.9-eks-1a2b3c", "v1.35.9"),
    ],
)
def test_the_second_scheduler_is_of_the_clusters_own_version(helm: Helm, version: str, tag: str) -> None:
    image = at(objects_of(helm.render({}, version=version))[SCHEDULER], f"{CONTAINER}/image")
    assert image == f"registry.k8s.io/kube-scheduler:{tag}"


@pytest.mark.parametrize("minor", range(TESTED[0], TESTED[1] + 2))
def test_kubesteers_weight_is_half_of_the_minors(helm: Helm, minor: int) -> None:
    want = share_weight(0.5, default_weights(minor))
    by_cluster = objects_of(helm.render({}, version=f"v1.{minor}.0"))
    by_tag = objects_of(helm.render({"scheduler": {"image": {"tag": f"v1.{minor}.7"}}}))
    for found in (by_cluster, by_tag):
        assert found[CONFIG]["data"]["config.yaml"]["extenders"][0]["weight"] == want


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ({"etcd": {"endpoints": ENDPOINTS}}, "etcd.enabled=false"),
        ({"etcd": {"enabled": False, "endpoints": ENDPOINTS}}, "certificates=provided"),
        ({"etcd": {"enabled": False}}, "comes with etcd.enabled=true"),
        ({"certificates": "provided", "nodeCertificates": True}, "set certificates=self-signed"),
        ({"certificates": "none"}, "certificates=none is for a first look"),
        ({"scheduler": {"name": "default-scheduler"}}, "scheduler.kind=in-place"),
        ({"certificates": "selfsigned"}, "'self-signed', 'cert-manager', 'provided', 'none'"),
        ({"extender": {"replica": 3}}, "additional properties 'replica' not allowed"),
        ({"extender": {"replicas": 0}}, "minimum: got 0, want 1"),
        (
            {"etcd": {"enabled": False, "endpoints": ["https://e:2379"]}, "certificates": "provided"},
            "does not match pattern",
        ),
        ({"scheduler": {"image": {"tag": "latest"}}}, "does not match pattern"),
        ({"etcd": {"storage": "5 gigabytes"}}, "does not match pattern"),
    ],
)
def test_values_that_cannot_be_are_refused(helm: Helm, values: Mapping[str, Any], want: str) -> None:
    assert want in helm.refusal(values)


def test_helm_lint_finds_nothing(helm: Helm) -> None:
    for variant in VARIANTS.values():
        told = helm.lint(variant.values)
        assert "1 chart(s) linted, 0 chart(s) failed" in told
        assert "[WARNING]" not in told


def test_a_package_has_what_is_needed_and_nothing_else(helm: Helm, tmp_path: Path) -> None:
    """What is made from the package is what is made from the folder; the rules stay at home."""
    helm("package", str(CHART), "--destination", str(tmp_path))
    [package] = tmp_path.iterdir()
    names = subprocess.run(["tar", "-tzf", package], capture_output=True, text=True, check=True).stdout.split()
    assert "kubesteer/files/kubesteer.json" in names
    assert "kubesteer/rules.yaml" not in names
    values = VARIANTS["monitoring"].values
    assert objects_of(helm.render(values, chart=package)) == objects_of(helm.render(values))


def test_every_object_is_valid_by_the_schemas_of_both_minors(helm: Helm, kustomize: Callable[[Variant], str]) -> None:
    """Strictly: a field that the version does not have is a fault. Operators' kinds have no schema here."""
    both = [rendered for each in VARIANTS.values() for rendered in (helm.render(each.values), kustomize(each))]
    things = {json.dumps(thing) for rendered in both for thing in yaml.safe_load_all(rendered) if thing}
    known = [thing for text in things if (thing := json.loads(text))["apiVersion"].split("/")[0] not in OPERATORS]
    for minor in TESTED:
        for thing in known:
            assert kubernetes_validate.validate(thing, f"1.{minor}", strict=True) == f"1.{minor}"


@pytest.fixture(scope="module")
def bed(empty_bed: ControlPlane) -> ControlPlane:
    """With a namespace for kubesteer, and another."""
    for name in ("kubesteer", NAMESPACE):
        empty_bed.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    if not is_older(empty_bed):
        own = ("ConfigMap", NAMESPACE, "kube-root-ca.crt")
        eventually(lambda: own in everything(empty_bed), within_s=20, what="the namespace has its own")
    return empty_bed


@pytest.mark.parametrize("name", VARIANTS)
def test_the_api_server_takes_what_helm_renders(bed: ControlPlane, helm: Helm, name: str) -> None:
    rendered = helm.render(VARIANTS[name].values)
    told = bed.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=rendered)
    assert told.count("serverside-applied (server dry run)") == len(objects_of(rendered))


def test_an_installation_is_changed_by_an_upgrade_and_an_uninstallation_leaves_nothing(
    bed: ControlPlane, helm: Helm
) -> None:
    before = everything(bed)
    told = helm.install(bed.kubeconfig, {}, namespace=NAMESPACE)
    assert "is in namespace steering" in told
    rendered = objects_of(helm.render({}, namespace=NAMESPACE))
    assert everything(bed) - before >= {(kind, where, name) for kind, where, name in rendered}
    image = at(live(bed, "Deployment", "kubesteer-scheduler"), f"{CONTAINER}/image")
    assert image.rpartition(":")[2].startswith(f"v1.{minor_of(bed)}."), "the API server's own"

    helm.install(bed.kubeconfig, {"extender": {"replicas": 3}, "monitoring": {"enabled": True}}, namespace=NAMESPACE)
    assert live(bed, "Deployment", "kubesteer-extender")["spec"]["replicas"] == 3
    assert ("PrometheusRule", NAMESPACE, "kubesteer") in everything(bed)

    helm.install(bed.kubeconfig, {}, namespace=NAMESPACE)
    assert ("PrometheusRule", NAMESPACE, "kubesteer") not in everything(bed)

    helm("uninstall", "kubesteer", "--namespace", NAMESPACE, kubeconfig=bed.kubeconfig)
    [clean_up] = [line for line in told.splitlines() if " delete secrets," in line]
    bed.kubectl(*clean_up.split()[1:], "--wait=false")
    # Where nothing runs that takes off their protection, volumes stay.
    claims = {("PersistentVolumeClaim", NAMESPACE, "kubesteer-etcd-snapshots")} if is_older(bed) else set()
    eventually(lambda: everything(bed) - before <= claims, within_s=60, what="all is gone")


def test_a_namespace_that_keeps_agents_out_is_told_before_anything_is_made(bed: ControlPlane, helm: Helm) -> None:
    bed.client.patch("Namespace", NAMESPACE, {"metadata": {"labels": {LEVEL: "restricted"}}})
    before = everything(bed)
    try:
        told = helm.install(bed.kubeconfig, {}, namespace=NAMESPACE, fails=True)
        assert "enforces Pod Security level restricted" in told
        assert everything(bed) <= before
    finally:
        bed.client.patch("Namespace", NAMESPACE, {"metadata": {"labels": {LEVEL: None}}})


def live(bed: ControlPlane, kind: str, name: str) -> dict[str, Any]:
    return bed.client.get(kind, name, namespace=NAMESPACE, api_version="apps/v1")


def minor_of(bed: ControlPlane) -> str:
    minor: str = bed.client.request("GET", "/version")["minor"]
    return minor


def everything(bed: ControlPlane) -> set[tuple[str, str, str]]:
    """Every object that the API server lists, less what it writes by itself."""
    kinds = bed.kubectl("api-resources", "--verbs=list,delete", "--output=name").split()
    chosen = ",".join(kind for kind in kinds if not kind.startswith(("events", "leases")))
    columns = "--output=custom-columns=:kind,:metadata.namespace,:metadata.name"
    told = bed.kubectl("get", chosen, "--all-namespaces", "--ignore-not-found", columns, "--no-headers")
    rows = (line.split() for line in told.splitlines() if line.strip())
    return {(kind, "" if namespace == "<none>" else namespace, name) for kind, namespace, name in rows}
