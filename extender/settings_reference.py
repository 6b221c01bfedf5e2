"""The reference of all settings as Markdown, from what settings.py says of each: docs/settings.md."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from extender.settings import Network, Settings


def reference() -> str:
    """All settings as Markdown: name, environment variable, default, range, meaning."""
    lines = [
        "# Settings",
        "",
        "Printed by `python -m extender settings`. A YAML file has them by group; environment variables come over it.",
    ]
    for group, field in Settings.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"settings group {group} is no model")
        lines += [
            "",
            f"## {group}",
            "",
            str(model.__doc__),
            "",
            "| name | default | range | meaning |",
            "|---|---|---|---|",
        ]
        for name, setting in model.model_fields.items():
            default = (
                "see below" if group == "network" else _shown_default(setting.get_default(call_default_factory=True))
            )
            lines.append(f"| `{name}` | {default} | {_range(setting)} | {setting.description} |")
        if group == "network":
            lines += [
                "",
                "Default:",
                "",
                "```yaml",
                yaml.safe_dump(Network().model_dump(mode="json"), sort_keys=False) + "```",
            ]
    lines += [
        "",
        "As a variable: `KUBESTEER_<GROUP>__<NAME>`, for example `KUBESTEER_LISTEN__PORT=9000`;",
        "a list as `a,b` or as JSON; a whole group is JSON: `KUBESTEER_LISTEN='{\"port\": 9000}'`.",
        "",
    ]
    return "\n".join(lines)


def _shown_default(value: object) -> str:
    return "none" if value in (None, (), {}) else f"`{list(value) if isinstance(value, tuple) else value}`"


def _range(setting: Any) -> str:
    """The bounds of a setting, or its choices."""
    bounds = [
        f"{sign} {getattr(rule, key)}"
        for rule in setting.metadata
        for key, sign in (
            ("ge", ">="),
            ("gt", ">"),
            ("le", "<="),
            ("lt", "<"),
            ("min_length", "length >="),
            ("max_length", "length <="),
        )
        if getattr(rule, key, None) is not None
    ]
    choices = getattr(setting.annotation, "__args__", ())
    if not bounds and choices and all(isinstance(choice, str) for choice in choices):
        return " ".join(f"`{choice}`" for choice in choices)
    return ", ".join(bounds)
