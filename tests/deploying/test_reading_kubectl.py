"""What kubectl prints is read; what goes wrong with it is told in its own words."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubesteer.clients.kubectl.asking import Answer, Request, ask
from kubesteer.clients.kubectl.command import Kubectl, documents, failure, kinds_of, place_of
from kubesteer.model.api_objects import ApiKind
from kubesteer.model.errors import ClusterUnavailable, InvalidInput, KubectlFailed

from .objects import certificate_pem

KINDS = """\
configmaps     cm       v1        true    ConfigMap    create,delete,get,list,patch,update,watch
nodes          no       v1        false   Node         create,delete,get,list,patch,update,watch
bindings                v1        true    Binding      create
deployments    deploy   apps/v1   true    Deployment   create,delete,get,list,patch,update,watch   all
"""


def test_kinds_are_read_with_and_without_short_names_and_categories() -> None:
    maps, nodes, bindings, deployments = kinds_of(KINDS)
    assert (maps.plural, maps.namespaced, maps.full_name) == ("configmaps", True, "configmaps")
    assert (nodes.namespaced, bindings.verbs) == (False, {"create"})
    verbs = frozenset({"create", "delete", "get", "list", "patch", "update", "watch"})
    assert deployments == ApiKind("Deployment", "apps", "v1", "deployments", namespaced=True, verbs=verbs)
    assert deployments.full_name == "deployments.v1.apps"


def test_lines_that_are_no_kinds_are_passed_over() -> None:
    assert kinds_of("error: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1\n\n") == []


def test_objects_are_read_one_after_the_other_and_out_of_lists() -> None:
    one, two = {"kind": "Pod", "metadata": {"name": "a"}}, {"kind": "Pod", "metadata": {"name": "b"}}
    listed = json.dumps({"kind": "List", "items": [one, two]}, indent=2)
    assert documents(f"{json.dumps(one)}\n{json.dumps(two)}\n") == [one, two]
    assert documents(listed) == [one, two]
    assert documents("") == []
    with pytest.raises(KubectlFailed, match="no JSON"):
        documents("kind: Pod")


def test_an_error_is_told_once_without_its_noise() -> None:
    error = "E1123 memcache.go:265] refused\nE1123 memcache.go:265] refused\nThe connection was refused\n" * 2
    assert failure("get", error) == "kubectl get: The connection was refused"
    assert failure("get", "E1123 memcache.go:265] refused\n") == "kubectl get: E1123 memcache.go:265] refused"
    assert failure("apply", "\n".join(map(str, range(25)))).endswith("19\n... and 5 lines more")


def program(folder: Path, script: str) -> Kubectl:
    file = folder / "kubectl"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return Kubectl(program=str(file), context="here")


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubectlFailed, match="install kubectl"):
        Kubectl(program=str(tmp_path / "none")).client_version()


CONFIG = {
    "clusters": [{"name": "c", "cluster": {"server": "https://one.example:6443"}}],
    "contexts": [{"name": "one", "context": {"cluster": "c"}}, {"name": "two", "context": {"cluster": "gone"}}],
    "current-context": "one",
}
NOTHING = {"clusters": None, "contexts": None, "current-context": ""}
"""As `kubectl config view` tells a kubeconfig that is not there."""


@pytest.mark.parametrize(
    ("view", "context", "pod", "place"),
    [
        (CONFIG, None, "", ("one", "https://one.example:6443")),
        (CONFIG, "one", "10.96.0.1", ("one", "https://one.example:6443")),
        (CONFIG, "two", "", ("two", "")),
        (NOTHING, None, "10.96.0.1", ("the pod's own account", "10.96.0.1")),
    ],
    ids=["the current one", "named, in a pod with a kubeconfig", "of a cluster that is not there", "a runner's pod"],
)
def test_where_a_command_goes_is_told_by_context_and_address(
    view: dict[str, Any], context: str | None, pod: str, place: tuple[str, str]
) -> None:
    assert place_of(view, context, pod) == place


@pytest.mark.parametrize(
    ("view", "context", "words"),
    [
        (NOTHING, None, "there is no kubeconfig: name one with --kubeconfig or $KUBECONFIG"),
        (NOTHING, "one", "context 'one' is not in the kubeconfig: name another with --context; it has none"),
        (
            {**CONFIG, "current-context": ""},
            None,
            "no current-context: name a context with --context; there are one, two",
        ),
        (CONFIG, "three", "context 'three' is not in the kubeconfig: name another with --context; there are one, two"),
        ({**CONFIG, "current-context": "gone"}, None, "context 'gone' is not in the kubeconfig"),
    ],
)
def test_a_kubeconfig_that_names_no_cluster_is_told_with_what_to_do(
    view: dict[str, Any], context: str | None, words: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(words)):
        place_of(view, context, "")


def test_a_kubeconfig_that_cannot_be_read_is_told_in_kubectls_words(tmp_path: Path) -> None:
    kubectl = program(tmp_path, "echo 'error: error loading config file \"/x\": yaml: line 1' >&2; exit 1")
    with pytest.raises(InvalidInput, match=r'cannot be used: .*"/x": yaml: line 1; name another with --kubeconfig'):
        kubectl.where()


def test_a_failing_program_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(KubectlFailed, match=r"kubectl get: error: context .here. does not exist"):
        program(tmp_path, 'echo "error: context \\"here\\" does not exist" >&2; exit 1').server_version()


def test_the_context_goes_along(tmp_path: Path) -> None:
    script = 'echo "{\\"clientVersion\\": {\\"gitVersion\\": \\"$1\\"}}"'
    assert program(tmp_path, script).client_version() == "--context=here"


def test_kinds_that_cannot_be_listed_are_told_beside_those_that_can(tmp_path: Path) -> None:
    script = """echo '{"kind": "List", "items": [{"kind": "Pod"}]}'; echo 'secrets is forbidden' >&2; exit 1"""
    assert program(tmp_path, script).items(["pods", "secrets"]) == ([{"kind": "Pod"}], ["secrets is forbidden"])


def test_a_forwarding_that_ends_is_told(tmp_path: Path) -> None:
    kubectl = program(tmp_path, "echo 'error: unable to forward port because pod is not running' >&2; exit 1")
    with pytest.raises(KubectlFailed, match="pod is not running"):
        kubectl.ask("a", "kubesteer", 8889, Request("/readyz"))


class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        told = [self.command, self.path, self.headers.get("Authorization"), self.headers["Host"], body.decode()]
        content = json.dumps(told).encode()
        self.send_response(503 if self.path == "/readyz" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def test_a_pod_is_asked_with_token_name_and_body(port: int) -> None:
    found = ask(port, Request("/explain", body={"a": 1}, token="t", server_name="kubesteer.svc"))
    assert (found.status, json.loads(found.text)) == (
        200,
        ["POST", "/explain", "Bearer t", "kubesteer.svc", '{"a": 1}'],
    )


def test_an_answer_is_one_whatever_its_status(port: int) -> None:
    assert ask(port, Request("/readyz")) == Answer(503, '["GET", "/readyz", null, "127.0.0.1", ""]')


def test_a_port_that_speaks_no_tls_is_not_believed(port: int) -> None:
    with pytest.raises(ClusterUnavailable, match="/readyz: no answer"):
        ask(
            port,
            Request(
                "/readyz",
                authority_pem=certificate_pem(),
                server_name="kubesteer.svc",
            ),
        )
