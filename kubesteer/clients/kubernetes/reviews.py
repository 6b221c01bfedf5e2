"""The account behind a bearer token and its rights: asked of the API server (TokenReview, SubjectAccessReview), kept.

The services decide what a request is for and how a refusal looks. A token is kept as its hash alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import msgspec

from kubesteer.clients.kubernetes.objects import Part
from kubesteer.model.errors import ClusterUnavailable

CHALLENGE = 'Bearer realm="kubesteer"'
"""The header WWW-Authenticate, which a 401 must have."""
READINESS_DETAILS = "/readyz/details"
"""The path that a right to the details of /readyz names: Kubernetes lets every account get /readyz itself."""
ALLOWED_S, REFUSED_S = 60.0, 10.0
"""How long an answer is kept: a right that is taken away, or a token revoked, ends no later than this."""
_KEPT = 512
"""Answers of each kind."""
_AT_ONCE = 4
"""Reviews under way; further ones wait. A flood of wrong tokens costs the API server no more than this."""
_WITHIN_S = 5.0
_LONGEST_TOKEN = 16 << 10
_TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Api(Protocol):
    """Takes the reviews. ApiServer is one."""

    async def post(self, path: str, body: bytes) -> bytes:
        """The answer's body. Raises ClusterUnavailable."""


@dataclass(frozen=True, slots=True)
class Permit:
    """The answer to one request, as an HTTP status: 200 allowed, 401 unknown account, 403 not allowed, 503 not known.

    why: for the sender; empty where it is allowed. It never has the token in it.
    """

    status: int
    why: str = ""


class _User(Part):
    username: str = ""
    uid: str | None = None
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _TokenStatus(Part):
    authenticated: bool = False
    user: _User | None = None
    audiences: list[str] | None = None


class _TokenReview(Part):
    status: _TokenStatus


class _AccessStatus(Part):
    allowed: bool = False
    denied: bool = False


class _AccessReview(Part):
    status: _AccessStatus


class Reviews:
    """Asks about each token, verb and path once, and again when the answer is too old."""

    def __init__(self, api: Api, *, audiences: Sequence[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """audiences: a token must be for one of them; none takes the API server's own."""
        self._api = api
        self._audiences = list(audiences)
        self._clock = clock
        self._allowed = _Kept(ALLOWED_S)
        self._refused = _Kept(REFUSED_S)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._fault: str | None = None

    def fault(self) -> str | None:
        """Why the API server could not be asked the last time; None where it could."""
        return self._fault

    async def ask(self, authorization: Sequence[str], verb: str, path: str) -> Permit:
        """Whether the sender may do this. authorization: every header of this name that the request has.

        verb: the HTTP method in lower case. path: as it is served, decoded, and nothing made of it.
        """
        token = _bearer(authorization)
        if token is None:
            return Permit(401, "give one header `Authorization: Bearer TOKEN`, of an account that may read this")
        key = sha256("\0".join((token, verb, path)).encode(errors="replace")).digest()
        if (known := self._known(key)) is not None:
            return known
        try:
            async with asyncio.timeout(_WITHIN_S), self._at_once:
                if (known := self._known(key)) is not None:
                    return known
                permit = await self._review(token, verb, path)
        except (ClusterUnavailable, TimeoutError, msgspec.MsgspecError) as exc:
            self._fault = f"tokens cannot be reviewed: {str(exc) or f'no answer within {_WITHIN_S:g} s'}"
            return Permit(503, "the API server cannot be asked whether this token may; try again")
        self._fault = None
        (self._allowed if permit.status == 200 else self._refused).put(key, permit, self._clock())
        return permit

    def _known(self, key: bytes) -> Permit | None:
        now_s = self._clock()
        return self._allowed.get(key, now_s) or self._refused.get(key, now_s)

    async def _review(self, token: str, verb: str, path: str) -> Permit:
        user = await self._user_of(token)
        if user is None:
            return Permit(401, "the API server does not take this token: it is wrong, expired, revoked, or for others")
        spec = {
            "user": user.username,
            "uid": user.uid or "",
            "groups": user.groups or [],
            "extra": user.extra or {},
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        told = msgspec.json.decode(await self._api.post(_ACCESS_REVIEWS, msgspec.json.encode(body)), type=_AccessReview)
        if told.status.allowed and not told.status.denied:
            return Permit(200)
        return Permit(403, f"{user.username} may not {verb} {path}; bind the ClusterRole kubesteer-ops-reader to it")

    async def _user_of(self, token: str) -> _User | None:
        spec = {"token": token, **({"audiences": self._audiences} if self._audiences else {})}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        told = msgspec.json.decode(await self._api.post(_TOKEN_REVIEWS, msgspec.json.encode(body)), type=_TokenReview)
        status = told.status
        # An authenticator that knows no audiences names none: its word is not enough where one is wanted.
        if self._audiences and not set(self._audiences) & set(status.audiences or ()):
            return None
        return status.user if status.authenticated and status.user and status.user.username else None


class _Kept:
    """The newest answers of one kind, each for so long."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._until: OrderedDict[bytes, tuple[float, Permit]] = OrderedDict()

    def get(self, key: bytes, now_s: float) -> Permit | None:
        until_s, permit = self._until.get(key, (now_s, None))
        return permit if until_s > now_s else None

    def put(self, key: bytes, permit: Permit, now_s: float) -> None:
        self._until[key] = (now_s + self._for_s, permit)
        self._until.move_to_end(key)
        while len(self._until) > _KEPT:
            self._until.popitem(last=False)


def _bearer(authorization: Sequence[str]) -> str | None:
    """The token of the one header that there may be; None where there is none, more than one, or another scheme."""
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].strip().partition(" ")
    token = token.strip()
    is_one = 0 < len(token) <= _LONGEST_TOKEN and token.isascii() and token.isprintable()
    return token if scheme.lower() == "bearer" and is_one else None
