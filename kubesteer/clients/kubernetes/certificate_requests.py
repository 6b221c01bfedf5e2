"""CertificateSigningRequests: made and waited for by who wants a certificate; followed, answered by who signs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Literal
from urllib.parse import quote

import msgspec

from kubesteer.clients.kubernetes.api import MERGE_PATCH, ApiServer
from kubesteer.clients.kubernetes.objects import Object, Part
from kubesteer.clients.kubernetes.resource import Resource, by_name, resource
from kubesteer.model.errors import ClusterUnavailable

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_BY = "?fieldManager=kubesteer-keeper"
Verdict = Literal["Approved", "Denied", "Failed"]


class CsrCondition(Part):
    """What was decided: type is Approved, Denied or Failed."""

    type: str = ""
    message: str = ""


class CsrSpec(Part):
    """What is asked, and by whom: username and extra are the API server's own finding."""

    signer_name: str = ""
    username: str = ""
    request: bytes = b""
    usages: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class CsrStatus(Part):
    """What became of it."""

    conditions: list[CsrCondition] | None = None
    certificate: bytes = b""


class Csr(Object):
    """A CertificateSigningRequest."""

    spec: CsrSpec = msgspec.field(default_factory=CsrSpec)
    status: CsrStatus = msgspec.field(default_factory=CsrStatus)

    def verdicts(self) -> dict[str, str]:
        """What was decided, with its message."""
        return {each.type: each.message for each in self.status.conditions or ()}


def requests_to(signer: str, *, put: Callable[[Csr], None], delete: Callable[[str], None]) -> Resource[Csr]:
    """All requests to one signer, by name."""
    return resource(
        Csr,
        REQUESTS,
        kind="CertificateSigningRequest",
        put=put,
        delete=delete,
        key=by_name,
        selector={"fieldSelector": f"spec.signerName={signer}"},
    )


class RequestAnswers:
    """Answers requests. Every call raises ClusterUnavailable when the API server does not take it."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def decide(self, csr: Csr, verdict: Verdict, *, reason: str, message: str, now: datetime) -> Csr:
        """Writes what was decided; the request as it then is.

        Failed is said of what somebody else has approved, and cannot be signed.
        """
        where = "status" if verdict == "Failed" else "approval"
        conditions = [{"type": name, "status": "True", "message": text} for name, text in csr.verdicts().items()]
        time = now.isoformat(timespec="seconds")
        condition = {"type": verdict, "status": "True", "reason": reason, "message": message, "lastUpdateTime": time}
        return await self._patch(csr, where, {"conditions": [*conditions, condition]})

    async def hand_out(self, csr: Csr, certificate: bytes) -> None:
        """Gives the certificate, PEM, to whoever asked."""
        await self._patch(csr, "status", {"certificate": base64.b64encode(certificate).decode()})

    async def _patch(self, csr: Csr, where: str, status: dict[str, object]) -> Csr:
        path = f"{REQUESTS}/{quote(csr.metadata.name, safe='')}/{where}{_BY}"
        body = {"metadata": {"resourceVersion": csr.metadata.resource_version}, "status": status}
        return _read(await self._api.patch(path, msgspec.json.encode(body), content_type=MERGE_PATCH))


async def ask_for_certificate(api: ApiServer, request: bytes, *, signer: str, prefix: str) -> str:
    """Asks for a client certificate; the answer is the request's name. Raises ClusterUnavailable."""
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": prefix, "labels": {"app.kubernetes.io/part-of": "kubesteer"}},
        "spec": {
            "signerName": signer,
            "request": base64.b64encode(request).decode(),
            "usages": ["client auth"],
        },
    }
    return _read(await api.post(REQUESTS, msgspec.json.encode(body))).metadata.name


async def answer_to(api: ApiServer, name: str) -> Csr:
    """A request as it stands now. Raises ClusterUnavailable."""
    return _read(await api.get(f"{REQUESTS}/{quote(name, safe='')}"))


def _read(body: bytes) -> Csr:
    try:
        return msgspec.json.decode(body, type=Csr)
    except msgspec.MsgspecError as exc:
        raise ClusterUnavailable(f"{REQUESTS}: the answer is no CertificateSigningRequest: {exc}") from exc
