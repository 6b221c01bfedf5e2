"""Commands of docs/recipes.md that need an API server and nothing else, with the real kubectl."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.front_door.recipes import recipes, run, write
from tools.cluster.extender import Extender
from tools.cluster.objects import node

from .fixtures import binaries, control_plane

if TYPE_CHECKING:
    from pathlib import Path

    from tools.cluster.build import Binaries
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "control_plane"]


def test_a_workload_is_applied_explained_and_left_out_as_the_recipes_say(
    control_plane: ControlPlane, binaries: Binaries, tmp_path: Path
) -> None:
    """Its pod, as the API server has it, asks for 300M and fits on `fast`; left out, it is only observed."""
    by_number, client = recipes(), control_plane.client
    client.create(node("fast", resources={"kubesteer.io/egress-bps": "1G"}))
    kubectl = f'kubectl() {{ "{binaries.path("kubectl")}" --kubeconfig "{control_plane.kubeconfig}" "$@"; }}\n'
    write(by_number[8], tmp_path)
    [apply] = by_number[2].on_a_cluster
    run(kubectl + apply, tmp_path)
    [explain] = by_number[3].on_a_cluster
    [leave_out] = by_number[8].on_a_cluster
    cluster = {"source": "kubernetes", "kubeconfig": str(control_plane.kubeconfig)}
    with Extender({"cluster": cluster}) as extender:
        asked = explain[explain.index("curl") :].replace("-sk https:", "-s http:").replace("POD -o", "web-1 -o")
        asked = re.sub(r'-H "Authorization: .*?\)"', "", asked)
        modes = []
        for step in ("", leave_out):
            run(kubectl + step, tmp_path)
            template = json.loads(run(f"{kubectl}kubectl get deployment web -o json", tmp_path))["spec"]["template"]
            client.create(
                {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "web-1"}}
            )
            page = json.loads(run(kubectl + asked, tmp_path, ports={"8889": extender.ops_port}))
            assert [(one["node"], one["fits"]) for one in page["nodes"]] == [("fast", True)]
            assert page["requests"]["network_bps"] == [300_000_000, 0]
            modes.append(page["mode"])
            client.delete("Pod", "web-1")
    assert modes == ["enforce", "observe"]
