"""How a deployment stands now: a row for each part, and findings that say what is wrong and what to do."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from kubesteer.deploying.progress import lost_nodes, parts
from kubesteer.deploying.proof import sample_sum
from kubesteer.deploying.rendering import VERSION, images_of
from kubesteer.deploying.workloads import WORKLOADS
from kubesteer.model.api_objects import Thing, labels

_EXPIRES_SOON = 0.15
"""Of a certificate's life: it is renewed at a third, so less means that it was not."""
_LEASE_STALE_S = 60.0
_STATE_STALE_S = 60.0
_QUOTA_SHARE = 0.8
_SNAPSHOT_OLD_S = 2 * 86_400.0


@dataclass(frozen=True, slots=True)
class Row:
    """One part. ready and wanted are None where nothing is counted."""

    part: str
    ready: int | None
    wanted: int | None
    is_well: bool
    version: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """All of it, and what is wrong, each with what to do."""

    rows: tuple[Row, ...]
    findings: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Nothing is wrong."""
        return not self.findings and all(each.is_well for each in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was read: the namespace's objects, the nodes, and what the pods themselves answered.

    readyz: each extender's /readyz by pod; members: each etcd member's metrics; unreachable: pods that did not answer,
    and why.
    """

    things: Sequence[Thing]
    nodes: Sequence[Thing] = ()
    readyz: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[Thing]:
        """Those of these kinds."""
        return [each for each in self.things if each["kind"] in kinds]


Remark = tuple[bool, str]
"""Whether it is bad, and the words."""


def standing(seen: Observed, now_s: float) -> Standing:
    """The judgement over it."""
    workloads = {each["metadata"]["name"]: each for each in seen.of(*WORKLOADS)}
    if not workloads:
        return Standing((), ("kubesteer is not deployed here: run `kubesteer deploy`",))
    remarks = {
        "etcd": [*_etcd(seen, workloads), *_snapshots(seen.of("CronJob"), now_s)],
        "extender": [*_extenders(seen)],
        "agent": [*_agents(seen)],
        "scheduler": [*_scheduler(seen, workloads, now_s)],
        "certificates": [*_certificates(seen.of("Secret"), now_s)],
        "not all could be read": [*_unreachable(seen, "kubectl")],
    }
    findings = [f"{about}: {text}" for about, found in remarks.items() for bad, text in found if bad]
    notes = {about: tuple(text for bad, text in found if not bad) for about, found in remarks.items()}
    images = images_of(workloads.values())
    rows = [Row("certificates", None, None, is_well=True, notes=notes["certificates"])] * bool(notes["certificates"])
    for part in parts(workloads.values(), seen.things, seen.nodes):
        name = f"kubesteer-{part.name}"
        version = _version(images.get(name, ""), labels(workloads[name]).get(VERSION, ""))
        rows.append(Row(part.name, part.ready, part.wanted, part.is_done, version, notes.get(part.name, ())))
        if not part.is_done:
            findings += [f"{part.name}: {why}" for why in part.whys or ("not all of it is ready",)]
    return Standing(tuple(rows), tuple(findings))


def expiries(secrets: Iterable[Thing]) -> list[tuple[str, datetime, datetime]]:
    """Name, begin and end of each Secret's certificate."""
    found = []
    for secret in secrets:
        if pem := (secret.get("data") or {}).get("tls.crt"):
            try:
                certificate = x509.load_pem_x509_certificate(base64.b64decode(pem))
            except ValueError:
                continue
            times = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            found.append((secret["metadata"]["name"], *times))
    return found


def _version(image: str, label: str) -> str:
    """The image says what runs; the label, what was deployed, says it where the image goes by a digest."""
    tag = image.rpartition("/")[2]
    return f"{tag.partition('@')[0]} ({label})" if "@" in tag else tag


def _certificates(secrets: Iterable[Thing], now_s: float) -> Iterator[Remark]:
    ends = expiries(secrets)
    now = datetime.fromtimestamp(now_s, tz=UTC)
    for name, begins, expires in ends:
        if now >= expires:
            yield True, f"{name} expired on {expires:%Y-%m-%d}; see the keeper's log, or renew it"
        elif (expires - now) < (expires - begins) * _EXPIRES_SOON:
            told = f"{name} expires on {expires:%Y-%m-%d %H:%M} UTC"
            is_authority = name.endswith("-authority")
            steps = "docs/certificates.md has the steps to replace it"
            yield True, f"{told}; {steps}" if is_authority else f"{told} and was not renewed; see the keeper's log"
    if ends:
        name, _, first = min(ends, key=lambda each: each[2])
        yield False, f"the first to expire is {name}, in {_span((first - now).total_seconds())}"


