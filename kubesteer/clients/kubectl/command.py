"""kubectl as a program: the user's kubeconfig, plugins for credentials and proxies are its business, not kubesteer's.

Every call is one run of it. Nothing is decided here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kubesteer.clients.kubectl.asking import Answer, Request, ask
from kubesteer.model.api_objects import ApiKind, Thing, minimal
from kubesteer.model.errors import InvalidInput, KubectlFailed

FIELD_MANAGER = "kubesteer"
"""The name under which objects are applied, as the API server records it in them."""
_CALL_S = 60.0
_FORWARD_S = 15.0
_MOST_LINES = 20
_IN_A_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Kubectl:
    """One cluster as kubectl reaches it. Every call raises KubectlFailed with kubectl's own words."""

    def __init__(self, *, program: str = "kubectl", kubeconfig: Path | None = None, context: str | None = None) -> None:
        self._command = [program]
        self._command += [f"--kubeconfig={kubeconfig}"] * (kubeconfig is not None)
        self._command += [f"--context={context}"] * (context is not None)
        self._context = context

    def client_version(self) -> str:
        """Of kubectl itself, such as v1.37.2."""
        version: str = self._json("version", "--client", "--output=json")["clientVersion"]["gitVersion"]
        return version

    def server_version(self) -> str:
        """Of the API server."""
        version: str = self._json("get", "--raw", "/version", f"--request-timeout={_FORWARD_S:.0f}s")["gitVersion"]
        return version

    def where(self) -> tuple[str, str]:
        """The context's name, and the API server's address. Raises InvalidInput where the kubeconfig names none."""
        ended = self._run("config", "view", "--output=json", check=False)
        if ended.returncode:
            why = failure("config", ended.stderr)
            raise InvalidInput(f"the kubeconfig cannot be used: {why}; name another with --kubeconfig or $KUBECONFIG")
        pod = os.environ.get("KUBERNETES_SERVICE_HOST", "") if _IN_A_POD.exists() else ""
        return place_of(json.loads(ended.stdout), self._context, pod)

    def kinds(self) -> list[ApiKind]:
        """What the API server serves. Groups whose server does not answer are left out."""
        ended = self._run("api-resources", "--output=wide", "--no-headers", check=False)
        found = kinds_of(ended.stdout)
        if not found:
            raise KubectlFailed(failure("api-resources", ended.stderr))
        return found

    def render(self, folder: Path) -> list[Thing]:
        """The objects of a kustomization."""
        return [each for each in yaml.load_all(self._run("kustomize", str(folder)).stdout, yaml.CSafeLoader) if each]

    def items(
        self, kinds: Sequence[str], *, selector: str = "", fields: str = "", namespace: str | None = None
    ) -> tuple[list[Thing], list[str]]:
        """Objects of these kinds, everywhere or in one namespace; and what kubectl said of kinds it could not list."""
        arguments = ["get", ",".join(kinds), "--output=json", "--show-managed-fields", "--ignore-not-found"]
        arguments.append("--all-namespaces" if namespace is None else f"--namespace={namespace}")
        arguments += [f"--selector={selector}"] * bool(selector) + [f"--field-selector={fields}"] * bool(fields)
        ended = self._run(*arguments, check=False)
        return documents(ended.stdout), _lines(ended.stderr) if ended.returncode else []

    def get(self, kind: str, name: str, namespace: str = "") -> Thing | None:
        """One object; None where there is none."""
        where = [f"--namespace={namespace}"] * bool(namespace)
        return next(
            iter(documents(self._run("get", kind, name, *_AS_IT_IS, "--ignore-not-found", *where).stdout)), None
        )

    def apply(self, things: Sequence[Thing], *, dry_run: bool = False, force: bool = False) -> list[Thing]:
        """Server-side apply; returns the objects as they are then, or with dry_run as they would be."""
        arguments = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", *_AS_IT_IS, "--filename=-"]
        arguments += ["--dry-run=server"] * dry_run + ["--force-conflicts"] * force
        return documents(self._run(*arguments, stdin=_as_list(things)).stdout)

    def diff(self, things: Sequence[Thing]) -> str:
        """What an apply of these would change, as `kubectl diff` prints it: without the values of Secrets."""
        arguments = ["diff", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "--filename=-"]
        ended = self._run(*arguments, stdin=_as_list(things), check=False)
        if ended.returncode > 1:
            raise KubectlFailed(failure("diff", ended.stderr))
        return ended.stdout

    def create(self, things: Sequence[Thing]) -> list[Thing]:
        """New objects, or questions such as SelfSubjectAccessReview; returns what the API server makes of them."""
        arguments = ["create", "--validate=false", "--output=json", "--filename=-"]
        return documents(self._run(*arguments, stdin=_as_list(things)).stdout)

    def delete(
        self, things: Sequence[Thing], *, timeout_s: float, foreground: bool = False, at_once: bool = False
    ) -> None:
        """Return when they are gone, or with a timeout_s of 0 at once. What is not there any more is no fault.

        foreground: what hangs on them goes first. at_once: struck from the API server, whatever their node does.
        """
        if not things:
            return
        wait = ["--wait", f"--timeout={max(1, round(timeout_s))}s"] if timeout_s else ["--wait=false"]
        arguments = ["delete", "--ignore-not-found", "--filename=-", *wait]
        arguments += ["--cascade=foreground"] * foreground + ["--force", "--grace-period=0"] * at_once
        self._run(*arguments, stdin=_as_list([minimal(each) for each in things]), timeout_s=timeout_s + _CALL_S)

    def patch(self, things: Sequence[Thing], change: Any, *, how: str, subresource: str = "") -> None:
        """The same patch for all of them, in one run. how: kubectl's --type."""
        arguments = ["patch", "--filename=-", f"--type={how}", f"--patch={json.dumps(change)}", "--output=name"]
        arguments += [f"--subresource={subresource}"] * bool(subresource)
        self._run(*arguments, stdin=_as_list([minimal(each) for each in things]), timeout_s=_CALL_S + len(things) / 10)

    def token(self, account: str, namespace: str, *, lasts_s: int) -> str:
        """A token of a ServiceAccount."""
        made = self._run("create", "token", account, f"--namespace={namespace}", f"--duration={lasts_s}s")
        return made.stdout.strip()

    def ask(self, pod: str, namespace: str, port: int, request: Request) -> Answer:
        """What a pod's port answers, through the API server and the kubelet: no network policy is in the way."""
        with self.forwarded(f"pod/{pod}", namespace, port) as local:
            return ask(local, request)

    @contextlib.contextmanager
    def forwarded(self, target: str, namespace: str, port: int) -> Iterator[int]:
        """The port on this machine's loopback that leads to the target's, pod/NAME or service/NAME."""
        command = [*self._command, "port-forward", f"--namespace={namespace}", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
            try:
                yield _local_port(process, time.monotonic() + _FORWARD_S)
            finally:
                process.terminate()

    def _json(self, *arguments: str) -> Any:
        try:
            return json.loads(self._run(*arguments).stdout)
        except ValueError as exc:
            raise KubectlFailed(f"kubectl {arguments[0]}: its answer is no JSON: {exc}") from exc

    def _run(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout_s: float = _CALL_S
    ) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *arguments]
        environment = {**os.environ, "KUBECTL_EXTERNAL_DIFF": "diff -u -N"}
        try:
            ended = subprocess.run(  # noqa: S603 - the user's own kubectl
                command, input=stdin or "", capture_output=True, text=True, check=False, timeout=timeout_s,
                env=environment,
            )  # fmt: skip
        except FileNotFoundError as exc:
            raise KubectlFailed(f"{command[0]}: there is no such program; install kubectl, or put it on PATH") from exc
        except subprocess.TimeoutExpired as exc:
            raise KubectlFailed(f"kubectl {arguments[0]}: no answer within {timeout_s:g} s") from exc
        if check and ended.returncode:
            raise KubectlFailed(failure(arguments[0], ended.stderr))
        return ended


