"""What the table says, and what it says of one pair."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kubesteer.cli.rewards_tables import age, amount
from kubesteer.model.reward import OTHER_TYPES
from tests.cli.command import EtcdCase, FileCase, StoreCase, noted, record, run

ROW = {"podType", "node", "mean", "evidence", "prior", "ageS", "recordedMean", "recordedEvidence", "time"}


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


@pytest.fixture
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's clock stands at the moment by which the records are made."""
    now_s = time.time()
    clock = SimpleNamespace(time=lambda: now_s)
    for module in ("kubesteer.cli.rewards", "tests.cli.command"):
        monkeypatch.setattr(f"{module}.time", clock)


@pytest.mark.usefixtures("_still")
def test_the_table_has_a_row_a_type_and_a_column_a_node(case: StoreCase) -> None:
    """8 runs' worth, an hour old, half-life an hour: 4 are left. Means are drawn towards each other, not over 0.5."""
    case.fill([record("n1", "web", 0.9, age_s=3605), record("n2", "web", 0.1, age_s=7), record("n2", "db", 0.6)])
    heading, db, web = lines(run("rewards", "--half-life-s", "3600", *case.options).out)[:3]
    assert heading == ["type", "n1", "n2"]
    assert db[:2] == ["db", "-"]
    assert [web[0], web[2], web[3]] == ["web", "4.0", "1h"]
    assert [web[5], web[6]] == ["8.0", "7s"]
    assert float(web[4]) < 0.5 < float(web[1])


def test_show_is_the_default(in_file: FileCase) -> None:
    in_file.fill([record("n1", "web", age_s=600)])
    assert run("rewards", *in_file.options).out == run("rewards", "show", *in_file.options).out != ""


@pytest.mark.parametrize(
    ("options", "want"),
    [
        pytest.param((), {("web", "n1"), ("web", "n2"), ("db", "n2")}, id="all"),
        pytest.param(("--type", "web"), {("web", "n1"), ("web", "n2")}, id="one type"),
        pytest.param(("--node", "n2"), {("web", "n2"), ("db", "n2")}, id="one node"),
        pytest.param(("--type", "web", "--node", "n2"), {("web", "n2")}, id="one pair"),
    ],
)
def test_type_and_node_choose_what_is_shown(
    case: StoreCase, options: tuple[str, ...], want: set[tuple[str, str]]
) -> None:
    case.fill([record("n1", "web"), record("n2", "web"), record("n2", "db")])
    shown = run("rewards", "show", "--json", *options, *case.options).json["rewards"]
    assert {(row["podType"], row["node"]) for row in shown} == want


def test_a_filter_does_not_change_what_is_believed(case: StoreCase) -> None:
    """The prior of a pair comes from the whole table, also when a part of it is shown."""
    case.fill([record("n1", "web", 0.1), record("n2", "web", 0.1), record("n3", "web", 0.9, evidence=1.0)])
    everything = run("rewards", "--json", *case.options).json["rewards"]
    [alone] = run("rewards", "--json", "--node", "n3", *case.options).json["rewards"]
    assert alone["mean"] == pytest.approx(next(row["mean"] for row in everything if row["node"] == "n3"), abs=1e-4)
    assert alone["mean"] < 0.6, "one run's worth beside two nodes where the type failed"


@pytest.mark.usefixtures("_still")
def test_json_rows_have_these_fields(case: StoreCase) -> None:
    case.fill([record("n1", "web", 0.75, evidence=6.0, age_s=100)])
    answer = run("rewards", "--json", "--policy", "ewma", *case.options).json
    assert set(answer) == {"time", "rewards"}
    [row] = answer["rewards"]
    assert set(row) == ROW
    assert (row["mean"], row["recordedMean"], row["recordedEvidence"]) == (0.75, 0.75, 6.0)
    assert row["ageS"] == 100


def test_a_table_that_is_too_wide_becomes_the_worst_and_the_best(in_file: FileCase) -> None:
    """40 nodes: mean 0.01 .. 0.40 of n01 .. n40. Two of each are shown, 36 are left out, and that is said."""
    bad = {"recent": [noted("OOMKilled")]}
    in_file.fill([record(f"n{i:02}", "web", i / 100, extra=bad if i == 1 else {}) for i in range(1, 41)])
    out = run("rewards", "--most", "2", *in_file.options).out
    names = [words[1] for words in lines(out) if words[0] == "web"]
    assert names == ["n01", "n02", "n40", "n39"]
    assert "OOMKilled" in out
    assert "1 type x 40 nodes, 40 pairs: too wide for a grid, 36 pairs left out" in out


