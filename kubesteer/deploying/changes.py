"""What an apply would change: rendered objects beside those that are there. Nothing is done here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.workloads import WORKLOADS
from kubesteer.model.api_objects import Ref, Thing, ref
from kubesteer.model.errors import ClusterUnavailable

_KEPT = frozenset({"Namespace", "PersistentVolumeClaim"})
"""Never pruned: what was learned is in them."""
_COUNTER = "deprecated.daemonset.template.generation"
"""An annotation that the API server counts up by itself."""
_NOT_COMPARED = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class Change:
    """An object that is there and would change; fields: where, as `spec.replicas: 2 -> 3`."""

    ref: Ref
    fields: tuple[str, ...]

    @property
    def is_label_only(self) -> bool:
        """Nothing of it does anything else than before: another version's or overlay's name."""
        return all(each.startswith("metadata.labels.") for each in self.fields)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment would do to each object.

    kept: no longer wanted, and yet not deleted, because there is data in it.
    rolls: workloads whose pods will be replaced.
    """

    create: tuple[Ref, ...]
    change: tuple[Change, ...]
    leave: tuple[Ref, ...]
    prune: tuple[Ref, ...]
    kept: tuple[Ref, ...]
    rolls: tuple[Ref, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return not (self.create or self.change or self.prune)


def plan(wanted: Iterable[Thing], there: Iterable[Thing], would_be: Iterable[Thing], *, field_manager: str) -> Plan:
    """The plan.

    there: every object with kubesteer's label. would_be: what a server-side dry run made of the wanted ones; those it
    could not be asked for, in a namespace that is not there yet, are missing. Raises ClusterUnavailable for one that is
    there and missing among them: what would become of it is not known.
    """
    before, after = ({ref(each): each for each in things} for things in (there, would_be))
    refs = [ref(each) for each in wanted]
    if untold := [each for each in refs if each in before and each not in after]:
        raise ClusterUnavailable(f"{untold[0]}: it is there, and the dry run told nothing of it; run this again")
    changes = [Change(each, tuple(_differences(before[each], after[each]))) for each in refs if each in before]
    changed = [each for each in changes if each.fields]
    gone = [r for r, each in before.items() if r not in refs and is_applied_by(each, field_manager)]
    return Plan(
        create=tuple(each for each in refs if each not in before),
        change=tuple(changed),
        leave=tuple(each.ref for each in changes if not each.fields),
        prune=tuple(each for each in gone if each.kind not in _KEPT),
        kept=tuple(each for each in gone if each.kind in _KEPT),
        rolls=tuple(each.ref for each in changed if _rolls(each)),
    )


def is_applied_by(thing: Mapping[str, Any], field_manager: str) -> bool:
    """By server-side apply, under that name. What controllers and people made beside it is theirs."""
    return any(
        each.get("manager") == field_manager and each.get("operation") == "Apply"
        for each in thing["metadata"].get("managedFields", ())
    )


def _rolls(change: Change) -> bool:
    return change.ref.kind in WORKLOADS and any(each.startswith("spec.template") for each in change.fields)


def _differences(before: Thing, after: Thing) -> Iterator[str]:
    yield from _walk("", _compared(before), _compared(after))


def _compared(thing: Thing) -> Thing:
    meta = {name: value for name, value in thing["metadata"].items() if name not in _NOT_COMPARED}
    return {**{name: value for name, value in thing.items() if name not in {"status", "apiVersion"}}, "metadata": meta}


def _walk(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted((before.keys() | after.keys()) - {_COUNTER}):
            yield from _walk(f"{path}.{name}" if path else name, before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _walk(f"{path}[{index}]", one, other)
    else:
        yield f"{path}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
