"""What the fuzzer shoots at: the extender's own applications in this process, and the extender as a process."""

from __future__ import annotations

import asyncio
import http.client
import io
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import msgspec

from extender.app import build
from extender.logs import make_logger
from extender.settings import Settings
from kubesteer.clients.kubernetes.port import ClusterSink, ClusterStatus
from kubesteer.clients.rewards.memory import MemorySource, MemoryStore
from kubesteer.model.cluster import summarise_node, summarise_pod
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.reward import RewardRecord, encode_key, encode_value
from tests.builders import node_object, pod_object
from tests.fuzz.inputs import NODES, PODS
from tools.cluster.extender import Extender

VERBS = ("filter", "prioritize")
LIMIT_BYTES = 900_000
"""Below the largest bodies that are made, so that the limit is hit too."""
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {
        "filter": {"shortlist": 2, "measured_fresh_s": 60, "quarantine_below": 0.4, "refuse_unknown_capacity": True},
        "score": {"balance_rule": "depcon2", "least_spread": 0},
    },
    {"score": {"balance_rule": "upstream-1.36", "charge_ttl_s": 0}, "filter": {"shortlist": 1}},
)
_LIMITS = {"names_body_bytes": LIMIT_BYTES, "nodes_body_bytes": LIMIT_BYTES, "deadline_ms": 60_000}


class Still:
    """A cluster source that has said everything; satisfies ClusterSource."""

    async def run(self, sink: ClusterSink) -> None:
        await asyncio.get_running_loop().create_future()

    def status(self) -> ClusterStatus:
        return ClusterStatus(kind="file", nodes_synced=True, pods_synced=True, last_contact_age_s=0.0)


class InProcess:
    """The verbs' application, called as an ASGI server calls it."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.now_s = 1_800_000_000.0
        store = MemoryStore()
        for i in range(6):
            record = RewardRecord(f"node-{i}", "web", mean=i / 6, evidence=10.0, time_s=1_800_000_000.0)
            store.put_entry(encode_key(store.prefix, record.node, record.pod_type), encode_value(record))
        with redirect_stdout(io.StringIO()):
            log = make_logger(as_json=True, level="error")
        self._parts = build(
            Settings(limits=_LIMITS, **policy),
            Still(),
            lambda sink: MemorySource(store, sink, clock=time.monotonic),
            log,
            unix_s=lambda: self.now_s,
            clock=lambda: self.now_s,
        )
        self.shortlist = self._parts.settings.filter.shortlist is not None
        assert isinstance(self._parts.rewards, MemorySource)
        self._parts.rewards.resync()
        for node in NODES:
            self._parts.state.put_node(summarise_node(node_object(node), DEFAULT_NETWORK))
        for pod in PODS:
            self._parts.state.put_pod(summarise_pod(pod_object(pod), DEFAULT_NETWORK))

    def faults(self) -> float:
        return self._parts.metrics.registry.get_sample_value("kubesteer_errors_total", {"kind": "fault"}) or 0.0

    async def post(self, verb: str, body: bytes) -> tuple[int, bytes]:
        """Status and body. The clock goes on by a millisecond a call, so that charges expire."""
        self.now_s += 0.001
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        length = (b"content-length", str(len(body)).encode())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": f"/{verb}",
            "raw_path": f"/{verb}".encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [length],
        }
        await self._parts.verbs(scope, receive, send)
        return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])


class OverSocket:
    """The extender as a process, over one connection that is opened again where the extender closes it."""

    shortlist = False

    def __init__(self, directory: Path) -> None:
        cluster = directory / "cluster.json"
        cluster.write_bytes(msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": [*NODES, *PODS]}))
        settings = {"cluster": {"file": str(cluster)}, "limits": _LIMITS, "log": {"format": "json", "level": "error"}}
        self.extender = Extender(settings)
        self.extender.start()
        self._connection = http.client.HTTPConnection("127.0.0.1", self.extender.port, timeout=30)

    async def post(self, verb: str, body: bytes) -> tuple[int, bytes]:
        self._connection.request("POST", f"/{verb}", body)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def faults(self) -> float:
        with_kind = 'kubesteer_errors_total{kind="fault"}'
        page = http.client.HTTPConnection("127.0.0.1", self.extender.ops_port, timeout=30)
        page.request("GET", "/metrics")
        text = page.getresponse().read().decode()
        return float(next(line for line in text.splitlines() if line.startswith(with_kind)).rpartition(" ")[2])

    def rss_mb(self) -> float:
        return rss_mb(self.extender.process.pid)

    def stop(self) -> None:
        self._connection.close()
        self.extender.__exit__(None, None, None)


def rss_mb(pid: int | str = "self") -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