_AS_IT_IS = ("--output=json", "--show-managed-fields")


def place_of(view: Mapping[str, Any], context: str | None, pod: str) -> tuple[str, str]:
    """Context and address out of `kubectl config view`. pod: the API server's host, where this runs in a pod.

    Raises InvalidInput for a kubeconfig that names no cluster.
    """
    contexts = {each["name"]: each.get("context") or {} for each in view.get("contexts") or ()}
    there = f"there are {', '.join(sorted(contexts))}" if contexts else "it has none"
    name = context or view.get("current-context") or ""
    if not name and not contexts and pod:
        return "the pod's own account", pod
    if not name and not contexts:
        raise InvalidInput("there is no kubeconfig: name one with --kubeconfig or $KUBECONFIG")
    if not name:
        raise InvalidInput(f"the kubeconfig has no current-context: name a context with --context; {there}")
    if name not in contexts:
        raise InvalidInput(f"context {name!r} is not in the kubeconfig: name another with --context; {there}")
    clusters = {each["name"]: each.get("cluster") or {} for each in view.get("clusters") or ()}
    return name, clusters.get(contexts[name].get("cluster", ""), {}).get("server", "")


def documents(text: str) -> list[Thing]:
    """Objects one after the other, or in Lists. Raises KubectlFailed for what is no JSON."""
    decoder, rest = json.JSONDecoder(), text.strip()
    found: list[Thing] = []
    while rest:
        try:
            thing, end = decoder.raw_decode(rest)
        except ValueError as exc:
            raise KubectlFailed(f"kubectl: its answer is no JSON: {exc}") from exc
        found += thing["items"] if thing.get("kind", "").endswith("List") and "items" in thing else [thing]
        rest = rest[end:].lstrip()
    return found


