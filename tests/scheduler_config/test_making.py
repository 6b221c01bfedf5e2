"""A configuration from answers: what is in it, and that the check never has anything against it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.findings import Finding, Severity
from kubesteer.schedulerconfig.making import KUBEADM, Answers, make
from kubesteer.schedulerconfig.minors import TESTED
from kubesteer.schedulerconfig.reading import Reading, read, render
from kubesteer.schedulerconfig.service import Service
from tests.scheduler_config.documents import BY_NAME, CA, HTTPS, SLO, found

PLAIN: dict[str, Any] = {}
SECURE = {"url": HTTPS, "ca_file": CA}
MUTUAL = SECURE | {"client_cert": "/etc/kubesteer/tls.crt", "client_key": "/etc/kubesteer/tls.key"}
EVERY_ANSWER = [
    Answers(**{**wire, **pods, **score, **name}, minor=minor)
    for wire, pods, score, name, minor in itertools.product(
        (PLAIN, SECURE, MUTUAL),
        ({}, {"pods": "slo"}, {"pods": "slo", "resources": (SLO,)}, {"pods": "slo", "fail_safe": True}),
        ({}, {"share": 0.25}, {"share": 0.95}, {"shortlist": 1}, {"shortlist": 8}, {"pinned": True}),
        ({}, {"scheduler_name": "kubesteer"}),
        (29, *TESTED, 40),
    )
]


def checked(answers: Answers) -> list[Finding]:
    return check(make(answers), answers.minor, in_pod=answers.connection is None)


def test_the_check_has_nothing_against_what_is_made_from_any_answers() -> None:
    assert len(EVERY_ANSWER) == 3 * 4 * 6 * 2 * 6
    for answers in EVERY_ANSWER:
        assert found(checked(answers), Severity.ERROR, Severity.WARNING) == []


@pytest.mark.parametrize(
    ("answers", "path", "value"),
    [
        pytest.param({}, ("extenders", 0, "weight"), 15, id="half of the score"),
        pytest.param({"minor": 34}, ("extenders", 0, "weight"), 12, id="half of an older minor's"),
        pytest.param({"shortlist": 1}, ("extenders", 0, "prioritizeVerb"), None, id="one node needs no score"),
        pytest.param({"service": Service(shortlist=1)}, ("extenders", 0, "weight"), None, id="as the settings say"),
        pytest.param({"pods": "slo"}, ("extenders", 0, "managedResources", 1, "name"), SLO, id="all that is counted"),
        pytest.param(SECURE, ("extenders", 0, "tlsConfig"), {"caFile": CA}, id="TLS"),
        pytest.param(SECURE, ("extenders", 0, "enableHTTPS"), True, id="TLS is on"),
        pytest.param({"scheduler_name": "mine"}, ("leaderElection", "resourceName"), "mine", id="a lease of its own"),
        pytest.param({"scheduler_name": "mine"}, ("profiles", 0, "schedulerName"), "mine", id="its name"),
        pytest.param({"pods": "slo", "fail_safe": True}, ("extenders", 0, "ignorable"), False, id="pods wait"),
        pytest.param({}, ("clientConnection", "kubeconfig"), KUBEADM, id="the cluster's own: kubeadm's kubeconfig"),
        pytest.param({"kubeconfig": "/a"}, ("clientConnection", "kubeconfig"), "/a", id="a kubeconfig of its own"),
        pytest.param({"kubeconfig": "-"}, ("clientConnection",), None, id="in a pod, by its ServiceAccount"),
        pytest.param({"scheduler_name": "mine"}, ("clientConnection",), None, id="a second scheduler is in a pod"),
        pytest.param(
            {"scheduler_name": "mine", "kubeconfig": "/a"},
            ("clientConnection", "kubeconfig"),
            "/a",
            id="a second scheduler outside",
        ),
        pytest.param(
            {"pinned": True},
            ("profiles", 0, "plugins", "score", "disabled"),
            [{"name": "*"}],
            id="no plugin comes unseen",
        ),
    ],
)
def test_an_answer_stands_where_the_scheduler_reads_it(
    answers: dict[str, Any], path: tuple[Any, ...], value: object
) -> None:
    part: Any = make(Answers(**answers))
    for step in path:
        part = part.get(step) if isinstance(part, dict) else part[step]
    assert part == value


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param({"resources": (SLO,)}, "say --pods slo", id="resources for all pods"),
        pytest.param({"fail_safe": True}, "say --pods slo", id="every pod waits"),
        pytest.param(MUTUAL | {"client_key": None}, "give both or neither", id="half a certificate"),
        pytest.param({"url": HTTPS}, "give the CA", id="TLS without a CA"),
        pytest.param({"ca_file": CA}, "give an https:// address", id="a CA without TLS"),
        pytest.param(
            {"client_cert": "a", "client_key": "b"}, "give an https:// address", id="a certificate without TLS"
        ),
        pytest.param(
            {"url": "http://kubesteer-extender.kubesteer.svc:8888"}, "in the clear", id="clear text over the network"
        ),
        pytest.param({"url": "http://127.0.0.1:8888/filter"}, "a verb stands here already", id="a verb in the address"),
        pytest.param(
            {"url": BY_NAME, "ca_file": CA}, "asks the node's DNS", id="a name that a static pod cannot resolve"
        ),
        pytest.param({"url": "127.0.0.1:8888"}, "without scheme and host", id="no scheme"),
        pytest.param({"pods": "slo", "resources": ("cpu",)}, "no name of an extended resource", id="cpu"),
        pytest.param({"pods": "slo", "resources": (SLO, SLO)}, "keep one", id="one resource twice"),
        pytest.param({"pods": "slo", "resources": ("a.io/b",)}, "of this one nothing is counted", id="not counted"),
        pytest.param({"shortlist": 0}, "give 1 or more", id="no node"),
        pytest.param({"shortlist": 1, "pinned": True}, "leave one of the two out", id="weights that nobody asks"),
        pytest.param({"scheduler_name": "default-scheduler"}, "choose another", id="the cluster's own name"),
    ],
)
def test_answers_that_do_not_go_together_are_refused_with_the_way_out(answers: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=r"^[\w\-.\[\] ]+: ") as refusal:
        make(Answers(**answers))
    assert said in str(refusal.value)


def test_what_is_written_reads_back_as_what_was_made() -> None:
    for answers in EVERY_ANSWER:
        document = make(answers)
        assert read(render(document, ["a head", "of two lines"])) == Reading(document)
