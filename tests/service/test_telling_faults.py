"""A source that goes away is in the log once, and so is its return."""

from __future__ import annotations

import io
import json

from extender.faults import Faults
from extender.logs import make_logger


def test_a_fault_that_stays_is_told_once_and_its_end_once(monkeypatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    fault: list[str | None] = [None]
    faults = Faults({"rewards": lambda: fault[0]}, make_logger(as_json=True, level="info"))
    for now in (None, "etcd a:1: UNAVAILABLE", None, "etcd a:1: UNAVAILABLE", "gone", "gone", "gone", None, None, None):
        fault[0] = now
        faults.look()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["level"], line["source"], line.get("why")) for line in told] == [
        ("warning", "rewards", "gone"),  # one look is no fault yet
        ("info", "rewards", None),
    ]
