"""A KubeSchedulerConfiguration from a few answers, and the words at its head. What is made has passed the check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.findings import Finding, Severity
from kubesteer.schedulerconfig.minors import NEWEST
from kubesteer.schedulerconfig.refusals import API_VERSION, KIND
from kubesteer.schedulerconfig.score_plugins import LEAST_SHARE, MOST_SHARE, default_weights, share_weight
from kubesteer.schedulerconfig.service import Service
from kubesteer.schedulerconfig.surroundings import DEFAULT_SCHEDULER

DEFAULT_URL = "http://127.0.0.1:8888"
KUBEADM = "/etc/kubernetes/scheduler.conf"
"""The kubeconfig that kubeadm writes for the cluster's own scheduler."""
NO_KUBECONFIG = "-"
HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What has to be known to write one.

    resources: what makes a pod come, where pods is `slo`; none stands for all that kubesteer counts by default.
    shortlist: as filter.shortlist in kubesteer's settings; with 1 the scheduler asks for no scores.
    share: kubesteer's part of the score, at least.
    scheduler_name: of a second scheduler; none for the cluster's own.
    pinned: write the other Score plugins' weights down, so that an upgrade of the scheduler does not move the share.
    fail_safe: pods wait while kubesteer is away, instead of being placed without it.
    kubeconfig: the scheduler's, as it finds it; NO_KUBECONFIG for one in a pod with a ServiceAccount. None stands for
    kubeadm's file, and for none where a second scheduler is named.
    service: kubesteer's settings, with which the file has to agree.
    """

    url: str = DEFAULT_URL
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    pods: Literal["all", "slo"] = "all"
    resources: tuple[str, ...] = ()
    shortlist: int | None = None
    share: float = HALF
    scheduler_name: str | None = None
    pinned: bool = False
    fail_safe: bool = False
    kubeconfig: str | None = None
    minor: int = NEWEST
    service: Service = field(default_factory=Service)

    @property
    def connection(self) -> str | None:
        """The kubeconfig that the file names; none where the scheduler has a ServiceAccount."""
        usual = NO_KUBECONFIG if self.scheduler_name else KUBEADM
        chosen = self.kubeconfig or usual
        return None if chosen == NO_KUBECONFIG else chosen

    @property
    def decides_alone(self) -> bool:
        """Whether filter leaves one node only, so that no scores are asked for."""
        return (self.shortlist or self.service.shortlist) == 1


def parse_share(text: str) -> float:
    """0.5 for "half", "50%" and "0.5". Raises InvalidInput."""
    word = text.strip().lower()
    try:
        value = HALF if word == "half" else float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
    except ValueError as exc:
        raise InvalidInput(f"weight {text!r}: {exc}; give kubesteer's share: half, 60% or 0.6") from exc
    if not LEAST_SHARE <= value <= MOST_SHARE:
        wanted = f"{LEAST_SHARE:.0%} to {MOST_SHARE:.0%}"
        raise InvalidInput(f"weight {text!r}: it is kubesteer's share of the score, not a factor; give {wanted}")
    return value


def make(answers: Answers) -> dict[str, Any]:
    """The configuration. Raises InvalidInput for answers that contradict each other, or that the check warns of."""
    _agree(answers)
    document = _document(answers)
    found = check(document, answers.minor, answers.service, in_pod=answers.connection is None)
    bad = [each for each in found if each.severity is not Severity.NOTE]
    if bad:
        raise InvalidInput("\n".join(map(_sentence, bad)))
    return document


def head_lines(answers: Answers, document: dict[str, Any]) -> list[str]:
    """What the file does, and what it asks of kubesteer's settings."""
    entry = document["extenders"][0]
    names = [each["name"] for each in entry.get("managedResources", [])]
    lines = [f"For kube-scheduler 1.{answers.minor}, by its flag --config.", _reaches(answers)]
    if name := answers.scheduler_name:
        lines.append(f"A scheduler beside the cluster's own: pods choose it by schedulerName: {name}.")
        lines.append(f"It leads by the lease kube-system/{name}: its ServiceAccount needs get and update of that.")
    come = f"Pods that ask for {' or '.join(names)} go" if names else "Every pod goes"
    lines.append(f"{come} through kubesteer.")
    if answers.decides_alone:
        lines.append("kubesteer chooses the node: set filter.shortlist to 1 in its settings. No other score counts.")
    else:
        lines.append(f"kubesteer's scores are at least {answers.share:.0%} of what a node can get.")
    if answers.shortlist and answers.shortlist > 1:
        lines.append(f"Set filter.shortlist to {answers.shortlist} in kubesteer's settings.")
    if answers.client_cert:
        lines.append("kubesteer's settings: tls.cert_file, tls.key_file and tls.client_ca_file.")
    elif answers.ca_file:
        lines.append("kubesteer's settings: tls.cert_file and tls.key_file.")
    placed = "pods are placed without it; SLOs as extended resources still hold"
    lines.append(f"While kubesteer is away, {'these pods wait' if answers.fail_safe else placed}.")
    return lines


