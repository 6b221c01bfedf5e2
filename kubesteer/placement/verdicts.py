"""Why candidates are refused, as columns; words are made only where they are read, one text for equal numbers.

Which candidate is refused is decided in filtering.py. No decision here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.quantity import format_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Cause(IntEnum):
    """What a candidate's verdict is: FITS, or why not."""

    FITS = 0
    POD_FAULT = 1
    UNKNOWN_NODE = 2
    NODE_FAULT = 3
    NOT_READY = 4
    NO_CAPACITY = 5
    TOO_SMALL = 6
    INSUFFICIENT = 7
    LINK = 8
    LINK_INSUFFICIENT = 9
    MEASURED = 10
    QUARANTINE = 11

    @property
    def label(self) -> str:
        """Of a metric: few and fixed."""
        return _LABELS[self]

    @property
    def resolvable(self) -> bool:
        """Evicting pods could help."""
        return self in {Cause.INSUFFICIENT, Cause.LINK_INSUFFICIENT}


_LABELS = {
    Cause.FITS: "fits",
    Cause.POD_FAULT: "pod-fault",
    Cause.UNKNOWN_NODE: "unknown-node",
    Cause.NODE_FAULT: "node-fault",
    Cause.NOT_READY: "not-ready",
    Cause.NO_CAPACITY: "no-capacity",
    Cause.TOO_SMALL: "too-small",
    Cause.INSUFFICIENT: "insufficient",
    Cause.LINK: "link",
    Cause.LINK_INSUFFICIENT: "link",
    Cause.MEASURED: "measured-traffic",
    Cause.QUARANTINE: "quarantine",
}


_RESOLVABLE, _UNRESOLVABLE = 1, 2
_KIND = np.array([0 if c is Cause.FITS else _RESOLVABLE if c.resolvable else _UNRESOLVABLE for c in Cause], np.uint8)
"""By cause."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why one candidate does not fit. resolvable: evicting pods could help."""

    position: int
    cause: Cause
    reason: str
    resolvable: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pod wants in one direction, and the names of the resource: for the words of a refusal."""

    direction: str
    bps: int
    resource_names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.direction}: wants {format_rate(self.bps)}"


@dataclass(frozen=True, slots=True)
class Kind:
    """Refusals that read alike: `start`, then, where `end` is there, its words for what is left of how much.

    is_plain: all of the kind read so; otherwise each has words of its own.
    """

    cause: Cause
    start: str = ""
    end: Callable[[float, float], str] | None = None
    is_plain: bool = True


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts of n candidates.

    cause: uint8 (n,), of Cause. The rest counts where the cause says so. direction: uint8 (n,), an index of wanted.
    left, of: float64 (n,): what is left of how much, in bit/s; of a quarantine the reward's mean and the runs behind
    it, and below the least mean. pod_fault, node_faults: in words, the latter by position.
    """

    cause: NDArray[np.uint8]
    direction: NDArray[np.uint8]
    left: NDArray[np.float64]
    of: NDArray[np.float64]
    wanted: Sequence[Wanted] = ()
    below: float = 0.0
    pod_fault: str | None = None
    node_faults: Mapping[int, str] = field(default_factory=dict)

    def by_kind(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Positions of the refused candidates: those where evicting pods could help, and those where not."""
        kind = _KIND.take(self.cause)
        return np.flatnonzero(kind == _RESOLVABLE), np.flatnonzero(kind == _UNRESOLVABLE)

    def counts(self) -> Mapping[Cause, int]:
        """How many candidates were refused for each cause."""
        counted = np.bincount(self.cause, minlength=len(Cause))
        return {Cause(number): count for number, count in enumerate(counted.tolist()) if count and number != Cause.FITS}

    def refused(self) -> list[Verdict]:
        """A verdict for each candidate that does not fit, in request order."""
        positions = np.flatnonzero(self.cause)
        reasons = self.reasons(positions)
        causes = map(Cause, self.cause[positions].tolist())
        return [
            Verdict(position, cause, reason, cause.resolvable)
            for position, cause, reason in zip(positions.tolist(), causes, reasons, strict=True)
        ]

    def kinds(self, positions: NDArray[np.intp]) -> list[tuple[Kind, NDArray[np.intp]]]:
        """These candidates, all of them refused, by how their reasons read; positions in order within each kind."""
        if not len(positions):
            return []
        kinds = self.cause[positions].astype(np.int64) * 256 + self.direction[positions]
        if (kinds == kinds[0]).all():
            return [(self._kind(int(kinds[0])), positions)]
        return [(self._kind(number), positions[kinds == number]) for number in np.unique(kinds).tolist()]

    def reasons(self, positions: NDArray[np.intp]) -> list[str]:
        """Why each of these candidates, all of them refused, does not fit."""
        texts: dict[int, str] = {}
        for kind, among in self.kinds(positions):
            texts.update(zip(among.tolist(), self._reasons_of(kind, among), strict=True))
        return [texts[position] for position in positions.tolist()]

    def _kind(self, number: int) -> Kind:
        cause, direction = Cause(number // 256), number % 256
        match cause:
            case Cause.NODE_FAULT | Cause.QUARANTINE:
                return Kind(cause, is_plain=False)
            case Cause.POD_FAULT:
                return Kind(cause, f"pod: {self.pod_fault}")
            case Cause.UNKNOWN_NODE:
                return Kind(cause, "node is unknown to kubesteer")
            case Cause.NOT_READY:
                return Kind(cause, "node is not ready")
        wanted = self.wanted[direction]
        if cause is Cause.NO_CAPACITY:
            return Kind(cause, f"{wanted}, the node publishes no {' or '.join(wanted.resource_names)}")
        return Kind(cause, f"{wanted}, ", _IN_WORDS[cause])

    def _reasons_of(self, kind: Kind, positions: NDArray[np.intp]) -> list[str]:
        numbers = zip(self.left[positions].tolist(), self.of[positions].tolist(), strict=True)
        if kind.cause is Cause.NODE_FAULT:
            return [f"node object: {self.node_faults[p]}" for p in positions.tolist()]
        if kind.cause is Cause.QUARANTINE:
            end = f" for this pod type is below {self.below:g}"
            return [f"reward: {mean:.2f}{end} ({runs:.3g} runs)" for mean, runs in numbers]
        if kind.end is None:
            return [kind.start] * len(positions)
        return [kind.start + kind.end(left, of) for left, of in numbers]


@lru_cache(maxsize=65_536)
def _left_of_all(left: float, of: float) -> str:
    return f"{format_rate(left)} of {format_rate(of)} left"


_IN_WORDS: Mapping[Cause, Callable[[float, float], str]] = {
    Cause.TOO_SMALL: lambda _, of: f"the node has {format_rate(of)} in all",
    Cause.INSUFFICIENT: _left_of_all,
    Cause.LINK: lambda _, of: f"the link carries {format_rate(of)} now",
    Cause.LINK_INSUFFICIENT: lambda left, of: (
        f"{format_rate(left)} left of the {format_rate(of)} that the link carries now"
    ),
    Cause.MEASURED: lambda left, of: f"{format_rate(left)} of {format_rate(of)} measured in use",
}
