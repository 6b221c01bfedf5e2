"""The alerts, loaded and evaluated by Prometheus' own promtool: what fires when, and what stays silent."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.manifests.written import written

from .fixtures import binaries, node_binaries

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["binaries", "node_binaries"]

READY = 'kubesteer_ready{pod="a"}', 'kubesteer_ready{pod="b"}', 'kubesteer_ready{pod="c"}'
ASKED = 'kubesteer_request_seconds_count{pod="a", verb="filter"}'
PLACED, FAULTY = 'kubesteer_pods_placed_total{pod="a"}', 'kubesteer_pods_faulty{pod="a"}'
KEEPERS, OWN = (
    'kubesteer_certificate_expiry_seconds{secret="kubesteer-etcd-server"}',
    'kubesteer_certificate_file_expiry_seconds{pod="a", file="/etc/kubesteer/server/tls.crt"}',
)
MEMBERS = [f'up{{job="kubesteer-etcd-members", pod="kubesteer-etcd-{number}"}}' for number in range(3)]
SNAPSHOT = 'kubesteer_etcd_snapshot_timestamp_seconds{pod="keeper"}'
STEADY, GROWING = "5+0x60", "0+60x60"
DAY_S = 86_400
"""An hour in minutes: a counter that stands still, and one that counts one a second."""


@pytest.fixture(scope="module")
def rules(node_binaries: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the operator would give to Prometheus. promtool is of the packages that real nodes need."""
    assert node_binaries
    [rule] = [each.object for each in written() if each.object["kind"] == "PrometheusRule"]
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    return file


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    assert program, "promtool is not there; run `python -m tools.cluster nodes`"
    told = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_prometheus_takes_every_rule(rules: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", str(rules))


@pytest.mark.parametrize(
    ("alert", "series", "fires"),
    [
        pytest.param("KubesteerEtcdNoLeader", {MEMBERS[0]: "1x60"}, False, id="the one member is there"),
        pytest.param("KubesteerEtcdNoLeader", {MEMBERS[0]: "1x30 0x30"}, True, id="the one member is away"),
        pytest.param("KubesteerEtcdMemberDown", {MEMBERS[0]: "1x60"}, False, id="one is all there are"),
        pytest.param(
            "KubesteerEtcdMemberDown",
            {MEMBERS[0]: "1x60", MEMBERS[1]: "1x60", MEMBERS[2]: "1x30 0x30"},
            True,
            id="one of three members is away",
        ),
        pytest.param("KubesteerNoSpare", {READY[0]: "1x60", READY[1]: "1x60"}, False, id="two of two"),
        pytest.param("KubesteerNoSpare", {READY[0]: "1x60", READY[1]: "1x30 0x30"}, True, id="one of two"),
        pytest.param("KubesteerNoSpare", {READY[0]: "1x60", READY[1]: "1x30 _x30"}, True, id="the other's pod is gone"),
        pytest.param(
            "KubesteerNoSpare",
            {READY[0]: "1x60", READY[1]: "1x60", READY[2]: "1x30 0x30"},
            True,
            id="two of three",
        ),
        pytest.param("KubesteerNoSpare", {READY[0]: "1x60"}, False, id="one, by choice"),
        pytest.param("KubesteerNotAsked", {PLACED: GROWING, ASKED: STEADY}, True, id="pods are placed, nobody asks"),
        pytest.param("KubesteerNotAsked", {PLACED: GROWING}, True, id="nobody ever asked"),
        pytest.param("KubesteerNotAsked", {PLACED: GROWING, ASKED: GROWING}, False, id="placed and asked"),
        pytest.param("KubesteerNotAsked", {PLACED: STEADY, ASKED: STEADY}, False, id="a quiet cluster"),
        pytest.param("KubesteerNotAsked", {PLACED: "0+1x60", ASKED: STEADY}, True, id="one pod a minute"),
        pytest.param(
            "KubesteerNotAsked", {FAULTY: "1x60", ASKED: STEADY}, True, id="pods wait for a scheduler's fault"
        ),
        pytest.param(
            "KubesteerNotAsked", {FAULTY: "1x60", ASKED: GROWING}, False, id="one waits, others are asked about"
        ),
        pytest.param("KubesteerNotAsked", {FAULTY: "0x60", ASKED: STEADY}, False, id="pods that fit nowhere"),
        pytest.param("KubesteerSnapshotOld", {SNAPSHOT: "600x60"}, False, id="a snapshot of this night"),
        pytest.param("KubesteerCertificateEnds", {KEEPERS: f"{11 * DAY_S}x120"}, False, id="a Secret with 11 days"),
        pytest.param("KubesteerCertificateEnded", {OWN: f"{2 * DAY_S}x120"}, False, id="a file with two days"),
    ],
)
def test_an_alert_fires_when_it_should_and_else_does_not(
    rules: Path, tmp_path: Path, alert: str, series: dict[str, str], fires: bool
) -> None:
    [rule] = [
        each
        for group in yaml.safe_load(rules.read_text())["groups"]
        for each in group["rules"]
        if each["alert"] == alert
    ]
    expected: dict[str, Any] = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": "55m", "alertname": alert, "exp_alerts": [expected] if fires else []},
                ],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(file))


@pytest.mark.parametrize(
    ("series", "alert", "where"),
    [
        (KEEPERS, "KubesteerCertificateEnds", {"secret": "kubesteer-etcd-server"}),
        (OWN, "KubesteerCertificateEnds", {"file": "/etc/kubesteer/server/tls.crt"}),
        (KEEPERS, "KubesteerCertificateEnded", {"secret": "kubesteer-etcd-server"}),
        (OWN, "KubesteerCertificateEnded", {"file": "/etc/kubesteer/server/tls.crt"}),
    ],
)
def test_a_certificate_that_ends_is_named_whoever_made_it(
    rules: Path, tmp_path: Path, series: str, alert: str, where: dict[str, str]
) -> None:
    """In 20 hours it is below both limits."""
    [rule] = [
        each
        for group in yaml.safe_load(rules.read_text())["groups"]
        for each in group["rules"]
        if each["alert"] == alert
    ]
    summary = rule["annotations"]["summary"]
    summary = summary.replace("{{ $labels.secret }}{{ $labels.file }}", next(iter(where.values())))
    annotations = rule["annotations"] | {"summary": summary.replace("{{ $value | humanizeDuration }}", "20h 0m 0s")}
    expected = {"exp_labels": rule["labels"] | where, "exp_annotations": annotations}
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": "72000x120"}],
                "alert_rule_test": [{"eval_time": "100m", "alertname": alert, "exp_alerts": [expected]}],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(file))


@pytest.mark.parametrize(("age_s", "fires"), [(3 * DAY_S, True), (DAY_S, False)])
def test_a_snapshot_of_three_days_ago_is_told(rules: Path, tmp_path: Path, age_s: int, fires: bool) -> None:
    """Prometheus' clock begins at 0 here, so that the snapshot is written before that."""
    [rule] = [
        each
        for group in yaml.safe_load(rules.read_text())["groups"]
        for each in group["rules"]
        if each["alert"] == "KubesteerSnapshotOld"
    ]
    summary = rule["annotations"]["summary"].replace("{{ $value | humanizeDuration }}", "3d 1h 0m 0s")
    expected = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"] | {"summary": summary}}
    question = {"eval_time": "1h", "alertname": "KubesteerSnapshotOld", "exp_alerts": [expected] if fires else []}
    series = [{"series": SNAPSHOT, "values": f"{-age_s}x120"}]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [question]}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", str(file))
