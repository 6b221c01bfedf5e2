"""Bad settings of the extender, the agent and the keeper: each is refused in one sentence that tells where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from extender import settings_file as extender_file
from extender.settings import Settings
from kubesteer.cli.keeping import settings as keeper_file
from kubesteer.cli.rewards_options import VARIABLES as OF_THE_COMMAND
from kubesteer.clients.settings.structs import known_in
from kubesteer.clients.settings.variables import Known
from kubesteer.model.errors import InvalidSettings
from monitor_agent import settings_file as agent_file
from monitor_agent.settings import Settings as AgentSettings

Load = Callable[[Path | None, Mapping[str, str]], Any]
SERVICES = ("extender", "agent", "keeper")
EXTENDER, AGENT = "KUBESTEER_", "KUBESTEER_AGENT_"


@pytest.fixture
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The loader of the service that the test names."""

    def extender(path: Path | None, environ: Mapping[str, str]) -> Settings:
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        return extender_file.load(path)

    def keeper(path: Path | None, environ: Mapping[str, str]) -> keeper_file.KeeperSettings:
        assert not environ, "it reads none"
        return keeper_file.load(path)

    return {"extender": extender, "agent": agent_file.load, "keeper": keeper}[request.param]


def for_each(*services: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("load", services, indirect=True)


def refusal(load: Load, environ: Mapping[str, str] | None = None, path: Path | None = None) -> list[str]:
    with pytest.raises(InvalidSettings) as raised:
        load(path, environ or {})
    return str(raised.value).splitlines()


def written(folder: Path, text: str) -> Path:
    path = folder / "s.yaml"
    path.write_text(text)
    return path


@for_each(*SERVICES)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("log: {level: info}\nops:\n  port: 1\n  port: 2\n", "s.yaml:4: ops.port is given twice, first on line 3"),
        ("ops: {port: 1}\nlog: {level: info}\nops: {}\n", "s.yaml:3: ops is given twice, first on line 1"),
        ('ops: {port: 1, "port": 2}\n', "s.yaml:1: ops.port is given twice, first on line 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(load: Load, tmp_path: Path, text: str, told: str) -> None:
    [sentence] = refusal(load, path=written(tmp_path, text))
    assert told in sentence


@for_each(*SERVICES)
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("\nops:\n  port: 70000\n", ("s.yaml:3: ops.port: ", "65535", "70000")),
        ("ops:\n  prt: 7\n", ("s.yaml:2: ops.prt: there is no such setting", "'7'", "did you mean port?")),
        ("\nopps: {port: 7}\n", ("s.yaml:2: opps: there is no such settings group", "port", "did you mean ops?")),
        ("log: {level: warn}\n", ("s.yaml:1: log.level: ", "'warn'", "warning", "did you mean warning?")),
        ("log: 7\n", ("s.yaml:1: log: '7' is no group", "name: value")),
        ("ops: {host: ''}\n", ("s.yaml:1: ops.host: ", "''", "1")),
        ("cluster: {kubeconfig: ''}\n", ("s.yaml:1: cluster.kubeconfig: ", "''")),
        ("log: {level: 2026-13-41}\n", ("s.yaml: not YAML: month must be in 1..12",)),
        ("[" * 5000, ("s.yaml: not YAML: ", "recursion")),
        ("log: [\n", ("s.yaml: not YAML: ", "line 2")),
        ("- 1\n", ("s.yaml: ", "groups of settings")),
    ],
)
def test_a_bad_value_of_a_file_is_told_with_line_name_value_rule_and_what_may_be_meant(
    load: Load, tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    [sentence] = refusal(load, path=written(tmp_path, text))
    for part in parts:
        assert part in sentence


@for_each(*SERVICES)
def test_an_anchor_of_a_file_may_be_used_again_even_in_itself(load: Load, tmp_path: Path) -> None:
    assert load(written(tmp_path, "log: &log {level: error}\n"), {}).log.level == "error"
    assert "ops.port" in refusal(load, path=written(tmp_path, "ops: {port: &x [*x]}\n"))[0]


LISTS = [("extender", f"{EXTENDER}REWARDS__ENDPOINTS", "rewards"), ("agent", f"{AGENT}STORE__ENDPOINTS", "store")]


@pytest.mark.parametrize(("load", "variable", "group"), LISTS, indirect=["load"])
@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("127.0.0.1:2379", ["127.0.0.1:2379"]),
        ("a:1, b:2", ["a:1", "b:2"]),
        ('["a:1", "b:2"]', ["a:1", "b:2"]),
        ("[::1]:2379,[::2]:2379", ["[::1]:2379", "[::2]:2379"]),
    ],
)
def test_a_list_in_a_variable_is_written_with_commas_or_as_json(
    load: Load, variable: str, group: str, text: str, endpoints: list[str]
) -> None:
    assert list(getattr(load(None, {variable: text}), group).endpoints) == endpoints


