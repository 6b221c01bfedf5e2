"""A number from 0 to 1 for each pod, as it was last measured. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kubesteer.model.runs import PodRuns


class PodValues:
    """Values by pod. One that moves by less than `step` stays as it was: each move is a write to the store."""

    def __init__(self, on_news: Callable[[PodRuns], None], *, step: float) -> None:
        """on_news is told of each pod whose value is new."""
        self._on_news = on_news
        self._step = step
        self._values: dict[str, float] = {}

    def of(self, uid: str) -> float | None:
        """The value of a pod; None where there is none now."""
        return self._values.get(uid)

    def replace(self, measured: Iterable[tuple[PodRuns, float]]) -> None:
        """These are all there are: what is not measured any more is forgotten, not kept."""
        before, self._values = self._values, {}
        moved = []
        for pod, value in measured:
            old = before.get(pod.uid)
            if old is not None and abs(value - old) < self._step:
                self._values[pod.uid] = old
            else:
                self._values[pod.uid] = value
                moved.append(pod)
        for pod in moved:
            self._on_news(pod)
