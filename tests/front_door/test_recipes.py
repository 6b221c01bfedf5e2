"""What docs/recipes.md says to do here works as it stands there; what needs a cluster names what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from extender.settings_file import load
from kubesteer.clients.rewards.file import parse_rewards
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.overrides import Mode
from kubesteer.model.quantity import parse_quantity
from tests.front_door.recipes import ROOT, recipes, run, write
from tools.cluster.extender import Extender

EXAMPLE = yaml.safe_load((ROOT / "examples/kubesteer.yaml").read_text())
RECIPES = recipes()


@pytest.fixture(scope="module")
def example() -> Iterator[Extender]:
    """What `make run` starts."""
    with Extender(EXAMPLE) as running:
        yield running


def ports(extender: Extender) -> dict[str, int]:
    return {"8888": extender.port, "8889": extender.ops_port}


def on_make_run(number: int, extender: Extender, folder: Path) -> list[str]:
    """What the recipe's scripts print, one after the other."""
    recipe = RECIPES[number]
    write(recipe, folder)
    scripts = [re.sub(r"kubesteer try", f"kubesteer try --ops {extender.ops}", script) for script in recipe.here]
    return [run(script, folder, ports=ports(extender)) for script in scripts]


def test_there_are_ten_recipes() -> None:
    assert list(RECIPES) == list(range(1, 11))


@pytest.mark.parametrize("number", RECIPES)
def test_the_settings_of_a_recipe_are_settings(number: int, tmp_path: Path) -> None:
    for name, text in RECIPES[number].files.items():
        if name == "kubesteer.yaml":
            (tmp_path / name).write_text(text)
            load(tmp_path / name)


def test_each_recipe_with_settings_begins_their_block_with_the_files_name() -> None:
    assert [number for number, recipe in RECIPES.items() if recipe.settings()] == [4, 7, 8, 9]


def test_a_deployment_that_asks_for_bandwidth_is_tried_before_it_is_applied(example: Extender, tmp_path: Path) -> None:
    [told] = on_make_run(2, example, tmp_path)
    assert "goes here" in told
    assert "egress: wants 300M, 100M of 1G left" in told


def test_a_pod_that_waits_is_explained(example: Extender, tmp_path: Path) -> None:
    [told] = on_make_run(3, example, tmp_path)
    page = json.loads(told[told.index('{"pod"') :])
    assert not any(node["fits"] for node in page["nodes"])
    assert {node["reason"] for node in page["nodes"]} >= {"egress: wants 30G, the node has 1G in all"}


def test_a_weight_that_is_changed_changes_the_totals(tmp_path: Path) -> None:
    """web on node-3 is believed to fail: with less weight of that, node-3 has more in all."""
    [settings] = RECIPES[4].settings()
    body = {"Pod": {"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}}
    script = f"curl -s http://127.0.0.1:8889/explain -d '{json.dumps({**body, 'NodeNames': ['node-3']})}'"
    totals = []
    for score in ({}, settings["score"]):
        with Extender({**EXAMPLE, "score": {**score, "balance_rule": "depcon2"}}) as running:
            totals.append(json.loads(run(script, tmp_path, ports=ports(running)))["nodes"][0]["total"])
    assert totals[0] < totals[1]


def test_a_repaired_node_has_no_rewards_left(example: Extender, tmp_path: Path) -> None:
    [told] = on_make_run(5, example, tmp_path)
    assert "reset: 2 pairs" in told
    learned = {
        each.node
        for each in parse_rewards((tmp_path / "rewards.yaml").read_bytes(), loaded_at_s=0)
        if each.evidence > 0
    }
    assert learned == {"node-1", "node-2", "node-4", "node-5"}


def test_a_node_group_is_tagged_with_a_resource_that_pods_ask_for(example: Extender, tmp_path: Path) -> None:
    """10 Gbit/s less 5 % are 9,500,000,000 bit/s; the template with it carries a pod of 5G."""
    [tag] = RECIPES[6].on_a_cluster
    resource, value = re.findall(r"node-template/resources/(\S+),Value=(\w+)", tag)[0]
    assert resource == DEFAULT_NETWORK[0].resource_names[0]
    assert parse_quantity(value) == parse_quantity("9500000000")
    [told] = on_make_run(6, example, tmp_path)
    assert [node["metadata"]["name"] for node in json.loads(told)["Nodes"]["items"]] == ["template"]


def test_an_observing_extender_tells_so_and_has_the_metrics_of_the_queries(tmp_path: Path) -> None:
    [settings] = RECIPES[7].settings()
    [script] = RECIPES[7].here
    with Extender({**EXAMPLE, **settings}) as running:
        told = run(script, tmp_path, ports=ports(running))
    assert '"mode":"observe"' in told
    queries = re.findall(r"^\| `(.*(?:rate|increase)\(.*)` \|", (ROOT / "docs/recipes.md").read_text(), re.MULTILINE)
    assert len(queries) == 3
    for name in re.findall(r"kubesteer_\w+", " ".join(queries)):
        assert f"\n{name}" in told, name


def test_a_workload_is_left_out_by_the_annotation_and_a_namespace_by_the_settings() -> None:
    patch = yaml.safe_load(RECIPES[8].files["left-out.yaml"])
    assert patch["spec"]["template"]["metadata"]["annotations"] == {"kubesteer.io/mode": Mode.OBSERVE}
    [settings] = RECIPES[8].settings()
    assert settings["placement"]["namespaces"]["kube-system"] == {"mode": Mode.OBSERVE}


def test_other_annotations_are_read_in_place_of_the_usual_ones(tmp_path: Path) -> None:
    """`much` is no amount: the reason names the annotation that was read."""
    [settings] = RECIPES[9].settings()
    [script] = RECIPES[9].here
    with Extender({**EXAMPLE, **settings}) as running:
        answer: Any = json.loads(run(script, tmp_path, ports=ports(running)))
    [reason] = answer["FailedAndUnresolvableNodes"].values()
    assert "metadata.annotations[example.com/egress-bandwidth]: 'much' is no" in reason


@pytest.mark.parametrize("number", [1, 10])
def test_what_is_made_on_a_cluster_is_a_target_of_the_makefile(number: int) -> None:
    [script] = RECIPES[number].on_a_cluster
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^make ([a-z-]+)", script, re.MULTILINE) == ["image", "deploy", "status"]
    assert {"image", "deploy", "status"} <= set(targets)
