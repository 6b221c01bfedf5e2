"""`kubesteer deploy` step by step over a cluster: look, judge, say, ask, apply, wait, prove."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console

from kubesteer.cli.cluster import show
from kubesteer.cli.cluster.port import Cluster
from kubesteer.cli.cluster.proof import PUBLISHED_WITHIN_S, prove
from kubesteer.cli.cluster.reading import Wanted, facts
from kubesteer.cli.cluster.waiting import wait
from kubesteer.clients.kubectl.command import FIELD_MANAGER
from kubesteer.deploying import changes
from kubesteer.deploying.changes import Plan
from kubesteer.deploying.checks import Facts, judgements, may_go_on
from kubesteer.deploying.progress import settled
from kubesteer.deploying.rendering import NAMESPACE, bare
from kubesteer.model.api_objects import Ref, Thing, ref
from kubesteer.model.errors import ClusterUnavailable, InvalidInput, KubesteerError

OK, FAILED, REFUSED = 0, 1, 2
_PROOF_S = 60.0
_OWN_SCHEDULER, _CLUSTERS_SCHEDULER = "kubesteer", "default-scheduler"


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to go about it. ask: the user's yes or no; None where there is nobody to ask."""

    yes: bool = False
    dry_run: bool = False
    timeout_s: float = 300.0
    ask: Callable[[str], bool] | None = None


@dataclass(slots=True)
class Talk:
    """What is said: to a person on the console, and in one document for a script at the end."""

    console: Console
    as_json: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str, style: str | None = None) -> None:
        """A line."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def end(self, code: int) -> int:
        """Writes the document where one is wanted."""
        if self.as_json:
            sys.stdout.write(json.dumps({**self.document, "exitCode": code}, indent=2, default=str) + "\n")
        return code

    def fail(self, fault: KubesteerError, code: int) -> int:
        """Says what went wrong, and ends."""
        self.say(str(fault), "bold red")
        self.document["error"] = str(fault)
        return self.end(code)


def talk(*, as_json: bool) -> Talk:
    """With --json, people are told on standard error."""
    stream = sys.stderr if as_json else sys.stdout
    return Talk(Console(file=stream, width=None if stream.isatty() else 150), as_json)


def deploy(cluster: Cluster, wanted: Wanted, how: How, said: Talk) -> int:
    """The exit code: 0 deployed and proven, 1 not (yet), 2 refused before anything was changed."""
    try:
        context, address = cluster.where()
        said.document |= {"context": context, "server": address}
        said.say(f"kubesteer {wanted.own_version}, overlay {wanted.overlay}, to {context or 'no context'} at {address}")
        found = facts(cluster, wanted)
    except InvalidInput as exc:
        return said.fail(exc, REFUSED)
    except KubesteerError as exc:
        return said.fail(exc, FAILED)
    try:
        return said.end(_deploy(cluster, found, wanted, how, said))
    except KubesteerError as exc:
        return said.fail(exc, FAILED)


def _deploy(cluster: Cluster, found: Facts, wanted: Wanted, how: How, said: Talk) -> int:
    judged = judgements(found)
    said.console.print(show.checks(judged))
    said.document["checks"] = show.documents(judged)
    if not may_go_on(judged):
        said.say("refused: nothing was changed", "bold red")
        return REFUSED
    plan = changes.plan(found.things, found.there, found.would_be, field_manager=FIELD_MANAGER)
    said.console.print(show.plan(plan))
    said.document["plan"] = show.plan_document(plan)
    if how.dry_run:
        return OK
    if not plan.is_empty:
        if not agreed(how, said, "Go ahead?"):
            return REFUSED
        _apply(cluster, found, plan, force=wanted.force_conflicts, timeout_s=how.timeout_s)
        said.say(
            f"applied {len(plan.create) + len(plan.change)} objects; waiting for pods, {how.timeout_s:.0f} s at most"
        )
    return _prove(cluster, found, how, said, changed=not plan.is_empty)


def agreed(how: How, said: Talk, question: str) -> bool:
    """Whether to go on; where nobody can be asked, --yes must say so."""
    if how.yes:
        return True
    if how.ask is None:
        said.say("nobody to ask here (no terminal): say --yes to go ahead. Nothing was changed", "bold red")
        return False
    if how.ask(question):
        return True
    said.say("nothing was changed")
    return False


def _apply(cluster: Cluster, found: Facts, plan: Plan, *, force: bool, timeout_s: float) -> None:
    """The namespace, a dry run of what is in it where there was none before, all of it, and then what has to go."""
    if found.namespace is None:
        # Made, not applied: one that somebody else made meanwhile is refused here, and never deleted below.
        namespaces = [bare(each) for each in found.things if each["kind"] == "Namespace"]
        cluster.create(namespaces)
        try:
            cluster.apply(found.things, dry_run=True, force=force)
        except ClusterUnavailable:
            cluster.delete(namespaces, timeout_s=timeout_s)
            raise
    cluster.apply(found.things, force=force)
    there: dict[Ref, Thing] = {ref(each): each for each in found.there}
    cluster.delete([there[each] for each in plan.prune], timeout_s=timeout_s)


def _prove(cluster: Cluster, found: Facts, how: How, said: Talk, *, changed: bool) -> int:
    began_s = time.monotonic()
    parts = wait(cluster, found.things, said.console, timeout_s=how.timeout_s)
    said.document["parts"] = show.documents(parts)
    if not settled(parts):
        said.console.print(show.parts(parts))
        late = ", ".join(each.name for each in parts if not each.is_done)
        said.say(
            f"not done after {how.timeout_s:.0f} s: {late}. What was applied stays; run this again to go on", "bold red"
        )
        return FAILED
    said.say(f"all parts are ready after {time.monotonic() - began_s:.0f} s")
    for each in parts:
        if each.is_enough:
            why = "; ".join(each.whys)
            said.say(f"{each.name}: {each.ready} of {each.wanted}, which is enough, and none to spare. {why}", "yellow")
    scheduler = _OWN_SCHEDULER if found.brings_scheduler else _CLUSTERS_SCHEDULER
    patience_s = PUBLISHED_WITHIN_S if changed else 0.0
    proof = prove(cluster, found, scheduler, timeout_s=_PROOF_S, say=said.say, published_within_s=patience_s)
    said.console.print(show.proof(proof))
    said.document["proof"] = {**asdict(proof), "holds": proof.holds}
    if not found.brings_scheduler and not proof.asked:
        said.say(
            "the cluster's scheduler does not ask kubesteer yet: manifests/overlays/in-place/README.md has the steps"
        )
        return OK
    if not proof.holds:
        return FAILED
    said.say(
        f"kubesteer is deployed in namespace {NAMESPACE}; pods ask for it by schedulerName: {scheduler}", "bold green"
    )
    return OK
