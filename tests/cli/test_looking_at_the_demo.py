"""The command that the demo tells its audience shows what the demo's agents write."""

from __future__ import annotations

import shlex

from tests.cli.command import EtcdCase, record, run
from tests.rewards.etcd_server import EtcdServer
from tools.demo.cast import PREFIX, TYPE
from tools.demo.pace import Pace
from tools.demo.rewards import how_to_look


def test_the_command_that_the_demo_tells_shows_its_rewards(etcd: EtcdServer) -> None:
    """Evidence 8, two of the demo's half-lives old: 2 are left."""
    pace = Pace()
    EtcdCase(etcd, PREFIX).fill([record("node-1", TYPE, age_s=2 * pace.half_life_s)])
    program, *arguments = shlex.split(how_to_look(etcd.address, pace).splitlines()[-1])
    assert program == ".venv/bin/kubesteer"
    [row] = run(*arguments, "--json").json["rewards"]
    assert (row["node"], round(row["evidence"])) == ("node-1", 2)
