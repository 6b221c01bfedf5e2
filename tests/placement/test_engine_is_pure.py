"""The engine is a function of its arguments: same input, same output, inputs unchanged, no clock and no I/O."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import kubesteer.model
import kubesteer.placement
from kubesteer.model.cluster import MeasuredTraffic
from kubesteer.placement.candidates import Circumstances
from kubesteer.placement.engine import Engine
from kubesteer.placement.policy import FilterPolicy, Policy, ScorePolicy
from tests.builders import EGRESS_ANNOTATION, candidates_of, node_summary, pod_summary

FILES = [
    pytest.param(path, id=f"{path.parent.name}/{path.name}")
    for room in (kubesteer.model, kubesteer.placement)
    for path in sorted(Path(room.__file__).parent.glob("*.py"))
]
ALLOWED = {
    *(
        "__future__",
        "collections",
        "collections.abc",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "itertools",
        "json",
    ),
    *("math", "re", "sys", "typing", "urllib.parse", "zlib"),
}
OUTSIDE_WORLD = {"now", "today", "utcnow", "open", "print", "input", "getenv", "hash", "rand", "random"}
"""hash() of a text differs from process to process."""


def arrays_of(value):
    return [a for f in fields(value) if isinstance(a := getattr(value, f.name), np.ndarray)]


@pytest.mark.parametrize("rule", ["stddev", "upstream-1.21", "upstream-1.22", "upstream-1.36", "depcon2"])
@pytest.mark.parametrize("shortlist", [None, 1, 3])
def test_the_same_question_has_the_same_answer_and_changes_nothing(rule, shortlist):
    nodes = [node_summary(f"n{i}", egress=e) for i, e in enumerate(["1G", "10G", None, "0", "5G", "10G", "10G"])]
    nodes += [node_summary("bad", cpu="x"), node_summary("away", ready="Unknown")]
    pods = [pod_summary(f"p{i}", node=f"n{i}", cpu=i, memory="1Gi", egress="400M") for i in range(7)]
    candidates = candidates_of(nodes, pods, names=[*(node.name for node in nodes), "ghost"])
    count = len(candidates)
    circumstances = Circumstances(
        now_s=100.0,
        charged=np.full((4, count), 1000, np.int64),
        reward=np.linspace(0, 1, count),
        evidence=np.full(count, 9.0),
    )
    policy = Policy(
        filter=FilterPolicy(measured_fresh_s=30.0, quarantine_below=0.2), score=ScorePolicy(balance_rule=rule)
    )
    everything = [*arrays_of(candidates), *arrays_of(circumstances)]
    before = [array.copy() for array in everything]
    for array in everything:
        array.setflags(write=False)
    for pod in (pod_summary("a", cpu="1", egress="1G"), pod_summary("b", annotations={EGRESS_ANNOTATION: "2G"})):
        answers = [Engine(policy).explain(pod, candidates, circumstances, shortlist=shortlist) for _ in range(3)]
        assert len({repr((a.filtered.passed.tolist(), a.filtered.refused, a.scores.tolist())) for a in answers}) == 1
        assert {v.position for v in answers[0].filtered.refused} >= {7, 8, 9}
    assert all(np.array_equal(now, then) for now, then in zip(everything, before, strict=True))


def test_time_comes_in_as_an_argument():
    """The same measurement is fresh at 100 s and stale at 1,000 s."""
    node = replace(node_summary(egress="1G"), measured=MeasuredTraffic((1e9, 0.0), 90.0))
    engine = Engine(Policy(filter=FilterPolicy(measured_fresh_s=30.0)))
    at = [
        engine.filter(pod_summary(egress="1M"), candidates_of([node]), Circumstances(now_s=t)).fitting
        for t in (100.0, 1000.0)
    ]
    assert at == [0, 1]


@pytest.mark.parametrize("path", FILES)
def test_model_and_placement_import_no_clock_and_no_io(path):
    tree = ast.parse(path.read_text())
    imported = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    foreign = {name for name in imported - ALLOWED if not name.startswith("kubesteer.")}
    assert foreign <= ({"numpy", "numpy.typing"} if path.parent.name == "placement" else set())


@pytest.mark.parametrize("path", FILES)
def test_model_and_placement_call_nothing_of_the_outside_world(path):
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
    assert not names & OUTSIDE_WORLD
