"""The files in scheduler-config/ are what a real kube-scheduler takes, and pods then come to kubesteer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.e2e.cluster import objects
from tests.e2e.cluster.waiting import eventually
from tests.e2e.service import ROOT, Extender

if TYPE_CHECKING:
    from tests.e2e.cluster.controlplane import ControlPlane


@pytest.mark.parametrize(
    ("file", "slo_bps", "comes"),
    [
        pytest.param("all-pods.yaml", None, True, id="all pods: one without an SLO comes"),
        pytest.param("slo-pods-only.yaml", "300M", True, id="SLO pods only: one with an SLO comes"),
        pytest.param("slo-pods-only.yaml", None, False, id="SLO pods only: one without does not"),
    ],
)
def test_a_real_scheduler_takes_the_file(
    control_plane: ControlPlane, file: str, slo_bps: str | None, comes: bool
) -> None:
    bed, name = control_plane, f"p-{file.split('.', maxsplit=1)[0]}-{slo_bps}".lower()
    for node in ("a", "b"):
        bed.client.create(objects.node(f"{name}-{node}", resources={"kubesteer.io/egress-bps": "10G"}))
    limits = {"kubesteer.io/egress-bps": slo_bps} if slo_bps else {}
    with Extender({"cluster": {"source": "kubernetes", "kubeconfig": str(bed.kubeconfig)}}) as extender:
        config = yaml.safe_load((ROOT / "scheduler-config" / file).read_text())
        config["extenders"][0]["urlPrefix"] = extender.url
        bed.start_scheduler(config)
        try:
            bed.client.create(objects.pod(name, limits=limits))
            eventually(
                lambda: bed.client.get("Pod", name)["spec"].get("nodeName"), within_s=20, what=f"{name} is bound"
            )
        finally:
            bed.stop_scheduler()
        asked = extender.metric("kubesteer_request_seconds_count")
        assert (asked > 0) is comes
