"""`kubesteer undeploy` step by step over a cluster: list, say, ask, delete in order, and compare."""

from __future__ import annotations

import time

from kubesteer.cli.cluster.reading import everything
from kubesteer.cli.cluster.reporter import FAILED, OK, REFUSED, Reporter, RunOptions
from kubesteer.clients.kubectl.command import Kubectl
from kubesteer.deploying.checks import helm_release
from kubesteer.deploying.leftovers import (
    Found,
    Removal,
    marks,
    remaining,
    removal,
    status_patch,
    taint_patches,
    volumes_left,
)
from kubesteer.model.api_objects import ref
from kubesteer.model.errors import ClusterUnavailable, InvalidInput, KubesteerError

_MOST_NAMES = 20
_SETTLES_WITHIN_S = 30.0
"""What controllers take away by themselves is gone by then."""


def undeploy(cluster: Kubectl, options: RunOptions, reporter: Reporter, *, keep_data: bool) -> int:
    """The exit code: 0 nothing is left, 1 something is, 2 refused."""
    try:
        return reporter.end(_undeploy(cluster, options, reporter, keep_data=keep_data))
    except InvalidInput as exc:
        return reporter.fail(exc, REFUSED)
    except KubesteerError as exc:
        return reporter.fail(exc, FAILED)


def _undeploy(cluster: Kubectl, options: RunOptions, reporter: Reporter, *, keep_data: bool) -> int:
    context, address = cluster.where()
    reporter.say(f"kubesteer at {context}, {address}")
    found, faults = everything(cluster)
    reporter.document |= {"context": context, "server": address, "unseen": faults}
    if faults:
        _say_unseen(faults, reporter)
        reporter.say("what is kubesteer's is not known, so nothing was changed; run this again", "bold red")
        return FAILED
    if release := helm_release(found.labelled):
        reporter.say(f"kubesteer of the Helm release {release[0]}: run `{release[1]}`", "bold red")
        return REFUSED
    going = removal(found, keep_data=keep_data)
    _say_removal(going, reporter)
    if going.is_empty:
        reporter.say("nothing of kubesteer's is here", "green")
        return OK
    if options.dry_run:
        return OK
    if not reporter.agreed(options, "Delete all this?"):
        return REFUSED
    _remove(cluster, going, options.timeout_s, reporter)
    return _compare(cluster, found, going, reporter)


def _say_removal(going: Removal, reporter: Reporter) -> None:
    marked = [f"Node {each['metadata']['name']}: {', '.join(marks(each))}" for each in going.marked]
    about = {
        "delete": ("delete", [*map(str, map(ref, (*going.workloads, *going.things)))]),
        "strike": ("strike from the API server, as its node is silent:", [*map(str, map(ref, going.stuck))]),
        "clean": ("clean ", marked),
        "keep": ("keep  ", [*map(str, going.kept)]),
        "others": ("goes with the namespace, and is not kubesteer's:", [*map(str, going.others)]),
        "waiting": ("asks for kubesteer's scheduler, and will stay without a node:", [*map(str, going.waiting)]),
    }
    reporter.document["removal"] = {name: names for name, (_, names) in about.items()}
    for verb, names in about.values():
        for name in names[:_MOST_NAMES]:
            reporter.say(f"  {verb} {name}")
        if len(names) > _MOST_NAMES:
            reporter.say(f"  {verb} {len(names) - _MOST_NAMES} more")


def _say_unseen(faults: list[str], reporter: Reporter) -> None:
    for fault in faults:
        reporter.say(f"could not be listed: {fault}", "yellow")


def _remove(cluster: Kubectl, going: Removal, timeout_s: float, reporter: Reporter) -> None:
    reporter.say("deleting the workloads ...")
    # Pods are struck only once no controller makes them anew.
    cluster.delete(going.workloads, timeout_s=0, foreground=True)
    cluster.delete(going.stuck, timeout_s=timeout_s, at_once=True)
    cluster.delete(going.workloads, timeout_s=timeout_s, foreground=True)
    _clean(cluster, reporter)
    reporter.say("deleting the rest ...")
    cluster.delete(going.things, timeout_s=timeout_s)


def _clean(cluster: Kubectl, reporter: Reporter) -> None:
    """One patch for all nodes that have marks now, and one for each place that a taint has among others."""
    nodes = [each for each in cluster.items(["nodes"])[0] if marks(each)]
    try:
        if nodes:
            cluster.patch(nodes, status_patch(nodes), how="strategic", subresource="status")
        for change, tainted in taint_patches(nodes):
            cluster.patch(tainted, change, how="json")
    except ClusterUnavailable as exc:
        reporter.say(f"not all nodes could be cleaned: {exc}", "bold red")


def _compare(cluster: Kubectl, before: Found, going: Removal, reporter: Reporter) -> int:
    """The same look again, until what controllers still take away is gone."""
    until_s, pause_s = time.monotonic() + _SETTLES_WITHIN_S, 1.0
    while True:
        after, faults = everything(cluster)
        left = remaining(after, going)
        if not (left or faults) or time.monotonic() > until_s:
            break
        time.sleep(pause_s)
        pause_s *= 2
    counts = f"before: {len(before.labelled)} objects with kubesteer's label, {len(going.marked)} nodes with its marks"
    reporter.say(f"{counts}; after: {len(after.labelled)}")
    reporter.document["comparison"] = {"before": len(before.labelled), "after": len(after.labelled), "left": left}
    for kept in going.kept:
        reporter.say(f"kept: {kept}")
    for volume in volumes_left(after):
        told = f"stays: PersistentVolume {volume}: its StorageClass retains volumes; delete it if its data may go"
        reporter.say(told, "yellow")
    reporter.document["unseen"] = faults
    _say_unseen(faults, reporter)
    for name in left:
        reporter.say(f"STILL THERE: {name}", "bold red")
    if left:
        return FAILED
    if faults:
        reporter.say("before and after could not be compared; run this again", "bold red")
        return FAILED
    said = "nothing but what was kept is left" if going.kept else "nothing of kubesteer's is left"
    reporter.say(said, "bold green")
    return OK
