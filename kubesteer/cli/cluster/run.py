"""`kubesteer deploy` step by step over a cluster: look, judge, say, ask, apply, wait, prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kubesteer.cli.cluster.proof import PUBLISHED_WITHIN_S, prove
from kubesteer.cli.cluster.reading import DeployOptions, facts
from kubesteer.cli.cluster.reporter import FAILED, OK, REFUSED, Reporter
from kubesteer.cli.cluster.waiting import part_line, wait
from kubesteer.clients.kubectl.command import FIELD_MANAGER, Kubectl
from kubesteer.deploying import changes
from kubesteer.deploying.changes import Plan
from kubesteer.deploying.checks import Facts, Level, judgements, may_go_on
from kubesteer.deploying.progress import settled
from kubesteer.deploying.proof import Proof
from kubesteer.deploying.rendering import NAMESPACE, bare, extender_access
from kubesteer.model.api_objects import Ref, Thing, ref
from kubesteer.model.errors import ClusterUnavailable, InvalidInput, KubesteerError

_PROOF_S = 60.0
_MOST_NAMES = 12
_STYLES = {Level.PASS: "green", Level.WARN: "yellow", Level.REFUSE: "bold red"}
_NO_CAPACITY = (
    "NO NODE PUBLISHES A NETWORK CAPACITY, so no pod with an SLO can be placed yet. Agents do so where they know the "
    "link's speed: give network.speed_bps in their settings, see docs/network-capacity.md"
)


def deploy(cluster: Kubectl, options: DeployOptions, reporter: Reporter) -> int:
    """The exit code: 0 deployed and proven, 1 not (yet), 2 refused before anything was changed."""
    try:
        options.overlay_folder()
        context, address = cluster.where()
        reporter.document |= {"context": context, "server": address}
        reporter.say(f"kubesteer {options.own_version}, overlay {options.overlay}, to {context} at {address}")
        found = facts(cluster, options)
        extender_access(found.things)
    except InvalidInput as exc:
        return reporter.fail(exc, REFUSED)
    except KubesteerError as exc:
        return reporter.fail(exc, FAILED)
    try:
        return reporter.end(_deploy(cluster, found, options, reporter))
    except KubesteerError as exc:
        return reporter.fail(exc, FAILED)


def _deploy(cluster: Kubectl, found: Facts, options: DeployOptions, reporter: Reporter) -> int:
    judged = judgements(found)
    for each in judged:
        reporter.say(f"{each.level:<7} {each.name}: {each.said}", _STYLES[each.level])
        if each.fix:
            reporter.say(f"        {each.fix}", "cyan")
    reporter.document["checks"] = [asdict(each) for each in judged]
    if not may_go_on(judged):
        reporter.say("refused: nothing was changed", "bold red")
        return REFUSED
    plan = changes.plan(found.things, found.there, found.diff, field_manager=FIELD_MANAGER)
    _say_plan(plan, reporter)
    if options.dry_run:
        return OK
    if not plan.is_empty:
        if not reporter.agreed(options, "Go ahead?"):
            return REFUSED
        _apply(cluster, found, plan, options)
        count = len(plan.create) + len(plan.change)
        reporter.say(f"applied {count} objects; waiting for pods, {options.timeout_s:.0f} s at most")
    return _prove(cluster, found, options, reporter, changed=not plan.is_empty)


def _say_plan(plan: Plan, reporter: Reporter) -> None:
    names = {
        each: [*map(str, getattr(plan, each))] for each in ("create", "change", "leave", "delete", "kept", "rolls")
    }
    reporter.document["plan"] = {**names, "diff": plan.diff}
    if plan.is_empty:
        reporter.say(f"nothing to change: {len(plan.leave)} objects are as they should be", "green")
        return
    counts = [f"{each} {len(names[each])}" for each in ("create", "change", "leave", "delete")]
    reporter.say(f"{', '.join(counts)} objects", "bold")
    if plan.diff:
        reporter.say(plan.diff.rstrip(), "dim")
    if plan.relabelled:
        reporter.say(f"  change the labels of {len(plan.relabelled)} objects to this version and overlay")
    for verb in ("create", "delete"):
        for name in names[verb][:_MOST_NAMES]:
            reporter.say(f"  {verb} {name}")
        if len(names[verb]) > _MOST_NAMES:
            reporter.say(f"  {verb} {len(names[verb]) - _MOST_NAMES} more")
    for name in names["kept"]:
        reporter.say(f"  keep {name}: no longer wanted, but there is data in it")
    for name in names["rolls"]:
        reporter.say(f"  its pods are replaced, a few at a time: {name}", "cyan")


def _apply(cluster: Kubectl, found: Facts, plan: Plan, options: DeployOptions) -> None:
    """The namespace, a dry run of what is in it where there was none before, all of it, and then what has to go."""
    force = options.force_conflicts
    if found.namespace is None:
        # Made, not applied: one that somebody else made meanwhile is refused here, and never deleted below.
        namespaces = [bare(each) for each in found.things if each["kind"] == "Namespace"]
        cluster.create(namespaces)
        try:
            cluster.apply(found.things, dry_run=True, force=force)
        except ClusterUnavailable:
            cluster.delete(namespaces, timeout_s=options.timeout_s)
            raise
    cluster.apply(found.things, force=force)
    there: dict[Ref, Thing] = {ref(each): each for each in found.there}
    cluster.delete([there[each] for each in plan.delete], timeout_s=options.timeout_s)


def _prove(cluster: Kubectl, found: Facts, options: DeployOptions, reporter: Reporter, *, changed: bool) -> int:
    parts = wait(cluster, found.things, found.nodes, reporter, timeout_s=options.timeout_s)
    reporter.document["parts"] = [asdict(each) for each in parts]
    if not settled(parts):
        late = [each for each in parts if not each.is_done]
        without_image = [each for each in late if each.no_image]
        for each in without_image:
            reporter.say(f"{each.name}: {each.whys[0]}", "bold red")
        for each in late:
            reporter.say(part_line(each))
        when = "an image cannot be pulled" if without_image else f"not done after {options.timeout_s:.0f} s"
        names = ", ".join(each.name for each in without_image or late)
        reporter.say(f"{when}: {names}. What was applied stays; run this again to go on", "bold red")
        return FAILED
    reporter.say("all parts are ready")
    for each in parts:
        if each.is_enough:
            count = f"{each.name}: {each.ready} of {each.wanted}"
            reporter.say(f"{count}, which is enough, and none to spare. {'; '.join(each.whys)}", "yellow")
    scheduler = "kubesteer" if found.brings_scheduler else "default-scheduler"
    patience_s = PUBLISHED_WITHIN_S if changed else 0.0
    proof = prove(cluster, found.things, scheduler, reporter, timeout_s=_PROOF_S, published_within_s=patience_s)
    reporter.document["proof"] = {**asdict(proof), "holds": proof.holds}
    _say_proof(proof, reporter)
    if not found.brings_scheduler and proof.node and not proof.asked:
        steps = "manifests/overlays/in-place/README.md has the steps"
        reporter.say(f"the cluster's scheduler does not ask kubesteer yet: {steps}")
        return OK
    if not proof.holds:
        return FAILED
    use = f"pods ask for it by schedulerName: {scheduler}"
    reporter.say(f"kubesteer is deployed in namespace {NAMESPACE}; {use}", "bold green")
    return OK


def _say_proof(proof: Proof, reporter: Reporter) -> None:
    """What was seen, with each extender's reasons."""
    if proof.node is None:
        reporter.say(f"no proof: the pod got no node within {proof.took_s:.0f} s: {proof.why}", "bold red")
        return
    what = f"1M of {proof.slo}" if proof.slo else "no SLO"
    asked = f"kubesteer was asked {proof.asked} times meanwhile, for all pods"
    reporter.say(f"placed on {proof.node} after {proof.took_s:.1f} s (asks for {what}); {asked}")
    for each in proof.opinions:
        reporter.say(f"  {each['replica']}: {_opinion(each)}")
    if not proof.slo:
        reporter.say(_NO_CAPACITY, "bold yellow")
    if not proof.asked:
        reporter.say("kubesteer was not asked: the pod was placed without it", "bold red")


def _opinion(told: Mapping[str, Any]) -> str:
    if not told["fits"]:
        return f"does not fit: {told['reason']}"
    terms = "".join(f", {name} {told[name]:.2f}" for name in ("balance", "reward") if told[name] is not None)
    return f"score {told['score']}{terms}; rank {told['rank']} of {told['candidates']} that fit"
