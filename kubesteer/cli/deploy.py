"""`kubesteer deploy`, `undeploy` and `status`. Thin: rich, YAML and the rest are imported when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from kubesteer.cli.cluster.options import ClusterOptions, Json, Timeout, Yes

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubesteer.clients.kubectl.command import Kubectl

DEPLOY_EXAMPLES = """Examples:

  kubesteer deploy --image registry.example.com/kubesteer:0.1.0
  kubesteer deploy --dry-run                 the checks, and what would change
  kubesteer deploy --overlay dev --context kind-kind --yes
  kubesteer deploy --overlay cert-manager --yes --json > deployed.json

Exit code: 0 deployed, and proven by a pod; 1 not, and why; 2 refused unchanged.
"""
UNDEPLOY_EXAMPLES = """Examples:

  kubesteer undeploy                  lists, asks, deletes, and compares
  kubesteer undeploy --keep-data      volumes stay, and with them what was learned
  kubesteer undeploy --dry-run

Exit code: 0 nothing is left; 1 something is, and what; 2 refused unchanged.
"""
STATUS_EXAMPLES = """Examples:

  kubesteer status
  kubesteer status --context production --json

Exit code: 0 all is well; 1 not, and what to do is told.
"""
_HELP = {
    "deploy": "Deploy kubesteer, or bring a deployment up to date; proven by a pod.",
    "undeploy": "Remove kubesteer, and show that nothing is left.",
    "status": "How the deployment stands, and what is wrong.",
}
deploy_app, undeploy_app, status_app = (
    App(name=name, help=_HELP[name], help_epilogue=examples, help_format="plaintext")
    for name, examples in (("deploy", DEPLOY_EXAMPLES), ("undeploy", UNDEPLOY_EXAMPLES), ("status", STATUS_EXAMPLES))
)
DryRun = Annotated[bool, Parameter(name="--dry-run", negative="", help="Change nothing: say what would be done.")]


@deploy_app.default
def deploy(
    *,
    overlay: str = "self-signed",
    image: str | None = None,
    manifests: Path | None = None,
    cluster: ClusterOptions | None = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    force_conflicts: Annotated[bool, Parameter(name="--force-conflicts", negative="")] = False,
    timeout: Timeout = 300.0,
    as_json: Json = False,
) -> None:
    """Deploy kubesteer, or bring a deployment up to date: check, say, ask, apply, wait, and prove it by a pod.

    Parameters
    ----------
    overlay:
        A folder of manifests/overlays: self-signed (makes and renews its own certificates), cert-manager,
        external-etcd, second-scheduler (certificates are yours), dev, in-place, or one of your own.
    image:
        kubesteer's, as NAME:TAG or NAME@DIGEST, from where the nodes can pull it.
    manifests:
        The folder manifests/; the repository's.
    force_conflicts:
        Take over fields that somebody else changed by hand.
    """
    from kubesteer.cli.cluster.reading import DeployOptions, find_manifests  # noqa: PLC0415
    from kubesteer.cli.cluster.reporter import REFUSED, reporter  # noqa: PLC0415
    from kubesteer.cli.cluster.run import deploy as run  # noqa: PLC0415
    from kubesteer.clients.own_version import own_version  # noqa: PLC0415
    from kubesteer.model.errors import InvalidInput  # noqa: PLC0415

    try:
        options = DeployOptions(
            overlay=overlay,
            image=image,
            manifests=find_manifests(manifests),
            own_version=own_version(),
            force_conflicts=force_conflicts,
            yes=yes,
            dry_run=dry_run,
            timeout_s=timeout,
            ask=_asker(),
        )
    except InvalidInput as exc:
        print(exc, file=sys.stderr)
        sys.exit(REFUSED)
    sys.exit(run(_kubectl(cluster), options, reporter(as_json=as_json)))


@undeploy_app.default
def undeploy(
    *,
    cluster: ClusterOptions | None = None,
    keep_data: Annotated[bool, Parameter(name="--keep-data", negative="")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    timeout: Timeout = 300.0,
    as_json: Json = False,
) -> None:
    """Remove kubesteer with all that it left behind, and show by a second look that nothing is there any more.

    Parameters
    ----------
    keep_data:
        Leave the volumes, and the namespace that they are in.
    """
    from kubesteer.cli.cluster.reporter import RunOptions, reporter  # noqa: PLC0415
    from kubesteer.cli.cluster.undo import undeploy as run  # noqa: PLC0415

    options = RunOptions(yes=yes, dry_run=dry_run, timeout_s=timeout, ask=_asker())
    sys.exit(run(_kubectl(cluster), options, reporter(as_json=as_json), keep_data=keep_data))


@status_app.default
def status(*, cluster: ClusterOptions | None = None, as_json: Json = False) -> None:
    """How the deployment stands: each part, its version, and what is wrong."""
    from kubesteer.cli.cluster.reporter import reporter  # noqa: PLC0415
    from kubesteer.cli.cluster.status import status as run  # noqa: PLC0415

    sys.exit(run(_kubectl(cluster), reporter(as_json=as_json)))


def _kubectl(options: ClusterOptions | None) -> Kubectl:
    from kubesteer.clients.kubectl.command import Kubectl  # noqa: PLC0415

    given = options or ClusterOptions()
    return Kubectl(program=given.kubectl, kubeconfig=given.kubeconfig, context=given.context)


def _asker() -> Callable[[str], bool] | None:
    """Asks on standard error; None where nobody is there to answer."""
    if not sys.stdin.isatty():
        return None

    def ask(question: str) -> bool:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    return ask
