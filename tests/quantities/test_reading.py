"""Quantities are read as apimachinery reads them, and what it refuses is refused by name."""

from __future__ import annotations

import json
from decimal import ROUND_UP, Context, Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.quantity import (
    MAX_INT64,
    NANO_PER_MILLI,
    NANO_PER_UNIT,
    format_rate,
    parse_quantity,
    shown,
    to_milli,
    to_units,
)

GOLDEN = json.loads((Path(__file__).parent / "apimachinery_0_37_2.json").read_text())
"""Text, whether ParseQuantity of apimachinery 0.37.2 takes it (OK), and its Value() and MilliValue()."""

FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
EXACT = Context(prec=400)
numbers = st.from_regex(r"[0-9]{1,12}(\.[0-9]{0,14})?", fullmatch=True)
suffixes = st.one_of(st.sampled_from(sorted(FACTORS)), st.integers(-30, 12).map(lambda power: f"e{power}"))


def test_what_apimachinery_refuses_is_refused_and_nothing_else():
    """Of 1,274 strings apimachinery refuses 257 + 22. The last 74 are those that were once read otherwise, and alike.

    `Ti`, `k` and `e-9` are 0 for Go, and `Pi`, `Ei` and `e-10` no quantity; of an exponent it keeps the lower 32 bits.
    """
    assert {row["Text"] for row in GOLDEN if _read(row["Text"]) is None} == {
        row["Text"] for row in GOLDEN if not row["OK"]
    }
    assert len([row for row in GOLDEN if not row["OK"]]) == 257 + 22


def test_values_are_those_of_apimachinery_to_the_last_unit():
    """At 2^63-1 Go's Value() overflows (9223372036854775808 gives -9223372036854775808), and MilliValue() too."""
    rows = [row for row in GOLDEN if row["OK"] and _read(row["Text"]) >= 0]
    saturated = [row for row in rows if parse_quantity(row["Text"]) == MAX_INT64 * NANO_PER_UNIT]
    assert len(rows) > 750
    assert len(saturated) == 42
    for row in rows:
        nano = parse_quantity(row["Text"])
        if row not in saturated:
            assert to_units(nano) == row.get("Value", 0), row
        if to_milli(nano) <= MAX_INT64:
            assert to_milli(nano) == row.get("Milli", 0), row


def test_negative_quantities_are_those_of_apimachinery_where_it_gets_them_right():
    """Go loses the sign when it rounds a negative (-1.61e-9 has Value 1) and overflows at 2^63 nano-units: we do not.

    No negative is ever counted, a pod or node with one is refused, so only the sign matters.
    """
    rows = [row for row in GOLDEN if row["OK"] and (_read(row["Text"]) or 0) < 0]
    agreeing = [row for row in rows if to_milli(parse_quantity(row["Text"])) == row.get("Milli", 0)]
    assert len(rows) == 145
    assert len(agreeing) == 105
    for row in rows:
        if row in agreeing:
            assert to_units(parse_quantity(row["Text"])) == row["Value"], row
        else:
            rounded_or_huge = "." in row["Text"] or abs(parse_quantity(row["Text"])) >= MAX_INT64
            assert rounded_or_huge, row


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        pytest.param("250m", 250 * 10**6, id="250m: 0.25 x 1e9"),
        pytest.param("100e-3", 10**8, id="an exponent: 100e-3 = 0.1"),
        pytest.param("1E", 10**27, id="1E is exa, not an exponent without digits: 1e18 x 1e9"),
        pytest.param("1E3", 10**12, id="1E3 is an exponent: 1000 x 1e9"),
        pytest.param("1.5Gi", 3 * 2**29 * 10**9, id="1.5Gi: 1.5 x 2^30 x 1e9"),
        pytest.param("1.1Ki", 1126400000000, id="1.1Ki: 1.1 x 1024 = 1126.4"),
        pytest.param("0.1n", 1, id="0.1n: below a nano-unit counts as one"),
        pytest.param("1.0000000001", 10**9 + 1, id="1.0000000001: rounded up to the nano-unit"),
        pytest.param("8Ei", MAX_INT64 * 10**9, id="8Ei = 2^63: a binary quantity is capped at 2^63-1"),
        pytest.param("-1.5", -15 * 10**8, id="-1.5"),
        pytest.param(".", 0, id="a point alone is 0 for apimachinery"),
        pytest.param("m", 0, id="a suffix alone is 0"),
        pytest.param("+", 0, id="a sign alone is 0"),
        pytest.param("10E", MAX_INT64 * 10**9, id="10E > 2^63-1: taken as that much"),
        pytest.param("-10E", -MAX_INT64 * 10**9, id="-10E: the same below"),
        pytest.param("9" * 5000, MAX_INT64 * 10**9, id="5,000 digits"),
        pytest.param("1e4294967299", 1000 * 10**9, id="1e4294967299 is 1e3: Go keeps 32 bits of 2^32 + 3"),
    ],
)
def test_a_quantity_is_held_in_nano_units(text, nano):
    assert parse_quantity(text) == nano


