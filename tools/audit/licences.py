"""Which licences kubesteer may stand on. Pure: what packages say of themselves in, faults in words out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PERMISSIVE = frozenset(
    {
        "0BSD",
        "3-Clause BSD License",
        "Apache Software License",
        "Apache-2.0",
        "BSD License",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "MIT",
        "MIT License",
        "MIT-0",
        "PSF-2.0",
        "Python Software Foundation License",
        "Zlib",
    }
)
FILE_COPYLEFT = frozenset({"MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"})
"""Holds for the very files alone, which are used as they are published."""
ACCEPTED = PERMISSIVE | FILE_COPYLEFT


def names_in(licence: str) -> list[str]:
    """Each licence that an expression or a list of classifiers names; all of them count, whichever word joins them."""
    whole = licence.strip()
    if whole in ACCEPTED:
        return [whole]
    parts = re.split(r"\s+(?:AND|OR)\s+|;", whole)
    return [name for part in parts if (name := part.strip().removeprefix("(").removesuffix(")").strip())]


def faults_of(licences: Mapping[str, str], wanted: Iterable[str]) -> list[str]:
    """licences: by package. wanted: all packages that have to have one."""
    faults = [
        f"{name}: not installed here, so its licence is not known; run `make install`"
        for name in wanted
        if name not in licences
    ]
    for package, licence in sorted(licences.items()):
        foreign = [name for name in names_in(licence) if name not in ACCEPTED]
        if foreign or not names_in(licence):
            told = " and ".join(foreign) or "none"
            faults.append(f"{package}: licence {told} is not on the list; take another package, or accept it by name")
    return faults
