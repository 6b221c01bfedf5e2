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
from tests.chart.rendering import (
    ENDPOINTS,
    VARIANTS,
    Helm,
    Objects,
    Variant,
    differences,
    objects_of,
    without_checksums,
)
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
    ours, theirs = without_checksums(objects_of(helm.render(variant.values))), objects_of(kustomize(variant))
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
    assert components | {"second-scheduler", "cert-manager", "self-signed", "three-etcd-members"} == {
        folder.name for folder in (MANIFESTS / "components").iterdir()
    }


def test_the_namespace_is_rendered_when_it_is_asked_for(helm: Helm, kustomize: Callable[[Variant], str]) -> None:
    ours = without_checksums(objects_of(helm.render({"namespace": {"create": True}})))
    assert ours == objects_of(kustomize(VARIANTS["self-signed"]))


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_follows_the_releases_namespace(helm: Helm, name: str) -> None:
    """Names in certificates and settings, subjects of rights and users in policies. Only the keeper has to be told."""
    values = VARIANTS[name].values
    moved, here = helm.render(values, namespace="elsewhere"), helm.render(values)
    spaces = {namespace for _, namespace, _ in objects_of(moved)}
    assert spaces == {"", "elsewhere"} | ({"kube-system"} if "kube-system\n" in here else set())
    assert not [line for line in moved.splitlines() if re.search(r"kubesteer\.svc|serviceaccount:kubesteer:", line)]
    both = (without_checksums(objects_of(each)) for each in (moved.replace("elsewhere", "kubesteer"), here))
    [*told] = differences(*both)
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
DIGEST = f"sha256:{'0a' * 32}"
MAINTENANCE = ("CronJob", "kubesteer", "kubesteer-etcd-maintenance")
NAMES = ("NetworkPolicy", "kubesteer", "kubesteer-dns")
API_SERVER = ("NetworkPolicy", "kubesteer", "kubesteer-api-server")
SPOT = {"key": "spot", "operator": "Exists"}
ZONE = {"preferredDuringSchedulingIgnoredDuringExecution": []}
NODES_ALONE = {"kubernetes.io/os": "linux", "pool": "system"}
EFFECTS = [
    *(
        (f"{name}.nodeSelector", {"pool": "system"}, key, f"{POD}/nodeSelector", NODES_ALONE)
        for name, key in (
            ("extender", EXTENDER),
            ("agent", AGENT),
            ("scheduler", SCHEDULER),
            ("etcd", ETCD),
            ("keeper", KEEPER),
        )
    ),
    *(
        (f"{name}.tolerations", [SPOT], key, f"{POD}/tolerations", [SPOT])
        for name, key in (
            ("extender", EXTENDER),
            ("agent", AGENT),
            ("scheduler", SCHEDULER),
            ("etcd", ETCD),
            ("keeper", KEEPER),
        )
    ),
    *(
        (f"{name}.affinity", {"nodeAffinity": ZONE}, key, f"{POD}/affinity/nodeAffinity", ZONE)
        for name, key in (
            ("extender", EXTENDER),
            ("agent", AGENT),
            ("scheduler", SCHEDULER),
            ("etcd", ETCD),
            ("keeper", KEEPER),
        )
    ),
    (
        "networkPolicies.dns.namespace",
        "openshift-dns",
        NAMES,
        "/spec/egress/0/to/0/namespaceSelector/matchLabels/kubernetes.io/metadata.name",
        "openshift-dns",
    ),
    (
        "networkPolicies.dns.addresses",
        ["10.96.0.10/32"],
        NAMES,
        "/spec/egress/0/to/1",
        {"ipBlock": {"cidr": "10.96.0.10/32"}},
    ),
    ("networkPolicies.dns.ports", [5353], NAMES, "/spec/egress/0/ports/0", {"protocol": "UDP", "port": 5353}),
    (
        "networkPolicies.apiServerPorts",
        [8443],
        API_SERVER,
        "/spec/egress/0/ports",
        [{"protocol": "TCP", "port": 8443}],
    ),
    ("image.repository", "registry.example.com/k", EXTENDER, f"{CONTAINER}/image", "registry.example.com/k:0.1.0"),
    ("image.tag", "1.2.3", AGENT, f"{CONTAINER}/image", "localhost/kubesteer:1.2.3"),
    ("image.digest", DIGEST, KEEPER, f"{CONTAINER}/image", f"localhost/kubesteer@{DIGEST}"),
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
    ("scheduler.image.digest", DIGEST, SCHEDULER, f"{CONTAINER}/image", f"registry.k8s.io/kube-scheduler@{DIGEST}"),
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
    ("etcd.members", 3, ETCD, "/spec/replicas", 3),
    ("etcd.image", "e.example.com/etcd:v3.7.9", ETCD, f"{CONTAINER}/image", "e.example.com/etcd:v3.7.9"),
    ("etcd.storageClass", "fast", ETCD, f"{CLAIM}/storageClassName", "fast"),
    ("etcd.storage", "9Gi", ETCD, f"{CLAIM}/resources/requests/storage", "9Gi"),
    ("etcd.snapshots.storage", "9Gi", SNAPSHOTS, "/spec/resources/requests/storage", "9Gi"),
    (
        "etcd.snapshots.schedule",
        "*/5 2 * * *",
        MAINTENANCE,
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
ELSEWHERE = {
    "etcd.enabled",
    "etcd.endpoints",
    "monitoring.namespace",
    "monitoring.dashboardNamespace",
    "extender.settings",
    "agent.settings",
}
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


WORKLOADS = (EXTENDER, AGENT, KEEPER, SCHEDULER)


@pytest.mark.parametrize(
    ("values", "replaced"),
    [
        ({"extender": {"settings": {"log": {"level": "debug"}}}}, {EXTENDER}),
        ({"agent": {"settings": {"log": {"level": "debug"}}}}, {AGENT}),
        ({"keeper": {"settings": {"log": {"level": "debug"}}}}, {KEEPER}),
        ({"scheduler": {"weight": 7}}, {SCHEDULER}),
        ({"extender": {"replicas": 3}}, set()),
        ({"monitoring": {"dashboardNamespace": "grafana"}}, set()),
    ],
    ids=str,
)
def test_pods_that_read_a_changed_setting_are_replaced_and_no_others(
    helm: Helm, values: Mapping[str, Any], replaced: set[tuple[str, str, str]]
) -> None:
    def templates(values: Mapping[str, Any]) -> dict[tuple[str, str, str], Any]:
        found = objects_of(helm.render(values))
        return {key: found[key]["spec"]["template"] for key in WORKLOADS}

    before, after = templates({}), templates(values)
    assert {key for key in WORKLOADS if before[key] != after[key]} == replaced


def test_pods_with_another_etcd_of_yours_are_replaced(helm: Helm) -> None:
    sums = set()
    for endpoints in (ENDPOINTS, ENDPOINTS[:1]):
        values = {"certificates": "provided", "etcd": {"enabled": False, "endpoints": endpoints}}
        found = objects_of(helm.render(values))
        sums |= {str(found[key]["spec"]["template"]["metadata"]["annotations"]) for key in (EXTENDER, AGENT)}
    assert len(sums) == 4


def test_containers_and_network_policies_follow_a_port_and_services_keep_theirs(helm: Helm) -> None:
    """A Service names the container's port, so that 8888 stays what schedulers are told."""
    values = {
        "extender": {"settings": {"listen": {"port": 9001}, "ops": {"port": 9002}}},
        "agent": {"settings": {"ops": {"port": 9003}}},
        "keeper": {"settings": {"ops": {"port": 9004}}},
        "monitoring": {"enabled": True},
    }
    found = objects_of(helm.render(values))
    ports = {
        key: [port["containerPort"] for port in at(found[key], f"{CONTAINER}/ports")]
        for key in (EXTENDER, AGENT, KEEPER)
    }
    assert ports == {EXTENDER: [9001, 9002], AGENT: [9003], KEEPER: [9004]}
    service = found["Service", "kubesteer", "kubesteer-extender"]["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in service] == [(8888, "verbs"), (8889, "ops")]

    def let_in(name: str, direction: str) -> list[int]:
        rules = found["NetworkPolicy", "kubesteer", f"kubesteer-{name}"]["spec"][direction]
        return [port["port"] for rule in rules for port in rule["ports"]]

    assert let_in("extender", "ingress") == let_in("scheduler", "egress") == [9001]
    assert let_in("metrics", "ingress") == [9002, 2381, 9004]
    in_place = {"extender": values["extender"], "certificates": "provided", "scheduler": {"kind": "in-place"}}
    found = objects_of(helm.render(in_place))
    assert let_in("extender-in-place", "ingress") == [9001]


def test_pods_stay_on_trusted_nodes_wherever_else_they_are_kept(helm: Helm) -> None:
    values = {"trustedNodes": True, "etcd": {"nodeSelector": {"disk": "ssd"}, "tolerations": [SPOT]}}
    found = objects_of(helm.render(values))
    for spec in (
        found[ETCD]["spec"]["template"]["spec"],
        at(found[MAINTENANCE], "/spec/jobTemplate/spec/template/spec"),
    ):
        assert spec["nodeSelector"] == {
            "disk": "ssd",
            "kubernetes.io/os": "linux",
            "node-restriction.kubernetes.io/kubesteer": "trusted",
        }
        assert [each["key"] for each in spec["tolerations"]] == ["spot", "node-role.kubernetes.io/control-plane"]


@pytest.mark.parametrize(("values", "namespace"), [({}, "kubesteer"), ({"dashboardNamespace": "grafana"}, "grafana")])
def test_the_dashboard_is_where_grafana_looks(helm: Helm, values: Mapping[str, Any], namespace: str) -> None:
    found = objects_of(helm.render({"monitoring": {"enabled": True, **values}}))
    assert ("ConfigMap", namespace, "kubesteer-dashboard") in found


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


@pytest.mark.parametrize("minor", range(TESTED[0], TESTED[-1] + 2))
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


def test_a_version_of_the_cluster_without_a_patch_is_told(helm: Helm) -> None:
    """There is no such image of kube-scheduler."""
    told = helm("template", "kubesteer", str(CHART), "--kube-version", "1.37", fails=True)
    assert "v1.37 names no patch: say --kube-version 1.37.0" in told


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


def test_every_object_is_valid_by_the_schemas_of_each_minor(helm: Helm, kustomize: Callable[[Variant], str]) -> None:
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
