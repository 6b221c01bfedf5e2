"""Rewards from a file: what it may say, and what happens when it says something else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from kubesteer.clients.rewards.file import RewardFileSource, parse_rewards
from kubesteer.clients.rewards.file_writer import FileWriter
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import RewardRecord
from kubesteer.rewards.table import RewardTable
from tests.rewards.stores import TEN_AT_NIGHT_S, means, running
from tests.waiting import until

LOADED_AT_S = 1_000_000.0
GOOD = "- {node: n1, podType: web, mean: 0.5, evidence: 4"


def quick_source(path: Path, table: RewardTable) -> RewardFileSource:
    return RewardFileSource(path, table, clock=time.monotonic, unix_clock=time.time, poll_interval_s=0.01)


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        (GOOD + "}", LOADED_AT_S),
        (GOOD + ", time: '2026-11-22T22:41:07Z'}", TEN_AT_NIGHT_S),
        (GOOD + ", time: 2026-11-22T22:41:07Z}", TEN_AT_NIGHT_S),
        (GOOD + ", time: 2026-11-23T00:41:07+02:00}", TEN_AT_NIGHT_S),
        (GOOD + ", time: 2026-11-22 22:41:07}", TEN_AT_NIGHT_S),
        (GOOD + ", time: 1970-01-02}", 86_400.0),
    ],
)
def test_a_time_may_be_left_out_quoted_or_as_yaml_has_it(text: str, time_s: float) -> None:
    assert parse_rewards(text.encode(), loaded_at_s=LOADED_AT_S) == [RewardRecord("n1", "web", 0.5, 4, time_s)]


def test_json_is_as_good_as_yaml_and_unknown_fields_are_kept() -> None:
    text = json.dumps([{"node": "n1", "podType": "web", "mean": 1, "evidence": 0, "why": "by hand"}])
    [record] = parse_rewards(text.encode(), loaded_at_s=LOADED_AT_S)
    assert (record.mean, record.extra) == (1, {"why": "by hand"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "None is not a list"),
        ("a: b\n", "is not a list"),
        ("[", "not YAML or JSON"),
        ("- \x00", "not YAML or JSON"),
        (GOOD + ", time: 2026-99-99}", "time '2026-99-99' is not RFC 3339"),
        ("- 1\n", "item 1: 1 is not a mapping"),
        (GOOD + "}\n- {node: n2}", "item 2: podType is missing"),
        ("- {node: 12, podType: web, mean: 0, evidence: 1}", "item 1: node 12 is not a name"),
        (GOOD.replace("0.5", "2") + "}", "mean 2 is not a number from 0 to 1"),
        (GOOD.replace("0.5", ".nan") + "}", "mean '.nan'"),
        (GOOD.replace("0.5", "yes") + "}", "mean 'yes'"),
        (GOOD.replace("4", "-1") + "}", "evidence -1"),
        (GOOD + ", time: yesterday}", "time 'yesterday'"),
        (GOOD + "}\n" + GOOD + "}", "'n1' and podType 'web' are there twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_item_field_and_rule(text: str, said: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        parse_rewards(text.encode(), loaded_at_s=LOADED_AT_S)
    assert said in str(refused.value)


async def test_a_bad_file_keeps_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    path, table = tmp_path / "rewards.yaml", RewardTable()
    path.write_text(GOOD + "}")
    source = quick_source(path, table)
    async with running(source):
        await until(lambda: means(table) == {"n1": 0.5})
        path.write_text(GOOD.replace("0.5", "7") + "}")
        # A thread reads while this one writes, and may see half of it.
        await until(lambda: "rewards.yaml: item 1: mean 7" in (source.status().last_error or ""))
        age_s = source.status().last_contact_age_s
        await until(lambda: source.status().last_contact_age_s > age_s + 0.05)
        assert means(table) == {"n1": 0.5}
        path.write_text(GOOD.replace("0.5", "0.75") + "}")
        await until(lambda: means(table) == {"n1": 0.75})
        assert source.status().last_error is None


async def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    path, table = tmp_path / "rewards.yaml", RewardTable()
    path.write_text(GOOD + "}")
    source = quick_source(path, table)
    async with running(source):
        await until(lambda: means(table) == {"n1": 0.5})
        table.put(RewardRecord("n1", "web", 0.1, 1, 0))
        for _ in range(3):
            await until(lambda: source.status().last_contact_age_s > 0.005)
            await until(lambda: source.status().last_contact_age_s < 0.005)
        assert means(table) == {"n1": 0.1}
        assert source.status().revision == 1


async def test_a_link_that_is_swapped_is_a_change(tmp_path: Path) -> None:
    """As a mounted ConfigMap changes: same name, same size, perhaps the same time."""
    table, path = RewardTable(), tmp_path / "rewards.yaml"
    for name, mean in (("one", "0.5"), ("two", "0.9")):
        (tmp_path / name).write_text(GOOD.replace("0.5", mean) + "}")
    path.symlink_to(tmp_path / "one")
    async with running(quick_source(path, table)):
        await until(lambda: means(table) == {"n1": 0.5})
        (tmp_path / "new").symlink_to(tmp_path / "two")
        (tmp_path / "new").rename(path)
        await until(lambda: means(table) == {"n1": 0.9})


async def test_names_that_look_like_numbers_are_written_so_that_they_are_read_again(tmp_path: Path) -> None:
    """YAML's older schema takes 1e3 for text and writes it bare; the one that is read by takes it for a number."""
    path = tmp_path / "rewards.yaml"
    path.write_text("[]\n")
    writer = FileWriter(path, unix_clock=lambda: LOADED_AT_S)
    for name in ("1e3", "12E5", "=", "yes", "2026-11-22"):
        await writer.put(RewardRecord(name, name, 0.5, 1, LOADED_AT_S))
    assert [(r.node, r.pod_type) for r in await writer.list()] == [
        ("1e3", "1e3"),
        ("12E5", "12E5"),
        ("=", "="),
        ("yes", "yes"),
        ("2026-11-22", "2026-11-22"),
    ]


async def test_a_large_rewards_file_is_read_like_a_small_one(tmp_path: Path) -> None:
    table, path = RewardTable(), tmp_path / "rewards.yaml"
    path.write_text("".join(f"- {{node: n{i}, podType: web, mean: 0.5, evidence: 4}}\n" for i in range(2000)))
    assert path.stat().st_size > 32 << 10
    async with running(quick_source(path, table)):
        await until(lambda: len(means(table)) == 2000)
