"""The cluster source over a file: for a laptop, a test, a simulation. What the text means is manifest.py's business.

The file is looked at in an interval and read again when it has changed. What cannot be read or understood changes
nothing: the last good state stays, and the status tells what is wrong. How a file is read safely is told in
kubesteer/clients/file_reading.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from kubesteer.clients.file_reading import read_apart
from kubesteer.clients.kubernetes.backoff import Sleep
from kubesteer.clients.kubernetes.manifest import read_manifest, write_manifest
from kubesteer.clients.kubernetes.port import ClusterSink, ClusterStatus
from kubesteer.model.cluster import NodeSummary, PodSummary
from kubesteer.model.errors import ClusterUnavailable, InvalidInput
from kubesteer.model.network import NetworkResource

_AT_ONCE = 250
"""Objects put before the other tasks get a turn."""
_TOLD = 3
"""Faults told in full."""
_Signature = tuple[int, int, int, int]
_node_decoder = msgspec.json.Decoder(NodeSummary)
_pod_decoder = msgspec.json.Decoder(PodSummary)
_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)
"""A reading that went well is told too."""


class ClusterFileSource:
    """Nodes and pods as a YAML or JSON file tells them."""

    def __init__(
        self,
        path: Path,
        network: Sequence[NetworkResource],
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """interval_s: time between two looks at the file; a change counts once it has stood still for one."""
        self._path = path
        self._network = network
        self._interval_s = interval_s
        self._clock = clock
        self._sleep = sleep
        self._status = ClusterStatus(kind="file")
        self._fault: str | None = None
        self._read: _Signature | None = None
        self._read_fault: str | None = None
        self._good_at_s: float | None = None
        self._nodes: set[str] = set()
        self._pods: set[str] = set()

    async def run(self, sink: ClusterSink) -> None:
        """Keep the sink as the file is, until cancelled. No state of the file ends it."""
        before: _Signature | None = None
        while True:
            try:
                now = _signature(self._path)
                if now != self._read and (now == before or self._read is None):
                    await self._take(sink)
                    self._read = now
            except ClusterUnavailable as exc:
                self._fault = str(exc)
            else:
                self._fault = self._read_fault
                if now == self._read and self._fault is None:
                    self._good_at_s = self._clock()
                    sink.pods_heard(self._good_at_s)
                before = now
            await self._sleep(self._interval_s)

    def status(self) -> ClusterStatus:
        """How it stands now; relists counts the readings after the first."""
        age_s = None if self._good_at_s is None else self._clock() - self._good_at_s
        return replace(self._status, last_contact_age_s=age_s, last_error=self._fault or self._status.last_error)

    async def _take(self, sink: ClusterSink) -> None:
        read_at_s = self._clock()
        try:
            found = await read_apart(
                self._path,
                lambda text: write_manifest(read_manifest(text, self._network)),
                "kubesteer.clients.kubernetes.manifest",
                [msgspec.json.encode(self._network).decode()],
            )
        except OSError as exc:
            raise ClusterUnavailable(_unreadable(self._path, exc)) from exc
        except InvalidInput as exc:
            self._read_fault = f"cluster file {self._path}: {exc}"
        else:
            self._read_fault = None
            await self._put(found.splitlines(), read_at_s, sink)

    async def _put(self, lines: list[bytes], read_at_s: float, sink: ClusterSink) -> None:
        """lines: as write_manifest has them."""
        before, head = self._status, msgspec.json.decode(lines[0])
        pods_from = 1 + head["nodes"]
        nodes, pods = set(), set()
        for i in range(1, pods_from):
            nodes.add((node := _node_decoder.decode(lines[i])).name)
            sink.put_node(node)
            await _let_others(i)
        for name in self._nodes - nodes:
            sink.delete_node(name)
        for i in range(pods_from, len(lines)):
            pods.add((pod := _pod_decoder.decode(lines[i])).uid)
            sink.put_pod(pod)
            await _let_others(i)
        for i, uid in enumerate(self._pods - pods):
            sink.delete_pod(uid)
            await _let_others(i)
        self._nodes, self._pods = nodes, pods
        sink.pods_listed(pods, read_at_s)
        fault = _told(head["faults"], has_nodes=bool(nodes))
        self._status = replace(
            before,
            nodes_synced=True,
            pods_synced=True,
            nodes=len(nodes),
            pods=len(pods),
            relists=before.relists + 1 if before.nodes_synced else 0,
            skipped=len(head["faults"]),
            last_error=fault and f"cluster file {self._path}: {fault}",
        )
        if before.nodes_synced:  # the service tells of the first
            counts = len(nodes), len(pods), len(head["faults"])
            _log.info("cluster file %s read again: nodes: %d, pods: %d, faults: %d", self._path, *counts)


async def _let_others(count: int) -> None:
    if not count % _AT_ONCE:
        await asyncio.sleep(0)


def _told(faults: Sequence[str], *, has_nodes: bool) -> str | None:
    told = [] if has_nodes else ["there is no Node in it, so every candidate is unknown"]
    told += faults[:_TOLD]
    if len(faults) > _TOLD:
        told.append(f"and {len(faults) - _TOLD} more, {len(faults)} in all")
    return "; ".join(told) or None


def _signature(path: Path) -> _Signature:
    """What changes when the file does, also when another is renamed into its place."""
    try:
        found = path.stat()
    except OSError as exc:
        raise ClusterUnavailable(_unreadable(path, exc)) from exc
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _unreadable(path: Path, exc: OSError) -> str:
    return f"cluster file {path}: {exc.strerror}"