@pytest.mark.parametrize(("load", "variable", "group"), LISTS, indirect=["load"])
@pytest.mark.parametrize("text", ["", "a:1,", '["a:1"', "[1]", '[{"a": 1}]'])
def test_a_list_that_is_none_is_told_by_its_variable(load: Load, variable: str, group: str, text: str) -> None:
    [sentence] = refusal(load, {variable: text})
    assert sentence.startswith(f"{variable}: ")


@pytest.mark.parametrize(("load", "prefix"), [("extender", EXTENDER), ("agent", AGENT)], indirect=["load"])
def test_a_group_in_a_variable_is_json_over_the_file_and_under_its_own_settings(
    load: Load, prefix: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "ops: {host: 127.0.0.3, port: 1}\n")
    ops = load(path, {f"{prefix}OPS": '{"port": 2, "auth": "kubernetes"}', f"{prefix}OPS__AUTH": "none"}).ops
    assert (ops.host, ops.port, ops.auth) == ("127.0.0.3", 2, "none")


@pytest.mark.parametrize(("load", "prefix"), [("extender", EXTENDER), ("agent", AGENT)], indirect=["load"])
@pytest.mark.parametrize(
    ("variable", "text", "parts"),
    [
        ("OPS", "9000", ("ops: '9000' is no group; write it as JSON", "OPS__<NAME>")),
        ("OPS", '{"port": 1', ("not YAML", "write a group as JSON")),
        ("OPS", '{"prt": 1}', ("ops.prt: there is no such setting", "did you mean port?")),
        ("OPS", '{"port": 1, "port": 2}', ("port is given twice",)),
        ("OPS", '{"port": 70000}', ("ops.port: ", "70000", "65535")),
        ("OPS__PORT", "70000", ("ops.port: ", "70000", "65535")),
        ("OPS__PROT", "1", ("ops.prot: there is no such setting", "'1'", "OPS__PORT?")),
        ("OPPS__PORT", "1", ("there is no such settings group", "'1'", "OPS__PORT?")),
        ("NETWORK__DIRECTIONS", "egress", ("'egress' is no list of groups", "JSON")),
        ("NETWORK__DIRECTIONS", '[{"direction": "egress", "resource_nmes": ["a/b"], "resource_names": ["a/b"]}]',
         ("resource_nmes", "did you mean resource_names?")),
    ],
)  # fmt: skip
def test_a_bad_variable_is_told_by_its_name_with_the_fix(
    load: Load, prefix: str, variable: str, text: str, parts: tuple[str, ...]
) -> None:
    [sentence] = refusal(load, {f"{prefix}{variable}": text})
    assert sentence.startswith((f"{prefix}{variable}: ", f"{prefix}{variable}:1: "))
    for part in parts:
        assert part in sentence


def with_one_underscore(prefix: str, known: Known) -> dict[str, str]:
    return {f"{prefix}{g}_{s}".upper(): f"{prefix}{g}__{s}".upper() for g, names in known.items() for s in names}


@pytest.mark.parametrize(
    ("load", "wrong"),
    [
        ("extender", with_one_underscore(EXTENDER, extender_file.known())),
        ("agent", with_one_underscore(AGENT, known_in(AgentSettings))),
    ],
    indirect=["load"],
)
def test_every_setting_with_one_underscore_is_refused_and_the_right_name_told(
    load: Load, wrong: Mapping[str, str]
) -> None:
    sentences = refusal(load, dict.fromkeys(wrong, "1"))
    meant = dict(re.findall(r"^(\w+): .*did you mean (\w+)\?", "\n".join(sentences), re.MULTILINE))
    assert meant == wrong


@for_each("extender", "agent")
def test_what_kubernetes_tells_of_services_stops_nothing(load: Load) -> None:
    """As kubelet's FromServices writes it, for the Services of kubesteer and some named like a group of settings."""
    names = ("", "extender", "etcd", "agent", "listen", "ops", "agent-ops", "agent-store", "rewards")
    links = {}
    for name in ("_".join(("KUBESTEER", *filter(None, [each]))).replace("-", "_").upper() for each in names):
        links |= {
            f"{name}_SERVICE_HOST": "10.0.0.1",
            f"{name}_SERVICE_PORT": "2379",
            f"{name}_SERVICE_PORT_CLIENT": "2379",
            f"{name}_PORT": "tcp://10.0.0.1:2379",
            f"{name}_PORT_2379_TCP": "tcp://10.0.0.1:2379",
            f"{name}_PORT_2379_TCP_PROTO": "tcp",
            f"{name}_PORT_2379_TCP_PORT": "2379",
            f"{name}_PORT_2379_TCP_ADDR": "10.0.0.1",
        }
    assert load(None, links) == load(None, {})


