"""What keeps a pod from starting on its node: the node's faults count, the user's and everybody's do not."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.model.runs import ContainerRuns, EventSeen
from tests.learning.runs import T, end, ended, event, judged, pod, running, told, waiting

WAITS = waiting("ContainerCreating")
MOUNT = event("FailedMount", 'MountVolume.SetUp failed for volume "data": rpc error: timed out')
CONFLICT = 'Operation cannot be fulfilled on pods/binding "web-1": the object has been modified'
SCHEDULED = event("Scheduled", "Successfully assigned default/web-1 to n1", 0)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        pytest.param(MOUNT, "FailedMount", id="mount"),
        pytest.param(event("FailedAttachVolume", "Multi-Attach error"), "FailedAttachVolume", id="attach"),
        pytest.param(event("FailedMapVolume", "no device"), "FailedMapVolume", id="block device"),
        pytest.param(event("FailedCreatePodSandBox", "CNI: no address"), "FailedCreatePodSandBox", id="sandbox"),
        pytest.param(event("FailedScheduling", CONFLICT, 0), "BindingFailed", id="bind conflict"),
        pytest.param(event("FailedScheduling", "binding rejected: timed out", 0), "BindingFailed", id="bind time-out"),
        pytest.param(
            event("FailedScheduling", 'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded', 1),
            "BindingFailed",
            id="volumes not bound in time",
        ),
    ],
)  # fmt: skip
def test_a_fault_of_the_node_counts_once_for_the_pod(seen: EventSeen, reason: str) -> None:
    again = (SCHEDULED, seen, EventSeen(seen.reason, seen.message, seen.time_s + 9), MOUNT)
    judgement = judged(pod(WAITS, phase="Pending"), 60, events=again)
    assert told(judgement) == [("", "start", 0, 0.0, reason)]
    assert judgement.outcomes[0].time_s == seen.time_s


@pytest.mark.parametrize(
    ("seen", "parts"),
    [
        pytest.param(event("FailedMount", 'MountVolume.SetUp failed for volume "c": configmap "app" not found'), {},
                     id="nobody made the config map"),
        pytest.param(event("FailedMount", 'secret "app" not found'), {}, id="nobody made the secret"),
        pytest.param(event("FailedMount", "references non-existent secret key: tls.crt"), {}, id="a key is missing"),
        pytest.param(event("FailedMount", 'object "default"/"kube-root-ca.crt" not registered'), {}, id="pod on its way out"),
        pytest.param(MOUNT, {"deleting_since_s": 4}, id="after the deletion"),
        pytest.param(event("FailedScheduling", "0/3 nodes are available", 0), {}, id="no node fitted"),
        pytest.param(event("FailedScheduling", CONFLICT, -30), {}, id="an earlier attempt, on some other node"),
        pytest.param(event("FailedScheduling", f"{CONFLICT}: pod web-1 is being deleted", 0), {}, id="deleted"),
        pytest.param(event("BackOff", "Back-off restarting failed container"), {}, id="told by the status"),
        pytest.param(event("Unhealthy", "Readiness probe failed: timed out"), {}, id="not ready yet"),
    ],
)  # fmt: skip
def test_what_is_not_the_nodes_fault_is_no_outcome(seen: EventSeen, parts: dict[str, Any]) -> None:
    assert told(judged(pod(WAITS, phase="Pending", **parts), 60, events=(SCHEDULED, seen))) == []


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(running(2), id="runs"),
        pytest.param(ended(end(0, 2, 50)), id="ended"),
        pytest.param(waiting("CrashLoopBackOff", last=end(0, 2, 50)), id="waits to run again"),
    ],
)
def test_a_mount_that_fails_once_the_pod_runs_kept_nobody_from_starting(begun: ContainerRuns) -> None:
    assert ("", "start", 0, 0.0, "FailedMount") not in told(judged(pod(begun), 60, events=(MOUNT,)))
    early = event("FailedMount", "timed out", 1)
    assert ("", "start", 0, 0.0, "FailedMount") in told(judged(pod(begun), 60, events=(early,)))


def pull(cause: str, reason: str = "ErrImagePull") -> ContainerRuns:
    return waiting(reason, cause)


def failed_pull(cause: str, image: str = "web:1") -> EventSeen:
    return event("Failed", f'Failed to pull image "{image}": {cause}', 7)


REFUSED = "dial tcp 10.0.0.9:443: connect: connection refused"
BACK_OFF = 'Back-off pulling image "web:1"'


@pytest.mark.parametrize(
    ("container", "events"),
    [
        pytest.param(pull(REFUSED), (), id="registry not reached"),
        pytest.param(pull("no space left on device"), (), id="disk full"),
        pytest.param(pull("tls: failed to verify certificate: x509: unknown authority"), (), id="certificate"),
        pytest.param(pull("dial tcp: lookup registry.example on 10.0.0.2:53: i/o timeout"), (), id="name service"),
        pytest.param(pull("no match for platform in manifest: not found"), (), id="not for this node's CPU"),
        pytest.param(pull(f"{BACK_OFF}: ErrImagePull: {REFUSED}", "ImagePullBackOff"), (), id="back-off with its cause"),
        pytest.param(pull(BACK_OFF, "ImagePullBackOff"), (failed_pull(REFUSED),), id="cause told by an event"),
        pytest.param(pull(BACK_OFF, "ImagePullBackOff"), (SCHEDULED,), id="events tell of no user's fault"),
        pytest.param(pull(BACK_OFF, "ImagePullBackOff"), (failed_pull("not found", "other:2"),), id="another's image is missing"),
    ],
)  # fmt: skip
def test_an_image_that_only_this_node_cannot_get_counts(
    container: ContainerRuns, events: tuple[EventSeen, ...]
) -> None:
    stuck = pod(container, phase="Pending")
    assert told(judged(stuck, 60, events=events)) == [("main", "start", 0, 0.0, "ErrImagePull")]
    assert told(judged(stuck, 60, events=events, pull_fails_elsewhere=True)) == []


@pytest.mark.parametrize(
    ("container", "events"),
    [
        pytest.param(pull('failed to resolve reference "web:1": web:1: not found'), (), id="no such image"),
        pytest.param(pull("rpc error: code = NotFound desc = failed to pull"), (), id="no such image, by code"),
        pytest.param(pull("manifest unknown"), (), id="no such tag"),
        pytest.param(pull("401 Unauthorized"), (), id="unauthorized"),
        pytest.param(pull("pull access denied, repository does not exist or may require authorization"), (), id="denied"),
        pytest.param(pull(BACK_OFF, "ImagePullBackOff"), (failed_pull("not found"),), id="told by an event"),
        pytest.param(pull(BACK_OFF, "ImagePullBackOff"), (), id="cause not known yet"),
        pytest.param(pull("", "ErrImagePull"), (), id="no cause told"),
        pytest.param(waiting("InvalidImageName", "couldn't parse image name"), (), id="no image's name"),
        pytest.param(waiting("ErrImageNeverPull", "not present with pull policy of Never"), (), id="never pull"),
        pytest.param(waiting("CreateContainerConfigError", 'secret "x" not found'), (), id="secret missing"),
    ],
)  # fmt: skip
def test_an_image_that_nobody_could_get_is_no_outcome(container: ContainerRuns, events: tuple[EventSeen, ...]) -> None:
    assert told(judged(pod(container, phase="Pending"), 60, events=events)) == []


def test_an_image_that_cannot_be_had_for_the_next_run_counts_for_that_run() -> None:
    last = end(1, 5, 50)
    again = judged(pod(waiting("ErrImagePull", REFUSED, run=2, last=last)), 60)
    # restartCount is still the number of the run that ended: 2
    assert told(again) == [("main", "start", 3, 0.0, "ErrImagePull"), ("main", "run", 2, 0.0, "Error (exit 1)")]


def test_an_image_does_not_count_once_the_pod_is_being_deleted() -> None:
    assert told(judged(pod(pull(REFUSED), phase="Pending", deleting_since_s=50), 60)) == []


def test_each_container_has_its_own_image() -> None:
    both = pod(
        waiting("ErrImagePull", REFUSED, name="a"), waiting("ErrImagePull", "not found", name="b"), phase="Pending"
    )
    assert told(judged(both, 60)) == [("a", "start", 0, 0.0, "ErrImagePull")]
    assert judged(both, 60).outcomes[0].time_s == T + 60
