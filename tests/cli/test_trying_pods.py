"""`kubesteer try`: which nodes it asks about, and what it says where it cannot know them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.cli.command import run

ROOT = Path(__file__).resolve().parents[2]
PODS = str(ROOT / "examples/pods.yaml")


class Ops:
    """An ops port that answers as the extender's does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.kind: str | None = "kubernetes"
        self.pod_type = "web"
        self.asked: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def explain(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(arguments)
        row = {"fits": True, "total": 1.0, "score": 5, "balance": 0.5, "reward": None, "reason": None}
        nodes = [{"node": name, **row} for name in arguments["NodeNames"]]
        return {"pod": "default/web-1", "podType": self.pod_type, "nodes": nodes, "suspect": "[red]1[/] bit/s"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ops = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({"cluster": {"kind": ops.kind}})

            def do_POST(self) -> None:
                self.answer(ops.explain(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

            def answer(self, value: object) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(value).encode())

            def log_message(self, *_: object) -> None:
                """Tests print nothing."""

        return Handler


@pytest.fixture
def ops() -> Iterator[Ops]:
    server = Ops()
    yield server
    server.close()


def test_nodes_are_named_one_after_the_other(ops: Ops) -> None:
    assert run("try", PODS, "--ops", ops.address, "--nodes", "a", "b").code == 0
    assert {tuple(each["NodeNames"]) for each in ops.asked} == {("a", "b")}


def test_the_nodes_of_an_extender_with_an_api_server_have_to_be_named(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The six nodes of the example are not in that cluster."""
    monkeypatch.chdir(ROOT)
    result = run("try", "--ops", ops.address)
    assert result.code == 1
    assert "the extender's nodes come from kubernetes" in result.err
    assert "--nodes NODE NODE.." in result.err
    assert not ops.asked


def test_an_extender_with_a_file_is_asked_about_the_example_nodes(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ops.kind = "file"
    assert run("try", "--ops", f"{ops.address}/").code == 0
    assert len(ops.asked[0]["NodeNames"]) == 6


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (("--nodes", "a"), "examples/pods.yaml is not in this folder; name a YAML list of pods: kubesteer try PODS"),
        ((PODS,), "examples/cluster.yaml is not in this folder; name the candidates with --nodes"),
    ],
)
def test_in_another_folder_the_examples_are_missed_by_name(
    ops: Ops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], want: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ops.kind = "file"
    result = run("try", *arguments, "--ops", ops.address)
    assert result.code == 1
    assert result.err.startswith(want)


def test_an_address_without_a_scheme_is_named() -> None:
    result = run("try", PODS, "--nodes", "a", "--ops", "127.0.0.1:8889")
    assert (result.code, result.err) == (1, "--ops 127.0.0.1:8889: give http://HOST:PORT")


def test_a_port_that_is_no_extenders_is_named(ops: Ops) -> None:
    ops.kind = None
    result = run("try", PODS, "--ops", ops.address)
    assert (result.code, result.err) == (1, f"--ops {ops.address} is no extender's ops port")


def test_what_pods_and_extender_say_is_shown_and_obeyed_by_no_terminal(ops: Ops) -> None:
    ops.pod_type = "a\nb\x1b[2J"
    out = run("try", PODS, "--ops", ops.address, "--nodes", "[red]n[/]").out
    assert "(type a\\nb\\x1b[2J)" in out
    assert "[red]n[/]" in out
    assert "warning: [red]1[/] bit/s" in out
