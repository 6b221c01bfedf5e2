"""A control plane that stays after the command that started it, and the note by which it is found again."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .controlplane import ControlPlane
from .nodes.real_nodes import removal_script
from .objects import node
from .process import kill_program, runs_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .build import Binaries

EGRESS = "kubesteer.io/egress-bps"
PRETENDS = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}


class AlreadyUpError(Exception):
    """A detached control plane is running."""


@dataclass(frozen=True, slots=True)
class Note:
    """What `down` needs to know of the control plane that `up` left running."""

    directory: Path
    kubeconfig: Path
    url: str
    programs: Mapping[int, Path]
    """Process id to the binary that it runs, in the order of start."""

    @property
    def running(self) -> bool:
        return any(runs_program(pid, program) for pid, program in self.programs.items())


def up(
    binaries: Binaries,
    note_file: Path,
    *,
    nodes: int,
    scheduler_config: Mapping[str, Any],
    real_nodes: int = 0,
    whole: bool = False,
    images: Sequence[Path] = (),
) -> Note:
    """Start everything with `nodes` KWOK nodes of 10 Gbit/s and leave it running. Raises AlreadyUpError.

    Real nodes stand beside them and have no network resource: nothing has measured their links yet. In a `whole`
    cluster KWOK's are tainted, so that what must run lands on real ones. `images` are archives for the real nodes.
    """
    old = read_note(note_file)
    if old is not None and old.running:
        raise AlreadyUpError(f"already running: {old.url}, kubeconfig {old.kubeconfig}; stop it with `down` first")
    down(note_file)
    control_plane = ControlPlane(
        binaries,
        scheduler_config=scheduler_config,
        controller_manager=True,
        kwok=True,
        detached=True,
        real_nodes=real_nodes,
        whole=whole,
        images=images,
    )
    control_plane.start()
    try:
        note_file.parent.mkdir(parents=True, exist_ok=True)
        taints = [PRETENDS] if whole else []
        control_plane.client.create_all(
            node(f"node-{i}", resources={EGRESS: "10G"}, taints=taints) for i in range(nodes)
        )
        note = Note(
            directory=control_plane.layout.directory,
            kubeconfig=control_plane.kubeconfig,
            url=control_plane.url,
            programs={p.process.pid: Path(p.process.command[0]) for p in control_plane.parts.values()},
        )
        _write_note(note_file, note)
    except BaseException:
        control_plane.stop()
        raise
    return note


def down(note_file: Path) -> int:
    """Kill what `up` left running and remove its files. Returns how many programs were still there."""
    note = read_note(note_file)
    if note is None:
        return 0
    killed = sum(kill_program(pid, program) for pid, program in reversed(list(note.programs.items())))
    subprocess.run(["sh", "-c", removal_script(note.directory)], check=True)
    note_file.unlink()
    return killed


def read_note(note_file: Path) -> Note | None:
    if not note_file.exists():
        return None
    fields = json.loads(note_file.read_text())
    return Note(
        directory=Path(fields["directory"]),
        kubeconfig=Path(fields["kubeconfig"]),
        url=fields["url"],
        programs={int(pid): Path(program) for pid, program in fields["programs"].items()},
    )


def _write_note(note_file: Path, note: Note) -> None:
    fields = {
        "directory": str(note.directory),
        "kubeconfig": str(note.kubeconfig),
        "url": note.url,
        "programs": {str(pid): str(program) for pid, program in note.programs.items()},
    }
    note_file.write_text(json.dumps(fields, indent=2))
