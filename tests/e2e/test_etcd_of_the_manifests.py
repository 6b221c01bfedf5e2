"""The etcd of the manifests, by its own command line: a cluster of three over mutual TLS. No API server takes part."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.manifests import etcd_members
from tests.manifests.certificates import issue_secrets
from tests.manifests.written import MANIFESTS

if TYPE_CHECKING:
    from pathlib import Path

    from tools.cluster.build import Binaries

TLS_FILES = {"ca": "ca.crt", "cert": "tls.crt", "key": "tls.key"}


def test_the_etcd_of_the_statefulset_becomes_a_cluster_over_mutual_tls(binaries: Binaries, tmp_path: Path) -> None:
    """Three processes by the manifest's own command line, with certificates as cert-manager is told to make them."""
    if reason := etcd_members.why_not():
        pytest.skip(reason)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    issue_secrets(secrets)
    folder = tmp_path / "members"
    folder.mkdir()

    def curl(secret: str = "", ca: str = "kubesteer-agent-etcd") -> str:
        client = f"--cert {secrets}/{secret}/tls.crt --key {secrets}/{secret}/tls.key" if secret else ""
        url = "https://kubesteer-etcd.kubesteer.svc:2379/health"
        return f"curl --silent --show-error --max-time 5 --cacert {secrets}/{ca}/ca.crt {client} {url}"

    def rewards(secret: str, member: str) -> str:
        files = " ".join(f"--{name}-file {secrets}/{secret}/{file}" for name, file in TLS_FILES.items())
        return f"cd {MANIFESTS.parent} && {sys.executable} -m kubesteer.cli.main rewards show --etcd {member} {files}"

    members = [f"kubesteer-etcd-{number}.kubesteer-etcd-members.kubesteer.svc:2379" for number in range(3)]
    told = etcd_members.ask_members(
        binaries.path("etcd"),
        secrets,
        folder,
        {
            "agent": curl("kubesteer-agent-etcd"),
            "nobody": curl(),
            "peer": curl("kubesteer-etcd-peer"),
            "scheduler": curl("kubesteer-scheduler-client"),
            "own-client": rewards("kubesteer-extender-etcd", "kubesteer-etcd.kubesteer.svc:2379"),
            **{f"member-{number}": rewards("kubesteer-agent-etcd", member) for number, member in enumerate(members)},
        },
    )
    answered = {name for name, (status_, _) in told.items() if status_ == 0}
    assert answered == {"agent", "own-client", "member-0", "member-1", "member-2"}, told
    assert json.loads(told["agent"][1])["health"] == "true"
