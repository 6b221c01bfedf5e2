"""Work of a test's own that goes on in a thread while the test does something else."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_ENDS_WITHIN_S = 10.0


class Background(ABC):
    """Use it in a `with`: the work begins there, and is over at its end."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._act, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(_ENDS_WITHIN_S)

    @abstractmethod
    def _act(self) -> None:
        """Ends soon after _over is set."""
