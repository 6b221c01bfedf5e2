"""Settings of the agent: from a file and the environment, checked, and told in docs/agent-settings.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.model.errors import InvalidSettings
from kubesteer.rewards.learners import BetaLearner, EwmaLearner, NoLearner
from monitor_agent.capacity import DEFAULT_DIRECTIONS
from monitor_agent.choices import (
    capacity_rules,
    holder_name,
    judging_rules,
    learner_of,
    network_of,
    node_name,
    require_sense,
)
from monitor_agent.settings import Direction, Learning, Measure, Network, Node, Settings
from monitor_agent.settings_file import load, reference
from tests.agent.builders import NODE
from tests.agent.harness import agent_on
from tests.cluster_state.fake_api import FakeApi

REFERENCE = Path(__file__).parents[2] / "docs/agent-settings.md"


def file(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_reference_is_what_the_command_prints() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run: python -m monitor_agent settings"


def test_without_a_file_the_defaults_hold() -> None:
    assert load(None, {"PATH": "/bin", "NODE_NAME": "n"}) == Settings()


@pytest.mark.parametrize("text", ["", "# nothing", "store:\nops: {}\n"])
def test_an_empty_file_or_group_is_all_defaults(tmp_path: Path, text: str) -> None:
    assert load(file(tmp_path, text), {}) == Settings()


def test_a_variable_comes_over_the_file_and_leaves_the_rest_of_its_group(tmp_path: Path) -> None:
    path = file(tmp_path, "ops: {host: 0.0.0.0, port: 9000}\nlearning: {learner: ewma}\n")
    found = load(path, {"KUBESTEER_AGENT_OPS__PORT": "9001", "KUBESTEER_AGENT_STORE__ENDPOINTS": '["a:1", "b:2"]'})
    assert (found.ops.host, found.ops.port) == ("0.0.0.0", 9001)
    assert found.learning.learner == "ewma"
    assert found.store.endpoints == ["a:1", "b:2"]


@pytest.mark.parametrize("name", ["12", "1e3", "true", "node: 1", "-"])
def test_a_name_in_a_variable_is_text_whatever_it_looks_like(name: str) -> None:
    assert load(None, {"KUBESTEER_AGENT_NODE__NAME": name}).node.name == name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("ops: {port: 70000}", ["ops.port", "70000", "<= 65535"], id="out of range"),
        pytest.param("ops: {port: high}", ["ops.port", "high", "int"], id="no number"),
        pytest.param("ops: {prt: 1}", ["ops.prt", "no such setting", "port"], id="no such setting"),
        pytest.param("opps: {port: 1}", ["opps", "no such settings group", "ops"], id="no such group"),
        pytest.param("ops: 7", ["ops", "7", "name: value"], id="no group"),
        pytest.param("learning: {learner: q}", ["learning.learner", "'q'", "beta ewma none"], id="no choice"),
        pytest.param("learning: {half_life_s: .nan}", ["learning.half_life_s", "nan", "finite"], id="not a number"),
        pytest.param("learning: {half_life_s: .inf}", ["learning.half_life_s", "inf", "finite"], id="no end"),
        pytest.param("network: {directions: []}", ["network.directions", "length >= 1"], id="nothing"),
        pytest.param("network: {directions: [{direction: up}]}", ["network.directions", "up"], id="inside"),
        pytest.param("store: {claim_ttl_s: 1}", ["store.claim_ttl_s", "1", ">= 3"], id="too short"),
        pytest.param("- 1", ["groups of settings"], id="a list"),
        pytest.param("a: [", ["agent.yaml"], id="no YAML"),
        pytest.param("network: {publish: 7}", ["network.publish", "7", "bool"], id="no switch"),
    ],
)
def test_a_bad_setting_is_told_by_name_value_and_rule(tmp_path: Path, text: str, told: list[str]) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load(file(tmp_path, text), {})
    for part in told:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("KUBESTEER_AGENT_OPPS__PORT", "1", "no such settings group"),
        ("KUBESTEER_AGENT_OPS", "1", "ops: '1' is no group; write it as JSON"),
        ("KUBESTEER_AGENT_OPS__PORT", "[", "not YAML"),
        ("KUBESTEER_AGENT_OPS__PORT", "x", "ops.port"),
        ("KUBESTEER_AGENT_OPS__PRT", "1", "ops.prt"),
    ],
)
def test_a_bad_variable_is_told_too(variable: str, text: str, told: str) -> None:
    with pytest.raises(InvalidSettings, match=told):
        load(None, {variable: text})


def test_all_bad_settings_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load(file(tmp_path, "ops: {port: -1}\nstore: {prefix: 7}\n"), {"KUBESTEER_AGENT_LOG__LEVEL": "loud"})
    assert len(str(raised.value).splitlines()) == 3


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"absent\.yaml"):
        load(tmp_path / "absent.yaml", {})


def test_the_nodes_name_comes_from_the_settings_or_from_node_name() -> None:
    assert node_name(Node(name="a"), {"NODE_NAME": "b"}) == "a"
    assert node_name(Node(), {"NODE_NAME": "b"}) == "b"
    with pytest.raises(InvalidSettings, match="NODE_NAME"):
        node_name(Node(), {})


@pytest.mark.parametrize("name", ["Node-1", "-a", "a-", "a..b", "a_b", "node: 1", "a" * 254, "a\n"])
def test_what_cannot_be_a_nodes_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSettings, match=r"node\.name: .* cannot be a node's name"):
        node_name(Node(name=name), {})


@pytest.mark.parametrize("name", ["12", "a", "ip-10-0-0-1.eu.compute.internal", "a" * 253])
def test_what_the_cluster_takes_as_a_nodes_name_is_taken(name: str) -> None:
    assert node_name(Node(name=name), {}) == name


def test_an_agent_names_itself_by_its_pod_else_by_its_process() -> None:
    environ = {"POD_NAMESPACE": "kube-system", "POD_NAME": "agent-x"}
    assert holder_name(Node(holder="me"), environ, "host", 7) == "me"
    assert holder_name(Node(), environ, "host", 7) == "kube-system/agent-x"
    assert holder_name(Node(), {}, "host", 7) == "process 7 on host"


def test_defaults_of_the_settings_are_the_defaults_of_the_parts() -> None:
    assert learner_of(Learning()) == BetaLearner()
    assert learner_of(Learning(learner="ewma")) == EwmaLearner()
    assert learner_of(Learning(learner="none")) == NoLearner()
    assert judging_rules(Learning()) == type(judging_rules(Learning()))()
    assert capacity_rules(Network()) == type(capacity_rules(Network()))()
    assert capacity_rules(Network()).directions == DEFAULT_DIRECTIONS


def test_a_direction_written_twice_is_refused() -> None:
    egress = Direction(direction="egress", resource_names=["a/b"])
    with pytest.raises(InvalidSettings, match="twice"):
        network_of(Network(directions=[egress, egress]))


def _directed(speed_bps: object) -> str:
    return f"network: {{directions: [{{direction: egress, resource_names: [a/b], speed_bps: {speed_bps}}}]}}"


@pytest.mark.parametrize(
    ("written", "speed_bps"), [("10G", 10_000_000_000), ("2500M", 2_500_000_000), (7, 7), ("null", None)]
)
def test_a_speed_may_be_written_as_a_quantity(tmp_path: Path, written: object, speed_bps: int | None) -> None:
    [rule] = capacity_rules(load(file(tmp_path, _directed(written)), {}).network).directions
    assert rule.fixed_bps == speed_bps


@pytest.mark.parametrize("written", ["10 Gbit", "-1G", "'0'", -5, 1.5])
def test_a_speed_that_is_none_is_told_by_its_place_and_value(tmp_path: Path, written: object) -> None:
    with pytest.raises(InvalidSettings) as raised:
        capacity_rules(load(file(tmp_path, _directed(written)), {}).network)
    value = str(written).strip("'")
    assert f"network.directions[0].speed_bps: '{value}' " in str(raised.value)


@pytest.mark.parametrize(
    ("measure", "told"),
    [
        (Measure(queries={"web": "up"}), "measure.prometheus: "),
        (Measure(prometheus="http://p:9090"), "measure.queries: "),
    ],
)
def test_half_of_what_a_measure_needs_is_refused(measure: Measure, told: str) -> None:
    require_sense(Measure())
    require_sense(Measure(prometheus="http://p:9090", queries={"web": "up"}))
    with pytest.raises(InvalidSettings, match=told):
        require_sense(measure)


async def test_no_agent_is_built_of_half_a_measure(api: FakeApi, memory: MemoryStore) -> None:
    column = MemoryColumnStore(memory, node=NODE, holder="agent-1")
    with pytest.raises(InvalidSettings, match=r"measure\.prometheus: "):
        async with agent_on(api, column, {"measure": {"queries": {"web": "up"}}}):
            pass
