"""The flags of `kubesteer deploy`, `undeploy` and `status`. Nothing is opened or read here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

_CLUSTER = Group("Cluster", sort_key=1)

Yes = Annotated[bool, Parameter(name="--yes", negative="", help="Do not ask.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON document on standard output, for scripts.")]
Timeout = Annotated[float, Parameter(name="--timeout", help="Seconds to wait at most.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Which cluster, as kubectl knows it."""

    context: Annotated[str | None, Parameter(help="Of the kubeconfig; the current one.", group=_CLUSTER)] = None
    kubeconfig: Annotated[Path | None, Parameter(help="As kubectl finds it: $KUBECONFIG.", group=_CLUSTER)] = None
    kubectl: Annotated[str, Parameter(help="The program.", group=_CLUSTER)] = "kubectl"
