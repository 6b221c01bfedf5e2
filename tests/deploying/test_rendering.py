"""The kustomization that is generated, and what a rendering still needs for one cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kubesteer.deploying.rendering import (
    SETTINGS_HASH,
    bare,
    extender_access,
    finished,
    images_of,
    kustomization,
    label_value,
    release_of,
    scheduler_findings,
)
from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.making import Answers, make
from tests.manifests.written import MANIFESTS

from .objects import namespace, settings_map, workload

SHIPPED = (MANIFESTS / "components/second-scheduler/config.yaml").read_text()
MOUNT = [{"name": "config", "configMap": {"name": "kubesteer-scheduler"}}]


def images(image: str | None) -> list[dict[str, str]]:
    text = kustomization(
        "../overlays/dev", overlay="dev", image=image, server_version="v1.36.3-gke.1200", own_version="0.1.0"
    )
    found: list[dict[str, str]] = yaml.safe_load(text)["images"]
    return found


def weight(things: list[Thing]) -> int:
    [found] = [each for each in things if each["metadata"]["name"] == "kubesteer-scheduler"]
    return int(yaml.safe_load(found["data"]["config.yaml"])["extenders"][0]["weight"])


def test_the_scheduler_is_the_clusters_own_version() -> None:
    assert images(None) == [{"name": "registry.k8s.io/kube-scheduler", "newTag": "v1.36.3"}]


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ("r.example:5000/team/kubesteer:1.2", {"newName": "r.example:5000/team/kubesteer", "newTag": "1.2"}),
        ("r.example/kubesteer@sha256:abc", {"newName": "r.example/kubesteer", "digest": "sha256:abc"}),
    ],
)
def test_an_image_is_named_by_tag_or_digest(image: str, named: dict[str, str]) -> None:
    assert images(image)[1] == {"name": "localhost/kubesteer", **named}


@pytest.mark.parametrize("image", ["kubesteer", "r.example:5000/kubesteer", ":1"])
def test_an_image_without_a_version_is_refused(image: str) -> None:
    with pytest.raises(InvalidInput, match="names no version"):
        images(image)


@pytest.mark.parametrize(
    ("told", "release"), [("v1.37.2", "v1.37.2"), ("v1.34.1+k3s1", "v1.34.1"), ("v1.35.0-eks-1", "v1.35.0")]
)
def test_a_vendors_version_is_one_of_kubernetes(told: str, release: str) -> None:
    assert release_of(told) == release


def test_a_version_that_is_none_is_named() -> None:
    with pytest.raises(InvalidInput, match="'main'"):
        release_of("main")


def test_a_label_takes_any_version() -> None:
    assert label_value("0.1.0+local/dirty") == "0.1.0_local_dirty"


@pytest.mark.parametrize("minor", [34, 35, 36, 37])
def test_the_weight_is_that_of_a_configuration_made_for_the_minor(minor: int) -> None:
    """Half of what a node can get: with a plugin less, a smaller weight is half."""
    made = make(Answers(scheduler_name="kubesteer", minor=minor))["extenders"][0]["weight"]
    assert weight(finished([settings_map("kubesteer-scheduler", SHIPPED, "config.yaml")], minor)) == made


def test_a_weight_that_somebody_chose_stays() -> None:
    chosen = SHIPPED.replace("weight: 15", "weight: 40")
    assert weight(finished([settings_map("kubesteer-scheduler", chosen, "config.yaml")], 34)) == 40


def test_the_shipped_configuration_passes_the_check_on_every_minor() -> None:
    settings = settings_map("kubesteer-extender", (MANIFESTS / "base/extender/settings.yaml").read_text())
    for minor in (34, 35, 36, 37):
        things = finished([settings_map("kubesteer-scheduler", SHIPPED, "config.yaml"), settings], minor)
        assert scheduler_findings(things, minor) == []


def test_a_configuration_that_a_scheduler_refuses_is_found() -> None:
    broken = SHIPPED.replace("nodeCacheCapable: true", "nodeCacheCapable: maybe")
    assert scheduler_findings([settings_map("kubesteer-scheduler", broken, "config.yaml")], 37)


def marks(config: str) -> Any:
    things = [settings_map("kubesteer-scheduler", config, "config.yaml"), workload("Deployment", "s", volumes=MOUNT)]
    return finished(things, 37)[1]["spec"]["template"]["metadata"]["annotations"][SETTINGS_HASH]


def test_other_settings_mean_other_pods() -> None:
    assert marks(SHIPPED) == marks(SHIPPED)
    assert marks(SHIPPED) != marks(SHIPPED.replace("1s", "2s"))


def test_pods_without_settings_are_not_marked() -> None:
    [made] = finished([workload("StatefulSet", "kubesteer-etcd")], 37)
    assert "annotations" not in made["spec"]["template"]["metadata"]


def test_settings_that_are_no_yaml_are_named() -> None:
    with pytest.raises(InvalidInput, match="ConfigMap kubesteer-extender"):
        extender_access([settings_map("kubesteer-extender", "a: [")])


def test_a_bare_object_says_whose_it_is_and_no_more() -> None:
    assert bare(namespace())["metadata"] == {"name": "kubesteer", "labels": {"app.kubernetes.io/part-of": "kubesteer"}}


def test_images_are_those_of_the_workloads() -> None:
    things = [workload("Deployment", "kubesteer-extender", image="r/k:1"), workload("DaemonSet", "kubesteer-agent")]
    assert images_of(things) == {"kubesteer-extender": "r/k:1", "kubesteer-agent": "localhost/kubesteer:0.1.0"}
