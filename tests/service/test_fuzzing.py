"""The fuzzer itself: repeatable, able to tell a broken promise, and a first few hundred requests of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import pod
from tests.fuzz.inputs import Inputs
from tests.fuzz.judge import Broken, judge
from tests.fuzz.target import LIMIT_BYTES, POLICIES, VERBS, InProcess

BODY = json.dumps({"Pod": pod(), "NodeNames": ["a", "b"]}).encode()
SCORES = [{"Host": "a", "Score": 1}, {"Host": "b", "Score": 10}]
RESULT = {
    "Nodes": None,
    "NodeNames": ["a"],
    "FailedNodes": {"b": "full"},
    "FailedAndUnresolvableNodes": {},
    "Error": "",
}


def _judged(result: Any = RESULT, scores: Any = SCORES, status: int = 200, shortlist: bool = False) -> str:
    return judge(
        BODY,
        (status, json.dumps(result).encode()),
        (status, json.dumps(scores).encode()),
        limit_bytes=1000,
        shortlist=shortlist,
    )


def test_the_same_seed_gives_the_same_bodies_and_another_gives_others() -> None:
    first = [Inputs(1).body(i) for i in range(50)]
    assert first == [Inputs(1).body(i) for i in range(50)]
    assert first != [Inputs(2).body(i) for i in range(50)]


def test_a_good_answer_is_taken() -> None:
    assert _judged() == "answered"
    assert _judged({**RESULT, "NodeNames": None, "FailedNodes": {}, "Error": "no Pod"}, []) == "refused"
    assert _judged({**RESULT, "FailedNodes": {}}, shortlist=True) == "answered"


@pytest.mark.parametrize(
    "broken",
    [
        {"status": 500},
        {"status": 413},
        {"result": {**RESULT, "Extra": 1}},
        {"result": {key: value for key, value in RESULT.items() if key != "Error"}},
        {"result": {**RESULT, "NodeNames": None}},
        {"result": {**RESULT, "NodeNames": ["a", "c"]}},
        {"result": {**RESULT, "FailedNodes": {}}},
        {"result": {**RESULT, "FailedNodes": {"b": ""}}},
        {"result": {**RESULT, "FailedAndUnresolvableNodes": {"b": "gone"}}},
        {"result": {**RESULT, "Error": "and yet"}},
        {"scores": []},
        {"scores": SCORES[::-1]},
        {"scores": [SCORES[0], {"Host": "b", "Score": 11}]},
        {"scores": [SCORES[0], {"Host": "b", "Score": 1.5}]},
    ],
)
def test_a_broken_promise_is_told(broken: Any) -> None:
    with pytest.raises(Broken):
        _judged(**broken)


@pytest.mark.parametrize("policy", POLICIES)
async def test_hostile_requests_break_no_promise(policy: Any) -> None:
    target, inputs = InProcess(policy), Inputs(20_260_101)
    taken = set()
    for index in range(300):
        body = inputs.body(index)
        answers = [await target.post(verb, body) for verb in VERBS]
        taken.add(judge(body, *answers, limit_bytes=LIMIT_BYTES, shortlist=target.shortlist))
    assert taken >= {"answered", "refused"}
    assert target.faults() == 0
