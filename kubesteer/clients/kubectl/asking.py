"""One HTTP request to a port on loopback that leads into a pod."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kubesteer.clients.trust import trusting
from kubesteer.model.errors import ClusterUnavailable

_TIMEOUT_S = 15.0
_LARGEST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. A body is sent by POST.

    authority_pem and server_name: whose certificate is believed, and for which name; None for plain HTTP.
    """

    path: str
    body: Mapping[str, Any] | None = None
    token: str | None = None
    authority_pem: str | None = None
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and the text."""

    status: int
    text: str


def ask(port: int, request: Request) -> Answer:
    """The answer, whatever its status. Raises ClusterUnavailable for none."""
    headers = {"Host": request.server_name or "127.0.0.1", "Accept": "application/json", "Connection": "close"}
    if request.token is not None:
        headers["Authorization"] = f"Bearer {request.token}"
    body = None if request.body is None else json.dumps(request.body)
    if body:
        headers["Content-Type"] = "application/json"
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)) as connection:
            connection.sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
            if request.authority_pem is not None:
                tls = trusting(authority_pem=request.authority_pem)
                connection.sock = tls.wrap_socket(connection.sock, server_hostname=request.server_name)
            connection.request("POST" if body else "GET", request.path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read(_LARGEST_BYTES).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as exc:
        raise ClusterUnavailable(f"{request.path}: no answer: {str(exc) or exc!r}") from exc
