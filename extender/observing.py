"""Tells in metrics and log how pods that kubesteer only observed were placed, beside what it would have decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from extender.metrics import Metrics
    from kubesteer.placement.observations import ObservedPlacement

_WOULD = {
    "filter": "kubesteer's filter would have refused the node",
    "prioritize": "kubesteer would have preferred others",
}


def teller(metrics: Metrics, log: FilteringBoundLogger) -> Callable[[ObservedPlacement], None]:
    """Counts each placement, and logs those that kubesteer would have made otherwise."""

    def tell(placement: ObservedPlacement) -> None:
        metrics.observed_placements[placement.verb, placement.agrees].inc()
        if not placement.agrees:
            pod = placement.pod
            log.info(
                "observed placement",
                pod=f"{pod.namespace}/{pod.name}",
                node=pod.node,
                why=_WOULD[placement.verb],
                favoured=list(placement.favoured),
            )

    return tell
