"""The etcd of the component three-etcd-members, in a network of its own: the manifest's command lines, names and ports.

Needs root and `unshare`: names are told by a hosts file that only these processes see.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import yaml

from .written import MANIFESTS, pod_spec, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ADDRESSES = ("10.9.0.1", "10.9.0.2", "10.9.0.3")
READY_WITHIN_S = 30


def initial_cluster() -> str:
    """The component's variable, as the argument that it stands for."""
    three = yaml.safe_load((MANIFESTS / "components/three-etcd-members/members.yaml").read_text())
    [variable] = three["spec"]["template"]["spec"]["containers"][0]["env"]
    assert variable["name"] == "ETCD_INITIAL_CLUSTER"
    return f"--initial-cluster={variable['value']}"


def why_not() -> str:
    """Why they cannot be had here; empty where they can."""
    missing = [program for program in ("unshare", "ip", "curl") if shutil.which(program) is None]
    return "needs root" if os.geteuid() != 0 else f"needs {', '.join(missing)}" if missing else ""


def ask_members(etcd: Path, secrets: Path, folder: Path, questions: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Start the members, run each question (a shell command) beside them, and give its status and output by name."""
    [spec] = [pod_spec(each.object) for each in written() if each.object["kind"] == "StatefulSet"]
    assert spec is not None
    [container] = spec["containers"]
    hosts = [f"{ADDRESSES[0]} kubesteer-etcd.kubesteer.svc", "127.0.0.1 localhost"]
    lines = ["set -u", "ip link set lo up"]
    starts = []
    for number, address in enumerate(ADDRESSES):
        name = f"kubesteer-etcd-{number}"
        hosts.append(f"{address} {name}.kubesteer-etcd-members.kubesteer.svc")
        lines.append(f"ip address add {address}/32 dev lo")
        own = {
            "$(POD_NAME)": name,
            "0.0.0.0": address,
            "/var/lib/etcd": str(folder / name),
            "/etc/etcd/": f"{secrets}/kubesteer-etcd-",
        }
        arguments = [_replaced(argument, own) for argument in container["args"]]
        starts.append(f"{shlex.join([str(etcd), *arguments, initial_cluster()])} > {folder}/{name}.log 2>&1 &")
    (folder / "hosts").write_text("\n".join(hosts) + "\n")
    lines += [f"mount --bind {folder}/hosts /etc/hosts", *starts]
    for address in ADDRESSES:
        ready = f"curl --silent --fail --output /dev/null http://{address}:2381{_readiness(container)}"
        lines.append(f"for _ in $(seq {READY_WITHIN_S * 10}); do {ready} && break; sleep 0.1; done")
    for question, command in questions.items():
        lines += [f"({command}) > {folder}/{question}.out 2>&1", f"echo $? > {folder}/{question}.status"]
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(lines)]
    subprocess.run(command, check=True, timeout=READY_WITHIN_S + 60)
    return {
        question: (
            int((folder / f"{question}.status").read_text()),
            (folder / f"{question}.out").read_text(),
        )
        for question in questions
    }


def _readiness(container: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    return container["readinessProbe"]["httpGet"]["path"]


def _replaced(text: str, by: Mapping[str, str]) -> str:
    for old, new in by.items():
        text = text.replace(old, new)
    return text
