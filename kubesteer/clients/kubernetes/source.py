"""The cluster source over an API server: one reflector for nodes and one for pods, and their common status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random

from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.backoff import Sleep
from kubesteer.clients.kubernetes.objects import Node, ObjectT, Pod
from kubesteer.clients.kubernetes.port import ClusterSink, ClusterStatus
from kubesteer.clients.kubernetes.reflector import Pace, Reflector
from kubesteer.clients.kubernetes.resource import Resource, nodes_into, pods_into
from kubesteer.model.network import NetworkResource


class KubernetesSource:
    """Nodes and pods as the API server tells them. Its ApiServer is opened and closed by the caller."""

    def __init__(
        self,
        api: ApiServer,
        network: Sequence[NetworkResource],
        *,
        random: Random,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`random` spreads the waits of replicas; `clock` is in seconds and only moves forward."""
        self._api = api
        self._network = network
        self._random = random
        self._pace = pace or Pace()
        self._clock = clock
        self._sleep = sleep
        self._nodes: Reflector[Node] | None = None
        self._pods: Reflector[Pod] | None = None

    async def run(self, sink: ClusterSink) -> None:
        """Keep the sink as the cluster is, until cancelled. No state of the API server ends it."""
        self._nodes = self._nodes or self._reflector(nodes_into(sink, self._network))
        self._pods = self._pods or self._reflector(pods_into(sink, self._network))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run())
            tasks.create_task(self._pods.run())

    def status(self) -> ClusterStatus:
        """How it stands now."""
        nodes, pods = self._nodes, self._pods
        if nodes is None or pods is None:
            return ClusterStatus(kind="kubernetes")
        heard = [one.heard_at_s for one in (nodes, pods) if one.heard_at_s is not None]
        skipped = [*nodes.skipped.values(), *pods.skipped.values()]
        return ClusterStatus(
            kind="kubernetes",
            nodes_synced=nodes.synced,
            pods_synced=pods.synced,
            last_contact_age_s=self._clock() - min(heard) if len(heard) == 2 else None,
            nodes=len(nodes.known),
            pods=len(pods.known),
            relists=max(0, nodes.lists - 1) + max(0, pods.lists - 1),
            skipped=len(skipped),
            events=nodes.events + pods.events,
            last_error=nodes.fault or pods.fault or (skipped[-1] if skipped else None),
        )

    def _reflector(self, resource: Resource[ObjectT]) -> Reflector[ObjectT]:
        return Reflector(
            self._api, resource, pace=self._pace, random=self._random, clock=self._clock, sleep=self._sleep
        )
