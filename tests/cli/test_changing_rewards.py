"""set, reset and export, on every store; and what they leave alone."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
import yaml
from aetcd import rpc

from kubesteer.clients.rewards.claims import claim_key
from kubesteer.clients.rewards.file import parse_rewards
from kubesteer.model.reward import RewardRecord, encode_key, encode_value, parse_time
from tests.cli.command import EtcdCase, FileCase, StoreCase, noted, record, run

SEEN = {"uid-1": {"main/run": [3, 0.0, 1_795_387_267]}}


def unmarked(held: RewardRecord) -> dict[str, object]:
    """Without the mark of an edit, which only records in etcd get: files have no agent that must be told."""
    return {name: value for name, value in held.extra.items() if name != "edited"}


def test_set_says_what_to_believe_from_now_on(case: StoreCase) -> None:
    case.fill([record("n1", "web", 0.2, age_s=500), record("n1", "db", 0.3)])
    assert run("rewards", "set", "web", "n1", "--mean", "0.9", "--evidence", "20", *case.options).code == 0
    held = case.held()
    assert (held["n1", "web"].mean, held["n1", "web"].evidence) == (0.9, 20.0)
    assert time.time() - held["n1", "web"].time_s < 30
    assert held["n1", "db"].mean == 0.3


def test_set_makes_a_pair_that_was_not_there(case: StoreCase) -> None:
    case.fill([])
    assert run("rewards", "set", "web", "n1", "--mean", "0", "--evidence", "5", *case.options).code == 0
    assert case.held()["n1", "web"].evidence == 5.0


def test_set_keeps_what_the_agent_noted(case: StoreCase) -> None:
    """Without `seen` the agent would count today's runs a second time."""
    extra = {"learner": "beta", "count": 4, "seen": SEEN, "recent": [noted("OOMKilled")]}
    case.fill([record("n1", "web", 0.2, extra=extra)])
    run("rewards", "set", "web", "n1", "--mean", "0.9", "--evidence", "20", *case.options)
    assert unmarked(case.held()["n1", "web"]) == extra


@pytest.mark.parametrize(
    ("mean", "evidence", "want"),
    [
        ("1.5", "1", "mean 1.5 is not a number from 0 to 1"),
        ("nan", "1", "mean nan is not a number from 0 to 1"),
        ("0.5", "-1", "evidence -1.0 is not a finite number of 0 or more"),
        ("0.5", "1e300", "evidence 1e+300 is above 1000000; say how many runs' worth the mean is"),
        ("0.5", "1000001", "evidence 1e+06 is above 1000000; say how many runs' worth the mean is"),
        ("0.5", "inf", "evidence inf is not a finite number of 0 or more"),
    ],
)
def test_set_refuses_what_is_no_reward_and_changes_nothing(
    case: StoreCase, mean: str, evidence: str, want: str
) -> None:
    case.fill([record("n1", "web", 0.2)])
    before = case.held()
    result = run("rewards", "set", "web", "n1", "--mean", mean, f"--evidence={evidence}", *case.options)
    assert (result.code, result.err) == (1, want)
    assert case.held() == before


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        pytest.param(("web", "n1"), {("n1", "db"), ("n2", "web")}, id="a pair"),
        pytest.param(("web",), {("n1", "db")}, id="a type"),
        pytest.param(("--node", "n1"), {("n2", "web")}, id="a node"),
        pytest.param((), set(), id="everything"),
    ],
)
def test_reset_forgets_what_it_is_told(case: StoreCase, arguments: tuple[str, ...], left: set[tuple[str, str]]) -> None:
    case.fill([record("n1", "web"), record("n1", "db"), record("n2", "web")])
    result = run("rewards", "reset", *arguments, "--yes", *case.options)
    assert result.code == 0
    assert f"reset: {3 - len(left)} pair" in result.out
    assert set(case.held()) == left


def test_reset_keeps_which_runs_were_counted_and_nothing_else(case: StoreCase) -> None:
    extra = {"learner": "beta", "count": 4, "seen": SEEN, "bad": [noted("OOMKilled")], "startup_s": [9.0]}
    case.fill([record("n1", "web", 0.1, extra=extra)])
    run("rewards", "reset", "web", "n1", "--yes", *case.options)
    held = case.held()["n1", "web"]
    assert (held.evidence, unmarked(held)) == (0.0, {"learner": "beta", "seen": SEEN})
    assert "nothing to reset" in run("rewards", "reset", "--yes", *case.options).out
    assert run("rewards", *case.options).out == "no rewards in the store\n", "what there is nothing to reset of"


