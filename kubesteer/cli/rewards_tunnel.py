"""The way of `kubesteer rewards` to a deployed etcd: a tunnel by kubectl, and a certificate out of a Secret.

Nothing is left of either when the command ends.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubesteer.cli.rewards_options import StoreOptions
from kubesteer.clients.kubectl.command import Kubectl
from kubesteer.model.errors import KubectlFailed, StoreUnavailable

DEFAULT_NAMESPACE = "kubesteer"
READER, WRITER, ROOT = "kubesteer-extender-etcd", "kubesteer-agent-etcd", "kubesteer-etcd-maintenance"
"""Secrets: the user that reads, the one of all agents together, and root."""
_SERVICE, _PORT = "kubesteer-etcd", 2379
_FILES = "ca.crt", "tls.crt", "tls.key"


@contextlib.contextmanager
def tunnel(options: StoreOptions, *, writes: bool) -> Iterator[StoreOptions]:
    """The options that reach the etcd of that cluster, as the user with the least rights, while it is open.

    Raises KubectlFailed, or what is raised inside, with the way out where the user may not.
    """
    namespace, secret = options.namespace or DEFAULT_NAMESPACE, options.secret or (WRITER if writes else READER)
    kubectl = Kubectl(program=options.kubectl or "kubectl", kubeconfig=options.kubeconfig, context=options.context)
    files = _files_in(kubectl.get("secret", secret, namespace), f"secret {namespace}/{secret}")
    with tempfile.TemporaryDirectory(prefix="kubesteer-") as folder, contextlib.ExitStack() as opened:
        try:
            port = opened.enter_context(kubectl.forwarded(f"service/{_SERVICE}", namespace, _PORT))
        except KubectlFailed as exc:
            raise KubectlFailed(f"{exc}; an etcd outside the cluster is named with --etcd") from exc
        ca_file, cert_file, key_file = (_written(Path(folder) / name, content) for name, content in files.items())
        reached = replace(options, etcd=f"127.0.0.1:{port}", server_name=f"{_SERVICE}.{namespace}.svc")
        try:
            yield replace(reached, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        except StoreUnavailable as exc:
            if not writes or secret == ROOT or not _is_refusal(str(exc)):
                raise
            way = f"with certificates for each node only root writes for all: add --secret {ROOT}"
            raise StoreUnavailable(f"{exc}; {way}") from exc


def _files_in(secret: Mapping[str, Any] | None, where: str) -> dict[str, bytes]:
    """The Secret's content, in the order of _FILES."""
    if secret is None:
        raise KubectlFailed(f"{where} is not there; is kubesteer deployed in that namespace (--namespace)?")
    data = secret.get("data") or {}
    try:
        return {name: base64.b64decode(data[name], validate=True) for name in _FILES}
    except (KeyError, binascii.Error) as exc:
        raise KubectlFailed(f"{where} has no usable {', '.join(_FILES)}: {exc!r}") from exc


def _written(file: Path, content: bytes) -> Path:
    file.touch(mode=0o600)
    file.write_bytes(content)
    return file


def _is_refusal(text: str) -> bool:
    """The words of etcd where a user may not, or is no user."""
    return any(
        word in text for word in ("permission denied", "user name not found", "invalid auth token", "UNAUTHENTICATED")
    )
