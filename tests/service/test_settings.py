"""Settings: a bad value stops the start with its name, value and range; the reference comes from the same place."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from extender.settings import Settings
from extender.settings_file import load
from extender.settings_reference import reference
from kubesteer.model.errors import InvalidSettings
from tests.certificates import Authority
from tests.service.harness import on_free_ports, running, service
from tools.cluster.extender import ROOT

LEAF_SETTINGS = [
    (group, name)
    for group, field in Settings.model_fields.items()
    for name in field.annotation.model_fields  # type: ignore[union-attr]
]


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("group", "name", "value", "rule"),
    [
        ("listen", "port", 65_536, "less than or equal to 65535"),
        ("listen", "port", -1, "greater than or equal to 0"),
        ("listen", "port", "http", "valid integer"),
        ("listen", "keep_alive_s", 5, "greater than or equal to 90"),
        ("listen", "drain_s", -0.5, "greater than or equal to 0"),
        ("ops", "port", 70_000, "less than or equal to 65535"),
        ("tls", "min_version", "1.1", "'1.2' or '1.3'"),
        ("tls", "reload_s", 0, "greater than 0"),
        ("limits", "names_body_bytes", 10, "greater than or equal to 1024"),
        ("limits", "nodes_body_bytes", 2**31, "less than or equal to 1073741824"),
        ("limits", "deadline_ms", 0, "greater than 0"),
        ("limits", "deadline_ms", float("nan"), "less than or equal to 60000"),
        ("limits", "header_timeout_s", float("inf"), "less than or equal to 300"),
        ("limits", "connections", 0, "greater than or equal to 1"),
        ("cluster", "source", "zookeeper", "'file' or 'kubernetes'"),
        ("cluster", "poll_s", -1, "greater than 0"),
        ("rewards", "source", "redis", "'memory', 'file', 'etcd' or 'etcd3'"),
        ("rewards", "endpoints", [], "at least 1 item"),
        ("rewards", "prefix", "", "at least 1 character"),
        ("rewards", "prior_mean", 1.5, "less than or equal to 1"),
        ("rewards", "half_life_s", 0, "greater than 0"),
        ("rewards", "policy", "kuberl", "'beta', 'ewma' or 'none'"),
        ("rewards", "choice", "random", "'mean', 'thompson' or 'probation'"),
        ("rewards", "sample_seed", -1, "greater than or equal to 0"),
        ("network", "directions", [], "at least 1 item"),
        ("filter", "limit_fresh_s", -1, "greater than or equal to 0"),
        ("filter", "quarantine_below", 2, "less than or equal to 1"),
        ("filter", "shortlist", 0, "greater than or equal to 1"),
        ("filter", "refuse_unknown_capacity", "perhaps", "valid boolean"),
        ("score", "balance_rule", "best", "'stddev'"),
        ("score", "balance_weight", -1, "greater than or equal to 0"),
        ("score", "charge_ttl_s", 601, "less than or equal to 600"),
        ("log", "format", "xml", "'console' or 'json'"),
        ("log", "level", "loud", "'debug'"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_its_value_and_its_range(
    tmp_path: Path, group: str, name: str, value: Any, rule: str
) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(written(tmp_path / "s.yaml", {group: {name: value}}))
    message = str(refused.value)
    assert re.match(rf"{re.escape(str(tmp_path))}/s\.yaml:\d: {group}\.{name}(\.0)?: ", message)
    assert rule in message
    assert str(value).strip("[]") in message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"listen": {"prot": 1}}, "listen.prot: there is no such setting"),
        ({"lisen": {"port": 1}}, "lisen: there is no such setting"),
        ({"listen": 5}, "listen: "),
        ("- a\n- b\n", "write groups of settings"),
        ("listen: [", "s.yaml"),
        ({"tls": {"cert_file": "a.crt"}}, "cert_file and key_file go together"),
        ({"tls": {"client_ca_file": "a.crt"}}, "client_ca_file needs cert_file and key_file"),
        ({"rewards": {"choice": "thompson", "policy": "ewma"}}, "policy beta, and policy is ewma; change one"),
        ({"rewards": {"choice": "probation", "policy": "none"}}, "policy beta, and policy is none; change one"),
        ({"network": {"directions": [{"direction": "egress"}]}}, "network.directions.0.resource_names"),
    ],
)
def test_what_is_no_setting_is_refused_by_name(tmp_path: Path, content: Any, named: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(written(tmp_path / "s.yaml", content))
    assert named in str(refused.value)


def test_every_bad_value_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(written(tmp_path / "s.yaml", {"listen": {"port": -1}, "log": {"level": "loud"}}))
    assert [line.split(": ")[1] for line in str(refused.value).splitlines()] == ["listen.port", "log.level"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"absent\.yaml"):
        load(tmp_path / "absent.yaml")


def test_an_empty_file_and_none_give_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path / "s.yaml", "")) == load(None) == Settings()


def test_variables_come_over_the_file_one_setting_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBESTEER_LISTEN__PORT", "9000")
    monkeypatch.setenv("KUBESTEER_SCORE__CHARGE_TTL_S", "3")
    settings = load(written(tmp_path / "s.yaml", {"listen": {"port": 8000, "host": "::1"}, "log": {"level": "debug"}}))
    assert (settings.listen.port, settings.listen.host) == (9000, "::1")
    assert (settings.score.charge_ttl_s, settings.log.level) == (3.0, "debug")


def test_a_bad_variable_is_refused_as_a_bad_value_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBESTEER_LISTEN__PORT", "99999")
    with pytest.raises(InvalidSettings, match=r"^KUBESTEER_LISTEN__PORT: listen\.port: .*65535.*'99999'"):
        load(None)


def test_variables_that_kubernetes_sets_for_a_service_of_this_name_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBESTEER_PORT", "tcp://10.0.0.1:8888")
    monkeypatch.setenv("KUBESTEER_SERVICE_HOST", "10.0.0.1")
    assert load(None) == Settings()


@pytest.mark.parametrize(("group", "name"), LEAF_SETTINGS)
def test_the_reference_tells_of_every_setting(group: str, name: str) -> None:
    section = reference().split(f"\n## {group}\n")[1].split("\n## ")[0]
    (row,) = [line for line in section.splitlines() if line.startswith(f"| `{name}` |")]
    meaning = row.split(" | ")[-1]
    assert len(meaning) > len("meaning |")


def test_docs_settings_md_is_the_printed_reference() -> None:
    assert (ROOT / "docs/settings.md").read_text() == reference(), "run `make docs`"


def test_the_process_refuses_to_start_on_a_bad_value_and_prints_the_reference(tmp_path: Path) -> None:
    bad = written(tmp_path / "s.yaml", {"limits": {"deadline_ms": 0}})
    command = [sys.executable, "-m", "extender"]
    both = [
        subprocess.Popen([*command, *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for more in (["--config", str(bad)], ["settings"])
    ]
    (_, refusal), (printed, _) = (one.communicate(timeout=60) for one in both)
    assert both[0].returncode != 0
    assert "limits.deadline_ms: " in refusal
    assert "greater than 0, not '0'" in refusal
    assert "Traceback" not in refusal
    assert (both[1].returncode, printed) == (0, reference())


@pytest.mark.parametrize("group", ["listen", "ops"])
async def test_a_port_that_is_taken_stops_the_start_by_name(group: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        groups = on_free_ports() | {group: {"port": port}}
        with pytest.raises(InvalidSettings, match=rf"^{group}: 127\.0\.0\.1:{port}: .*free"):
            async with running(service(**groups)):
                pass


@pytest.mark.parametrize("name", ["cert_file", "key_file", "client_ca_file"])
@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_tls_file_that_cannot_be_used_stops_the_start_by_name(
    tmp_path: Path, name: str, content: str | None
) -> None:
    authority = Authority(tmp_path, "authority")
    cert_file, key_file = authority.issue("server")
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    tls = {"cert_file": cert_file, "key_file": key_file, "client_ca_file": authority.ca_file} | {name: bad}
    with pytest.raises(InvalidSettings, match=rf"^tls\..*{name}.*bad\.pem"):
        async with running(service(**on_free_ports(tls=tls))):
            pass


def test_a_variable_whose_group_is_mistyped_stops_the_start_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBESTEER_LISTN__PORT", "9000")
    with pytest.raises(InvalidSettings, match="KUBESTEER_LISTN__PORT: there is no such settings group"):
        load(None)
