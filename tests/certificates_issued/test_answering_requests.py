"""Requests that wait are answered one by one; what cannot be answered yet keeps no other waiting."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from kubesteer.certificates.issuing import common_name_of, issue_authority
from kubesteer.certificates.pems import Pair, read_certificate, signed_by
from kubesteer.certificates.requests import NODE_NAME, NODE_UID, ask
from kubesteer.cli.keeping.requests import RequestKeeper
from kubesteer.cli.keeping.steps import StepResult
from kubesteer.clients.kubernetes.certificate_requests import (
    REQUESTS,
    Csr,
    CsrCondition,
    CsrSpec,
    CsrStatus,
    RequestAnswers,
)
from kubesteer.clients.kubernetes.objects import Metadata
from kubesteer.model.errors import InvalidRecord, StoreUnavailable
from kubesteer.model.etcd_users import AGENT_SIGNER, agent_user
from tests.certificates_issued.fake_server import FakeServer
from tests.certificates_issued.test_judging_requests import ACCOUNT, EDI, csr, of_another_version, san
from tests.certificates_issued.world import DAY, LIVES, MAKER, NOW


class Scene:
    """A keeper of requests, the nodes that there are, and the users that it made."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.authority: Pair | None = issue_authority("a", MAKER, now=NOW, lasts=100 * DAY)
        self.nodes = {"n1": "u1", "n2": "u2"}
        self.admitted: list[str] = []
        self.refused: set[str] = set()
        api: Any = self.server
        self.keeper = RequestKeeper(
            RequestAnswers(api),
            account=ACCOUNT,
            lasts=LIVES.node,
            signer=self._signer,
            nodes=lambda: self.nodes,
            admit=self._admit,
            make=MAKER,
            now=lambda: NOW,
        )

    def _signer(self) -> Pair:
        if self.authority is None:
            raise InvalidRecord("there is none")
        return self.authority

    async def _admit(self, node: str, uid: str) -> None:
        if node in self.refused:
            raise StoreUnavailable("etcd does not answer")
        self.admitted.append(f"{node} {uid}")

    def ask(self, name: str, node: str, *, uid: str = "", pem: bytes = b"", approved: bool = False) -> None:
        self.server.put(f"{REQUESTS}/{name}", {"metadata": {"name": name}, "status": {}})
        spec = CsrSpec(
            signer_name=AGENT_SIGNER,
            username=ACCOUNT,
            request=pem or ask(MAKER.key()),
            usages=["client auth"],
            extra={NODE_NAME: [node], NODE_UID: [uid or f"u{node[1:]}"]},
        )
        status = CsrStatus(conditions=[CsrCondition(type="Approved")]) if approved else CsrStatus()
        version = self.version(name)
        self.keeper.put(Csr(metadata=Metadata(name=name, resource_version=version), spec=spec, status=status))

    def version(self, name: str) -> str:
        found: str = self.server.objects[f"{REQUESTS}/{name}"]["metadata"]["resourceVersion"]
        return found

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.objects[f"{REQUESTS}/{name}"]["status"]
        return found

    def verdicts(self, name: str) -> list[str]:
        return [each["type"] for each in self.status(name).get("conditions", ())]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_good_request_makes_the_user_first_and_is_approved_and_signed(scene: Scene) -> None:
    scene.ask("r", "n1")
    user = agent_user("n1", "u1")
    assert await scene.keeper.step() == StepResult([f"request r signed: {user}"])
    assert (scene.admitted, scene.verdicts("r"), scene.keeper.waiting) == (["n1 u1"], ["Approved"], {})
    made = read_certificate(base64.b64decode(scene.status("r")["certificate"]))
    assert common_name_of(made.subject) == user
    assert made.not_valid_after_utc == NOW + 7 * DAY
    assert scene.authority is not None
    assert signed_by(made, scene.authority.certificate)


async def test_one_that_cannot_be_answered_yet_keeps_no_other_waiting(scene: Scene) -> None:
    scene.refused = {"n1"}
    scene.ask("one", "n1")
    scene.ask("two", "n2")
    done = await scene.keeper.step()
    assert isinstance(done.fault, StoreUnavailable)
    assert [told.partition(":")[0] for told in done.told] == ["request two signed"]
    assert (scene.verdicts("one"), scene.verdicts("two"), set(scene.keeper.waiting)) == ([], ["Approved"], {"one"})
    scene.refused = set()
    assert len((await scene.keeper.step()).told) == 1


@pytest.mark.parametrize("poison", [csr(extensions=(san(EDI),)), of_another_version(), b"\x00"], ids=range(3))
async def test_one_that_means_harm_is_denied_and_keeps_no_other_waiting(scene: Scene, poison: bytes) -> None:
    scene.ask("poison", "n1", pem=poison)
    scene.ask("good", "n2")
    done = await scene.keeper.step()
    assert (scene.verdicts("poison"), scene.verdicts("good"), done.fault) == (["Denied"], ["Approved"], None)


async def test_a_token_of_a_node_that_was_made_anew_is_not_enough(scene: Scene) -> None:
    """It waits: the Node that is there now is another one of this name."""
    scene.ask("r", "n1", uid="u0")
    assert (await scene.keeper.step(), scene.admitted, scene.verdicts("r")) == (StepResult([]), [], [])


async def test_a_request_of_a_node_that_is_not_there_waits_without_a_fault(scene: Scene) -> None:
    scene.ask("r", "n9")
    assert (await scene.keeper.step(), scene.admitted, scene.verdicts("r")) == (StepResult([]), [], [])
    scene.nodes["n9"] = "u9"
    assert len((await scene.keeper.step()).told) == 1


async def test_without_an_authority_nothing_is_approved(scene: Scene) -> None:
    scene.authority = None
    scene.ask("r", "n1")
    assert "no authority" in str((await scene.keeper.step()).fault)
    assert scene.verdicts("r") == []


@pytest.mark.parametrize(("approved", "verdict"), [(False, "Denied"), (True, "Failed")])
async def test_a_bad_request_is_denied_and_failed_where_somebody_approved_it(
    scene: Scene, approved: bool, verdict: str
) -> None:
    """Approved and denied exclude one another."""
    scene.ask("r", "n1", pem=csr((NameOID.COMMON_NAME, "root")), approved=approved)
    [told] = (await scene.keeper.step()).told
    assert "denied: a subject is" in told
    assert scene.verdicts("r")[-1] == verdict
    assert ("certificate" in scene.status("r"), scene.admitted) == (False, [])


async def test_what_another_keeper_has_answered_meanwhile_is_left_to_the_watch(scene: Scene) -> None:
    scene.ask("r", "n1")
    scene.server.put(f"{REQUESTS}/r", {"metadata": {"name": "r"}, "status": {"certificate": "eA=="}})
    assert (await scene.keeper.step(), scene.keeper.waiting) == (StepResult([]), {})
    assert scene.status("r") == {"certificate": "eA=="}


async def test_a_request_that_is_answered_is_no_longer_waited_for(scene: Scene) -> None:
    scene.ask("r", "n1")
    scene.keeper.put(Csr(metadata=Metadata(name="r"), status=CsrStatus(certificate=b"x")))
    assert scene.keeper.waiting == {}
