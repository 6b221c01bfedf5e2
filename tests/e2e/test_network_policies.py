"""The NetworkPolicies by what they let through: every room to every port, and all that is around them.

Judged by the evaluation code of kube-network-policies, over what kustomize and Helm render. `LET_THROUGH` is the whole
table: a flow that is not in it is refused.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.network_flows import AROUND, flows, let_through, rooms
from tests.e2e.test_chart import helm
from tests.manifests.written import MANIFESTS, ROOT
from tools.cluster.bundles import NETPOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.chart.rendering import Helm
    from tools.cluster.build import Binaries

__all__ = ["helm"]

Objects = list[dict[str, Any]]
OUTSIDE = [place.name for place in AROUND]
ROOMS = ("extender", "keeper", "etcd", "etcd-maintenance", "scheduler")
NAMES = {
    f"{room} -> {dns} {protocol}/53"
    for room in (*ROOMS, "guest")
    for dns in ("dns", "node-local-dns")
    for protocol in ("UDP", "TCP")
}
"""Every pod asks for names."""
API_SERVER = {
    f"{room} -> {target}"
    for room in ("extender", "keeper", "scheduler")
    # The API server's address is nobody's to know, so its ports are open to every address.
    for target in ("api-server TCP/443", "api-server TCP/6443", "stranger TCP/443")
}
ELSEWHERE = {
    f"{room} -> openshift-dns {protocol}/5353" for room in (*ROOMS, "guest") for protocol in ("UDP", "TCP")
} | {f"{room} -> api-server TCP/{port}" for room in ("extender", "keeper", "scheduler") for port in (8443, 16443)}
"""Instead of both above, with the ports and peers of another cluster."""
ETCD = {
    "etcd -> etcd TCP/2380",
    "extender -> etcd TCP/2379",
    "keeper -> etcd TCP/2379",
    "etcd-maintenance -> etcd TCP/2379",
    # Agents come with their nodes' addresses, so whoever has no policy of its own reaches the port; etcd asks each for
    # its certificate.
    *(f"{source} -> etcd TCP/2379" for source in OUTSIDE if source != "guest"),
}
SCHEDULER = {"scheduler -> extender TCP/8888"}
PROMETHEUS = {
    "prometheus -> extender TCP/8889",
    "prometheus -> etcd TCP/2381",
    "prometheus -> keeper TCP/8891",
}
IN_PLACE = {f"{source} -> extender TCP/8888" for source in OUTSIDE if source != "guest"}
THEIR_ETCD = {f"extender -> {target}" for target in ("their-etcd TCP/2379", "etcd-impostor TCP/2379")}


def of(rooms: Sequence[str], *tables: set[str]) -> set[str]:
    """What of the tables is about rooms that are there."""
    gone = set(ROOMS) - set(rooms)
    return {flow for table in tables for flow in table if not gone & {flow.split()[0], flow.split()[2]}}


LET_THROUGH = {
    "overlays/self-signed": of(ROOMS, NAMES, API_SERVER, ETCD, SCHEDULER),
    "overlays/three-etcd-members": of(ROOMS, NAMES, API_SERVER, ETCD, SCHEDULER),
    "overlays/second-scheduler": of(ROOMS, NAMES, API_SERVER, ETCD, SCHEDULER),
    "overlays/cert-manager": of(ROOMS, NAMES, API_SERVER, ETCD, SCHEDULER),
    "overlays/in-place": of(("extender", "keeper", "etcd", "etcd-maintenance"), NAMES, API_SERVER, ETCD, IN_PLACE),
    "overlays/external-etcd": of(("extender", "scheduler"), NAMES, API_SERVER, THEIR_ETCD, SCHEDULER),
    "overlays/dev": of(("extender", "scheduler"), NAMES, API_SERVER, SCHEDULER),
    "with monitoring": of(ROOMS, NAMES, API_SERVER, ETCD, SCHEDULER, PROMETHEUS),
}
MONITORED = {
    "resources": ["manifests/overlays/self-signed"],
    "components": ["manifests/components/monitoring"],
}
EQUAL = {
    # Every pod is also in kubesteer-dns, which names Egress.
    "kubesteer-nothing-else: policyTypes without Egress",
    # Nothing listens on these ports in the other rooms.
    "kubesteer-metrics: podSelector takes all",
    "kubesteer-extender-in-place: podSelector takes all",
}
"""Losses that change nothing."""


@pytest.fixture(scope="module")
def netpol(binaries: Binaries) -> Path:
    if not binaries.has(NETPOL):
        pytest.fail("netpol: not built; run `python -m tools.cluster build netpol`", pytrace=False)
    return binaries.path("netpol", bundle=NETPOL.name)


@pytest.fixture(scope="module")
def kustomize(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Objects]:
    """Renders a kustomization whose paths are the repository's."""

    def render(content: dict[str, Any]) -> Objects:
        folder = tmp_path_factory.mktemp("kustomize").resolve()
        to = os.path.relpath(ROOT, folder)
        paths = {field: [f"{to}/{path}" for path in content.get(field, ())] for field in ("resources", "components")}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content | paths))
        command = [binaries.path("kubectl"), "kustomize", folder]
        return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))

    return render


def judged(netpol: Path, things: Objects, policies: Objects | None = None) -> set[str]:
    places = [*rooms(things), *AROUND]
    return let_through(netpol, policies_of(things) if policies is None else policies, places, flows(places))


