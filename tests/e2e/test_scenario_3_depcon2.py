"""DepCon2's first evaluation: pods with the SLOs of its test set over six nodes, beside the stock scheduler.

The test set: 20 pods of 100 Mbit/s, 24 of 200, 40 of 300 and 20 of 400, each with 100m CPU, and here 256Mi of memory
to have all three resources move: 26.8 of 60 Gbit/s, 10.4 of 48 cores, 26 of 192 GiB in all. Spread is the standard
deviation over the nodes of the fraction in use, the mean of several orders of arrival: the stock scheduler does not
see the network, so one order alone would be luck.
"""

from __future__ import annotations

import random
import statistics
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tools.cluster.extender import scheduler_entry
from tools.cluster.objects import node, pod

from .scenario import (
    EGRESS,
    G,
    bed,
    bound,
    empty,
    kubesteer,
    older,
    promised_bps,
    running_bed,
    settled,
    start_scheduler,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.cluster.controlplane import ControlPlane, Part

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

SLOS = ["100M"] * 20 + ["200M"] * 24 + ["300M"] * 40 + ["400M"] * 20
NODES = [f"node-{number}" for number in range(1, 7)]
ORDERS = range(4)


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviation over the nodes of the fraction in use."""

    cpu: float
    memory: float
    network: float


def test_the_pods_of_depcon2s_test_set_spread_at_least_as_evenly_as_under_the_stock_scheduler(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    stock = spread(bed, start_scheduler, None)
    default = spread(bed, start_scheduler, {})
    shortlist = spread(bed, start_scheduler, {"filter": {"shortlist": 1}})
    depcon2 = spread(bed, start_scheduler, {"score": {"balance_rule": "depcon2"}})
    show({"stock scheduler": stock, "kubesteer": default, "short list of one": shortlist, "DepCon2's rule": depcon2})
    assert depcon2.network <= stock.network
    for ours in (default, shortlist):
        assert ours.network <= stock.network
        assert ours.memory <= stock.memory
        assert ours.cpu <= stock.cpu


def spread(bed: ControlPlane, start_scheduler: Callable[..., Part], settings: dict[str, Any] | None) -> Spread:
    """The mean spread over the orders of arrival; settings: kubesteer's, None is the stock scheduler."""
    with kubesteer(bed, **settings) if settings is not None else nullcontext() as extender:
        config = {"extenders": [scheduler_entry(extender)]} if extender else {}
        rounds = [one_order(bed, partial(start_scheduler, config), order) for order in ORDERS]
    return Spread(*(statistics.mean(values) for values in zip(*rounds, strict=True)))


def one_order(bed: ControlPlane, start: Callable[[], Part], order: int) -> tuple[float, float, float]:
    """Spread of CPU, memory and network after all pods are placed, in this order of arrival."""
    bed.client.create_all(node(name, cpu="8", memory="32Gi", resources={EGRESS: "10G"}) for name in NODES)
    requests = {"cpu": "100m", "memory": "256Mi"}
    slos = random.Random(order).sample(SLOS, len(SLOS))
    bed.client.create_all(pod(f"p{i:03}", requests=requests, limits={EGRESS: slo}) for i, slo in enumerate(slos))
    found = settled(bed.client, start(), within_s=30)
    places = list(bound(found).values())
    assert len(places) == len(SLOS)
    counts = [places.count(name) for name in NODES]
    promised = promised_bps(found)
    empty(bed)
    return (
        statistics.pstdev(count * 0.1 / 8 for count in counts),
        statistics.pstdev(count * 0.25 / 32 for count in counts),
        statistics.pstdev(promised[name] / (10 * G) for name in NODES),
    )


def show(spreads: dict[str, Spread]) -> None:
    table = Table("spread over 6 nodes", "CPU", "memory", "network", title=f"104 pods, mean of {len(ORDERS)} orders")
    for name, one in spreads.items():
        table.add_row(name, *(f"{value:.4f}" for value in (one.cpu, one.memory, one.network)))
    Console(width=100).print(table)
