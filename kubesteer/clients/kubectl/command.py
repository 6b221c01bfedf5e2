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
from kubesteer.clients.kubectl.reading import documents, kinds_of, said
from kubesteer.model.api_objects import ApiKind, Ref, Thing, minimal
from kubesteer.model.errors import KubectlFailed

FIELD_MANAGER = "kubesteer"
"""Who applies, as the API server records it in the objects."""
_CALL_S = 60.0
_FORWARD_S = 15.0


class Kubectl:
    """One cluster as kubectl reaches it. Every call raises KubectlFailed with kubectl's own words."""

    def __init__(self, *, program: str = "kubectl", kubeconfig: Path | None = None, context: str | None = None) -> None:
        self._command = [program]
        if kubeconfig is not None:
            self._command.append(f"--kubeconfig={kubeconfig}")
        if context is not None:
            self._command.append(f"--context={context}")

    def client_version(self) -> str:
        """Kubectl's own, such as v1.37.2."""
        told = self._json("version", "--client", "--output=json")
        version: str = told["clientVersion"]["gitVersion"]
        return version

    def server_version(self) -> str:
        """The API server's."""
        version: str = self._json("get", "--raw", "/version", f"--request-timeout={_FORWARD_S:.0f}s")["gitVersion"]
        return version

    def where(self) -> tuple[str, str]:
        """The context's name, and the API server's address; empty where the kubeconfig has none."""
        view = self._json("config", "view", "--minify", "--output=json")
        clusters = view.get("clusters") or [{}]
        return view.get("current-context", ""), clusters[0].get("cluster", {}).get("server", "")

    def kinds(self) -> list[ApiKind]:
        """What the API server serves. Groups whose server does not answer are left out."""
        ended = self._run("api-resources", "--output=wide", "--no-headers", check=False)
        found = kinds_of(ended.stdout)
        if not found:
            raise KubectlFailed(said("api-resources", ended.stderr))
        return found

    def render(self, folder: Path) -> list[Thing]:
        """The objects of a kustomization."""
        text = self._run("kustomize", str(folder)).stdout
        return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]

    def items(
        self, kinds: Sequence[str], *, selector: str = "", fields: str = "", namespace: str | None = None
    ) -> tuple[list[Thing], list[str]]:
        """Objects of these kinds, everywhere or in one namespace; and what kubectl said of kinds it could not list."""
        arguments = ["get", ",".join(kinds), "--output=json", "--show-managed-fields", "--ignore-not-found"]
        arguments.append("--all-namespaces" if namespace is None else f"--namespace={namespace}")
        arguments += [f"--selector={selector}"] * bool(selector) + [f"--field-selector={fields}"] * bool(fields)
        ended = self._run(*arguments, check=False)
        found = documents(ended.stdout) if ended.stdout.strip() else []
        faults = [line for line in ended.stderr.splitlines() if line.strip()] if ended.returncode else []
        return found, faults

    def get(self, kind: str, name: str, namespace: str | None = None) -> Thing | None:
        """One object; None where there is none."""
        where = [f"--namespace={namespace}"] if namespace else []
        ended = self._run("get", kind, name, "--output=json", "--show-managed-fields", "--ignore-not-found", *where)
        return next(iter(documents(ended.stdout)), None) if ended.stdout.strip() else None

    def apply(self, things: Sequence[Thing], *, dry_run: bool = False, force: bool = False) -> list[Thing]:
        """Server-side apply; returns the objects as they are then, or with dry_run as they would be."""
        arguments = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--output=json", "--filename=-"]
        arguments += ["--show-managed-fields"]
        arguments += ["--dry-run=server"] * dry_run + ["--force-conflicts"] * force
        return documents(self._run(*arguments, stdin=_as_list(things)).stdout)

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

    def patch(self, target: Ref, change: Sequence[Mapping[str, Any]], *, subresource: str = "") -> None:
        """A JSON patch."""
        arguments = ["patch", target.kind.lower(), target.name, "--type=json", f"--patch={json.dumps(list(change))}"]
        arguments += [f"--namespace={target.namespace}"] * bool(target.namespace)
        self._run(*arguments, *[f"--subresource={subresource}"] * bool(subresource))

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
        try:
            ended = subprocess.run(  # noqa: S603 - the user's own kubectl
                command, input=stdin or "", capture_output=True, text=True, check=False, timeout=timeout_s
            )
        except FileNotFoundError as exc:
            raise KubectlFailed(f"{command[0]}: there is no such program; install kubectl, or put it on PATH") from exc
        except subprocess.TimeoutExpired as exc:
            raise KubectlFailed(f"kubectl {arguments[0]}: no answer within {timeout_s:g} s") from exc
        if check and ended.returncode:
            raise KubectlFailed(said(arguments[0], ended.stderr))
        return ended


def _as_list(things: Sequence[Thing]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})


def _local_port(process: subprocess.Popen[bytes], until_s: float) -> int:
    """What port-forward tells when it listens. Raises KubectlFailed where it ends or says nothing in time."""
    output = process.stdout
    told = b""
    while output is not None and (left_s := until_s - time.monotonic()) > 0:
        ready, _, _ = select.select([output], [], [], left_s)
        chunk = os.read(output.fileno(), 4096) if ready else b""
        told += chunk
        if found := re.search(rb"127\.0\.0\.1:(\d+) ->", told):
            return int(found[1])
        if not chunk:
            break
    process.kill()
    error = process.stderr.read().decode(errors="replace") if process.stderr is not None else ""
    raise KubectlFailed(said("port-forward", error))
