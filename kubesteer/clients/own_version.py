"""Which kubesteer this is: of the checkout that it runs from, else of the package that is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_NAME = "kubesteer"
_CHECKOUT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"


def own_version(checkout: Path = _CHECKOUT) -> str:
    """Such as 0.1.0. A checkout counts before what was installed of it, which may be older."""
    project = checkout / "pyproject.toml"
    if project.is_file():
        import tomllib  # noqa: PLC0415 - an image has no such file

        told = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if told.get("name") == _NAME and "version" in told:
            return str(told["version"])
    try:
        return version(_NAME)
    except PackageNotFoundError:
        return UNKNOWN