def test_after_a_reset_ewma_believes_what_it_does_of_a_pair_that_nobody_tried(case: StoreCase) -> None:
    """Its first mean, 1.0: to the reader, and in the record, from where the agent's learner goes on."""
    case.fill([record("n1", "web", 0.1, extra={"learner": "ewma", "seen": SEEN})])
    run("rewards", "reset", "web", "n1", "--yes", *case.options)
    [row] = run("rewards", "--json", "--policy", "ewma", *case.options).json["rewards"]
    assert (row["mean"], row["evidence"], row["recordedMean"]) == (1.0, 0.0, 1.0)


def test_set_says_how_to_start_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "new rewards.yaml"
    set_it = ("rewards", "set", "web", "n1", "--mean", "0.5", "--evidence", "4", "--file", str(path))
    result = run(*set_it)
    assert (result.code, result.err) == (1, f"{path} is not there; start one with: echo '[]' > '{path}'")
    path.write_text("[]\n")
    assert run(*set_it).code == 0


def test_what_is_said_of_a_change_cannot_break_its_line(in_etcd: EtcdCase) -> None:
    said = run("rewards", "set", "a\nb", "n1", "--mean", "0.5", "--evidence", "4", *in_etcd.options).out
    assert said.splitlines()[0] == "set: a\\nb on n1: mean 0.5, evidence 4"
    asked = run("rewards", "reset", *in_etcd.options).out
    assert asked == "1 pair (1 type, 1 node) to reset:\n  a\\nb on n1: mean 0.50, evidence 4.0\n"


def test_reset_without_yes_says_what_it_would_remove_and_refuses_where_it_cannot_ask(case: StoreCase) -> None:
    """12 pairs: ten are named, two are counted."""
    case.fill([record(f"n{i}", "web", 0.25) for i in range(12)])
    result = run("rewards", "reset", *case.options)
    assert (result.code, result.err) == (1, "nothing was reset; say --yes")
    assert "12 pairs (1 type, 12 nodes) to reset:" in result.out
    assert "  web on n3: mean 0.25, evidence 8.0" in result.out
    assert "and 2 more" in result.out
    assert len(case.held()) == 12


@pytest.mark.parametrize(("said", "left"), [("y", 0), ("YES", 0), ("n", 1), ("", 1)])
def test_reset_asks_at_a_terminal(in_file: FileCase, monkeypatch: pytest.MonkeyPatch, said: str, left: int) -> None:
    in_file.fill([record("n1", "web")])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: said)
    run("rewards", "reset", *in_file.options)
    assert len(in_file.held()) == left


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_an_export_is_the_same_rewards_as_a_file(case: StoreCase, tmp_path: Path, kind: str) -> None:
    records = [
        record("n1", "web", 0.1, age_s=12.5, extra={"seen": SEEN, "bad": [noted("OOM: killed #1")]}),
        record("n-2.example", "app/ü 'q' \"x\": [y]", 1 / 3, evidence=1e-9),
        record("yes", "null", 1.0, evidence=1e12, time_s=0.0),
        record("0x10", "*", 0.0, evidence=0.0),
    ]
    case.fill(records)
    held = case.held()
    path = tmp_path / f"exported.{kind}"
    assert run("rewards", "export", "--format", kind, "--output", str(path), *case.options).code == 0
    assert {(r.node, r.pod_type): r for r in parse_rewards(path.read_bytes(), loaded_at_s=0.0)} == held
    assert run("rewards", "export", "--format", kind, *case.options).out == path.read_text(encoding="utf-8")


def test_an_edit_keeps_the_lease_that_the_column_hangs_on(in_etcd: EtcdCase) -> None:
    lease = in_etcd.server.call(rpc.LeaseStub, "LeaseGrant", rpc.LeaseGrantRequest(TTL=600)).ID
    agents = {"learner": "beta", "seen": SEEN}
    in_etcd.fill([record("n1", "web", extra=agents), record("n2", "web")], lease=lease)
    run("rewards", "set", "web", "n2", "--mean", "0.9", "--evidence", "20", *in_etcd.options)
    run("rewards", "reset", "web", "n1", "--yes", *in_etcd.options)
    assert [entry.lease for entry in in_etcd.entries()] == [lease, lease]


