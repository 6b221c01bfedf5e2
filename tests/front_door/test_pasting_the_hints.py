"""The commands that the extender prints at its start, pasted: they work, agree, and name the nodes of the file in use."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import node
from tests.certificates import Authority
from tools.cluster.extender import ROOT, Extender
from tools.cluster.waiting import eventually

EXAMPLE = ROOT / "examples/cluster.yaml"


def printed(extender: Extender) -> list[list[str]]:
    """Each command as the shell reads it."""
    log = extender.process.log
    eventually(lambda: "Stop: Ctrl-C" in log.read_text(), within_s=30, what="the hints are printed")
    return [shlex.split(line) for line in re.findall(r"^ +(curl .+)$", log.read_text(), re.MULTILINE)]


def answer(command: list[str]) -> Any:
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)


def asked(command: list[str]) -> list[str]:
    """The nodes that a command names."""
    names: list[str] = json.loads(command[command.index("-d") + 1])["NodeNames"]
    return names


def started(file: Path) -> Extender:
    return Extender({"cluster": {"source": "file", "file": str(file)}, "log": {"format": "console"}})


@pytest.mark.parametrize(
    ("nodes", "passing"),
    [
        # The pod asks for 300M.
        ([node("blue", egress="1G"), node("red", egress="100M")], ["blue"]),
        ([node("red", egress="100M")], []),
        (None, ["node-1", "node-2", "node-3", "node-4"]),
    ],
    ids=["nodes of one's own", "none fits", "the example"],
)
def test_the_second_command_is_sent_the_nodes_that_the_first_lets_pass(
    tmp_path: Path, nodes: list[dict[str, Any]] | None, passing: list[str]
) -> None:
    file = EXAMPLE
    if nodes is not None:
        file = tmp_path / "cluster.yaml"
        file.write_text(yaml.safe_dump({"kind": "NodeList", "items": nodes}))
    items = yaml.safe_load(file.read_text())["items"]
    known = [each["metadata"]["name"] for each in items if each.get("kind", "Node") == "Node"]
    with started(file) as extender:
        first, *between, last = printed(extender)
        assert asked(first) == asked(last) == known
        assert answer(first)["NodeNames"] == passing
        assert [asked(each) for each in between] == ([passing] if passing else [])
        for each in between:
            assert [score["Host"] for score in answer(each)] == passing
        explained = answer(last)["nodes"]
        assert [each["node"] for each in explained if each["fits"]] == passing


def test_over_tls_nothing_is_printed_that_would_not_work(tmp_path: Path) -> None:
    cert, key = Authority(tmp_path, "authority").issue("kubesteer")
    tls = {"cert_file": str(cert), "key_file": str(key)}
    settings = {"cluster": {"source": "file", "file": str(EXAMPLE)}, "log": {"format": "console"}, "tls": tls}
    with Extender(settings) as extender:
        eventually(lambda: "synced" in extender.process.log.read_text(), within_s=30, what="the cluster is known")
        assert "curl" not in extender.process.log.read_text()
