"""Kubernetes quantities, read exactly as the API server reads them.

A quantity is held as a whole number of nano-units: the API's own precision, to which it rounds up when it reads.
Sums of quantities are therefore exact, and rounding to millicores or bytes happens once, at the end, and up. Amounts
too large for int64 are taken as the largest number, as the API server takes them.
Source: apimachinery pkg/api/resource (grammar, suffixes, rounding up), 1.37.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

from kubesteer.model.errors import InvalidQuantity

Nano = NewType("Nano", int)
"""1e-9 of a core, byte or bit/s."""

NANO_PER_UNIT = 10**9
NANO_PER_MILLI = 10**6
MAX_INT64 = 2**63 - 1
MOST = 2**61
"""The most millicores, bytes or bit/s that count; amounts and sums are cut here. Three of them add up in int64."""

_DECIMAL_EXPONENT = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_EXPONENT = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_GRAMMAR = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?)([0-9]+))?", re.ASCII)
_RULE = "a number with an optional suffix n u m k M G T P E Ki Mi Gi Ti Pi Ei or an exponent such as e3"
_FIRST_LARGE_BINARY, _LEAST_POWER = 50, -9
"""Of a quantity without digits, such as `k`, Go takes Ki to Ti and exponents from -9 (as 0), and refuses the rest."""
_MAX_NANO = MAX_INT64 * NANO_PER_UNIT
_DIGITS_OF_INT64 = 19
_PAST_INT64 = 40
"""A power of ten that takes every non-zero number out of int64."""
_DIGITS_THAT_COUNT = 100
"""28 of int64 in nano-units and 60 behind the point of a power of two fit; of further digits, whether any is not 0."""
LONGEST_REMEMBERED = 64
"""Characters: a sender of longer texts would fill the memory."""


def parse_quantity(text: str) -> Nano:
    """Nano-units of a quantity; anything non-zero below a nano-unit counts as one.

    Beyond int64 it is the largest number of that sign. Raises InvalidQuantity for what the API server would refuse.
    """
    return _remembered(text) if len(text) <= LONGEST_REMEMBERED else _parsed(text)


def _parsed(text: str) -> Nano:
    match = _GRAMMAR.fullmatch(text)
    if match is None or not text:
        raise _no_quantity(text)
    sign, whole, fraction, suffix, exponent_sign, exponent = match.groups()
    binary = _BINARY_EXPONENT.get(suffix, 0)
    decimal = _exponent(text, exponent_sign, exponent) if exponent else _DECIMAL_EXPONENT.get(suffix or "", 0)
    if not whole and not fraction and (binary >= _FIRST_LARGE_BINARY or decimal < _LEAST_POWER):
        raise _no_quantity(text)
    digits, beyond = _significant(whole + (fraction or ""))
    nano = min(_scaled_up(digits << binary, 9 - len(fraction or "") + beyond + decimal), _MAX_NANO)
    return Nano(-nano if sign == "-" else nano)


def _exponent(text: str, sign: str, digits: str) -> int:
    """An exponent as Go reads it: an int64, of which the lower 32 bits count."""
    digits = digits.lstrip("0")
    exponent = int(sign + digits) if 0 < len(digits) <= _DIGITS_OF_INT64 else 0
    if len(digits) > _DIGITS_OF_INT64 or not -MAX_INT64 - 1 <= exponent <= MAX_INT64:
        raise _no_quantity(text)
    return (exponent + 2**31) % 2**32 - 2**31


def _no_quantity(text: str) -> InvalidQuantity:
    return InvalidQuantity(f"{shown(text)} is not a quantity; write {_RULE}")


_remembered = lru_cache(maxsize=8192)(_parsed)


def _significant(digits: str) -> tuple[int, int]:
    """The digits as a number, and the power of ten by which it was cut; a text of any length costs little."""
    digits = digits.lstrip("0")
    rest = digits[_DIGITS_THAT_COUNT:]
    if not rest:
        return int(digits or "0"), 0
    return int(digits[:_DIGITS_THAT_COUNT] + ("1" if rest.strip("0") else "0")), len(rest) - 1


def _scaled_up(digits: int, power: int) -> int:
    """Digits x 10^power, rounded up to a whole number; past any use, no work is done for a huge power."""
    if digits == 0 or power >= 0:
        return digits * int(10 ** min(power, _PAST_INT64)) if digits else 0
    divisor: int = 10 ** min(-power, len(str(digits)) + 1)
    return -(-digits // divisor)


def to_milli(nano: int) -> int:
    """Thousandths, rounded away from zero: millicores of a CPU quantity."""
    return _divided(nano, NANO_PER_MILLI)


def to_units(nano: int) -> int:
    """Whole units, rounded away from zero: bytes of memory, bit/s of bandwidth."""
    return _divided(nano, NANO_PER_UNIT)


def _divided(nano: int, size: int) -> int:
    return -(-nano // size) if nano >= 0 else nano // size


def shown(value: object, *, limit: int = 64) -> str:
    """A value as it may stand in a message: quoted, without control characters, cut to `limit` characters."""
    text = ascii(value if isinstance(value, str) else str(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def format_rate(rate_bps: float) -> str:
    """A bandwidth as a person writes it: 300M, 9.5G, 64k; to the last bit/s, so that equal texts are equal rates."""
    for size, suffix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rate_bps) >= size:
            return f"{rate_bps / size:.15g}{suffix}"
    return f"{rate_bps:.15g}"