def test_what_an_agent_writes_between_read_and_change_is_not_lost(
    in_etcd: EtcdCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent notes a run after the record was read: the change is made anew, on what the agent wrote."""
    from kubesteer.clients.rewards import etcd_leases

    in_etcd.fill([record("n1", "web", extra={"seen": {}})])
    swap, late = etcd_leases.swap, [record("n1", "web", extra={"seen": SEEN})]

    async def swap_late(*arguments: object) -> object:
        while late:
            in_etcd.fill([late.pop()])
        return await swap(*arguments)

    monkeypatch.setattr(etcd_leases, "swap", swap_late)
    run("rewards", "set", "web", "n1", "--mean", "0.7", "--evidence", "3", *in_etcd.options)
    held = in_etcd.held()["n1", "web"]
    assert (held.mean, unmarked(held)) == (0.7, {"seen": SEEN})


def test_set_replaces_an_entry_that_cannot_be_read(in_etcd: EtcdCase) -> None:
    in_etcd.server.put(encode_key(in_etcd.prefix, "n1", "web"), b"not JSON")
    assert run("rewards", "set", "web", "n1", "--mean", "0.7", "--evidence", "3", *in_etcd.options).code == 0
    assert in_etcd.held()["n1", "web"].mean == 0.7


def test_a_file_keeps_its_mode_its_link_and_the_entries_nobody_touched(tmp_path: Path) -> None:
    """An entry without a time is as of whenever it is read, before and after; a comment does not survive."""
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("# by hand\n- {node: n1, podType: web, mean: 1, evidence: 2}\n")
    real.chmod(0o640)
    link.symlink_to(real)
    assert run("rewards", "set", "db", "n1", "--mean", "0.5", "--evidence", "4", "--file", str(link)).code == 0
    first, second = yaml.safe_load(real.read_text())
    assert first == {"node": "n1", "podType": "web", "mean": 1, "evidence": 2}
    assert second["podType"] == "db"
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"{a: 1}", "is not a list"),
        (b"- {node: n1, podType: web, mean: 7, evidence: 1}", "item 1: mean 7 is not a number from 0 to 1"),
        (b"- [", "not YAML or JSON"),
        (b"- {node: n1, podType: web, mean: 1, evidence: 1, v: 1}", "'v'"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_left_alone(in_file: FileCase, text: bytes, want: str) -> None:
    in_file.path.write_bytes(text)
    result = run("rewards", "set", "web", "n1", "--mean", "0.5", "--evidence", "4", *in_file.options)
    assert result.code == 1
    assert result.err.startswith(str(in_file.path))
    assert want in result.err
    assert in_file.path.read_bytes() == text


async def test_the_file_writer_is_a_reward_writer(tmp_path: Path) -> None:
    from kubesteer.clients.rewards.file_writer import FileWriter

    path = tmp_path / "rewards.yaml"
    path.write_text("[]")
    writer = FileWriter(path, unix_clock=time.time)
    first, second = record("n1", "web"), RewardRecord("n2", "web", 0.5, 1.0, 5.0, {"note": "x"})
    await writer.put(first)
    await writer.put(second)
    await writer.delete("n3", "web")
    assert [each.node for each in await writer.list()] == ["n1", "n2"]
    assert encode_value((await writer.list("n2"))[0]) == encode_value(second)
    await writer.delete("n1", "web")
    assert [each.node for each in await writer.list()] == ["n2"]
    await writer.close()


def test_the_agent_of_the_node_is_told_of_an_edit(in_etcd: EtcdCase) -> None:
    """Its claim keeps value and lease, and has a new revision; the record says that it was edited, and when."""
    lease = in_etcd.server.call(rpc.LeaseStub, "LeaseGrant", rpc.LeaseGrantRequest(TTL=600)).ID
    key = claim_key(in_etcd.prefix, "n1")
    in_etcd.server.call(rpc.KVStub, "Put", rpc.PutRequest(key=key, value=b"agent-7", lease=lease))
    before = in_etcd.server.call(rpc.KVStub, "Range", rpc.RangeRequest(key=key)).kvs[0]
    in_etcd.fill([record("n1", "web"), record("n2", "web")])
    for node in ("n1", "n2"):
        assert run("rewards", "set", "web", node, "--mean", "1", "--evidence", "3", *in_etcd.options).code == 0
    after = in_etcd.server.call(rpc.KVStub, "Range", rpc.RangeRequest(key=key)).kvs[0]
    assert (after.value, after.lease) == (b"agent-7", lease)
    assert after.mod_revision > before.mod_revision
    assert all(parse_time(held.extra["edited"]) == held.time_s for held in in_etcd.held().values())


def test_an_agent_that_comes_during_an_edit_is_told_too(in_etcd: EtcdCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """It claims after the claim was looked for, and may have read the old record: the edit is made once more."""
    from kubesteer.clients.rewards import etcd_leases

    in_etcd.fill([record("n1", "web")])
    swap, key, touches = etcd_leases.swap, claim_key(in_etcd.prefix, "n1"), []

    async def swap_and_claim(connection: object, guard: bytes, revision: int, puts: list, deletes: list) -> object:
        if not touches:
            in_etcd.server.put(key, b"agent-8")
        touches.append([put.key for put in puts])
        return await swap(connection, guard, revision, puts, deletes)

    monkeypatch.setattr(etcd_leases, "swap", swap_and_claim)
    assert run("rewards", "set", "web", "n1", "--mean", "1", "--evidence", "3", *in_etcd.options).code == 0
    assert [key in touched for touched in touches] == [False, True]


def test_what_was_exported_is_the_same_after_everything_was_lost_and_it_was_imported(
    case: StoreCase, tmp_path: Path
) -> None:
    case.fill([record("n1", "web", 0.1, age_s=90, extra={"learner": "beta", "seen": SEEN}), record("n2", "web", 0.7)])
    before, backup = case.held(), str(tmp_path / "backup.yaml")
    run("rewards", "export", "--output", backup, *case.options)
    lose(case)
    result = run("rewards", "import", backup, *case.options)
    assert (result.code, result.out) == (0, "imported: 2 pairs; newer in the store, and left: 0\n")
    after = case.held()
    assert {pair: (r.mean, r.evidence, r.time_s) for pair, r in after.items()} == {
        pair: (r.mean, r.evidence, r.time_s) for pair, r in before.items()
    }
    assert unmarked(after["n1", "web"]) == before["n1", "web"].extra


@pytest.mark.parametrize(("options", "mean"), [((), 0.9), (("--overwrite",), 0.2)])
def test_an_import_leaves_what_is_newer_unless_it_is_told_to_overwrite(
    case: StoreCase, tmp_path: Path, options: tuple[str, ...], mean: float
) -> None:
    """What its agent counted since the backup stays noted either way, or it would be counted again."""
    case.fill([record("n1", "web", 0.2, age_s=90)])
    backup = str(tmp_path / "backup.yaml")
    run("rewards", "export", "--output", backup, *case.options)
    case.fill([record("n1", "web", 0.9, age_s=10, extra={"seen": SEEN})])
    assert run("rewards", "import", backup, *options, *case.options).code == 0
    held = case.held()["n1", "web"]
    assert (held.mean, unmarked(held)) == (mean, {"seen": SEEN})


@pytest.mark.parametrize(("text", "want"), [("{a: 1}", "is not a list"), (None, "cannot be read: No such file")])
def test_an_import_of_what_is_no_export_changes_nothing(
    case: StoreCase, tmp_path: Path, text: str | None, want: str
) -> None:
    case.fill([record("n1", "web", 0.2)])
    before, backup = case.held(), tmp_path / "backup.yaml"
    if text is not None:
        backup.write_text(text)
    result = run("rewards", "import", str(backup), *case.options)
    assert result.code == 1
    assert result.err.startswith(str(backup))
    assert want in result.err
    assert case.held() == before


def lose(case: StoreCase) -> None:
    if isinstance(case, EtcdCase):
        for entry in case.entries():
            case.server.call(rpc.KVStub, "DeleteRange", rpc.DeleteRangeRequest(key=entry.key))
    else:
        case.fill([])