@for_each("extender", "agent")
def test_variables_of_other_programs_stop_nothing(load: Load) -> None:
    of_the_command = {*OF_THE_COMMAND.values()} - {"KUBESTEER_REWARDS_FILE"}  # one `_` from a setting
    others = dict.fromkeys([*of_the_command, "KUBESTEER_CACHE", "KUBESTEER_REAL_NODES"], "x")
    assert load(None, others) == load(None, {})


@for_each("extender")
def test_the_agents_variables_do_not_concern_the_extender(load: Load) -> None:
    assert load(None, {"KUBESTEER_AGENT_OPS__PORT": "1", "KUBESTEER_AGENT_OPS_PORT": "1"}) == load(None, {})


EMPTY = [
    ("extender", group, name)
    for group, names in {
        "listen": ["host"], "ops": ["host"], "cluster": ["file", "kubeconfig", "context"],
        "tls": ["cert_file", "key_file", "client_ca_file"],
        "rewards": ["file", "prefix", "user", "ca_file", "cert_file", "key_file", "password_file"],
    }.items() for name in names
] + [
    ("agent", group, name)
    for group, names in {
        "ops": ["host", "probes_host", "cert_file", "key_file"], "cluster": ["kubeconfig", "context", "service_account"],
        "store": ["prefix", "user", "ca_file", "cert_file", "key_file", "password_file"], "network": ["interface"],
        "kubelet": ["url", "ca_file"], "measure": ["prometheus"],
    }.items() for name in names
] + [
    ("keeper", group, name)
    for group, names in {
        "ops": ["host"], "cluster": ["kubeconfig", "context", "namespace"], "etcd": ["prefix", "secret"],
    }.items() for name in names
]  # fmt: skip


@pytest.mark.parametrize(("load", "group", "name"), EMPTY, indirect=["load"])
def test_a_text_that_must_say_something_is_not_empty(load: Load, group: str, name: str, tmp_path: Path) -> None:
    [sentence] = refusal(load, path=written(tmp_path, f"{group}:\n  {name}: ''\n"))
    assert f"s.yaml:2: {group}.{name}: " in sentence


@for_each(*SERVICES)
def test_an_endpoint_is_not_empty(load: Load, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    group = {"extender": "rewards", "agent": "store", "keeper": "etcd"}[request.node.callspec.params["load"]]
    [sentence] = refusal(load, path=written(tmp_path, f"{group}:\n  endpoints:\n  - a:1\n  - ''\n"))
    assert f"s.yaml:4: {group}.endpoints" in sentence


NAMESPACES = "placement:\n  namespaces:\n    team:\n      "


@for_each("extender")
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("mode: observ", ("s.yaml:4: placement.namespaces.team.mode: ", "'observ'", "did you mean observe?")),
        ("reward_weight: 101", ("s.yaml:4: placement.namespaces.team.reward_weight: ", "100", "101")),
        ("weight: 1", ("s.yaml:4: placement.namespaces.team.weight: ", "did you mean reward_weight?")),
    ],
)
def test_a_bad_choice_for_a_namespace_is_told_with_line_name_value_and_rule(
    load: Load, tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    [sentence] = refusal(load, path=written(tmp_path, f"{NAMESPACES}{text}\n"))
    for part in parts:
        assert part in sentence


@for_each("extender")
def test_the_choices_for_namespaces_in_a_variable_are_json(load: Load) -> None:
    settings = load(None, {"KUBESTEER_PLACEMENT__NAMESPACES": '{"kube-system": {"mode": "observe"}}'})
    assert settings.placement.namespaces["kube-system"].mode == "observe"
    [sentence] = refusal(load, {"KUBESTEER_PLACEMENT__NAMESPACES": "kube-system"})
    assert sentence.startswith("KUBESTEER_PLACEMENT__NAMESPACES: ")


@for_each("extender")
def test_both_weights_of_a_score_0_is_refused_and_one_is_not(load: Load, tmp_path: Path) -> None:
    path = written(tmp_path, "score:\n  reward_weight: 0\n")
    assert load(path, {}).score.balance_weight == 1.0
    [sentence] = refusal(load, {"KUBESTEER_SCORE__BALANCE_WEIGHT": "0"}, path)
    assert sentence.startswith(
        f"{path}:1, KUBESTEER_SCORE__BALANCE_WEIGHT: score: balance_weight and reward_weight are"
    )
    assert "leave prioritizeVerb out" in sentence
