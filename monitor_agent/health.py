"""Readiness and the report of /readyz. No I/O: it reads the status of the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kubesteer.clients.kubernetes.objects import Node
from kubesteer.clients.kubernetes.pod_runs import RunningPod
from kubesteer.clients.kubernetes.reflector import Reflector
from kubesteer.rewards.column import Column
from monitor_agent.column_writer import ColumnWriter
from monitor_agent.network import NetworkLoop
from monitor_agent.node import NodeBook


class Health:
    """Ready once the node's pods are known and the column is loaded and claimed; faults after that are told beside."""

    def __init__(
        self,
        pods: Reflector[RunningPod],
        node: Reflector[Node],
        book: NodeBook,
        column: Column,
        writer: ColumnWriter,
        network: NetworkLoop,
        *,
        holder: str,
        clock: Callable[[], float],
    ) -> None:
        self._pods = pods
        self._node = node
        self._book = book
        self._column = column
        self._writer = writer
        self._network = network
        self._holder = holder
        self._clock = clock
        self.stopping = False

    def report(self) -> dict[str, Any]:
        """Everything /readyz tells."""
        waiting = list(self._waiting_for())
        skipped = list(self._pods.skipped.values())
        return {
            "ready": not waiting,
            "waitingFor": waiting,
            "node": {"name": self._book.name, "found": self._book.node is not None},
            "claim": {
                "held": self._writer.is_claimed,
                "holder": self._holder,
                "waits_for": self._writer.waits_for,
            },
            "store": {
                "age_s": self.store_age_s(),
                "loaded": self._column.is_loaded,
                "last_error": self._writer.fault,
            },
            "column": {
                "types": len(self._column),
                "folded": self._column.folded,
                "waiting": self._column.dirty(),
            },
            "watch": {
                "age_s": self.watch_age_s(),
                "pods": len(self._pods.known),
                "relists": max(0, self._pods.lists - 1) + max(0, self._node.lists - 1),
                "skipped": len(skipped),
                "last_error": self._pods.fault or self._node.fault or (skipped[-1] if skipped else None),
            },
            "network": self._network.report(),
        }

    def is_ready(self) -> bool:
        """Fit to learn."""
        return not any(self._waiting_for())

    def store_age_s(self) -> float | None:
        """Since the store last confirmed something; None before it ever did."""
        return self._age_s(self._writer.heard_at_s)

    def watch_age_s(self) -> float | None:
        """Since the API server was last heard of, by the older of the two watches."""
        ages = [self._age_s(one.heard_at_s) for one in (self._pods, self._node)]
        known = [age_s for age_s in ages if age_s is not None]
        return max(known) if len(known) == len(ages) else None

    def _waiting_for(self) -> Iterator[str]:
        for what, reflector in (("pods", self._pods), ("node", self._node)):
            if not reflector.synced:
                yield f"{what} from the API server: {reflector.fault or 'first list under way'}"
        if not self._column.is_loaded:
            why = self._writer.waits_for or self._writer.fault or "claim or first list under way"
            yield f"the column from the store: {why}"
        if self.stopping:
            yield "nothing: shutting down"

    def _age_s(self, time_s: float | None) -> float | None:
        return None if time_s is None else self._clock() - time_s