def _etcd(seen: Observed, workloads: Mapping[str, Thing]) -> Iterator[Remark]:
    if "kubesteer-etcd" not in workloads:
        return
    leaders = [name for name, text in seen.members.items() if sample_sum(text, "etcd_server_is_leader")]
    headless = [name for name, text in seen.members.items() if not sample_sum(text, "etcd_server_has_leader")]
    for name in headless:
        yield True, f"{name} knows no leader: fewer than a majority of the members reach each other"
    if leaders:
        yield False, f"{leaders[0]} leads, members that answer: {len(seen.members)}"
    for name, text in seen.members.items():
        size = sample_sum(text, "etcd_mvcc_db_total_size_in_bytes")
        quota = sample_sum(text, "etcd_server_quota_backend_bytes")
        if quota and size > _QUOTA_SHARE * quota:
            yield True, f"{name} uses {size / quota:.0%} of its quota; run the maintenance job now"
    yield from _unreachable(seen, "kubesteer-etcd-")


def _snapshots(jobs: Iterable[Thing], now_s: float) -> Iterator[Remark]:
    """By the nightly job: its last success or, before the first, when it was made."""
    for each in jobs:
        if each["metadata"]["name"] == "kubesteer-etcd-maintenance":
            last = (each.get("status") or {}).get("lastSuccessfulTime")
            age_s = now_s - datetime.fromisoformat(last or each["metadata"]["creationTimestamp"]).timestamp()
            if age_s > _SNAPSHOT_OLD_S:
                yield True, f"the last snapshot is {_span(age_s)} old; see the newest Job of kubesteer-etcd-maintenance"
            else:
                yield False, f"the last snapshot is {_span(age_s)} old" if last else "no snapshot yet"


def _extenders(seen: Observed) -> Iterator[Remark]:
    for name, report in sorted(seen.readyz.items()):
        waiting = report.get("waitingFor") or []
        yield from ((True, f"{name} waits for {each}") for each in waiting)
        cluster, rewards = report.get("cluster") or {}, report.get("rewards") or {}
        if cluster.get("stale"):
            yield True, f"{name}: its view of the cluster is old: {cluster.get('last_error')}"
        if rewards.get("last_error"):
            yield True, f"{name}: rewards: {rewards['last_error']}"
        if not waiting and "table_nodes" in cluster:
            yield False, f"{name} knows {cluster.get('table_nodes')} nodes, {cluster.get('table_pods')} pods"
    yield from _unreachable(seen, "kubesteer-extender")


def _agents(seen: Observed) -> Iterator[Remark]:
    told = [each.get("nodeStates") or {} for each in seen.readyz.values()]
    known = max((int(each.get("nodes") or 0) for each in told), default=0)
    ages = [each["newest_age_s"] for each in told if each.get("newest_age_s") is not None]
    if ages and min(ages) > _STATE_STALE_S:
        yield True, f"no agent has told anything of its node for {_span(min(ages))}; see an agent's log"
    elif known:
        yield False, f"{known} nodes' network is told, the newest {_span(min(ages, default=0))} ago"
    publishing = sum(
        any(name.startswith("kubesteer.io/") for name in (node.get("status") or {}).get("allocatable") or {})
        for node in seen.nodes
    )
    yield False, f"{publishing} of {len(seen.nodes)} nodes publish a network capacity"
    if lost := lost_nodes(seen.nodes):
        yield False, f"{len(lost)} nodes are silent and are not counted"


def _scheduler(seen: Observed, workloads: Mapping[str, Thing], now_s: float) -> Iterator[Remark]:
    scheduler = workloads.get("kubesteer-scheduler")
    wanted = scheduler["spec"].get("replicas", 1) if scheduler else 0
    lease = next((each for each in seen.of("Lease") if each["metadata"]["name"] == "kubesteer-scheduler"), None)
    if lease is None:
        if wanted > 1:
            yield True, "nobody holds the lease kubesteer-scheduler, so no pod is placed; see a scheduler's log"
        return
    holder = str(lease["spec"].get("holderIdentity") or "").partition("_")[0]
    renewed = lease["spec"].get("renewTime")
    age_s = now_s - datetime.fromisoformat(renewed).timestamp() if renewed else float("inf")
    if not holder or (age_s > _LEASE_STALE_S and wanted > 1):
        yield True, f"its lease was last renewed {_span(age_s)} ago, by {holder or 'nobody'}; see a scheduler's log"
    elif wanted > 1:
        yield False, f"{holder} leads"


def _unreachable(seen: Observed, prefix: str) -> Iterator[Remark]:
    for name, why in sorted(seen.unreachable.items()):
        if name.startswith(prefix):
            yield True, f"{name}: {why}"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}" if seconds != float("inf") else "for ever"
    return f"{max(0.0, seconds):.0f} s"
