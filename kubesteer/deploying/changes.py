"""What an apply would change: rendered objects beside those that are there. Nothing is done here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.rendering import OVERLAY, VERSION
from kubesteer.deploying.workloads import WORKLOADS
from kubesteer.model.api_objects import Ref, Thing, ref

_KEPT = frozenset({"Namespace", "PersistentVolumeClaim"})
"""Never pruned: what was learned is in them."""
_FILE = re.compile(r"^diff .* \S*/(\S+)$", re.MULTILINE)
_CHANGED = re.compile(r"^[+-](?!\+\+ |-- )\s*(.*)$", re.MULTILINE)
_ONLY_NAMES = re.compile(rf"({re.escape(VERSION)}|{re.escape(OVERLAY)}): ")
"""Labels of what is deployed: another version or overlay changes them everywhere."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment would do to each object.

    kept: no longer wanted, and yet not deleted, because there is data in it. rolls: workloads whose spec changes, so
    that their pods are replaced. relabelled: those that change no more than the label with the version or the overlay.
    diff: what else changes, in the words of `kubectl diff`.
    """

    create: tuple[Ref, ...]
    change: tuple[Ref, ...]
    leave: tuple[Ref, ...]
    delete: tuple[Ref, ...]
    kept: tuple[Ref, ...]
    rolls: tuple[Ref, ...]
    relabelled: tuple[Ref, ...] = ()
    diff: str = ""

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return not (self.create or self.change or self.delete)


def plan(wanted: Iterable[Thing], there: Iterable[Thing], diff: str, *, field_manager: str) -> Plan:
    """The plan. there: every object with kubesteer's label. diff: of the wanted ones that are there."""
    before, refs = {ref(each): each for each in there}, {ref(each): each for each in wanted}
    texts = re.split(r"^(?=diff )", diff, flags=re.MULTILINE)
    of_file = {found[1]: text for text in texts if (found := _FILE.search(text))}
    changed = {each: of_file[name] for each, thing in refs.items() if (name := _file(thing)) in of_file}
    gone = [each for each, thing in before.items() if each not in refs and is_applied_by(thing, field_manager)]
    return Plan(
        create=tuple(each for each in refs if each not in before),
        change=tuple(changed),
        leave=tuple(each for each in refs if each in before and each not in changed),
        delete=tuple(each for each in gone if each.kind not in _KEPT),
        kept=tuple(each for each in gone if each.kind in _KEPT),
        rolls=tuple(each for each, text in changed.items() if each.kind in WORKLOADS and "\n+  generation:" in text),
        relabelled=tuple(each for each, text in changed.items() if _is_relabelled(text)),
        diff="".join(text for text in changed.values() if not _is_relabelled(text)),
    )


def is_applied_by(thing: Mapping[str, Any], field_manager: str) -> bool:
    """By server-side apply, under that name. What controllers and people made beside it is theirs."""
    return any(
        each.get("manager") == field_manager and each.get("operation") == "Apply"
        for each in thing["metadata"].get("managedFields", ())
    )


def _is_relabelled(text: str) -> bool:
    lines = _CHANGED.findall(text)
    return bool(lines) and all(_ONLY_NAMES.match(line) for line in lines)


def _file(thing: Thing) -> str:
    """The file that kubectl writes the object to for the comparison."""
    meta = thing["metadata"]
    return f"{thing['apiVersion'].replace('/', '.')}.{thing['kind']}.{meta.get('namespace', '')}.{meta['name']}"
