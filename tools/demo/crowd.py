"""The pods that come and go, and where the API server says that each went."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tools.cluster.client import ApiError, Client
from tools.cluster.objects import pod
from tools.demo.cast import TYPE

REQUESTS = {"cpu": "400m", "memory": "1600Mi"}
"""So that a node on which most of them run is visibly fuller than the others, and balance has a say beside rewards."""


@dataclass(slots=True)
class Crowd:
    client: Client
    every_s: float
    life_s: float
    placed: list[tuple[str, str]] = field(default_factory=list)
    """Pod and node, in the order in which they were seen bound."""
    alive: list[dict[str, Any]] = field(default_factory=list)
    """The pods as the API server has them."""
    _born_s: dict[str, float] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _next_s: float = 0.0

    def move_on(self, now_s: float) -> None:
        """Let pods come and go, and look where they are."""
        if now_s >= self._next_s:
            self._next_s = max(self._next_s + self.every_s, now_s)
            name = f"d-{next(self._numbers):03}"
            self.client.create(pod(name, labels={"podtype": TYPE}, requests=REQUESTS))
            self._born_s[name] = now_s
        for name in [name for name, born_s in self._born_s.items() if now_s - born_s >= self.life_s]:
            del self._born_s[name]
            self._delete(name)
        self.alive = self.client.list_all("Pod", namespace="default")
        known = {name for name, _ in self.placed}
        new = [each for each in self.alive if each["spec"].get("nodeName") and each["metadata"]["name"] not in known]
        for each in sorted(new, key=lambda each: each["metadata"]["name"]):
            self.placed.append((each["metadata"]["name"], each["spec"]["nodeName"]))

    def since(self, count: int) -> Counter[str]:
        """Where pods went after the first `count` of them."""
        return Counter(node for _, node in self.placed[count:])

    def last(self, count: int) -> Counter[str]:
        """Where the last so many went."""
        return Counter(node for _, node in self.placed[-count:])

    def on(self, node: str) -> tuple[int, int]:
        """Pods on the node that are ready, and those that are not."""
        here = [each for each in self.alive if each["spec"].get("nodeName") == node]
        ready = sum(_is_ready(each) for each in here)
        return ready, len(here) - ready

    def _delete(self, name: str) -> None:
        """As a user would: with the grace period that the pod has."""
        try:
            self.client.delete("Pod", name, grace_period_s=None)
        except ApiError as error:
            if error.status != 404:
                raise


def _is_ready(each: dict[str, Any]) -> bool:
    conditions = each["status"].get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
