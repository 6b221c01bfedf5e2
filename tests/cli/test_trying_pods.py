"""`kubesteer try`: which pods and nodes it asks about, how the answer is shown, and what it says where it cannot ask."""

from __future__ import annotations

import io
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
WRITTEN = Path(__file__).parent / "kubectl_writes"
"""By kubectl 1.37: create, run, and get of what the API server had, as they came."""
EGRESS = "kubesteer.io/egress-bps"
NO_KIND = [{"metadata": {"name": "a"}, "spec": {"containers": []}}]


class Ops:
    """An ops port that answers as the extender's does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.known = ["n1"]
        self.fits = True
        self.pod_type = "web"
        self.is_extender = True
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
        row = {"fits": self.fits, "total": 1.0, "score": 5, "balance": 0.5, "reward": None, "reason": None}
        names = self.known if arguments["NodeNames"] is None else arguments["NodeNames"]
        nodes = [{"node": name, **row} for name in names]
        if not self.is_extender:
            return {"a": "page"}
        return {"pod": "default/web-1", "podType": self.pod_type, "nodes": nodes, "suspect": "[red]1[/] bit/s"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ops = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answer = ops.explain(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                """Tests print nothing."""

        return Handler


@pytest.fixture
def ops() -> Iterator[Ops]:
    server = Ops()
    yield server
    server.close()


def test_the_extender_is_asked_about_all_its_nodes(ops: Ops) -> None:
    assert run("try", PODS, "--ops", f"{ops.address}/").code == 0
    assert {each["NodeNames"] for each in ops.asked} == {None}


def test_nodes_are_named_one_after_the_other(ops: Ops) -> None:
    assert run("try", PODS, "--ops", ops.address, "--nodes", "a", "b").code == 0
    assert {tuple(each["NodeNames"]) for each in ops.asked} == {("a", "b")}


def test_a_cluster_file_is_read_as_the_extender_reads_it(ops: Ops, tmp_path: Path) -> None:
    """A NodeList whose items name no kind, and a node with a name that the API server would refuse."""
    file = tmp_path / "cluster.json"
    nodes = [{"metadata": {"name": name}, "status": {"allocatable": {"cpu": "1"}}} for name in ("a", "B")]
    file.write_text(json.dumps({"kind": "NodeList", "items": nodes}))
    result = run("try", PODS, "--ops", ops.address, "--cluster", str(file))
    assert (result.code, ops.asked[0]["NodeNames"]) == (0, ["a"])
    assert f"{file}: Node 'B': metadata.name 'B' is no name" in result.err


@pytest.mark.parametrize(
    ("file", "pods"),
    [
        ("pod.yaml", [("default/web", {"app": "web"}, None)]),
        ("pod.json", [("default/web", {"app": "web"}, None)]),
        ("pods-list.yaml", [("shop/web", {"app": "web"}, "300M")]),
        ("deployment.yaml", [("default/web", {"app": "web"}, None)]),
        ("job.yaml", [("default/once", {}, None)]),
        ("cron-job.yaml", [("default/nightly", {}, None)]),
        (
            "workloads-list.json",
            [
                ("shop/db", {"app": "db"}, None),
                ("shop/logs", {"app": "logs"}, "10M"),
                ("shop/old", {"app": "old"}, "20M"),
            ],
        ),
    ],
)
def test_what_kubectl_writes_is_taken_and_a_workload_is_tried_by_a_pod_of_its_template(
    ops: Ops, file: str, pods: list[tuple[str, dict[str, str], str | None]]
) -> None:
    assert run("try", str(WRITTEN / file), "--ops", ops.address).code == 0
    assert [seen(each["Pod"]) for each in ops.asked] == pods


def seen(pod: dict[str, Any]) -> tuple[str, dict[str, str], str | None]:
    """What of a pod the extender goes by: name, labels, and the SLO of its one container."""
    metadata, [container] = pod["metadata"], pod["spec"]["containers"]
    slo = container.get("resources", {}).get("limits", {}).get(EGRESS)
    return f"{metadata.get('namespace', 'default')}/{metadata['name']}", metadata.get("labels", {}), slo


def test_a_template_without_labels_is_of_the_type_of_its_workload(ops: Ops) -> None:
    run("try", str(WRITTEN / "cron-job.yaml"), "--ops", ops.address)
    assert ops.asked[0]["Pod"]["metadata"]["ownerReferences"] == [
        {"kind": "CronJob", "name": "nightly", "controller": True}
    ]


def test_the_template_keeps_its_annotations(ops: Ops) -> None:
    run("try", str(WRITTEN / "workloads-list.json"), "--ops", ops.address)
    assert ops.asked[0]["Pod"]["metadata"]["annotations"] == {"kubernetes.io/egress-bandwidth": "500M"}


def test_several_documents_come_by_standard_input_and_what_makes_no_pods_is_told(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [(WRITTEN / f"{name}.yaml").read_bytes() for name in ("service", "deployment", "pod")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"---\n".join(files))))
    result = run("try", "-", "--ops", ops.address)
    assert (result.code, len(ops.asked)) == (0, 2)
    assert result.err == "Service 'web': no pods come of it; passed over\n"
    assert "of Deployment 'web'" in result.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ((WRITTEN / "service.yaml").read_text(), "there is no pod in it but Service 'web'; give a Pod, a List"),
        ("", "there is no pod in it; give a Pod, a List"),
        ("a: b\n", "document 1 has no kind"),
        ("kind: Pod\nkind: Pod\n", "line 2, column 1: key 'kind' is there twice"),
        ("kind: List\nitems: x\n", "items is 'x'; write a list"),
        ("kind: Deployment\nmetadata: {name: web}\nspec: {template: {}}\n", "there is no pod in it but Deployment"),
    ],
)
def test_a_file_without_a_pod_is_refused_in_words(ops: Ops, tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(content)
    result = run("try", str(file), "--ops", ops.address)
    assert result.code == 2
    assert result.err.startswith(f"{file}: ")
    assert said in result.err
    assert not ops.asked


def test_a_list_of_pods_without_kind_is_one_of_pods(ops: Ops, tmp_path: Path) -> None:
    (file := tmp_path / "pods.json").write_text(json.dumps(NO_KIND))
    assert run("try", str(file), "--ops", ops.address).code == 0
    assert ops.asked[0]["Pod"]["metadata"]["name"] == "a"


def test_the_exit_code_is_1_when_a_pod_fits_on_no_node_in_either_form(ops: Ops) -> None:
    ops.fits = False
    assert run("try", PODS, "--ops", ops.address).code == 1
    result = run("try", PODS, "--ops", ops.address, "--json")
    assert result.code == 1
    assert [row["fits"] for row in json.loads(result.out)[0]["nodes"]] == [False]


def test_of_many_nodes_the_best_are_shown_and_the_rest_counted(ops: Ops) -> None:
    ops.known = [f"n{i}" for i in range(100)]
    out = run("try", str(WRITTEN / "pod.yaml"), "--ops", ops.address).out
    # 40 rows are shown; 100 - 40 = 60
    assert "and 60 more nodes, 60 of them fit; --json has all" in out


def test_in_another_folder_the_example_pods_are_missed_by_name(
    ops: Ops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("try", "--ops", ops.address)
    assert result.code == 2
    assert result.err.startswith("examples/pods.yaml is not in this folder; name a file with pods: kubesteer try FILE")


def test_a_mistyped_option_is_not_taken_for_a_file() -> None:
    result = run("try", "--as-json")
    assert (result.code, result.err) == (2, "--as-json is no option; see kubesteer try --help\n")


def test_an_address_without_a_scheme_is_named() -> None:
    result = run("try", PODS, "--nodes", "a", "--ops", "127.0.0.1:8889")
    assert (result.code, result.err) == (2, "--ops 127.0.0.1:8889: give http://HOST:PORT\n")


def test_a_port_that_is_no_extenders_is_named(ops: Ops) -> None:
    ops.is_extender = False
    result = run("try", PODS, "--ops", ops.address)
    assert (result.code, result.err) == (2, f"--ops {ops.address} is no extender's ops port\n")


def test_an_extender_without_nodes_is_told_of(ops: Ops) -> None:
    ops.known = []
    result = run("try", PODS, "--ops", ops.address)
    assert result.code == 2
    assert "the extender knows no node" in result.err


def test_what_pods_and_extender_say_is_shown_and_obeyed_by_no_terminal(ops: Ops) -> None:
    ops.pod_type = "a\nb\x1b[2J"
    out = run("try", PODS, "--ops", ops.address, "--nodes", "[red]n[/]").out
    assert "(type a\\nb\\x1b[2J)" in out
    assert "[red]n[/]" in out
    assert "warning: [red]1[/] bit/s" in out