def test_explain_tells_which_outcomes_when_and_why(case: StoreCase) -> None:
    extra = {
        "learner": "beta",
        "count": 12,
        "recent": [noted("ran 120 s", 1.0, run=3), noted("OOMKilled", run=4, time="2026-11-22T22:45:00Z")],
        "bad": [noted("Evicted", run=1), noted("OOMKilled", run=4, time="2026-11-22T22:45:00Z")],
        "startup_s": [2.0, 9.0, 3.0],
    }
    case.fill([record("n1", "web", 0.8, extra=extra), record("n2", "web", 0.2)])
    out = run("rewards", "explain", "web", "n1", *case.options).out
    assert out.startswith("web on n1")
    for text in (
        "12 outcomes counted; the newest are listed, and runs that were missed are counted as the",
        "beta",
        "median 3.0 s",
        "recorded 0.80",
        "8.0 runs",
    ):
        assert text in out
    recent, bad = out.split("last outcomes")[1].split("older bad outcomes")
    newest, older = lines(recent)[1:]
    assert [line[-1] for line in lines(bad)[1:]] == ["Evicted"], "what is bad and recent is there once"
    assert newest == ["2026-11-22", "22:45:00Z", "shop/web-7", "main", "run", "4", "0.00", "OOMKilled"]
    assert older[-5:] == ["3", "1.00", "ran", "120", "s"]


def test_explain_in_json_has_these_fields(case: StoreCase) -> None:
    case.fill([record("n1", "web", extra={"count": 3, "bad": [noted("Error")], "duration_s": [4, 8]})])
    answer = run("rewards", "explain", "web", "n1", "--json", *case.options).json
    assert set(answer) == ROW | {"count", "learner", "edited", "startupMedianS", "durationMedianS", "recent", "bad"}
    assert (answer["count"], answer["startupMedianS"], answer["durationMedianS"]) == (3, None, 6.0)
    [bad] = answer["bad"]
    assert (bad["reason"], bad["pod"], bad["time"]) == ("Error", "shop/web-7", "2026-11-22T22:41:07Z")


@pytest.mark.parametrize(
    "extra",
    [
        {"recent": "none"},
        {"recent": [1, {"time": "yesterday", "value": 1}, {"time": "2026-11-22T22:41:07Z", "value": "good"}]},
        {"startup_s": [True, "2", None], "bad": {"a": 1}, "count": [1]},
    ],
)
def test_notes_that_cannot_be_read_are_left_out(in_etcd: EtcdCase, extra: dict[str, object]) -> None:
    in_etcd.fill([record("n1", "web", extra=extra)])
    answer = run("rewards", "explain", "web", "n1", "--json", *in_etcd.options).json
    assert (answer["recent"], answer["bad"], answer["startupMedianS"]) == ([], [], None)
    assert run("rewards", "explain", "web", "n1", *in_etcd.options).code == 0


@pytest.mark.parametrize(
    ("policy", "belief"),
    [
        ("beta", "0.80  (recorded 0.80, drawn towards the prior)"),
        ("ewma", "0.80  (as recorded)"),
        ("none", "0.50  (policy none: the same for every pair; recorded 0.80)"),
    ],
)
def test_explain_says_what_the_belief_follows_from_under_each_policy(
    in_file: FileCase, policy: str, belief: str
) -> None:
    """One pair alone, with evidence of 8000 runs: its prior moves the mean by less than 0.005."""
    in_file.fill([record("n1", "web", 0.8, evidence=8000.0)])
    out = run("rewards", "explain", "web", "n1", "--policy", policy, *in_file.options).out
    assert f"belief now     {belief}" in out


@pytest.mark.parametrize(
    ("policy", "belief"),
    [
        ("beta", "0.50  (no evidence is recorded: the prior)"),
        ("ewma", "1.00  (no evidence is recorded: the value of an untried pair)"),
    ],
)
def test_explain_says_so_where_a_reset_left_nothing(in_file: FileCase, policy: str, belief: str) -> None:
    in_file.fill([record("n1", "web", 0.1, evidence=0.0)])
    out = run("rewards", "explain", "web", "n1", "--policy", policy, *in_file.options).out
    assert f"belief now     {belief}" in out


