"""An API server for token and access reviews: who has which token, who may do what, and every way in which it can fail.

Answers are the real one's (1.37): tests/e2e/test_ops_access.py asks the same of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from kubesteer.clients.kubernetes.api import ApiRefused
from kubesteer.model.errors import ClusterUnavailable

SERVER_AUDIENCE = "https://kubernetes.default.svc"


class FakeReviews:
    """posted: the reviews so far. Tokens are accounts' names; rights are (account, verb, path)."""

    def __init__(self, rights: Iterable[tuple[str, str, str]] = ()) -> None:
        self.accounts: dict[str, str] = {}
        self.audiences: dict[str, list[str]] = {}
        self.rights = set(rights)
        self.posted: list[dict[str, Any]] = []
        self.down = False
        self.refuses = False
        self.body: bytes | None = None
        self.knows_audiences = True
        self.hold: asyncio.Event | None = None
        self.under_way = self.most_under_way = 0

    def give(self, token: str, account: str, *, audiences: tuple[str, ...] = (SERVER_AUDIENCE,)) -> None:
        self.accounts[token], self.audiences[token] = account, list(audiences)

    async def post(self, path: str, body: bytes) -> bytes:
        review = json.loads(body)
        self.posted.append(review)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await (asyncio.sleep(0) if self.hold is None else self.hold.wait())
        finally:
            self.under_way -= 1
        if self.down:
            raise ClusterUnavailable(f"POST {path}: https://10.96.0.1:443 did not answer")
        if self.refuses:
            raise ApiRefused(f"POST {path}: the API server answered 403: cannot create", status=403)
        if self.body is not None:
            return self.body
        kind = {"tokenreviews": "TokenReview", "subjectaccessreviews": "SubjectAccessReview"}[path.rpartition("/")[2]]
        assert review["kind"] == kind
        assert review["apiVersion"] == path.removeprefix("/apis/").rpartition("/")[0]
        status = self._token(review["spec"]) if kind == "TokenReview" else self._access(review["spec"])
        return json.dumps({**review, "status": status}).encode()

    def reviews(self, kind: str) -> list[dict[str, Any]]:
        return [review["spec"] for review in self.posted if review["kind"] == kind]

    def _token(self, spec: dict[str, Any]) -> dict[str, Any]:
        account = self.accounts.get(spec["token"])
        wanted = spec.get("audiences", [SERVER_AUDIENCE])
        common = [each for each in self.audiences.get(spec["token"], ()) if each in wanted]
        if account is None or (not common and self.knows_audiences):
            return {"error": "[invalid bearer token, token lookup failed]"}
        user = {
            "username": f"system:serviceaccount:monitoring:{account}",
            "uid": "u-1",
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]},
        }
        return {"authenticated": True, "user": user, **({"audiences": common} if self.knows_audiences else {})}

    def _access(self, spec: dict[str, Any]) -> dict[str, Any]:
        asked = spec["nonResourceAttributes"]
        right = (spec["user"].rpartition(":")[2], asked["verb"], asked["path"])
        return {"allowed": right in self.rights, "reason": ""}
