"""The `kubesteer` command in this process, and the stores that its tests fill and look into."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aetcd import rpc

from kubesteer.cli.main import app
from kubesteer.clients.rewards.file import parse_rewards
from kubesteer.clients.rewards.file_writer import as_item, render
from kubesteer.model.reward import RewardRecord, decode_record, encode_key, encode_value, table_range
from tests.rewards.etcd_server import EtcdServer


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def run(*arguments: str) -> Result:
    """The command line as the shell would give it, without a terminal."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(arguments)
        except SystemExit as exc:
            code = exc.code
    if isinstance(code, str):
        return Result(1, out.getvalue(), err.getvalue() + code)
    return Result(int(code or 0), out.getvalue(), err.getvalue())


def record(node: str, pod_type: str, mean: float = 0.9, *, age_s: float = 0.0, **changes: Any) -> RewardRecord:
    return RewardRecord(node, pod_type, mean, **{"evidence": 8.0, "time_s": time.time() - age_s, **changes})


def noted(reason: str, value: float = 0.0, run: int = 0, time: str = "2026-11-22T22:41:07Z") -> dict[str, Any]:
    """An outcome as an agent writes it into `recent` and `bad`."""
    where = {"pod": "shop/web-7", "container": "main", "stage": "run"}
    return {"time": time, **where, "run": run, "value": value, "reason": reason}


class StoreCase(Protocol):
    options: tuple[str, ...]

    def fill(self, records: Iterable[RewardRecord]) -> None: ...
    def held(self) -> dict[tuple[str, str], RewardRecord]: ...


class EtcdCase:
    def __init__(self, server: EtcdServer, prefix: str) -> None:
        self.server = server
        self.prefix = prefix
        self.options = ("--etcd", server.address, "--prefix", prefix)

    def fill(self, records: Iterable[RewardRecord], *, lease: int = 0) -> None:
        for each in records:
            put = rpc.PutRequest(
                key=encode_key(self.prefix, each.node, each.pod_type), value=encode_value(each), lease=lease
            )
            self.server.call(rpc.KVStub, "Put", put)

    def held(self) -> dict[tuple[str, str], RewardRecord]:
        records = [decode_record(self.prefix, entry.key, entry.value) for entry in self.entries()]
        return {(each.node, each.pod_type): each for each in records}

    def entries(self) -> list[Any]:
        start, end = table_range(self.prefix)
        return list(self.server.call(rpc.KVStub, "Range", rpc.RangeRequest(key=start, range_end=end)).kvs)


class FileCase:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.options = ("--file", str(path))

    def fill(self, records: Iterable[RewardRecord]) -> None:
        self.path.write_text(render(map(as_item, records), as_json=self.path.suffix == ".json"), encoding="utf-8")

    def held(self) -> dict[tuple[str, str], RewardRecord]:
        records = parse_rewards(self.path.read_bytes(), loaded_at_s=time.time())
        return {(each.node, each.pod_type): each for each in records}
