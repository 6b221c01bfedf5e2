"""The agent as a process of its own: a service account, TLS, a real etcd, signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kubesteer.clients.rewards.etcd import etcd_writer
from kubesteer.model.reward import RewardRecord
from tests.agent.builders import NODE, ended, node, pod, running, waiting
from tests.certificates import Authority
from tests.cluster_state.fake_api import FakeApi
from tests.network_probes.test_asking_prometheus import prometheus  # noqa: F401 - a fixture
from tests.rewards.etcd_server import EtcdServer
from tests.waiting import WITHIN_S
from tools.cluster.ports import free_ports

HEAVY = ("numpy", "pydantic", "fastapi", "kubernetes", "uvicorn", "structlog", "orjson", "rich", "aiohttp.web")


class Process:
    """One agent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._process.stdout or nothing():
            self.lines.append(json.loads(line))

    async def line(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(WITHIN_S):
            while True:
                for line in self.lines:
                    if line["event"] == event:
                        return line
                assert self._process.returncode is None, self.lines
                await asyncio.sleep(0.02)

    async def ready(self) -> dict[str, Any]:
        url = (await self.line("started"))["ops"]
        async with asyncio.timeout(WITHIN_S), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{url}/readyz") as answer:
                    told = await answer.json()
                if told["ready"]:
                    return told
                await asyncio.sleep(0.05)

    async def stop(self, number: int) -> int:
        self._process.send_signal(number)
        return await self.end()

    async def end(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            code = await self._process.wait()
            await self._reading
        return code

    async def errors(self) -> str:
        return (await self._process.stderr.read()).decode()  # type: ignore[union-attr]


async def nothing() -> AsyncIterator[bytes]:
    """The lines of a process that writes elsewhere."""
    for line in ():
        yield line


Start = Callable[..., Any]


@pytest.fixture
async def secure_api(tmp_path: Path) -> AsyncIterator[FakeApi]:
    api = FakeApi()
    await api.start(tls=Authority(tmp_path, "ca").server())
    (tmp_path / "token").write_text("t")
    api.accepted_token = "t"
    yield api
    await api.stop()


@pytest.fixture
async def start(secure_api: FakeApi, etcd: EtcdServer, prefix: str, tmp_path: Path) -> AsyncIterator[Start]:
    started: list[asyncio.subprocess.Process] = []

    @asynccontextmanager
    async def begin(*, output: int = asyncio.subprocess.PIPE, **settings: str) -> AsyncIterator[Process]:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KUBE")},
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(secure_api.port),
            "NODE_NAME": NODE,
            "KUBESTEER_AGENT_CLUSTER__SERVICE_ACCOUNT": str(tmp_path),
            "KUBESTEER_AGENT_STORE__ENDPOINTS": json.dumps([etcd.address]),
            "KUBESTEER_AGENT_STORE__PREFIX": prefix,
            "KUBESTEER_AGENT_STORE__FLUSH_S": "0.1",
            "KUBESTEER_AGENT_STORE__CLAIM_WAIT_S": "0",
            "KUBESTEER_AGENT_OPS__PORT": "0",
            **settings,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "monitor_agent",
            env=environ,
            stdout=output,
            stderr=output,
        )
        started.append(process)
        yield Process(process)

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "NODE_NAME"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**kept, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def records(etcd: EtcdServer, prefix: str) -> dict[str, RewardRecord]:
    reader = etcd_writer(etcd.options(prefix))
    try:
        return {record.pod_type: record for record in await reader.list(NODE)}
    finally:
        await reader.close()


async def counted(etcd: EtcdServer, prefix: str, count: int) -> RewardRecord:
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = (await records(etcd, prefix)).get("web")
            if found is not None and found.extra["count"] >= count:
                return found
            await asyncio.sleep(0.05)


async def test_killed_between_outcome_and_write_and_started_again_it_counts_each_run_once(
    secure_api: FakeApi, etcd: EtcdServer, prefix: str, start: Start
) -> None:
    """One failed run: learned and not written, kill -9; learned and written, kill -9; found as it was written: 1."""
    secure_api.put(pod("web-1", waiting("CrashLoopBackOff"), last=ended(1)))
    same_pod = {"POD_NAME": "agent-x"}
    async with start(**same_pod, KUBESTEER_AGENT_STORE__FLUSH_S="1000") as agent:
        await agent.line("outcome")
        await agent.ready()
        assert await agent.stop(signal.SIGKILL) == -signal.SIGKILL
    assert await records(etcd, prefix) == {}
    async with start(**same_pod) as agent:
        await counted(etcd, prefix, 1)
        assert await agent.stop(signal.SIGKILL) == -signal.SIGKILL
    async with start(**same_pod) as agent:
        await agent.ready()
        secure_api.put(pod("web-1", waiting("CrashLoopBackOff"), last=ended(1), restarts=1))
        found = await counted(etcd, prefix, 2)
        assert (found.mean, found.extra["count"]) == (0.0, 2)
        assert await agent.stop(signal.SIGTERM) == 0
        assert await agent.errors() == ""


async def test_a_query_in_the_settings_is_asked_of_a_real_prometheus(
    start: Start,
    secure_api: FakeApi,
    etcd: EtcdServer,
    prefix: str,
    prometheus: str,  # noqa: F811
) -> None:
    """30 good of 40 in all: the run that was a success by its length is worth 0.75."""
    secure_api.put(pod("web-1", running(time.time() - 300), namespace="default"))
    settings = {
        "KUBESTEER_AGENT_MEASURE__PROMETHEUS": prometheus,
        "KUBESTEER_AGENT_MEASURE__QUERIES": json.dumps({"web": "app_good_total / app_all_total"}),
        "KUBESTEER_AGENT_MEASURE__EVERY_S": "0.2",
    }
    async with start(**settings) as agent, asyncio.timeout(WITHIN_S):
        while (found := (await counted(etcd, prefix, 1))).mean != pytest.approx(0.75):
            await asyncio.sleep(0.05)
        assert (found.extra["count"], found.extra["recent"][-1]["reason"]) == (1, "Measure")
        assert await agent.stop(signal.SIGTERM) == 0


async def test_a_second_agent_ends_with_a_status_and_names_the_holder(secure_api: FakeApi, start: Start) -> None:
    secure_api.put(node())
    async with start(POD_NAMESPACE="kube-system", POD_NAME="agent-x") as first:
        await first.ready()
        async with start(POD_NAME="agent-y") as second:
            assert await second.end() == 1
            assert "claimed by 'kube-system/agent-x'" in await second.errors()
        assert await first.stop(signal.SIGINT) == 0


async def test_an_agent_without_its_etcd_still_starts_and_stops(start: Start) -> None:
    async with start(KUBESTEER_AGENT_STORE__ENDPOINTS='["127.0.0.1:1"]') as agent:
        await agent.line("the store is away; nothing is lost meanwhile")
        assert await agent.stop(signal.SIGTERM) == 0


async def test_an_agent_whose_pages_are_open_to_everybody_says_so(secure_api: FakeApi, start: Start) -> None:
    secure_api.put(node())
    open_to_all = "the ops port answers without authentication; set ops.auth: kubernetes, or ops.host: 127.0.0.1"
    async with start(KUBESTEER_AGENT_OPS__HOST="0.0.0.0") as agent:
        await agent.line(open_to_all)
    async with start(POD_NAME="on-loopback", KUBESTEER_AGENT_STORE__KIND="memory") as agent:
        await agent.ready()
        assert open_to_all not in [line["event"] for line in agent.lines]


async def test_the_agent_loads_nothing_heavy() -> None:
    code, out, _ = await run(
        "-c", "import sys, monitor_agent.__main__, kubesteer.clients.rewards.etcd; print(*sys.modules)"
    )
    assert code == 0
    assert not set(HEAVY) & set(out.split())


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "NODE_NAME"),
        ({"NODE_NAME": "n"}, "KUBERNETES_SERVICE_HOST is not set"),
        ({"NODE_NAME": "n", "KUBESTEER_AGENT_OPS__PORT": "x"}, "ops.port: 'x'"),
        ({"NODE_NAME": "Node 1"}, "node.name: 'Node 1' cannot be a node's name"),
        ({"NODE_NAME": "n", "KUBESTEER_AGENT_STORE__CA_FILE": "absent.crt"}, "store.ca_file: "),
        ({"NODE_NAME": "n", "KUBESTEER_AGENT_STORE__CERT_FILE": "absent.crt"}, "store.cert_file: "),
        ({"NODE_NAME": "n", "KUBESTEER_AGENT_STORE__KEY_FILE": "absent.key"}, "store.key_file: "),
        ({"NODE_NAME": "n", "KUBESTEER_AGENT_STORE__PASSWORD_FILE": "absent"}, "store.password_file: "),
        ({"NODE_NAME": "n", "KUBESTEER_AGENT_CLUSTER__KUBECONFIG": "absent"}, "kubeconfig absent: no such file"),
        ({"NODE_NAME": "n", "KUBESTEER_AGENT_STORE__ENDPOINTS": '["nowhere"]'}, "'nowhere' is not host:port"),
    ],
)
async def test_settings_that_cannot_work_end_it_with_one_sentence(environ: dict[str, str], told: str) -> None:
    code, out, err = await run("-m", "monitor_agent", **environ)
    assert (code, out) == (1, "")
    assert told in err
    assert "Traceback" not in err


