"""Prometheus metrics of the extender, on a registry of its own. Labels are few and fixed: never a node or a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from kubesteer.clients.build_info import tell_build
from kubesteer.clients.kept_counter import KeptCounter
from kubesteer.placement.verdicts import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LATENCY_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_CANDIDATES = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
TASKS = ("rewards", "node-states", "parents", "warnings", "faults", "freeze", "tls", "ops-tls")
"""Those that are begun again when they end."""
ERRORS = ("bad-input", "body-too-large", "slow-client", "fault")


class Metrics:
    """One object a process; children with labels are looked up once, here."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        tell_build(self.registry)
        latency = Histogram(
            "kubesteer_request_seconds",
            "Time in a verb, body read.",
            ["verb"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        candidates = Histogram(
            "kubesteer_candidates", "Nodes in a request.", ["verb"], buckets=_CANDIDATES, registry=self.registry
        )
        self.latency = {verb: latency.labels(verb) for verb in ("filter", "prioritize")}
        self.candidates = {verb: candidates.labels(verb) for verb in ("filter", "prioritize")}
        refused = Counter(
            "kubesteer_refused_nodes", "Nodes refused by filter, by cause.", ["cause"], registry=self.registry
        )
        self.refused: dict[Cause, Counter] = {
            cause: refused.labels(cause.label) for cause in Cause if cause != Cause.FITS
        }
        observed_refused = Counter(
            "kubesteer_observed_refused_nodes",
            "Nodes that filter would have refused for pods that are only observed, by cause.",
            ["cause"],
            registry=self.registry,
        )
        self.observed_refused: dict[Cause, Counter] = {
            cause: observed_refused.labels(cause.label) for cause in Cause if cause != Cause.FITS
        }
        self.observed_none_fit = Counter(
            "kubesteer_observed_none_fit",
            "Filter calls that would have left no node, for pods that are only observed.",
            registry=self.registry,
        )
        placements = Counter(
            "kubesteer_observed_placements",
            "Observed pods that were placed, by verb and whether it would have let the node pass, or scored it best.",
            ["verb", "agrees"],
            registry=self.registry,
        )
        self.observed_placements = {
            (verb, agrees): placements.labels(verb, "yes" if agrees else "no")
            for verb in ("filter", "prioritize")
            for agrees in (True, False)
        }
        self.wrong_paths = Counter(
            "kubesteer_wrong_paths", "Requests to the verbs' port for no verb.", registry=self.registry
        )
        self.none_fit = Counter("kubesteer_none_fit", "Filter calls that left no node.", registry=self.registry)
        late = Counter("kubesteer_deadline_hits", "Calls past their deadline.", ["verb"], registry=self.registry)
        self.late = {verb: late.labels(verb) for verb in ("filter", "prioritize")}
        errors = Counter("kubesteer_errors", "Calls that were not answered, by kind.", ["kind"], registry=self.registry)
        self.errors = {kind: errors.labels(kind) for kind in ERRORS}
        self.suspect_units = Counter(
            "kubesteer_suspect_units", "Pods whose SLO looks like a unit mistake.", registry=self.registry
        )
        self.invalid_pods = Counter(
            "kubesteer_invalid_pods", "Pods whose SLO no node could ever take.", registry=self.registry
        )
        refusals = Counter(
            "kubesteer_ops_refused",
            "Requests to the ops port that were refused, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self.ops_refused = {status: refusals.labels(str(status)) for status in (401, 403, 503)}
        self.unsynced = Counter(
            "kubesteer_unsynced_decisions", "Decisions made before the node table was complete.", registry=self.registry
        )

        restarts = Counter(
            "kubesteer_task_restarts",
            "Background tasks that ended by themselves and were begun again.",
            ["task"],
            registry=self.registry,
        )
        self.task_restarts = {task: restarts.labels(task) for task in TASKS}

    def counter(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A counter that is kept elsewhere, read when it is asked for."""
        KeptCounter(self.registry, f"kubesteer_{name}", meaning, value)

    def gauges(self, name: str, meaning: str, label: str, values: Mapping[str, Callable[[], float]]) -> None:
        """One gauge for each value of a label."""
        family = Gauge(f"kubesteer_{name}", meaning, [label], registry=self.registry)
        for of, value in values.items():
            family.labels(of).set_function(value)

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"kubesteer_{name}", meaning, registry=self.registry).set_function(value)
