"""Settings held in msgspec structs: groups of fields, checked one by one, so that all bad ones are told at once."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from kubesteer.clients.settings.given import GivenSettings
from kubesteer.clients.settings.hints import hint, near
from kubesteer.clients.settings.variables import Kind, Known
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.quantity import shown

StructT = TypeVar("StructT", bound=msgspec.Struct)
_NO_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def converted(given: GivenSettings, to: type[StructT]) -> StructT:
    """The settings. Raises InvalidSettings with a sentence for each that cannot be used."""
    groups = types_of(to)
    faults = [*given.faults]
    for group, values in given.groups.items():
        types = types_of(groups[group])
        faults += [fault for name, value in values.items() if (fault := _fault(given, group, name, value, types[name]))]
    if faults:
        raise InvalidSettings("\n".join(faults))
    return msgspec.convert(given.groups, to)


def known_in(settings: type[msgspec.Struct]) -> Known:
    """All groups and names, and how a variable's text is read."""
    return {
        group: {name: _kind(of) for name, of in types_of(struct).items()}
        for group, struct in types_of(settings).items()
    }


def types_of(struct: Any) -> Mapping[str, Any]:
    """The types of a struct's fields by name."""
    return {each.name: each.type for each in msgspec.structs.fields(struct)}


def choices_of(of: Any) -> tuple[str, ...]:
    """The texts of which one must be chosen; none where it is no choice."""
    if typing.get_origin(of) is Literal:
        return typing.get_args(of)
    return tuple(choice for part in parts_of(of) for choice in choices_of(part))


def parts_of(of: Any) -> tuple[Any, ...]:
    """The types that a type is put together from; nothing of what is inside a list or mapping."""
    if hasattr(of, "__metadata__"):
        return (of.__origin__,)
    return typing.get_args(of) if typing.get_origin(of) not in {Literal, list, dict} else ()


def _kind(of: Any) -> Kind:
    whole = list(_whole(of))
    if any(typing.get_origin(part) is list for part in whole):
        return "groups" if any(_structs(of)) else "list"
    # A name may look like a number: it stays a text.
    return "text" if str in whole or choices_of(of) else "yaml"


def _whole(of: Any) -> Iterator[Any]:
    """A type and those that it is put together from."""
    yield of
    for part in parts_of(of):
        yield from _whole(part)


def _fault(given: GivenSettings, group: str, name: str, value: object, of: Any) -> str:
    """What is wrong with the value of a setting; empty where nothing is."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{given.where((group, name))}{group}.{name}: {shown(value)} is not finite; write a number"
    try:
        msgspec.convert(value, of)
    except msgspec.ValidationError as exc:
        rule, _, place = str(exc).partition(" - at `$")
        place = place.removesuffix("`")
        steps = re.findall(r"\w+", place)
        found = _inside(value, steps)
        where = given.where((group, name, *steps))
        return f"{where}{group}.{name}{place}: {shown(found)} cannot be used: {rule}{_advice(rule, found, of)}"
    return ""


def _advice(rule: str, found: object, of: Any) -> str:
    choices = choices_of(of)
    if choices:
        meant = near(str(found), choices)
        return f"; one of {' '.join(choices)}" + (f"; did you mean {meant}?" if meant else "")
    unknown = _NO_FIELD.fullmatch(rule)
    return f"; {hint(unknown[1], [name for struct in _structs(of) for name in types_of(struct)])}" if unknown else ""


def _structs(of: Any) -> Iterator[Any]:
    """The structs that stand anywhere in a type."""
    if isinstance(of, type) and issubclass(of, msgspec.Struct):
        yield of
    for part in typing.get_args(of):
        yield from _structs(part)


def _inside(value: Any, steps: list[str]) -> object:
    """The part of a value that stands at a place such as `[0].speed_bps`; all of it where there is none such."""
    for step in steps:
        try:
            value = value[int(step) if isinstance(value, list) else step]
        except (LookupError, TypeError, ValueError):
            break
    return value