def policies_of(things: Objects) -> Objects:
    return [thing for thing in things if thing["kind"] == "NetworkPolicy"]


def rendered(kustomize: Callable[[dict[str, Any]], Objects], name: str) -> Objects:
    return kustomize(MONITORED if name == "with monitoring" else {"resources": [f"manifests/{name}"]})


def test_every_overlay_has_its_table() -> None:
    overlays = {f"overlays/{folder.name}" for folder in (MANIFESTS / "overlays").iterdir()}
    assert overlays == LET_THROUGH.keys() - {"with monitoring"}


@pytest.mark.parametrize("name", LET_THROUGH)
def test_just_the_flows_of_the_table_are_let_through(
    netpol: Path, kustomize: Callable[[dict[str, Any]], Objects], name: str
) -> None:
    things = rendered(kustomize, name)
    assert len(flows([*rooms(things), *AROUND])) >= 60
    assert judged(netpol, things) == LET_THROUGH[name]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("with monitoring", ""),
        ("overlays/in-place", "kubesteer-extender-in-place"),
        ("overlays/external-etcd", "kubesteer-external-etcd"),
    ],
)
def test_nothing_can_be_taken_out_of_a_policy_without_another_verdict(
    netpol: Path, kustomize: Callable[[dict[str, Any]], Objects], name: str, policy: str
) -> None:
    """A policy, a direction, a rule's ports or peers, a selector. Of the overlays their own policy alone is mutated."""
    things = rendered(kustomize, name)
    policies = policies_of(things)

    def at_each_end(policies: Objects) -> list[set[str]]:
        """Both ends refuse most flows, so that what one end lost does not show in the whole."""
        return [judged(netpol, things, of_direction(policies, each)) for each in ("Ingress", "Egress")]

    as_written = at_each_end(policies)
    tried = [(what, changed) for what, changed in mutants(policies) if what.startswith(policy)]
    assert len(tried) >= 4
    assert {what for what, changed in tried if at_each_end(changed) == as_written} <= EQUAL


def of_direction(policies: Objects, direction: str) -> Objects:
    return [
        policy
        | {
            "spec": policy["spec"]
            | {"policyTypes": [each for each in policy["spec"]["policyTypes"] if each == direction]}
        }
        for policy in policies
    ]


def test_dns_and_the_api_server_of_another_cluster_are_values_of_the_chart(netpol: Path, helm: Helm) -> None:
    """OpenShift's DNS, and the ports of k3s behind a proxy and of MicroK8s."""
    values = {
        "networkPolicies": {
            "dns": {"namespace": "openshift-dns", "addresses": [], "ports": [5353]},
            "apiServerPorts": [8443, 16443],
        }
    }
    things = [thing for thing in yaml.safe_load_all(helm.render(values)) if thing]
    assert judged(netpol, things) == of(ROOMS, ELSEWHERE, ETCD, SCHEDULER)


def test_they_are_a_patch_of_the_kustomization_as_the_docs_have_it(
    netpol: Path, kustomize: Callable[[dict[str, Any]], Objects]
) -> None:
    [block] = re.findall(r"```yaml\n(patches:\n.*?)```", (ROOT / "docs/manifests.md").read_text(), re.DOTALL)
    things = kustomize({"resources": ["manifests/overlays/self-signed"], **yaml.safe_load(block)})
    assert judged(netpol, things) == of(ROOMS, ELSEWHERE, ETCD, SCHEDULER)


def mutants(policies: Objects) -> Iterator[tuple[str, Objects]]:
    """Each policy less one thing, among the others as they are."""
    for number, policy in enumerate(policies):
        name = policy["metadata"]["name"]
        others = [*policies[:number], *policies[number + 1 :]]
        yield f"{name}: gone", others
        for what, changed in _losses(policy):
            yield f"{name}: {what}", [*others, changed]


def _losses(policy: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    spec = policy["spec"]

    def changed(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        copied = copy.deepcopy(policy)
        edit(copied["spec"])
        return copied

    if spec["podSelector"]:
        yield "podSelector takes all", changed(lambda new: new.update(podSelector={}))
    for kind in spec["policyTypes"]:
        yield f"policyTypes without {kind}", changed(lambda new, kind=kind: new["policyTypes"].remove(kind))  # type: ignore[misc]
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for at, rule in enumerate(spec.get(direction, ())):
            yield f"{direction} {at} for all ports", changed(lambda new, d=direction, a=at: new[d][a].pop("ports"))  # type: ignore[misc]
            for port in range(len(rule["ports"])):
                if len(rule["ports"]) > 1:
                    yield (
                        f"{direction} {at} without port {rule['ports'][port]}",
                        changed(lambda new, d=direction, a=at, p=port: new[d][a]["ports"].pop(p)),  # type: ignore[misc]
                    )
            if peers in rule:
                yield f"{direction} {at} for all", changed(lambda new, d=direction, a=at, k=peers: new[d][a].pop(k))  # type: ignore[misc]
                for peer in range(len(rule[peers])):
                    if len(rule[peers]) > 1:
                        yield (
                            f"{direction} {at} without peer {peer}",
                            changed(lambda new, d=direction, a=at, k=peers, p=peer: new[d][a][k].pop(p)),  # type: ignore[misc]
                        )
