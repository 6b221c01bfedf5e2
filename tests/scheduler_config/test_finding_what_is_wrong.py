"""Each fault is found, at its field, as grave as it is, and nothing else is said of it."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from extender.routes.verbs import Verbs
from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.connection import called_path
from kubesteer.schedulerconfig.findings import Severity
from kubesteer.schedulerconfig.service import VERBS, Service
from tests.scheduler_config.documents import (
    CA,
    CASES,
    E0,
    EGRESS,
    GPU,
    HTTPS,
    POLICY,
    SLO,
    TASTE,
    TLS,
    Case,
    document,
    entry,
    found,
    managing,
)


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
            "nothing counts it",
            id="ignorable and uncounted",
        ),
    ],
)
def test_the_reason_is_told(changes: dict[str, object], minor: int, said: str) -> None:
    findings = check(document(entry(**changes)), minor)
    assert said in " ".join(f"{each.reason} {each.fix}" for each in findings)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        pytest.param("NodeResourceFit", "write NodeResourcesFit", id="a letter is missing"),
        pytest.param("nodeaffinity", "write NodeAffinity", id="another case"),
        pytest.param("VolumeZnoe", "write VolumeZone", id="two letters swapped"),
        pytest.param("NodeResourcesFitPlus", "leave it out, unless", id="Koordinator's"),
        pytest.param("NodeResourcesAllocatable", "leave it out, unless", id="of scheduler-plugins"),
        pytest.param("NodeResourceTopologyMatch", "leave it out, unless", id="of scheduler-plugins, another"),
        pytest.param("NodeNUMAResource", "leave it out, unless", id="Koordinator's, another"),
        pytest.param("NodeResourcesLeastAllocated", "scoringStrategy.type: LeastAllocated", id="its work is done"),
        pytest.param("SelectorSpread", "PodTopologySpread does this now", id="it was replaced"),
    ],
)
def test_a_slip_is_corrected_and_a_plugin_from_elsewhere_is_not(name: str, fix: str) -> None:
    profiles = [{"plugins": {"filter": {"enabled": [{"name": name}]}}}]
    [finding] = [each for each in check(document(profiles=profiles), 37) if each.rule == "unknown-plugin"]
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("fields", "path", "fix"),
    [
        pytest.param({"profiles": [{"extenders": []}]}, "profiles[0].extenders", "the top of the file", id="profile"),
        pytest.param({"filterVerb": "filter"}, "filterVerb", "extenders[]", id="an extender's at the top"),
        pytest.param({"extenders": [{"caFile": CA}]}, "extenders[0].caFile", "extenders[].tlsConfig", id="TLS"),
        pytest.param({"leaderElect": False}, "leaderElect", "leaderElection", id="leaderElect"),
        pytest.param({"kubeconfig": "x"}, "kubeconfig", "clientConnection", id="kubeconfig"),
        pytest.param({"plugins": {}}, "plugins", "profiles[]", id="plugins"),
        pytest.param({"profiles": [{"score": {}}]}, "profiles[0].score", "profiles[].plugins", id="score"),
    ],
)
def test_a_field_at_the_wrong_place_is_told_where_it_belongs(fields: dict[str, Any], path: str, fix: str) -> None:
    [finding] = [each for each in check(document(**fields), 37) if each.rule == "unknown-field"]
    assert (finding.path, finding.fix) == (path, f"move it to {fix}")


@pytest.mark.parametrize(
    ("entries", "minor", "said"),
    [
        # 15 / (15 + 15) = 50 %
        pytest.param([entry()], 37, "beside the 1,500 of the 9 Score plugins of profiles[0]: at least 50%", id="alone"),
        # 15 / (15 + 15 + 10) = 37.5 %
        pytest.param(
            [entry(), TASTE | {"weight": 10}],
            37,
            "and the 1,000 of extenders[1]: at least 37%",
            id="beside another's weight",
        ),
        # 12 / (12 + 12 + 6 + 6) = 33 %
        pytest.param(
            [TASTE | {"weight": 6}, entry(weight=12), TASTE | {"weight": 6, "urlPrefix": "http://b.example:1"}],
            34,
            "and the 1,200 of extenders[0], extenders[2]: at least 33%",
            id="beside two",
        ),
        # An extender without prioritizeVerb gives no scores: 15 / 30.
        pytest.param([entry(), GPU | {"weight": 100}], 37, "profiles[0]: at least 50%", id="beside a filter"),
    ],
)
def test_the_share_counts_what_other_extenders_give(entries: list[dict[str, Any]], minor: int, said: str) -> None:
    [finding] = [each for each in check(document(*entries), minor) if each.rule == "weight"]
    assert finding.reason.endswith(f"{said} of the score")


def test_a_weight_that_is_too_small_beside_others_is_mended_beside_others() -> None:
    # Half beside 15 and 100 is 115.
    [finding] = [each for each in check(document(entry(), TASTE), 37) if each.rule == "weight-small"]
    assert finding.fix.startswith("write 115 ")


@pytest.mark.parametrize(
    ("verb", "changes", "said"),
    [
        pytest.param("bind", {"ignorable": True}, "then binds it itself", id="bind, ignorable"),
        pytest.param("bind", {"ignorable": False}, "no pod is ever bound", id="bind"),
        pytest.param(
            "bind", {"managedResources": [{"name": SLO}]}, "no pod with these resources is ever bound", id="bind some"
        ),
        pytest.param("preempt", {"ignorable": True}, "then goes on without the answer", id="preempt, ignorable"),
        pytest.param("preempt", {"ignorable": False}, "no pod gets a place by preemption", id="preempt"),
    ],
)
def test_what_an_unanswered_verb_costs_depends_on_ignorable(verb: str, changes: dict[str, Any], said: str) -> None:
    given = entry(**{"ignorable": False, f"{verb}Verb": verb, **changes})
    [finding] = [each for each in check(document(given), 37) if each.path == f"{E0}.{verb}Verb"]
    assert said in finding.reason


@pytest.mark.parametrize(
    ("prefix", "verb", "path"),
    [
        pytest.param("http://a:8888", "filter", "/filter", id="plain"),
        pytest.param("http://a:8888//", "filter", "/filter", id="slashes at the end are cut"),
        pytest.param("http://a:8888", "/filter", "//filter", id="a slash before the verb stays"),
        pytest.param("http://a:8888", "filter/", "/filter/", id="a slash behind the verb stays"),
        pytest.param("http://a:8888/x/", "y/filter", "/x/y/filter", id="a path in both"),
        pytest.param("http://a:8888", "filter?a=b", "/filter", id="a query in the verb"),
        pytest.param("http://a:8888?a=b", "filter", "", id="a query in the prefix"),
    ],
)
def test_the_path_is_the_trimmed_prefix_a_slash_and_the_verb(prefix: str, verb: str, path: str) -> None:
    assert called_path(prefix, verb) == path


@pytest.mark.parametrize(
    ("prefix", "changes", "said"),
    [
        pytest.param("/scheduler", {"filterVerb": "scheduler/filter"}, ["url-path urlPrefix"], id="one of two"),
        pytest.param(
            "/scheduler",
            {"filterVerb": "scheduler/filter", "prioritizeVerb": "scheduler/prioritize"},
            [],
            id="the path in the verbs",
        ),
        pytest.param(
            "/a/b",
            {"urlPrefix": "http://127.0.0.1:8888/a/", "filterVerb": "b/filter", "prioritizeVerb": "b/prioritize"},
            [],
            id="the path in both",
        ),
        pytest.param(
            "/scheduler",
            {"urlPrefix": "http://127.0.0.1:8888/scheduler", "filterVerb": "/filter"},
            ["verb filterVerb"],
            id="a slash too many",
        ),
        pytest.param("", {"urlPrefix": "http://127.0.0.1:8888/filter"}, ["url-path urlPrefix"], id="a verb in it"),
        pytest.param("", {"filterVerb": "filter/"}, ["verb filterVerb"], id="a slash behind"),
    ],
)
def test_a_verb_is_right_where_the_whole_path_is(prefix: str, changes: dict[str, Any], said: list[str]) -> None:
    findings = check(document(entry(**changes)), 37, Service(path_prefix=prefix))
    assert found(findings, Severity.ERROR, Severity.WARNING) == [each.replace(" ", f" {E0}.") for each in said]


@pytest.mark.parametrize("uncounted", [False, True])
def test_what_holds_while_kubesteer_is_away_is_said_once_and_the_same_everywhere(uncounted: bool) -> None:
    given = entry(managedResources=[{"name": SLO, "ignoredByScheduler": uncounted}])
    said = " ".join(each.reason for each in check(document(given), 37))
    assert ("SLOs asked for as extended resources still hold" in said) is not uncounted
    assert (f"nothing then counts {SLO}" in said) is uncounted


def test_a_time_out_beside_a_long_deadline_has_one_way_out() -> None:
    # With a deadline of 2 s neither "write 1s" nor "stay above 2000" helps: the deadline has to come down.
    for timeout in ("1s", "3s"):
        findings = check(document(entry(httpTimeout=timeout)), 37, Service(deadline_s=2.0))
        [finding] = [each for each in findings if each.rule == "timeout"]
        assert "set limits.deadline_ms below 1000" in finding.fix


def test_several_extenders_that_are_none_of_kubesteers_get_no_advice_and_one_is_chosen_by_its_address() -> None:
    others = document(TASTE, TASTE | {"urlPrefix": "http://other.example:1"})
    assert found(check(others, 37), Severity.WARNING) == ["no-extender extenders"]
    chosen = check(others, 37, url="http://other.example:1/")
    assert {each.path.split(".")[0] for each in chosen if each.path.startswith("extenders[")} == {"extenders[1]"}
    assert found(check(others, 37, url="http://nowhere:1"), Severity.WARNING) == ["no-extender extenders"]


def test_a_policy_is_told_all_in_one_round() -> None:
    fixes = {each.path: each.fix for each in check(POLICY, 37) if each.severity is Severity.ERROR}
    assert fixes[f"{E0}.enableHttps"] == "write enableHTTPS"
    assert "profiles[].plugins.filter" in fixes["predicates"]
    assert "name the file by --config" in fixes["kind"]
    assert len(fixes) == 8


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
    assert found(findings, Severity.WARNING) == [
        f"{rule} {E0}.urlPrefix" for rule in ("clear-text", "url", "url-password", "url-port")
    ]
    assert "secret" not in str(findings)


def test_which_pods_come_is_told_where_not_all_do() -> None:
    assert f"pods {E0}.managedResources" in found(check(document(managing(EGRESS)), 37), Severity.NOTE)
    assert f"pods {E0}.managedResources" not in found(check(document(), 37), Severity.NOTE)


def test_of_the_warnings_those_come_first_with_which_nothing_works() -> None:
    given = entry(nodeCacheCapable=False, httpTimeout="9s", urlPrefix="https://10.96.0.88:8888", filterVerb="f")
    rules = [each.rule for each in check(document(given, clientConnection=None), 37)]
    # The scheduler does not start; kubesteer is not reached; TLS fails; the rest.
    assert rules[:5] == ["no-kubeconfig", "verb", "tls-no-ca", "timeout", "full-nodes"]


def test_the_worst_comes_first() -> None:
    severities = [each.severity for each in check(document(entry(weight=0, httpTimeout="2s")), 37)]
    assert severities == sorted(severities, key=list(Severity).index)
    assert len(set(severities)) == 3


def test_the_verbs_are_those_that_the_extender_serves() -> None:
    assert {path.strip("/") for path in Verbs.endpoints(Mock(), "")} == set(VERBS)
