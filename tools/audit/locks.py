"""What a requirements file with hashes has to keep so that nothing unknown is installed, and nothing runs meanwhile.

Pure: text in, faults in words out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.utils import canonicalize_name

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+)(?:\s*;\s*(?P<marker>[^\\]+?))?")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Locked:
    """One requirement. line: where it stands. marker: when it is installed; empty for always."""

    line: int
    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    def is_for(self, environment: Mapping[str, str] | None = None) -> bool:
        """Whether it is installed here, or in another environment."""
        return not self.marker or Marker(self.marker).evaluate(dict(environment or {}))


def read(text: str) -> tuple[list[Locked], list[str]]:
    """Every requirement, and what is wrong with the lines that are none."""
    found, faults = [], []
    for number, whole in _logical_lines(text):
        first, *options = re.split(r"\s+(?=--)", whole)
        match = _PINNED.fullmatch(first.strip())
        hashes = tuple(option.removeprefix("--hash=") for option in options)
        if match is None:
            faults.append(f"line {number}: {first.strip()!r} is not NAME==VERSION; pin it (make lock)")
        elif not hashes or not all(_HASH.fullmatch(each) for each in hashes):
            faults.append(f"line {number}: {match['name']} has no sha256 hash, or something else beside (make lock)")
        else:
            name = str(canonicalize_name(match["name"]))
            found.append(Locked(number, name, match["version"], (match["marker"] or "").strip(), hashes))
    return found, faults


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    number, begun = 0, ""
    for at, line in enumerate(text.splitlines(), 1):
        stripped = "" if line.lstrip().startswith("#") else line.strip()
        number = number if begun else at
        begun = f"{begun} {stripped.removesuffix(chr(92))}".strip()
        if begun and not stripped.endswith("\\"):
            yield number, begun
            begun = ""
    if begun:
        yield number, begun


def faults_of(requirements: Sequence[Locked], others: Sequence[Locked]) -> list[str]:
    """Where requirements differ from the other file's, which was resolved together with them and has all of them."""
    known = {(one.name, one.version): set(one.hashes) for one in others}
    faults = []
    for one in requirements:
        hashes = known.get((one.name, one.version))
        if hashes is None:
            faults.append(
                f"line {one.line}: {one.name} {one.version} is not what requirements-dev.lock has; `make lock`"
            )
        else:
            faults += [
                f"line {one.line}: {one.name}: requirements-dev.lock does not know {unknown}; who has changed it?"
                for unknown in sorted(set(one.hashes) ^ hashes)
            ]
    return faults


def commands_that_may_build(text: str) -> list[str]:
    """Installs from a lock (Makefile, Containerfile) that ask for no hashes, or would take what has to be built."""
    joined = re.sub(r"\\\n", " ", text)
    commands = [
        line.strip() for line in joined.splitlines() if re.search(r"pip install\b.*requirements[\w-]*\.lock", line)
    ]
    return [
        each for each in commands if not ("--require-hashes" in each and re.search(r"--only-binary[= ]:all:", each))
    ]