def _agree(answers: Answers) -> None:
    if answers.resources and answers.pods == "all":
        raise InvalidInput("resources: they choose the pods that come, and pods is all; say --pods slo")
    if bool(answers.client_cert) != bool(answers.client_key):
        raise InvalidInput("client-cert: it goes with client-key; give both or neither")
    secure = urlsplit(answers.url).scheme == "https"
    if secure != bool(answers.ca_file):
        fix = "give the CA of its certificate" if secure else "give an https:// address, or leave it out"
        raise InvalidInput(f"ca-file: the address is {answers.url}; {fix}")
    if answers.client_cert and not secure:
        raise InvalidInput(f"client-cert: {answers.url} is not TLS; give an https:// address, or leave it out")
    if answers.fail_safe and answers.pods == "all":
        raise InvalidInput("fail-safe: all pods would wait for kubesteer, its own too; say --pods slo")
    if answers.shortlist is not None and answers.shortlist < 1:
        raise InvalidInput(
            f"shortlist {answers.shortlist}: give 1 or more, as filter.shortlist in kubesteer's settings"
        )
    if answers.scheduler_name == DEFAULT_SCHEDULER:
        raise InvalidInput(
            f"scheduler-name {DEFAULT_SCHEDULER}: the cluster's own has it; choose another, or leave it out"
        )
    if answers.decides_alone and answers.pinned:
        raise InvalidInput("pin-weights: with shortlist 1 no scores are asked for; leave one of the two out")


def _document(answers: Answers) -> dict[str, Any]:
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND}
    if kubeconfig := answers.connection:
        document["clientConnection"] = {"kubeconfig": kubeconfig}
    if answers.scheduler_name:
        document["leaderElection"] = {"resourceName": answers.scheduler_name}
    profile: dict[str, Any] = {}
    if answers.scheduler_name or answers.pinned:
        profile["schedulerName"] = answers.scheduler_name or DEFAULT_SCHEDULER
    if answers.pinned:
        weights = [{"name": name, "weight": weight} for name, weight in default_weights(answers.minor).items()]
        profile["plugins"] = {"score": {"disabled": [{"name": "*"}], "enabled": weights}}
    if profile:
        document["profiles"] = [profile]
    document["extenders"] = [_entry(answers)]
    return document


def _entry(answers: Answers) -> dict[str, Any]:
    entry: dict[str, Any] = {"urlPrefix": answers.url, "filterVerb": "filter"}
    if not answers.decides_alone:
        weight = share_weight(answers.share, default_weights(answers.minor))
        entry |= {"prioritizeVerb": "prioritize", "weight": weight}
    entry["enableHTTPS"] = urlsplit(answers.url).scheme == "https"
    files = {"caFile": answers.ca_file, "certFile": answers.client_cert, "keyFile": answers.client_key}
    if given := {name: path for name, path in files.items() if path}:
        entry["tlsConfig"] = given
    entry |= {"httpTimeout": "1s", "nodeCacheCapable": True, "ignorable": not answers.fail_safe}
    if answers.pods == "slo":
        names: Sequence[str] = answers.resources or answers.service.resource_names
        entry["managedResources"] = [{"name": name, "ignoredByScheduler": False} for name in names]
    return entry


def _reaches(answers: Answers) -> str:
    if kubeconfig := answers.connection:
        return f"It reaches the API server by {kubeconfig}: with --config it ignores its flag --kubeconfig."
    return "It reaches the API server by its pod's ServiceAccount; outside a pod, add --kubeconfig to this command."


def _sentence(finding: Finding) -> str:
    return f"{finding.path}: {finding.reason}; {finding.fix}"
