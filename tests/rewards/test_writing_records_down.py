"""Keys and values of stored rewards: they round-trip, a person can read them, and what breaks a rule is named."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import (
    LATEST_TIME_S,
    RewardRecord,
    decode_key,
    decode_record,
    encode_key,
    encode_value,
    format_time,
    node_range,
    parse_time,
    table_range,
)

KEY = encode_key("/k", "n1", "web")
VALUE = {"v": 1, "mean": 0.96, "evidence": 13.2, "time": "2026-11-22T22:41:07Z"}

names = st.text(st.characters(), min_size=1, max_size=80) | st.sampled_from(
    ["..", ".", "/", "%2F", "\ud800", "a" * 300]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
microseconds = st.integers(0, LATEST_TIME_S * 10**6).map(lambda us: us / 10**6)
records = st.builds(
    RewardRecord,
    node=names,
    pod_type=names,
    mean=st.floats(0, 1),
    evidence=st.floats(0, 1e300),
    time_s=microseconds,
    extra=st.dictionaries(st.text().filter(lambda name: name not in VALUE), json_values, max_size=3),
)


@given(records)
def test_a_record_comes_back_as_it_was_written(record: RewardRecord) -> None:
    key, value = encode_key("/k", record.node, record.pod_type), encode_value(record)
    assert decode_record("/k", key, value) == record


@given(names, names, names, names)
def test_no_two_pairs_share_a_key_and_no_node_reaches_into_anothers_range(
    node: str, pod_type: str, other_node: str, other_type: str
) -> None:
    key = encode_key("/k", node, pod_type)
    assert decode_key("/k", key) == (node, pod_type)
    assert (key == encode_key("/k", other_node, other_type)) == ((node, pod_type) == (other_node, other_type))
    other = node_range("/k", other_node)
    assert (other.start <= key < other.end) == (node == other_node)
    assert table_range("/k").start <= key < table_range("/k").end


@given(st.binary(max_size=40))
def test_any_key_is_either_refused_or_the_one_that_would_be_written(tail: bytes) -> None:
    key = b"/k/v1/" + tail
    try:
        node, pod_type = decode_key("/k", key)
    except InvalidRecord:
        return
    assert encode_key("/k", node, pod_type) == key


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_either_a_record_or_refused(value: bytes) -> None:
    try:
        record = decode_record("/k", KEY, value)
    except InvalidRecord:
        return
    assert 0 <= record.mean <= 1


@given(st.floats(0, LATEST_TIME_S))
def test_a_time_is_kept_to_the_microsecond(time_s: float) -> None:
    near = math.ulp(time_s) + 0.6e-6
    assert abs(parse_time(format_time(time_s)) - time_s) <= near


def test_a_person_can_read_what_is_stored() -> None:
    record = RewardRecord("node-1.example", "web", 0.96, 13.2, parse_time("2026-11-22T22:41:07Z"), {"note": "x"})
    assert encode_key("/kubesteer/rewards/", record.node, "a/b") == b"/kubesteer/rewards/v1/node-1.example/a%2Fb"
    assert encode_value(record) == (b'{"v":1,"mean":0.96,"evidence":13.2,"time":"2026-11-22T22:41:07Z","note":"x"}')


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"v": 2}, "v 2 is not a version"),
        ({"v": True}, "v True is not a version"),
        ({"v": None}, "v None is not a version"),
        ({"mean": -0.1}, "mean -0.1 is not a number from 0 to 1"),
        ({"mean": 1.01}, "mean 1.01 is not a number from 0 to 1"),
        ({"mean": math.nan}, "mean nan is not a number from 0 to 1"),
        ({"mean": "0.5"}, "mean '0.5' is not a number"),
        ({"mean": True}, "mean True is not a number"),
        ({"evidence": -1}, "evidence -1.0 is not a finite number of 0 or more"),
        ({"evidence": math.inf}, "evidence inf is not a finite number"),
        ({"evidence": 10**400}, "evidence inf is not a finite number"),
        ({"evidence": None}, "evidence None is not a number"),
        ({"time": 5}, "time 5 is not RFC 3339"),
        ({"time": "2026-11-22"}, "time '2026-11-22' is not RFC 3339"),
        ({"time": "2026-13-22T22:41:07Z"}, "is not RFC 3339"),
        ({"time": "2026-11-22T22:41:07"}, "is not RFC 3339"),
        ({"time": "1969-12-31T23:59:59Z"}, "is not a time from 1970"),
        ({"time": "0001-01-01T00:00:00+23:59"}, "time"),
        ({"note": math.nan}, "extra fields {'note': nan} are not plain JSON"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_with_key_field_value_and_rule(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidRecord) as refused:
        decode_record("/k", KEY, json.dumps({**VALUE, **changes}).encode())
    assert str(refused.value).startswith("key '/k/v1/n1/web': ")
    assert said in str(refused.value)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400 + ".0", "NaN", "-Infinity"])
def test_a_number_that_no_float_holds_is_refused_however_deep_it_lies(number: str) -> None:
    """JSON allows the first three; what was read could not be written again."""
    value = json.dumps(VALUE)[:-1] + f', "note": [{{"at": {number}}}]}}'
    with pytest.raises(InvalidRecord, match=r"extra fields .* are not plain JSON"):
        decode_record("/k", KEY, value.encode())


@pytest.mark.parametrize("missing", VALUE)
def test_a_missing_field_is_named(missing: str) -> None:
    rest = {name: value for name, value in VALUE.items() if name != missing}
    with pytest.raises(InvalidRecord, match=f"{missing} is missing"):
        decode_record("/k", KEY, json.dumps(rest).encode())


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b"{", b"\xff", b'"text"', b"[" * 100_000, b"9" * 10_000])
def test_what_is_no_json_object_is_refused_in_few_words(value: bytes) -> None:
    with pytest.raises(InvalidRecord, match=r"not.*JSON") as refused:
        decode_record("/k", KEY, value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "key",
    [
        b"/other/v1/n/t",
        b"/k/v2/n/t",
        b"/k/v1/n",
        b"/k/v1/n/",
        b"/k/v1//t",
        b"/k/v1/n/t/u",
        b"/k/v1/%6e/t",
        b"/k/v1/%2f/t",
    ],
)
def test_a_key_that_is_not_ours_is_refused(key: bytes) -> None:
    with pytest.raises(InvalidRecord, match="percent-escaped"):
        decode_key("/k", key)


@pytest.mark.parametrize(
    "changes", [{"node": ""}, {"pod_type": ""}, {"mean": 2}, {"evidence": math.nan}, {"time_s": -1}]
)
def test_a_record_cannot_be_made_from_what_could_not_be_stored(changes: dict[str, object]) -> None:
    good = {"node": "n", "pod_type": "t", "mean": 0.5, "evidence": 1, "time_s": 0}
    with pytest.raises(InvalidRecord, match=" is not "):
        RewardRecord(**{**good, **changes})
