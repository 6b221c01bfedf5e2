"""The extender's settings from a YAML file and the environment; each that is bad is told in a sentence."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from extender.settings import Direction, NamespaceChoice, Settings
from kubesteer.clients.settings.given import GivenSettings, given
from kubesteer.clients.settings.hints import hint, near
from kubesteer.clients.settings.variables import Kind, Known
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.quantity import shown

_PREFIX, _AGENTS = "KUBESTEER_", "KUBESTEER_AGENT_"


def load(path: Path | None) -> Settings:
    """Settings from a YAML file (none: defaults) and variables KUBESTEER_<GROUP>__<NAME> over it.

    Raises InvalidSettings that names each bad value, where it stands, and its rule.
    """
    found = given(path, known(), os.environ, prefix=_PREFIX, others=(_AGENTS,))
    faults = [*found.faults]
    try:
        settings = Settings.model_validate(found.groups)
    except ValidationError as exc:
        faults += [_sentence(error, found) for error in _causes(exc.errors())]
    if faults:
        raise InvalidSettings("\n".join(faults))
    return settings


def known() -> Known:
    """All groups and names, and how a variable's text is read."""
    return {
        group: {name: _kind(setting.annotation) for name, setting in model.annotation.model_fields.items()}  # type: ignore[union-attr]
        for group, model in Settings.model_fields.items()
    }


def _kind(annotation: Any) -> Kind:
    if Direction in get_args(annotation):
        return "groups"
    if get_origin(annotation) is dict:
        return "yaml"
    return "list" if getattr(annotation, "__origin__", None) is tuple else "text"


def _causes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what only follows: a list is not too short when it is its items that cannot be used."""
    return [
        error
        for error in errors
        if error["type"] != "too_short" or not any(_inside(other["loc"], error["loc"]) for other in errors)
    ]


def _inside(place: tuple[int | str, ...], of: tuple[int | str, ...]) -> bool:
    return len(place) > len(of) and place[: len(of)] == of


def _sentence(error: ErrorDetails, found: GivenSettings) -> str:
    """Place, name, value and rule of one bad setting; what settings have to say of each other names them itself."""
    place = error["loc"]
    named = f"{found.where(place)}{'.'.join(str(step) for step in place)}{': ' if place else ''}"
    told = str(error["msg"]).removeprefix("Value error, ")
    match error["type"]:
        case "value_error" if isinstance(error["input"], dict) or not place:
            return f"{named}{told}"
        case "missing":
            return f"{named}it must be given"
        case "extra_forbidden":
            names = NamespaceChoice.model_fields if place[0] == "placement" else Direction.model_fields
            return f"{named}there is no such setting, for {shown(error['input'])}; {hint(str(place[-1]), names)}"
        case "literal_error":
            meant = near(str(error["input"]), re.findall("'([^']*)'", str(error.get("ctx", {}).get("expected"))))
            return f"{named}{told}, not {shown(error['input'])}" + (f"; did you mean {meant}?" if meant else "")
    return f"{named}{told}, not {shown(error['input'])}"
