"""`kubesteer undeploy` step by step over a cluster: list, say, ask, delete in order, and compare."""

from __future__ import annotations

import time

from kubesteer.cli.cluster import show
from kubesteer.cli.cluster.port import Cluster
from kubesteer.cli.cluster.reading import everything
from kubesteer.cli.cluster.run import FAILED, OK, REFUSED, How, Talk, agreed
from kubesteer.deploying.checks import helm_release
from kubesteer.deploying.leftovers import (
    Found,
    Marks,
    Removal,
    remaining,
    removal,
    status_patch,
    taints_patch,
    volumes_left,
)
from kubesteer.model.api_objects import Ref
from kubesteer.model.errors import ClusterUnavailable, KubesteerError

_ATTEMPTS = 4
_SETTLES_WITHIN_S = 30.0
"""What controllers take away by themselves is gone by then."""


def undeploy(cluster: Cluster, how: How, said: Talk, *, keep_data: bool) -> int:
    """The exit code: 0 nothing is left, 1 something is, 2 refused."""
    try:
        return said.end(_undeploy(cluster, how, said, keep_data=keep_data))
    except KubesteerError as exc:
        return said.fail(exc, FAILED)


def _undeploy(cluster: Cluster, how: How, said: Talk, *, keep_data: bool) -> int:
    context, address = cluster.where()
    said.say(f"kubesteer at {context or 'no context'}, {address}")
    found, faults = everything(cluster)
    said.document |= {"context": context, "server": address, "unseen": faults}
    if faults:
        _say_unseen(faults, said)
        said.say("what is kubesteer's is not known, so nothing was changed; run this again", "bold red")
        return FAILED
    if release := helm_release(found.labelled):
        said.say(f"kubesteer of the Helm release {release.name}: run `{release.uninstall}`", "bold red")
        return REFUSED
    going = removal(found, keep_data=keep_data)
    said.document["removal"] = show.removal_document(going)
    if going.is_empty:
        said.say("nothing of kubesteer's is here", "green")
        return OK
    said.console.print(show.removal(going))
    if how.dry_run:
        return OK
    if not agreed(how, said, "Delete all this?"):
        return REFUSED
    _remove(cluster, going, how.timeout_s, said)
    return _compare(cluster, found, going, said)


def _say_unseen(faults: list[str], said: Talk) -> None:
    for fault in faults:
        said.say(f"could not be listed: {fault}", "yellow")


def _remove(cluster: Cluster, going: Removal, timeout_s: float, said: Talk) -> None:
    said.say("deleting the workloads ...")
    # Struck only once nobody makes them anew.
    cluster.delete(going.workloads, timeout_s=0, foreground=True)
    cluster.delete(going.stuck, timeout_s=timeout_s, at_once=True)
    cluster.delete(going.workloads, timeout_s=timeout_s, foreground=True)
    for mark in going.marks:
        _clean(cluster, mark, said)
    said.say("deleting the rest ...")
    cluster.delete(going.things, timeout_s=timeout_s)


def _clean(cluster: Cluster, mark: Marks, said: Talk) -> None:
    """The kubelet writes the same fields, so an attempt may meet a change and is made anew."""
    target = Ref("Node", "", mark.node)
    fault = ""
    for _ in range(_ATTEMPTS):
        try:
            node = cluster.get("node", mark.node)
            if node is None:
                return
            if change := status_patch(node):
                cluster.patch(target, change, subresource="status")
            if change := taints_patch(node):
                cluster.patch(target, change)
        except ClusterUnavailable as exc:
            fault = str(exc)
        else:
            return
    said.say(f"{mark}: {fault}", "bold red")


def _compare(cluster: Cluster, before: Found, going: Removal, said: Talk) -> int:
    """The same look again, until what controllers still take away is gone."""
    until_s = time.monotonic() + _SETTLES_WITHIN_S
    others = set(going.others)
    while True:
        after, faults = everything(cluster)
        left = remaining(after, going)
        if not (left or faults) or time.monotonic() > until_s:
            break
        time.sleep(1)
    counted = f"before: {len(before.labelled)} objects with kubesteer's label"
    if others:
        counted += f", {len(others)} of others in its namespace"
    counted += f", {len(going.marks)} nodes with its marks; after: {len(after.labelled)}"
    said.say(counted)
    said.document["comparison"] = {"before": len(before.labelled), "after": len(after.labelled), "left": left}
    for kept in going.kept:
        said.say(f"kept: {kept}")
    for volume in volumes_left(after):
        said.say(
            f"stays: PersistentVolume {volume}: its StorageClass retains volumes; delete it if its data may go",
            "yellow",
        )
    said.document["unseen"] = faults
    _say_unseen(faults, said)
    for name in left:
        said.say(f"STILL THERE: {name}", "bold red")
    if left:
        return FAILED
    if faults:
        said.say("before and after could not be compared; run this again", "bold red")
        return FAILED
    said.say("nothing of kubesteer's is left" if not going.kept else "nothing but what was kept is left", "bold green")
    return OK