def test_long_names_leave_the_numbers_whole(in_file: FileCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of 253 characters wrap, and numbers and times do not, also where 60 columns are all there is."""
    monkeypatch.setenv("COLUMNS", "60")
    long = "x" * 253
    in_file.fill([record(long, long, age_s=70, extra={"recent": [noted(long)]})])
    first = lines(run("rewards", "--policy", "ewma", *in_file.options).out)[2]
    assert first[-4:-1] == ["0.90", "8.0", "1m"]
    assert "2026-11-22 22:41:07Z" in run("rewards", "explain", long, long, *in_file.options).out


def test_explain_promises_no_missed_runs_to_a_learner_that_leaves_them_out(in_file: FileCase) -> None:
    in_file.fill([record("n1", "web", extra={"learner": "ewma", "count": 12})])
    out = run("rewards", "explain", "web", "n1", *in_file.options).out
    assert "12 outcomes counted; the newest are listed" in out
    assert "missed" not in out


def test_a_pair_that_is_not_there_is_said_with_what_is(in_file: FileCase) -> None:
    in_file.fill([record("n1", "web"), record("n1", "db")])
    there = run("rewards", "explain", "cache", "n1", *in_file.options)
    assert (there.code, there.err) == (1, "no reward of type 'cache' on node 'n1'; known there: db, web")
    nowhere = run("rewards", "explain", "web", "n9", *in_file.options)
    assert nowhere.err == "no reward of type 'web' on node 'n9'; nothing is known of node 'n9'"


def test_an_empty_store_says_so(in_etcd: EtcdCase) -> None:
    assert run("rewards", "--type", "web", *in_etcd.options).out == "no rewards of type 'web' in the store\n"
    assert run("rewards", "--json", *in_etcd.options).json["rewards"] == []


@pytest.mark.parametrize("name", ["[red]web[/]", "wéb 网", "web\x1b[2J", "a\nb", OTHER_TYPES, "x" * 253])
def test_any_name_is_shown_and_obeyed_by_no_terminal(in_etcd: EtcdCase, name: str) -> None:
    in_etcd.fill([record("n1", name, extra={"recent": [noted(name)]})])
    for arguments in (("show",), ("explain", "--type", name, "--node", "n1")):
        result = run("rewards", *arguments, *in_etcd.options)
        assert result.code == 0
        assert "\x1b" not in result.out
    assert run("rewards", "--json", *in_etcd.options).json["rewards"][0]["podType"] == name


def test_an_entry_that_cannot_be_read_hides_no_other(in_etcd: EtcdCase, caplog: pytest.LogCaptureFixture) -> None:
    in_etcd.fill([record("n1", "web")])
    in_etcd.server.put(f"{in_etcd.prefix}/v1/n1/db".encode(), b"not JSON")
    assert [row["podType"] for row in run("rewards", "--json", *in_etcd.options).json["rewards"]] == ["web"]
    assert "reward left out" in caplog.text


def test_a_pair_without_evidence_is_in_json_only(case: StoreCase) -> None:
    case.fill([record("n1", "web"), record("n2", "web", evidence=0.0)])
    assert lines(run("rewards", *case.options).out)[0] == ["type", "n1"]
    assert {row["node"] for row in run("rewards", "--json", *case.options).json["rewards"]} == {"n1", "n2"}


@pytest.mark.parametrize(
    ("evidence", "want"),
    [
        (0.04, "0.0"),
        (9.9, "9.9"),
        (9999, "9999"),
        (10_000, "10k"),
        (999_499, "999k"),
        (1e6, "1e+06"),
        (1e300, "1e+300"),
    ],
)
def test_amounts_are_short(evidence: float, want: str) -> None:
    assert amount(evidence) == want


def test_no_column_is_squeezed_by_a_record_that_is_huge_and_old(in_etcd: EtcdCase) -> None:
    """An age of 50 years beside evidence of 1e300: at 120 columns, six such nodes fit no grid, and cells stay whole."""
    in_etcd.fill([record(f"n{i}", "web", evidence=1e300, time_s=2e8) for i in range(6)])
    never = ("--half-life-s", "inf")
    assert run("rewards", *never, *in_etcd.options).out.count("1e+300") == 6
    assert "too wide for a grid" in run("rewards", *never, *in_etcd.options).out


@pytest.mark.parametrize(
    ("seconds", "want"), [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "60m"), (7200, "2h"), (200_000, "2d")]
)
def test_ages_are_short(seconds: float, want: str) -> None:
    assert age(seconds) == want


def test_colours_say_good_middling_and_bad(in_file: FileCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence of 1000 runs leaves the recorded mean; FORCE_COLOR stands in for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    values = {"good": 0.9, "middling": 0.5, "bad": 0.1}
    in_file.fill([record(node, "web", mean, evidence=1000.0) for node, mean in values.items()])
    out = run("rewards", *in_file.options).out
    for code, text in (("32", "0.90"), ("33", "0.50"), ("31", "0.10")):
        assert f"\x1b[{code}m{text}" in out


def test_a_rewards_file_of_the_repository_is_shown() -> None:
    path = Path(__file__).resolve().parents[2] / "examples/rewards.yaml"
    assert [words[0] for words in lines(run("rewards", "--file", str(path)).out)][:4] == ["type", "db", "video", "web"]