def kinds_of(table: str) -> list[ApiKind]:
    """`api-resources --output=wide` without its head: NAME [SHORTNAMES] APIVERSION NAMESPACED KIND VERBS [...]."""
    row = re.compile(r"^(\S+)\s.*?(?:([\w.-]+)/)?(v\w+)\s+(true|false)\s+(\S+)\s+\[?([a-z,]+)\]?", re.MULTILINE)
    return [
        ApiKind(kind, group, version, plural, namespaced == "true", frozenset(verbs.split(",")))
        for plural, group, version, namespaced, kind, verbs in row.findall(table)
    ]


def failure(command: str, error: str) -> str:
    """Kubectl's own words, without those about groups of the API that are away."""
    lines = [line for line in _lines(error) if not line.startswith("Warning:")]
    # One fault is often told once for each group of the API.
    lines = list(dict.fromkeys(line for line in lines if "memcache.go" not in line)) or lines[-1:]
    more = [f"... and {len(lines) - _MOST_LINES} lines more"] if len(lines) > _MOST_LINES else []
    return f"kubectl {command}: " + "\n".join(lines[:_MOST_LINES] + more)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _as_list(things: Sequence[Thing]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})


def _local_port(process: subprocess.Popen[bytes], until_s: float) -> int:
    """What port-forward tells when it listens. Raises KubectlFailed where it ends or says nothing in time."""
    output, told = process.stdout, b""
    while output is not None and (left_s := until_s - time.monotonic()) > 0:
        ready, _, _ = select.select([output], [], [], left_s)
        chunk = os.read(output.fileno(), 4096) if ready else b""
        told += chunk
        if found := re.search(rb"127\.0\.0\.1:(\d+) ->", told):
            return int(found[1])
        if not chunk:
            break
    process.kill()
    _, error = process.communicate()
    raise KubectlFailed(failure("port-forward", error.decode(errors="replace")))
