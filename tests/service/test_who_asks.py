"""What metrics tell of pods that are placed without kubesteer, and of certificates whoever made them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from extender.server.expiry import certificate_files, expiry_s
from extender.settings import Settings
from tests.builders import pod
from tests.certificates import HOUR, Authority
from tests.service.harness import Service, service

if TYPE_CHECKING:
    from pathlib import Path


def scheduled_by(scheduler: str, name: str = "p", **more: Any) -> dict[str, Any]:
    made = pod(name, **more)
    made["spec"]["schedulerName"] = scheduler
    return made


def in_fault(reason: str) -> dict[str, Any]:
    """As kube-scheduler 1.37 writes it of a pod whose extender, which is not ignorable, could not be reached."""
    message = 'Post "https://127.0.0.1:1/filter": dial tcp 127.0.0.1:1: connect: connection refused'
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {"phase": "Pending", "conditions": [condition]}


def told(extender: Service) -> tuple[float, float]:
    return extender.metric("pods_placed_total"), extender.metric("pods_faulty")


def test_a_pod_that_waited_and_got_a_node_counts_once() -> None:
    extender = service()
    extender.put_pod(scheduled_by("kubesteer"))
    assert told(extender) == (0, 0)
    for _ in range(2):
        extender.put_pod(scheduled_by("kubesteer", node="node-1"))
    assert told(extender) == (1, 0)


def test_pods_of_other_schedulers_those_that_ran_before_and_those_that_went_do_not_count() -> None:
    extender = service()
    extender.put_pod(scheduled_by("default-scheduler", "theirs"))
    extender.put_pod(scheduled_by("default-scheduler", "theirs", node="node-1"))
    extender.put_pod(scheduled_by("kubesteer", "ran", node="node-1"))
    extender.put_pod(scheduled_by("kubesteer", "went"))
    extender.parts.arrivals.delete_pod("uid-went")
    extender.put_pod(scheduled_by("kubesteer", "went", node="node-1"))
    assert told(extender) == (0, 0)


def test_whose_pods_count_is_a_setting() -> None:
    """In place they are the cluster's own scheduler's."""
    extender = service(cluster={"schedulers": ["default-scheduler"]})
    for scheduler in ("default-scheduler", "kubesteer"):
        extender.put_pod(scheduled_by(scheduler, scheduler))
        extender.put_pod(scheduled_by(scheduler, scheduler, node="node-1"))
    assert told(extender) == (1, 0)


def test_a_pod_that_waits_for_a_schedulers_fault_is_told_until_it_is_placed_and_one_without_room_is_not() -> None:
    extender = service()
    extender.put_pod(scheduled_by("kubesteer", "large", status=in_fault("Unschedulable")))
    assert told(extender) == (0, 0)
    extender.put_pod(scheduled_by("kubesteer", status=in_fault("SchedulerError")))
    assert told(extender) == (0, 1)
    extender.put_pod(scheduled_by("kubesteer", node="node-1"))
    assert told(extender) == (1, 0)


def test_each_certificate_of_the_settings_tells_how_long_it_lasts(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    (server, server_key), (client, client_key) = (authority.issue(name, ends=2 * HOUR) for name in ("server", "client"))
    extender = service(
        tls={"cert_file": str(server), "key_file": str(server_key)},
        ops={"tls": True},
        reward_settings={
            "source": "etcd",
            "ca_file": str(authority.ca_file),
            "cert_file": str(client),
            "key_file": str(client_key),
        },
    )
    assert certificate_files(extender.parts.settings) == (server, client)
    for file in (server, client):
        left_s = extender.metric("certificate_file_expiry_seconds", file=str(file))
        assert left_s == expiry_s(file) - extender.clock()


def test_a_certificate_that_cannot_be_read_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "half.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    assert math.isnan(expiry_s(tmp_path / "half.crt"))
    assert math.isnan(expiry_s(tmp_path / "none.crt"))


def test_without_tls_there_is_no_certificate_to_tell_of() -> None:
    assert certificate_files(Settings()) == ()
