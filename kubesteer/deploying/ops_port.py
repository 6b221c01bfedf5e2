"""How the extender's ops port is asked from outside the cluster, and what its answers say. No I/O."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import ClusterUnavailable, InvalidInput

SERVER_SECRET = "kubesteer-extender-server"  # noqa: S105 - its name
READER_ACCOUNT = "kubesteer-status"
"""Its tokens read the ops port; no pod runs as it."""
SERVER_NAME = "kubesteer-extender.kubesteer.svc"
_DEFAULT_PORT = 8889
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OpsPort:
    """tls: it is served by the wire's certificate. asks: metrics and explain want a token."""

    port: int
    tls: bool
    asks: bool


def ops_port(settings: Mapping[str, Any]) -> OpsPort:
    """As the extender's settings file makes it. Raises InvalidInput for a port that is no number."""
    ops = settings.get("ops") or {}
    port = ops.get("port", _DEFAULT_PORT)
    if not isinstance(port, int):
        raise InvalidInput(f"ops.port {port!r}: it is no number; write one, such as {_DEFAULT_PORT}")
    return OpsPort(port, bool(ops.get("tls")), ops.get("auth", "none") != "none")


def authority_of(secret: Thing | None) -> str | None:
    """The authority of the certificate in a Secret, as PEM."""
    text = ((secret or {}).get("data") or {}).get("ca.crt")
    return base64.b64decode(text).decode() if text else None


def document_of(text: str, path: str) -> Any:
    """An answer's JSON. Raises ClusterUnavailable for what is none."""
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ClusterUnavailable(f"{path}: its answer is no JSON: {exc}") from exc


def sample_sum(metrics: str, name: str, **labels: str) -> float:
    """The sum of all samples of that name with these labels; 0 where there is none."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    return sum(
        float(found["value"])
        for found in _SAMPLE.finditer(metrics)
        if found["name"] == name and wanted <= set((found["labels"] or "").split(","))
    )


def filter_calls(metrics: str) -> float:
    """How often a scheduler asked that extender which nodes fit."""
    return sample_sum(metrics, "kubesteer_request_seconds_count", verb="filter")
