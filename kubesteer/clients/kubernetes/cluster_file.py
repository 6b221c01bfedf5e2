"""The cluster source over a file: for a laptop, a test, a simulation. What the text means is manifest.py's business.

The file is looked at in an interval and read again when it has changed. What cannot be read or understood changes
nothing: the last good state stays, and the status tells what is wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kubesteer.clients.kubernetes.backoff import Sleep
from kubesteer.clients.kubernetes.manifest import Manifest, read_manifest
from kubesteer.clients.kubernetes.port import ClusterSink, ClusterStatus
from kubesteer.model.errors import ClusterUnavailable, InvalidInput
from kubesteer.model.network import NetworkResource

_Signature = tuple[int, int, int, int]


class FileSource:
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
        try:
            text = self._path.read_bytes()
        except OSError as exc:
            raise ClusterUnavailable(_unreadable(self._path, exc)) from exc
        try:
            self._put(await asyncio.to_thread(read_manifest, text, self._network), sink)
        except InvalidInput as exc:
            self._read_fault = f"cluster file {self._path}: {exc}"
        else:
            self._read_fault = None

    def _put(self, manifest: Manifest, sink: ClusterSink) -> None:
        before, read_at_s = self._status, self._clock()
        nodes, pods = set(manifest.nodes), {pod.uid for pod in manifest.pods.values()}
        for node in manifest.nodes.values():
            sink.put_node(node)
        for name in self._nodes - nodes:
            sink.delete_node(name)
        for pod in manifest.pods.values():
            sink.put_pod(pod)
        for uid in self._pods - pods:
            sink.delete_pod(uid)
        self._nodes, self._pods = nodes, pods
        sink.pods_listed(pods, read_at_s)
        self._status = replace(
            before,
            nodes_synced=True,
            pods_synced=True,
            nodes=len(manifest.nodes),
            pods=len(manifest.pods),
            relists=before.relists + 1 if before.nodes_synced else 0,
            skipped=len(manifest.faults),
            last_error=f"cluster file {self._path}: {manifest.faults[-1]}" if manifest.faults else None,
        )


def _signature(path: Path) -> _Signature:
    """What changes when the file does, also when another is renamed into its place."""
    try:
        found = path.stat()
    except OSError as exc:
        raise ClusterUnavailable(_unreadable(path, exc)) from exc
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _unreadable(path: Path, exc: OSError) -> str:
    return f"cluster file {path}: {exc.strerror}"
