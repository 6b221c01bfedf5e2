"""The nightly job's first step on a volume that is full: which snapshots go, by the very command of the manifest.

Needs root and `unshare`, for a volume of five megabytes that only the command sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from .written import pod_spec, written

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
GI, KB = 1024**3, 1024


def maintenance() -> dict[str, Any]:
    [spec] = [pod_spec(each.object) for each in written() if each.object["kind"] == "CronJob"]
    assert spec is not None
    return spec


def step(name: str) -> dict[str, Any]:
    [found] = [each for each in maintenance()["initContainers"] if each["name"] == name]
    return dict(found)


def left(folder: Path, before: str) -> list[str]:
    """What is in a volume of 5120 KB after the step, whose quota is 2048 KB; `before` fills it, the oldest first."""
    container = step("make-room")
    [shell, flags, script] = container["command"]
    (folder / "step").write_text(script.replace("/snapshots", str(folder / "volume")))
    (folder / "volume").mkdir()
    lines = [
        f"mount -t tmpfs -o size=5120k tmpfs {folder}/volume",
        f"cd {folder}/volume",
        "now=0",
        'snapshot() { head -c "$2"k /dev/zero > "$1"; now=$((now + 1)); touch -d "2026-01-$now" "$1"; }',
        before,
        f'QUOTA_BYTES={2048 * KB} {shell} {flags} "$(cat {folder}/step)" >&2',
        "ls",
    ]
    command = ["unshare", "--mount", "sh", "-euc", "\n".join(lines)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 0, told.stderr
    return told.stdout.split()


def nights(count: int, size_kb: int) -> str:
    return "\n".join(f"snapshot night-{number:02}.db {size_kb}" for number in range(1, count + 1))


def test_the_first_night_has_nothing_to_remove(tmp_path: Path) -> None:
    assert left(tmp_path, "") == []


def test_thirteen_small_ones_stay_beside_the_fourteenth(tmp_path: Path) -> None:
    """13 x 100 KB and 2048 KB free are less than 5120 KB."""
    assert left(tmp_path, nights(20, 100)) == [f"night-{number:02}.db" for number in range(8, 21)]


def test_the_oldest_go_until_one_as_large_as_the_quota_has_room(tmp_path: Path) -> None:
    """5 x 600 KB and 2048 KB are 5048 KB of 5120 KB; with a sixth they would be 5648 KB."""
    assert left(tmp_path, nights(8, 600)) == [f"night-{number:02}.db" for number in range(4, 9)]


def test_a_volume_without_a_byte_left_is_no_end(tmp_path: Path) -> None:
    """As the job found it that pruned last: 5120 KB of snapshots and halves of failed ones."""
    full = nights(5, 1000) + "\nsnapshot failed.db.part 120"
    assert left(tmp_path, full) == ["night-03.db", "night-04.db", "night-05.db"]


def test_the_newest_stays_however_large_it_is(tmp_path: Path) -> None:
    assert left(tmp_path, nights(1, 1000) + "\nsnapshot night-02.db 4000") == ["night-02.db"]


def test_what_somebody_put_there_is_left_alone(tmp_path: Path) -> None:
    assert left(tmp_path, nights(4, 1200) + "\nsnapshot before-the-upgrade.txt 100") == [
        "before-the-upgrade.txt",
        "night-03.db",
        "night-04.db",
    ]


def test_the_room_is_etcds_quota_and_the_volume_holds_two_of_it() -> None:
    [etcd] = [pod_spec(each.object) for each in written() if each.object["kind"] == "StatefulSet"]
    assert etcd is not None
    [quota] = [arg.partition("=")[2] for arg in etcd["containers"][0]["args"] if arg.startswith("--quota-backend")]
    assert step("make-room")["env"] == [{"name": "QUOTA_BYTES", "value": quota}]
    [claim] = [each.object["spec"] for each in written() if each.object["kind"] == "PersistentVolumeClaim"]
    assert int(claim["resources"]["requests"]["storage"].removesuffix("Gi")) * GI > 2 * int(quota)


def test_room_is_made_before_a_snapshot_is_written_and_defragmented_after() -> None:
    spec = maintenance()
    order = [each["name"] for each in (*spec["initContainers"], *spec["containers"])]
    assert order == ["make-room", "snapshot", "defragment"]
