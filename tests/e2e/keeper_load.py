"""A client that never stops asking, for the tests of rotation: `python -m tests.e2e.keeper_load extender|etcd ...`.

Each line that it prints is the count of what it asked so far, or why it failed. SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import signal
import ssl
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from kubesteer.clients.rewards.etcd import etcd_source, etcd_writer
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import RewardRecord

PAUSE_S = 0.02
EVERY = 10
SEEN_WITHIN_S = 1.0


def ask_extender(secret: Path, port: int) -> None:
    """As kube-scheduler does: the authority is read at the start, the certificate for each new connection."""
    authority = (secret / "ca.crt").read_text()
    for number in itertools.count(1):
        tls = ssl.create_default_context(cadata=authority)
        tls.load_cert_chain(secret / "tls.crt", secret / "tls.key")
        connection = http.client.HTTPSConnection("kubesteer-extender.kubesteer.svc", port, context=tls, timeout=5)
        body = b'{"Pod": {"metadata": {"name": "p", "namespace": "d"}}, "NodeNames": []}'
        try:
            connection.request("POST", "/filter", body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        except OSError as exc:
            print(f"failed: {exc}", flush=True)
        else:
            print(f"failed: status {status}" if status != 200 else number, flush=True)
        connection.close()
        time.sleep(PAUSE_S)


class Seen:
    """Satisfies RewardSink: the count that was written last, of those seen."""

    last = 0.0

    def put(self, record: RewardRecord) -> None:
        self.last = record.evidence

    def delete(self, node: str, pod_type: str) -> None:
        raise AssertionError(f"{pod_type} on {node} is gone")

    def replace(self, records: Iterable[RewardRecord]) -> None:
        for record in records:
            self.last = record.evidence


async def ask_etcd(secrets: Path, endpoints: list[str]) -> None:
    """As an agent and an extender do: each write is tried until it is done, and seen by one who watches."""
    agent, reader = (
        EtcdOptions(
            endpoints=tuple(endpoints),
            ca_file=folder / "ca.crt",
            cert_file=folder / "tls.crt",
            key_file=folder / "tls.key",
            call_timeout_s=2.0,
        )
        for folder in (secrets / "kubesteer-agent-etcd", secrets / "kubesteer-extender-etcd")
    )
    seen, stop = Seen(), asyncio.Event()
    watching = asyncio.create_task(etcd_source(reader, seen).run())
    writer = etcd_writer(agent)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    number, longest_s = 0, 0.0
    while not stop.is_set():
        number += 1
        started_s = time.monotonic()
        while True:
            try:
                await writer.put(RewardRecord("n1", "web", mean=0.5, evidence=float(number), time_s=time.time()))
                break
            except StoreUnavailable as exc:
                print(f"again: {exc}", flush=True)
                await asyncio.sleep(0.1)
        longest_s = max(longest_s, time.monotonic() - started_s)
        await asyncio.sleep(PAUSE_S)
        if number % EVERY == 0:
            print(f"{number} longest {longest_s:.2f}", flush=True)
    [last] = await writer.list("n1")
    await asyncio.sleep(SEEN_WITHIN_S)
    print(f"ended {number} stored {last.evidence:.0f} seen {seen.last:.0f}", flush=True)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await writer.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["extender", secret, port]:
            ask_extender(Path(secret), int(port))
        case ["etcd", secrets, *endpoints]:
            asyncio.run(ask_etcd(Path(secrets), endpoints))