NOT_QUANTITIES = (
    "1K 1ki 1kb 1Mb 0x10 1e 1e+ 1e- 1e3k 1e1.5 1,5 1_000 --1 +-1 1.2.3 inf -inf nan NaN true 1EiB 100Mi; \u0661\u0662"
)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1\n", "\x00", "1 Gi", *NOT_QUANTITIES.split()])
def test_what_is_not_a_quantity_is_refused_with_the_value_and_the_rule(text):
    with pytest.raises(InvalidQuantity) as refusal:
        parse_quantity(text)
    assert shown(text) in str(refusal.value)
    assert "suffix n u m k M G T P E Ki Mi Gi Ti Pi Ei" in str(refusal.value)


def test_a_refusal_stays_short_whatever_was_sent():
    with pytest.raises(InvalidQuantity) as refusal:
        parse_quantity("x" * 1_000_000)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        pytest.param("1e2147483647", MAX_INT64 * 10**9, id="the largest exponent: the largest number"),
        pytest.param("1e9223372036854775808", None, id="an exponent above int64 is refused, as Go refuses it"),
        pytest.param("1e" + "9" * 1_000_000, None, id="a million digits of exponent"),
        pytest.param("1e" + "0" * 1_000_000 + "3", 1000 * 10**9, id="a million zeros before an exponent"),
        pytest.param("1e-2147483648", 1, id="a tiny number is one nano-unit"),
        pytest.param("0e2147483647", 0, id="zero stays zero"),
        pytest.param("1" * 1_000_000 + "e-1000000", 111111112, id="a million digits: 0.1111111111.. rounds up"),
        pytest.param("0." + "0" * 1_000_000 + "1", 1, id="a million zeros behind the point"),
        pytest.param("1." + "0" * 1_000_000 + "1", 10**9 + 1, id="a little above 1 rounds up to the nano-unit"),
        pytest.param("0" * 1_000_000 + "1", 10**9, id="a million leading zeros"),
        pytest.param("1." + "0" * 1_000_000 + "Ki", 1024 * 10**9, id="a million trailing zeros change nothing"),
        pytest.param("." + "9" * 1_000_000 + "Ei", 2**60 * 10**9, id="0.999..Ei rounds up to 2^60"),
    ],
)
def test_any_exponent_and_any_length_is_answered(text, nano):
    """Python's int() refuses 4,300 digits with a ValueError, and 10**1000000000 would never end."""
    assert _read(text) == nano


def test_long_texts_are_not_remembered():
    """Or a sender of long quantities would fill the memory."""
    from kubesteer.model.quantity import _remembered

    before = _remembered.cache_info().currsize
    for length in range(100, 200):
        parse_quantity("0" * length)
    assert _remembered.cache_info().currsize == before


@given(sign=st.sampled_from(["", "+", "-"]), number=numbers, suffix=suffixes)
@example(sign="", number="0." + "9" * 150, suffix="Ei")
@example(sign="", number="1" * 130 + "." + "0" * 130 + "1", suffix="e-125")
def test_the_value_is_the_exact_one_rounded_away_from_zero_to_a_nano_unit(sign, number, suffix):
    factor = FACTORS[suffix] if suffix in FACTORS else EXACT.power(10, int(suffix[1:]))
    exact = EXACT.multiply(EXACT.multiply(Decimal(number), factor), Decimal(NANO_PER_UNIT))
    want = int(exact.to_integral_value(rounding=ROUND_UP))
    want = min(want, MAX_INT64 * NANO_PER_UNIT)
    assert parse_quantity(f"{sign}{number}{suffix}") == (-want if sign == "-" else want)


@given(st.text(alphabet="0123456789.+-eEnumkMGTPi", max_size=12))
def test_any_text_is_read_or_refused_by_name(text):
    nano = _read(text)
    assert nano is None or abs(nano) <= MAX_INT64 * NANO_PER_UNIT


@given(st.integers(-(10**30), 10**30))
def test_rounding_goes_away_from_zero_and_by_less_than_one(nano):
    assert abs(to_milli(nano)) * NANO_PER_MILLI - abs(nano) in range(NANO_PER_MILLI)
    assert abs(to_units(nano)) * NANO_PER_UNIT - abs(nano) in range(NANO_PER_UNIT)
    assert to_units(nano) == -to_units(-nano)


@pytest.mark.parametrize(
    ("rate_bps", "text"),
    [
        (300_000_000, "300M"),
        (9_500_000_000, "9.5G"),
        (64_000, "64k"),
        (999, "999"),
        (0, "0"),
        (1_000_100_000, "1.0001G"),
        (999_999_999, "999.999999M"),
        (2 * 10**15, "2P"),
    ],
)
def test_a_rate_is_shown_as_a_person_writes_it_and_to_the_last_bit(rate_bps, text):
    assert format_rate(rate_bps) == text


@given(st.integers(0, 10**15 - 1))
def test_a_shown_rate_is_the_quantity_it_was(rate_bps):
    assert to_units(parse_quantity(format_rate(rate_bps))) == rate_bps


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\nb", r"'a\nb'"), ("x" * 100, "'" + "x" * 62 + "…"), ("\x1b[31m", r"'\x1b[31m'"), (1.5, "'1.5'")],
)
def test_a_value_in_a_message_is_quoted_short_and_harmless(value, text):
    assert shown(value) == text
    assert len(shown(value)) <= 64


def _read(text: str) -> int | None:
    try:
        return parse_quantity(text)
    except InvalidQuantity:
        return None