async def test_help_has_examples_and_a_mistyped_word_shows_it() -> None:
    code, out, _ = await run("-m", "monitor_agent", "--help")
    assert code == 0
    assert "NODE_NAME=node-1 python -m monitor_agent --config agent.yaml" in out
    code, _, err = await run("-m", "monitor_agent", "strat")
    assert code == 1
    assert err.startswith("strat: ")
    assert "usage:" in err


async def test_a_config_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("ops: {port: -1}\n")
    for arguments in (["--config", str(tmp_path / "agent.yaml")], [f"--config={tmp_path / 'agent.yaml'}"]):
        code, _, err = await run("-m", "monitor_agent", *arguments)
        assert code == 1
        assert "ops.port" in err


@pytest.mark.parametrize("output", ["/dev/full", "a pipe that is full"])
async def test_an_agent_whose_log_cannot_be_written_is_ready_and_ends_well(start: Start, output: str) -> None:
    with contextlib.ExitStack() as ends:
        if output == "/dev/full":
            to = os.open(output, os.O_WRONLY)
        else:
            read, to = os.pipe()
            ends.callback(os.close, read)
            os.set_blocking(to, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(to, b"x" * 4096)
            os.set_blocking(to, True)
        ends.callback(os.close, to)
        (port,) = free_ports(1)
        async with start(output=to, KUBESTEER_AGENT_OPS__PORT=str(port)) as agent:
            async with asyncio.timeout(WITHIN_S), aiohttp.ClientSession() as session:
                is_ready = False
                while not is_ready:
                    await asyncio.sleep(0.05)
                    with contextlib.suppress(aiohttp.ClientConnectionError):
                        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                            is_ready = (await answer.json())["ready"]
                async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                    assert "kubesteer_agent_log_lines_dropped_total" in await answer.text()
            assert await agent.stop(signal.SIGTERM) == 0
