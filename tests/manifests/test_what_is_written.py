"""Every object in manifests/: complete, labelled, pinned, unprivileged; and each file is used."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.findings import Severity
from kubesteer.schedulerconfig.service import service_from

from .written import (
    CLUSTER_WIDE,
    MANIFESTS,
    NAMESPACE,
    Written,
    faults_of,
    kustomizations,
    named_files,
    patches,
    pod_spec,
    written,
)

OBJECTS = written()
PODS = [each for each in OBJECTS if pod_spec(each.object)]
STEPS_IN_PLACE = {"kubeadm.yaml", "README.md", "check.sh", "kube-scheduler+json.yaml", "scheduler-config.yaml"}
"""For people and kubeadm, not for kustomize."""


def the(kind: str, name: str) -> Any:
    [found] = [e.object for e in OBJECTS if (e.object["kind"], e.object["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("each", OBJECTS, ids=str)
def test_an_object_keeps_the_rules_for_all_objects(each: Written) -> None:
    assert faults_of(each.object) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hostPID": True}, "reaches into its node"),
        ({"securityContext": {}}, "may run as root"),
        ({"schedulerName": "kubesteer"}, "may be scheduled through kubesteer"),
        ({"enableServiceLinks": None}, "takes the variables of Services, which look like settings"),
        ({"containers": [{"name": "x", "image": "a/b:latest"}]}, "x has an image without a version: a/b:latest"),
        ({"containers": [{"name": "x", "image": "a:5000/b"}]}, "x has an image without a version: a:5000/b"),
        ({"containers": [{"name": "x", "image": "a/b:1"}]}, "x keeps capabilities"),
    ],
)
def test_the_rules_notice_what_breaks_them(change: dict[str, Any], fault: str) -> None:
    deployment = the("Deployment", "kubesteer-extender")
    spec = deployment["spec"]["template"]["spec"] | change
    broken = deployment | {"spec": {"template": {"spec": spec}}}
    assert fault in faults_of(broken)


def test_no_two_objects_have_one_name() -> None:
    names = [(e.object["kind"], e.object["metadata"].get("namespace"), e.object["metadata"]["name"]) for e in OBJECTS]
    assert len(names) == len(set(names))


def test_every_file_is_named_by_a_kustomization_and_every_name_exists() -> None:
    named = {path for each in kustomizations() for _, path in named_files(each)}
    assert [path for path in named if not path.exists()] == []
    files = {path for path in MANIFESTS.rglob("*") if path.is_file() and path.name != "kustomization.yaml"}
    by_hand = {MANIFESTS / "overlays/in-place" / name for name in STEPS_IN_PLACE}
    assert files - by_hand == {path for path in named if path.is_file()}


@pytest.mark.parametrize("each", PODS, ids=str)
def test_selectors_choose_the_pods_of_their_own_workload(each: Written) -> None:
    spec = each.object["spec"]
    template = spec.get("template") or spec["jobTemplate"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert labels == each.object["metadata"]["labels"]
    if "selector" in spec:
        assert spec["selector"]["matchLabels"].items() <= labels.items()
    for constraint in template["spec"].get("topologySpreadConstraints", ()):
        assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "PodMonitor"])
def test_every_other_selector_chooses_pods_or_services_that_exist(kind: str) -> None:
    """By the name label, which is all that they select by; an empty selector means all."""
    known = {each.object["metadata"]["labels"]["app.kubernetes.io/name"] for each in PODS}
    found = [each.object for each in OBJECTS if each.object["kind"] == kind]
    assert found
    for thing in found:
        assert set(_names_selected(thing["spec"])) <= known


def _names_selected(spec: Any) -> list[str]:
    """The values of the name label in every selector below."""
    if isinstance(spec, list):
        return [name for each in spec for name in _names_selected(each)]
    if not isinstance(spec, dict):
        return []
    own = [spec["app.kubernetes.io/name"]] if "app.kubernetes.io/name" in spec else []
    own += spec["values"] if spec.get("key") == "app.kubernetes.io/name" else []
    return own + [name for value in spec.values() for name in _names_selected(value)]


def test_ports_that_are_named_are_ports_that_containers_have() -> None:
    for each in OBJECTS:
        if each.object["kind"] != "Service":
            continue
        name = each.object["spec"]["selector"]["app.kubernetes.io/name"]
        [spec] = [
            pod_spec(pods.object)
            for pods in PODS
            if pods.object["metadata"]["labels"]["app.kubernetes.io/name"] == name
        ]
        ports = {port["name"]: port["containerPort"] for one in spec["containers"] for port in one.get("ports", ())}
        for port in each.object["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("each", PODS, ids=str)
def test_what_is_mounted_is_a_volume_and_every_volume_is_mounted(each: Written) -> None:
    spec = pod_spec(each.object)
    assert spec is not None
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    volumes |= {claim["metadata"]["name"] for claim in each.object["spec"].get("volumeClaimTemplates", ())}
    mounted = {
        mount["name"]
        for one in [*spec.get("initContainers", ()), *spec["containers"]]
        for mount in one.get("volumeMounts", ())
    }
    assert mounted == volumes


def test_cert_manager_makes_every_secret_that_a_pod_mounts_and_no_other() -> None:
    """What a patch adds to a pod among them."""
    pods = [*(each.object for each in PODS), *patches()]
    mounted = {
        volume["secret"]["secretName"]
        for each in pods
        for volume in (pod_spec(each) or {}).get("volumes", ())
        if "secret" in volume
    }
    made = {
        each.object["spec"]["secretName"]
        for each in OBJECTS
        if each.object["kind"] == "Certificate" and not each.object["spec"].get("isCA")
    }
    assert made == mounted


@pytest.mark.parametrize("count", [1, 3])
def test_etcd_is_called_by_names_that_its_certificates_have(count: int) -> None:
    base = the("StatefulSet", "kubesteer-etcd")["spec"]
    spec = base if count == 1 else patch_of("components/three-etcd-members/members.yaml")["spec"]
    assert spec["replicas"] == count
    args = dict(arg.split("=", 1) for arg in base["template"]["spec"]["containers"][0]["args"] if "=" in arg)
    own = [args["--initial-advertise-peer-urls"].replace("$(POD_NAME)", f"kubesteer-etcd-{i}") for i in range(3)]
    assert initial_cluster(spec) == own[:count]
    hosts = [member.removeprefix("https://").removesuffix(":2380") for member in own]
    assert the("Certificate", "kubesteer-etcd-peer")["spec"]["dnsNames"] == hosts
    assert the("Certificate", "kubesteer-etcd-server")["spec"]["dnsNames"] == ["kubesteer-etcd.kubesteer.svc", *hosts]
    assert base["serviceName"] == the("Service", "kubesteer-etcd-members")["metadata"]["name"]


def initial_cluster(spec: Any) -> list[str]:
    [container] = spec["template"]["spec"]["containers"]
    [members] = [each["value"] for each in container["env"] if each["name"] == "ETCD_INITIAL_CLUSTER"]
    return [member.split("=", 1)[1] for member in members.split(",")]


def test_the_policies_are_about_the_account_that_agents_have() -> None:
    account = the("DaemonSet", "kubesteer-agent")["spec"]["template"]["spec"]["serviceAccountName"]
    for name in ("kubesteer-agent-own-node", "kubesteer-agent-events"):
        [condition] = the("ValidatingAdmissionPolicy", name)["spec"]["matchConditions"]
        assert condition["expression"].endswith(f'== "system:serviceaccount:{NAMESPACE}:{account}"')
        assert the("ValidatingAdmissionPolicyBinding", name)["spec"]["validationActions"] == ["Deny"]


def test_a_policy_of_admission_that_cannot_be_judged_refuses_and_each_has_a_binding_that_denies() -> None:
    policies = {
        each.object["metadata"]["name"]: each.object["spec"]
        for each in OBJECTS
        if each.object["kind"] == "ValidatingAdmissionPolicy"
    }
    bound = {
        each.object["spec"]["policyName"]: each.object["spec"]["validationActions"]
        for each in OBJECTS
        if each.object["kind"] == "ValidatingAdmissionPolicyBinding"
    }
    assert {name: spec["failurePolicy"] for name, spec in policies.items()} == dict.fromkeys(policies, "Fail")
    assert bound == {name: ["Deny"] for name in policies}


def test_a_drain_takes_one_pod_of_each_replicated_workload_and_never_all() -> None:
    """A budget of 0 would stop every drain; an unhealthy pod never does."""
    replicated = {
        each["metadata"]["name"]: each["spec"]["replicas"]
        for each in [*(one.object for one in PODS), patch_of("components/three-etcd-members/members.yaml")]
        if each["spec"].get("replicas", 1) > 1
    }
    assert len(replicated) == 3
    for name, replicas in replicated.items():
        spec = the("PodDisruptionBudget", name)["spec"]
        assert spec.keys() == {"maxUnavailable", "unhealthyPodEvictionPolicy", "selector"}
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert 1 == spec["maxUnavailable"] < replicas


def test_etcd_asks_clients_and_members_for_their_certificates() -> None:
    [container] = the("StatefulSet", "kubesteer-etcd")["spec"]["template"]["spec"]["containers"]
    assert {"--client-cert-auth", "--peer-client-cert-auth", "--enable-grpc-gateway=false"} <= set(container["args"])
    assert [arg for arg in container["args"] if "pprof" in arg or "http://" in arg] == [
        "--listen-metrics-urls=http://0.0.0.0:2381"
    ]


@pytest.mark.parametrize("each", [each for each in PODS if each.object["kind"] != "CronJob"], ids=str)
def test_every_probe_has_a_timeout_of_its_own(each: Written) -> None:
    """A second, which Kubernetes takes otherwise, passes on a busy node without a fault."""
    for container in (pod_spec(each.object) or {})["containers"]:
        probes = {name: probe for name, probe in container.items() if name.endswith("Probe")}
        assert {"readinessProbe", "livenessProbe"} <= probes.keys()
        assert all(probe.get("timeoutSeconds", 1) > 1 for probe in probes.values())


def test_etcd_may_take_minutes_to_start_before_its_liveness_is_asked() -> None:
    [container] = the("StatefulSet", "kubesteer-etcd")["spec"]["template"]["spec"]["containers"]
    startup = container["startupProbe"]
    assert startup["httpGet"] == container["livenessProbe"]["httpGet"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 300


@pytest.mark.parametrize(
    "file",
    [
        "components/second-scheduler/config.yaml",
        "overlays/in-place/scheduler-config.yaml",
        "overlays/dev/scheduler.yaml",
    ],
)
def test_no_scheduler_lets_itself_be_profiled(file: str) -> None:
    *_, config = yaml.safe_load_all((MANIFESTS / file).read_text())
    if config["kind"] == "ConfigMap":
        config = yaml.safe_load(config["data"]["config.yaml"])
    assert config["enableProfiling"] is False


def test_only_what_is_cluster_wide_or_reads_a_role_of_kube_system_is_outside_the_namespace() -> None:
    outside = {
        (each.object["kind"], each.object["metadata"]["name"])
        for each in OBJECTS
        if each.object["metadata"].get("namespace") != NAMESPACE and each.object["kind"] not in CLUSTER_WIDE
    }
    assert outside == {("RoleBinding", "kubesteer-scheduler-authentication-reader")}


def test_the_scheduler_asks_an_extender_by_the_name_and_port_of_its_service() -> None:
    service = the("Service", "kubesteer-extender")
    port = next(port["port"] for port in service["spec"]["ports"] if port["name"] == "verbs")
    config = yaml.safe_load((MANIFESTS / "components/second-scheduler/config.yaml").read_text())
    [entry] = config["extenders"]
    assert entry["urlPrefix"] == f"https://{service['metadata']['name']}.{NAMESPACE}.svc:{port}"
    [name] = the("Certificate", "kubesteer-extender-server")["spec"]["dnsNames"]
    assert entry["urlPrefix"] == f"https://{name}:{port}"
    in_place = yaml.safe_load((MANIFESTS / "overlays/in-place/scheduler-config.yaml").read_text())
    assert in_place["extenders"][0]["tlsConfig"]["serverName"] == name


@pytest.mark.parametrize("file", ["components/second-scheduler/config.yaml", "overlays/in-place/scheduler-config.yaml"])
def test_kubesteers_own_check_finds_nothing_wrong_with_a_scheduler_configuration(file: str) -> None:
    """The second scheduler is one of 1.37, whose plugins the weight is for."""
    settings = yaml.safe_load((MANIFESTS / "base/extender/settings.yaml").read_text())
    config = yaml.safe_load((MANIFESTS / file).read_text())
    findings = check(config, 37, service_from(settings))
    assert [each for each in findings if each.severity is not Severity.NOTE] == []


def test_no_certificate_has_the_name_of_its_authority() -> None:
    """It would look as if it had signed itself, and be refused."""
    certificates = [each.object["spec"] for each in OBJECTS if each.object["kind"] == "Certificate"]
    authorities = {spec["commonName"] for spec in certificates if spec.get("isCA")}
    assert len(authorities) == 3
    assert not authorities & {spec["commonName"] for spec in certificates if not spec.get("isCA")}


def test_probes_speak_as_the_ops_port_does() -> None:
    """TLS with the base's settings, none with those of dev. An agent's stay on loopback, wherever its metrics are."""
    for deployment, settings in (
        (the("Deployment", "kubesteer-extender"), "base/extender/settings.yaml"),
        (patch_of("overlays/dev/extender.yaml"), "overlays/dev/extender-settings.yaml"),
    ):
        ops = yaml.safe_load((MANIFESTS / settings).read_text())["ops"]
        assert schemes(deployment) == {"HTTPS" if ops.get("tls") else "HTTP"}
    assert schemes(the("DaemonSet", "kubesteer-agent")) == {"HTTP"}
    [opened] = patch_of("components/monitoring/agent-on-node-address.yaml")["spec"]["template"]["spec"]["containers"]
    [asked] = pod_spec(the("DaemonSet", "kubesteer-agent"))["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert probe not in opened
        assert asked[probe]["httpGet"]["host"] == "127.0.0.1"
    assert {"name": "KUBESTEER_AGENT_OPS__PROBES_HOST", "value": "127.0.0.1"} in opened["env"]


def test_all_but_the_agents_can_be_kept_to_nodes_that_no_kubelet_names_itself() -> None:
    """Every workload that the component's patches are for, and every one there is, has its label's place in its pod."""
    folder = MANIFESTS / "components/trusted-nodes"
    targets = {
        each["target"]["kind"] for each in yaml.safe_load((folder / "kustomization.yaml").read_text())["patches"]
    }
    others = {each.object["kind"] for each in PODS} - {"DaemonSet"}
    assert targets == others
    assert all("nodeSelector" in (pod_spec(each.object) or {}) for each in PODS)
    label = "node-restriction.kubernetes.io~1kubesteer"
    for file in ("pods.yaml", "cron-job.yaml"):
        [selector, _] = yaml.safe_load((folder / file).read_text())
        assert selector["path"].endswith(f"/nodeSelector/{label}")


def patch_of(file: str) -> Any:
    return next(yaml.safe_load_all((MANIFESTS / file).read_text()))


def schemes(workload: Any) -> set[str]:
    [container] = (pod_spec(workload) or {})["containers"]
    return {container[f"{kind}Probe"]["httpGet"].get("scheme", "HTTP") for kind in ("readiness", "liveness")}


@pytest.mark.parametrize(("kind", "name"), [("ServiceMonitor", "extender"), ("PodMonitor", "agent")])
def test_prometheus_trusts_the_authority_and_the_name_of_the_certificate_that_it_meets(kind: str, name: str) -> None:
    spec = the(kind, f"kubesteer-{name}")["spec"]
    [endpoint] = spec.get("endpoints") or spec["podMetricsEndpoints"]
    certificate = the("Certificate", f"kubesteer-{name}-server")["spec"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["ca"]["secret"] == {"name": certificate["secretName"], "key": "ca.crt"}
    assert [endpoint["tlsConfig"]["serverName"]] == certificate["dnsNames"]
    assert not {"bearerTokenFile", "bearerTokenSecret"} & endpoint.keys()
    token = the("Secret", endpoint["authorization"]["credentials"]["name"])
    assert token["type"] == "kubernetes.io/service-account-token"
    account = token["metadata"]["annotations"]["kubernetes.io/service-account.name"]
    assert not the("ServiceAccount", account)["automountServiceAccountToken"]
