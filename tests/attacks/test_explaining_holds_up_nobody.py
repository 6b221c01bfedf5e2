"""/explain and large bodies: whatever one client asks there, the verbs are answered meanwhile, and memory stays."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.attacks.target import ANSWER, GOOD, POD, Target, answered, post, status
from tests.builders import node
from tests.waiting import wait_until

NAMES = b'{"Pod":%b,"NodeNames":[%b]}' % (POD, b",".join([b'"node-1"'] * 5000))
MANY_NODES = json.dumps(
    {"Pod": json.loads(POD), "Nodes": {"items": [node(f"n{i}") for i in range(5000)]}, "NodeNames": None}
).encode()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_explaining_is_done_in_another_process_which_ends_with_the_extender(target: Target) -> None:
    page = answered(target.shoot(post(NAMES, path=b"/explain"), ops=True))
    assert [one["node"] for one in page["nodes"]] == ["node-1"] * 5000
    [child] = children(target.process.pid)
    with Target() as other:
        assert children(other.process.pid) == []  # started when it is first needed
        assert status(other.shoot(post(GOOD, path=b"/explain"), ops=True)) == 200
        [gone] = children(other.process.pid)
    wait_until(lambda: not Path(f"/proc/{gone}").exists())
    assert children(target.process.pid) == [child]


def test_an_explaining_process_that_is_gone_is_started_again(target: Target) -> None:
    assert status(target.shoot(post(GOOD, path=b"/explain"), ops=True)) == 200
    [child] = children(target.process.pid)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: status(target.shoot(post(GOOD, path=b"/explain"), ops=True)) == 200)
    assert children(target.process.pid) != [child]


@pytest.mark.parametrize("body", [NAMES, MANY_NODES], ids=["names", "nodes"])
def test_of_many_questions_at_once_some_are_told_to_come_again_and_verbs_are_answered(
    target: Target, body: bytes
) -> None:
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(status(target.shoot(post(body, path=b"/explain"), ops=True)))

    askers = [threading.Thread(target=ask) for _ in range(12)]
    for asker in askers:
        asker.start()
    served = 0
    while any(asker.is_alive() for asker in askers):
        assert ANSWER in target.shoot(post(GOOD))
        served += 1
    assert set(statuses) == {200, 503}
    assert served > 1
