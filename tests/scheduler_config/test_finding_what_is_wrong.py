"""Each fault is found, at its field, as grave as it is, and nothing else is said of it."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from extender.routes.verbs import Verbs
from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.findings import Severity
from kubesteer.schedulerconfig.service import VERBS, Service
from tests.scheduler_config.documents import CASES, E0, EGRESS, HTTPS, TLS, Case, document, entry, found, managing


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_fault_is_found_where_it_is_and_as_grave_as_it_is(case: Case) -> None:
    findings = case.findings()
    assert found(findings, Severity.ERROR) == sorted(case.errors)
    assert found(findings, Severity.WARNING) == sorted(case.warnings)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_can_be_mended_says_how_and_a_note_asks_for_nothing(case: Case) -> None:
    for each in case.findings():
        assert each.reason
        assert bool(each.fix) is (each.severity is not Severity.NOTE)


@pytest.mark.parametrize(
    ("changes", "minor", "said"),
    [
        pytest.param({"nodeCacheCapable": False}, 32, "cost both sides", id="full nodes are dear"),
        pytest.param({"nodeCacheCapable": False}, 33, "#141781", id="and wrong from 1.33 on"),
        pytest.param({"enabledHTTPS": True}, 37, "write enableHTTPS", id="a name nearly right"),
        pytest.param({"httpTimeout": None}, 37, "5s, the default", id="the default time-out"),
        pytest.param(
            {"managedResources": [{"name": "example.com/SLO", "ignoredByScheduler": True}]},
            37,
            "nobody counts",
            id="ignorable and uncounted",
        ),
    ],
)
def test_the_reason_is_told(changes: dict[str, object], minor: int, said: str) -> None:
    findings = check(document(entry(**changes)), minor)
    assert said in " ".join(f"{each.reason} {each.fix}" for each in findings)


@pytest.mark.parametrize(("minor", "lost"), [(34, False), (35, True), (37, True)])
def test_batching_is_lost_from_1_35_on(minor: int, lost: bool) -> None:
    assert ("batching extenders" in found(check(document(), minor), Severity.NOTE)) is lost


@pytest.mark.parametrize(
    ("percent", "said"), [(None, "420 of 1,000"), (0, "420 of 1,000"), (20, "sees 20%"), (100, "every node that fits")]
)
def test_how_many_nodes_kubesteer_sees_is_told(percent: int | None, said: str) -> None:
    findings = check(document(percentageOfNodesToScore=percent), 37)
    assert any(each.rule == "sampling" and said in each.reason for each in findings)


@pytest.mark.parametrize(
    ("service", "fields", "said"),
    [
        pytest.param(
            Service(path_prefix="/scheduler"), {"urlPrefix": "http://127.0.0.1:8888/scheduler/"}, [], id="its path"
        ),
        pytest.param(Service(path_prefix="/scheduler"), {}, [f"url-path {E0}.urlPrefix"], id="not its path"),
        pytest.param(Service(serves_tls=True), {}, [f"https-scheme {E0}.urlPrefix"], id="it speaks TLS"),
        pytest.param(
            Service(serves_tls=False),
            {"urlPrefix": HTTPS, "enableHTTPS": True, "tlsConfig": TLS},
            [f"https-scheme {E0}.urlPrefix"],
            id="it does not speak TLS",
        ),
        pytest.param(
            Service(serves_tls=True, asks_certificate=True),
            {"urlPrefix": HTTPS, "enableHTTPS": True, "tlsConfig": TLS},
            [f"no-certificate {E0}.tlsConfig"],
            id="it asks for a certificate",
        ),
        pytest.param(Service(deadline_s=2.0), {}, [f"timeout {E0}.httpTimeout"], id="its deadline is longer"),
        pytest.param(
            Service(resource_names=("example.com/net",)),
            {"managedResources": [{"name": "example.com/net"}]},
            [],
            id="it counts that resource",
        ),
        pytest.param(
            Service(resource_names=("example.com/net",)),
            {"managedResources": [{"name": EGRESS}]},
            [f"resource-unknown {E0}.managedResources[0].name"],
            id="it does not count that one",
        ),
        pytest.param(
            Service(ops_port=9000),
            {"urlPrefix": "http://127.0.0.1:9000"},
            [f"url-port {E0}.urlPrefix"],
            id="its ops port",
        ),
    ],
)
def test_the_file_is_held_against_the_extenders_own_settings(
    service: Service, fields: dict[str, object], said: list[str]
) -> None:
    assert found(check(document(entry(**fields)), 37, service), Severity.ERROR, Severity.WARNING) == said


def test_with_a_short_list_of_one_a_filter_alone_is_right_and_prioritize_is_never_called() -> None:
    filter_only = entry(prioritizeVerb=None, weight=None)
    assert f"filter-only {E0}.prioritizeVerb" in found(check(document(filter_only), 37), Severity.NOTE)
    assert f"filter-only {E0}.prioritizeVerb" not in found(
        check(document(filter_only), 37, Service(shortlist=1)), Severity.NOTE
    )
    assert f"never-asked {E0}.prioritizeVerb" in found(check(document(), 37, Service(shortlist=1)), Severity.NOTE)


def test_a_password_in_the_address_is_not_repeated() -> None:
    findings = check(document(entry(urlPrefix="http://me:secret@192.0.2.1:8889/filter?a=b")), 37)
    assert len(found(findings, Severity.WARNING)) == 5
    assert "secret" not in str(findings)


def test_which_pods_come_is_told_where_not_all_do() -> None:
    assert f"pods {E0}.managedResources" in found(check(document(managing(EGRESS)), 37), Severity.NOTE)
    assert f"pods {E0}.managedResources" not in found(check(document(), 37), Severity.NOTE)


def test_the_worst_comes_first() -> None:
    severities = [each.severity for each in check(document(entry(weight=0, httpTimeout="2s")), 37)]
    assert severities == sorted(severities, key=list(Severity).index)
    assert len(set(severities)) == 3


def test_the_verbs_are_those_that_the_extender_serves() -> None:
    assert {path.strip("/") for path in Verbs.endpoints(Mock(), "")} == set(VERBS)
