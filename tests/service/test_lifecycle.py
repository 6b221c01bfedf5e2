"""Start, readiness, liveness, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from dataclasses import replace
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest

from extender.server.servers import Server
from extender.wire.names import IS_COMPILED
from kubesteer.model.errors import TaskEnded
from tests.builders import pod
from tests.service.harness import args, connected, http_post, on_free_ports, read_answer, running, service
from tests.waiting import WITHIN_S, let_time_pass, pass_time, until, wait_until
from tools.cluster.extender import Extender

DRAIN_S = 600
BODY = json.dumps(args(pod(), ["node-1"])).encode()


async def get(port: int, path: str) -> tuple[int, Any]:
    async with connected(port) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, _, body = await read_answer(reader)
        return status, json.loads(body)


async def test_ready_once_nodes_and_pods_are_synced_and_until_then_it_says_what_is_not() -> None:
    there = service(synced=False)
    waiting = await there.ops("/readyz")
    assert waiting.status_code == 503
    assert waiting.json()["waitingFor"] == ["nodes from file: no such file", "pods from file: no such file"]
    there.cluster.sync()
    ready = await there.ops("/readyz")
    assert (ready.status_code, ready.json()["ready"], ready.json()["waitingFor"]) == (200, True, [])


async def test_readiness_tells_what_is_stale_without_giving_up() -> None:
    there = service(cluster={"stale_after_s": 120})
    assert (await there.ops("/readyz")).json()["cluster"]["stale"] is False
    there.cluster.state = replace(
        there.cluster.state, last_contact_age_s=121.0, last_error="API server: connection refused"
    )
    answer = await there.ops("/readyz")
    assert answer.status_code == 200
    assert answer.json()["cluster"]["stale"] is True
    assert answer.json()["cluster"]["last_error"] == "API server: connection refused"


async def test_live_as_long_as_the_event_loop_turns_even_if_nothing_is_synced() -> None:
    assert (await service(synced=False).ops("/healthz")).status_code == 200


async def test_the_version_is_told() -> None:
    assert (await service().ops("/version")).json() == {
        "version": version("kubesteer"),
        "compiled_names": IS_COMPILED,
    }


async def test_a_kept_connection_is_kept_for_two_minutes_or_more() -> None:
    built = service(**on_free_ports())
    assert built.parts.settings.listen.keep_alive_s >= 120
    async with running(built) as (port, _), connected(port) as (reader, writer):
        for _ in range(3):
            writer.write(http_post("filter", BODY))
            status, headers, _ = await read_answer(reader)
            assert status == 200
            assert headers.get("connection") != "close"


@pytest.fixture
async def drained(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """A drain of DRAIN_S lasts until this is set, however busy the machine is."""
    over = asyncio.Event()

    async def sleep(delay_s: float) -> None:
        await (over.wait() if delay_s == DRAIN_S else asyncio.sleep(delay_s))

    monkeypatch.setattr("extender.server.servers.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    return over


async def test_while_draining_it_is_not_ready_at_once_but_still_answers(drained: asyncio.Event) -> None:
    built = service(**on_free_ports(listen={"drain_s": DRAIN_S}))
    async with running(built) as (port, ops_port):
        assert (await get(ops_port, "/readyz"))[0] == 200
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: built.parts.health.draining)
        status, report = await get(ops_port, "/readyz")
        assert (status, report["waitingFor"]) == (503, ["nothing: shutting down"])
        assert (await get(ops_port, "/healthz"))[0] == 200
        async with connected(port) as (reader, writer):
            writer.write(http_post("filter", BODY))
            assert (await read_answer(reader))[0] == 200
        drained.set()


async def test_while_draining_each_answer_ends_its_connection_and_says_so(drained: asyncio.Event) -> None:
    """A client that is kept on would have a request under way when the process ends."""
    built = service(**on_free_ports(listen={"drain_s": DRAIN_S}))
    async with running(built) as (port, ops_port), connected(port) as (reader, writer):
        writer.write(http_post("filter", BODY))
        assert "connection" not in (await read_answer(reader))[1]
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: built.parts.health.draining)
        writer.write(http_post("filter", BODY))
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""
        assert (await get(ops_port, "/readyz"))[0] == 503
        drained.set()


async def test_a_request_under_way_is_finished_before_the_end() -> None:
    built = service(**on_free_ports())
    async with running(built) as (port, _), connected(port) as (reader, writer):
        request = http_post("filter", BODY)
        writer.write(request[:-5])
        await pass_time(0.1)
        signal.raise_signal(signal.SIGTERM)
        await pass_time(0.3)
        writer.write(request[-5:])
        status, headers, body = await read_answer(reader)
        assert (status, json.loads(body)["NodeNames"]) == (200, ["node-1"])
        assert headers["connection"] == "close"


async def test_a_request_that_never_comes_whole_does_not_hold_up_the_end() -> None:
    built = service(**on_free_ports(listen={"grace_s": 1}, limits={"body_timeout_s": 300}))
    async with running(built) as (port, _), connected(port) as (_, writer):
        writer.write(http_post("filter", BODY)[:-5])
        await pass_time(0.1)


async def test_a_background_task_that_fails_stops_the_service_rather_than_let_it_go_on_blind() -> None:
    built = service(**on_free_ports())

    async def fail(_sink: Any) -> None:
        raise RuntimeError("watch is broken")

    object.__setattr__(built.cluster, "run", fail)
    with pytest.raises(TaskEnded, match=r"'cluster' ended by itself \(RuntimeError: watch is broken\)"):
        async with running(built):
            await until(lambda: any(line["event"] == "background task failed" for line in built.lines()))


async def test_a_source_of_the_cluster_that_returns_stops_the_service_too() -> None:
    built = service(**on_free_ports())
    object.__setattr__(built.cluster, "run", lambda _sink: asyncio.sleep(0))
    with pytest.raises(TaskEnded, match="it returned"):
        async with running(built):
            await until(lambda: built.parts.health.draining)


@pytest.mark.parametrize(
    ("task", "part"),
    [("rewards", "rewards"), ("parents", "parents"), ("warnings", "warnings"), ("node-states", "node_states_source")],
)
@pytest.mark.parametrize(
    ("how", "why"),
    [("raises", "RuntimeError: broken"), ("returns", "it returned"), ("is cancelled from within", "CancelledError: ")],
)
async def test_any_other_task_that_ends_is_begun_again_and_told_of(task: str, part: str, how: str, why: str) -> None:
    """It ends twice: two restarts, and the third run goes on."""
    built = service(**on_free_ports())
    runs = 0

    async def end_twice() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            await asyncio.get_running_loop().create_future()
        if how == "raises":
            raise RuntimeError("broken")
        if how == "is cancelled from within":
            raise asyncio.CancelledError

    object.__setattr__(getattr(built.parts, part), "run", end_twice)
    async with running(built) as (_, ops_port):
        await until(lambda: runs == 3)
        status, report = await get(ops_port, "/readyz")
        assert (status, report["tasks"][task]) == (200, {"running": True, "restarts": 2, "last_error": why})
        assert report["tasks"]["cluster"] == {"running": True, "restarts": 0, "last_error": None}
        assert built.metric("task_restarts_total", task=task) == 2
    told = [line for line in built.lines() if line["event"] == "background task failed"]
    assert [(line["task"], line["why"]) for line in told] == 2 * [(task, why)]


async def test_a_server_that_ends_by_itself_stops_the_service(monkeypatch) -> None:
    async def end(server: Server) -> None:
        raise RuntimeError("server is broken")

    monkeypatch.setattr(Server, "main_loop", end)
    with pytest.raises(RuntimeError, match="server is broken"):
        async with running(service(**on_free_ports())):
            pass


def ask_on_new_connections(port: int, answers: list[bytes], refused: threading.Event) -> None:
    """One request a connection, until there is nobody to connect to; what came back, b"" where nothing did."""
    while not refused.is_set():
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            refused.set()
            return
        except ConnectionResetError:
            continue  # it was not made: there was nothing to lose
        with connection:
            try:
                connection.sendall(http_post("filter", BODY))
                answers.append(connection.makefile("rb").readline())
            except ConnectionError:
                answers.append(b"")


def test_a_stop_resets_no_request_on_a_connection_that_was_just_made() -> None:
    # Closing the listening socket resets what the kernel has made and nobody accepted: 14 to 28 requests a stop.
    settings = {"cluster": {"file": "examples/cluster.yaml"}, "listen": {"drain_s": 0.3}}
    with Extender(settings) as extender:
        answers: list[bytes] = []
        refused = threading.Event()
        clients = [
            threading.Thread(target=ask_on_new_connections, args=(extender.port, answers, refused)) for _ in range(24)
        ]
        for client in clients:
            client.start()
        extender.process._popen.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(WITHIN_S)
        assert extender.process._popen.wait(WITHIN_S) == 0
    assert len(answers) > 24
    assert set(answers) == {b"HTTP/1.1 200 OK\r\n"}


@pytest.fixture(scope="module")
def ended() -> dict[str, Any]:
    """A process that was told to stop while a request was under way, and how it ended."""
    settings = {
        "cluster": {"file": "examples/cluster.yaml"},
        "listen": {"drain_s": 2.0},
        "limits": {"deadline_ms": 60_000},
    }
    reports: list[dict[str, Any]] = []

    def is_unready() -> bool:
        reports.append(extender.readyz())
        return reports[-1].get("ready") is False

    with Extender(settings) as extender, socket.create_connection(("127.0.0.1", extender.port)) as connection:
        request = http_post("filter", BODY)
        connection.sendall(request[:-5])
        let_time_pass(0.1)
        extender.process._popen.send_signal(signal.SIGTERM)
        wait_until(is_unready)
        connection.sendall(request[-5:])
        answer = connection.makefile("rb").readline()
        code = extender.process._popen.wait(WITHIN_S)
        log = [json.loads(line) for line in extender.process.log.read_text().splitlines()]
    return {"code": code, "answer": answer, "readyz": reports[-1], "log": log}


def test_on_sigterm_the_process_answers_drains_and_ends_with_code_0(ended: dict[str, Any]) -> None:
    assert ended["readyz"]["ready"] is False
    assert ended["answer"] == b"HTTP/1.1 200 OK\r\n"
    assert ended["code"] == 0


def test_the_process_logs_its_life_in_json_lines_only(ended: dict[str, Any]) -> None:
    assert [line["event"] for line in ended["log"]] == ["listening", "synced", "stopping"]
