"""A kubeconfig's exec plugin: how it is asked, and what its answer must be, as client-go has it.

Nothing is kept here: the caller decides when to ask again. The output of a plugin never stands in a message, only
the last of what it complains.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from kubesteer.clients.kubernetes.unreadable import UNREADABLE
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.quantity import shown

API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_MOST_B = 1 << 20
_COMPLAINT_B = 8192
_COMPLAINT_LINES, _COMPLAINT_CHARACTERS = 2, 300


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a plugin gave: a token, a certificate with its key (PEM), or both.

    expires_at_s: Unix time, None where it told none.
    """

    token: str | None
    certificate: str | None
    key: str | None
    expires_at_s: float | None


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    status: _Status | None = None


class _Variable(msgspec.Struct):
    name: str
    value: str = ""


class _Plugin(msgspec.Struct, rename="camel"):
    """A user's `exec`."""

    command: str
    api_version: str
    args: list[str] | None = None
    env: list[_Variable] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None


async def ask_plugin(
    written: Any, *, folder: Path, cluster: Mapping[str, Any], environ: Mapping[str, str], timeout_s: float
) -> Credentials:
    """Run the plugin once. Raises InvalidSettings that says in the plugin's own words why it gave nothing.

    written: a user's `exec`. folder: the kubeconfig's. cluster: what a plugin is told that wants to know the cluster.
    """
    try:
        plugin = msgspec.convert(written, _Plugin)
    except msgspec.ValidationError as exc:
        raise InvalidSettings(f"exec: {exc}") from exc
    name = f"exec plugin {shown(plugin.command, limit=200)}"
    if plugin.api_version not in API_VERSIONS:
        raise InvalidSettings(f"{name}: apiVersion {shown(plugin.api_version)} is none of {', '.join(API_VERSIONS)}")
    if plugin.interactive_mode == "Always":
        raise InvalidSettings(f"{name}: interactiveMode is Always, and kubesteer has no terminal")
    printed = await _run(plugin, name, folder, _environment(plugin, cluster, environ), timeout_s)
    return _credentials(printed, plugin.api_version, name)


def _environment(plugin: _Plugin, cluster: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        spec["cluster"] = cluster
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    own = {variable.name: variable.value for variable in plugin.env or ()}
    return {**environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)}


async def _run(plugin: _Plugin, name: str, folder: Path, environ: Mapping[str, str], timeout_s: float) -> bytes:
    has_folder = os.sep in plugin.command
    command = str(folder / plugin.command) if has_folder else plugin.command
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            *(plugin.args or ()),
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A group of its own, so that what it started ends with it.
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        hint = f"; {shown(plugin.install_hint, limit=_COMPLAINT_CHARACTERS)}" if plugin.install_hint else ""
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise InvalidSettings(f"{name} could not be started: {why}{hint}") from exc
    has_ended = False
    try:
        async with asyncio.timeout(timeout_s):
            printed, complaint = await asyncio.gather(
                _read(process.stdout, _MOST_B), _read(process.stderr, _COMPLAINT_B)
            )
            code = await process.wait()
        has_ended = True
    except TimeoutError as exc:
        raise InvalidSettings(f"{name} gave no answer within {timeout_s:g} s") from exc
    finally:
        if not has_ended:
            _kill(process)
            await process.wait()
    if code:
        raise InvalidSettings(f"{name} ended with {code}{_in_words(complaint)}")
    if not printed.strip():
        raise InvalidSettings(f"{name} printed nothing{_in_words(complaint)}")
    return printed


def _kill(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def _read(stream: asyncio.StreamReader | None, most_b: int) -> bytes:
    """The last of a stream, read to its end so that the plugin is not held up."""
    kept = b""
    while stream is not None and (chunk := await stream.read(65536)):
        kept = (kept + chunk)[-most_b:]
    return kept


def _in_words(complaint: bytes) -> str:
    lines = [line.strip() for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    said = " ".join(lines[-_COMPLAINT_LINES:])
    return f": {shown(said, limit=_COMPLAINT_CHARACTERS)}" if said else ""


def _credentials(printed: bytes, api_version: str, name: str) -> Credentials:
    try:
        answer = msgspec.json.decode(printed, type=_ExecCredential)
    except msgspec.ValidationError as exc:
        raise InvalidSettings(f"{name} printed no ExecCredential: {exc}") from exc
    except UNREADABLE as exc:
        raise InvalidSettings(f"{name} printed no JSON") from exc
    if answer.kind != "ExecCredential" or answer.api_version != api_version:
        given = f"{answer.api_version} {answer.kind}"
        raise InvalidSettings(f"{name} printed {shown(given)}; the kubeconfig wants {api_version} ExecCredential")
    status = answer.status or _Status()
    token, certificate, key = status.token or None, status.client_certificate_data, status.client_key_data
    if bool(certificate) != bool(key):
        raise InvalidSettings(f"{name} printed only one of clientCertificateData and clientKeyData; both are needed")
    if not token and not certificate:
        raise InvalidSettings(f"{name} printed neither a token nor a client certificate")
    return Credentials(token, certificate or None, key or None, _unix_s(status.expiration_timestamp, name))


def _unix_s(text: str | None, name: str) -> float | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise ValueError("it names no time zone")
        return time.timestamp()
    except (ValueError, OverflowError) as exc:
        raise InvalidSettings(f"{name} printed expirationTimestamp {shown(text)}: {exc}") from exc
