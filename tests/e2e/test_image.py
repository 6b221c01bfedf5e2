"""The image: the same input makes the same layers, and its containers run as nobody with nothing to write."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.manifests.written import MANIFESTS
from tools import image
from tools.cluster.build import cache_folder
from tools.cluster.waiting import eventually

from .fixtures import binaries, kubesteer_image, node_binaries, whole_bed
from .real_pods import container_status, runs, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.cluster.client import Client
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "kubesteer_image", "node_binaries", "whole_bed"]

NAMESPACE = "kubesteer"
SLO = "kubesteer.io/egress-bps"
UID = 65532


def blob(archive: tarfile.TarFile, name: str) -> Any:
    content = archive.extractfile(name)
    assert content is not None
    return json.load(content)


def described(file: Path) -> tuple[list[str], dict[str, Any]]:
    """The digests of an archive's layers, lowest first, and its image's configuration."""
    with tarfile.open(file) as archive:
        [named] = blob(archive, "index.json")["manifests"]
        manifest = blob(archive, f"blobs/{named['digest'].replace(':', '/')}")
        configuration = blob(archive, f"blobs/{manifest['config']['digest'].replace(':', '/')}")
    return [layer["digest"] for layer in manifest["layers"]], configuration


@pytest.mark.usefixtures("node_binaries")
def test_built_twice_from_nothing_the_layers_are_the_same(tmp_path: Path) -> None:
    """The base, the packages, and kubesteer's own code; `--no-cache` takes nothing from a build before."""
    bases = image.local_bases(cache_folder(os.environ))
    layers = []
    for number in range(2):
        name = f"localhost/bed/kubesteer-test:{number}"
        image.build(name, ["--no-cache", *bases])
        image.push(name, tmp_path / f"{number}.tar")
        layers.append(described(tmp_path / f"{number}.tar")[0])
        subprocess.run([image.builder(), "rmi", name], check=True, capture_output=True)
    assert layers[0] == layers[1]
    assert len(layers[0]) == 3


def test_the_image_says_who_it_runs_as_and_what_it_starts(kubesteer_image: Path) -> None:
    _, configuration = described(kubesteer_image)
    config = configuration["config"]
    assert (config["User"], config["Entrypoint"]) == (f"{UID}:{UID}", ["python3", "-m"])
    assert configuration["created"] == "1970-01-01T00:00:00Z"


def test_the_layers_have_no_file_that_an_ordinary_user_may_write_and_none_with_more_rights(
    kubesteer_image: Path,
) -> None:
    """Of kubesteer's own two layers, above the base."""
    layers, _ = described(kubesteer_image)
    with tarfile.open(kubesteer_image) as archive:
        for digest in layers[1:]:
            with tarfile.open(fileobj=archive.extractfile(f"blobs/{digest.replace(':', '/')}")) as layer:
                for entry in layer:
                    if not entry.issym():
                        assert (entry.uid, entry.mode & 0o6022) == (0, 0), entry.name


def test_the_image_has_the_compiled_helper_and_not_what_compiled_it(kubesteer_image: Path) -> None:
    layers, _ = described(kubesteer_image)
    files = []
    with tarfile.open(kubesteer_image) as archive:
        for digest in layers:
            with tarfile.open(fileobj=archive.extractfile(f"blobs/{digest.replace(':', '/')}")) as layer:
                files += [entry.name.removeprefix("./") for entry in layer]
    helpers = [name for name in files if name.startswith("opt/kubesteer/extender/wire/_names") and name.endswith(".so")]
    assert len(helpers) == 1
    assert [name for name in files if name.startswith("usr/bin/") and "gcc" in name] == []


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        pytest.param("extender/app.py", True, id="code"),
        pytest.param("Containerfile", True, id="how it is built"),
        pytest.param("requirements.lock", True, id="a package's version"),
        pytest.param("extender/__pycache__/app.pyc", False, id="bytecode"),
        pytest.param("extender/wire/_names.so", False, id="what was compiled here"),
        pytest.param("docs/operations.md", False, id="what is not in it"),
    ],
)
def test_an_archive_is_built_anew_when_its_content_changes(tmp_path: Path, path: str, changes: bool) -> None:
    for name in image.CONTENTS:
        copied = tmp_path / name
        if (image.ROOT / name).is_dir():
            copied.mkdir()
        else:
            copied.write_text(name)
    before = image.content_key(tmp_path)
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("changed")
    assert (image.content_key(tmp_path) != before) == changes


@pytest.mark.usefixtures("node_binaries")
def test_a_build_that_fails_says_why() -> None:
    nowhere = [f"--build-arg={base}=localhost/bed/no-such-base:1" for base in ("BASE", "BUILD_BASE")]
    with pytest.raises(image.ImageError, match="no-such-base"):
        image.build("localhost/bed/kubesteer-test:fails", nowhere)


@pytest.mark.usefixtures("node_binaries")
def test_a_base_that_nobody_has_cannot_be_pulled() -> None:
    assert not image.can_pull("127.0.0.1:1/none:1")


@pytest.fixture
def client(whole_bed: ControlPlane) -> Iterator[Client]:
    yield whole_bed.client
    for thing in whole_bed.client.list_all("Pod", namespace="default"):
        whole_bed.client.delete("Pod", thing["metadata"]["name"])


@pytest.mark.parametrize(
    ("module", "says"),
    [("extender", "scheduler extender"), ("monitor_agent", "monitor agent"), ("kubesteer", "Usage: kubesteer")],
)
def test_each_program_starts_locked_down(whole_bed: ControlPlane, client: Client, module: str, says: str) -> None:
    client.create(locked(module.replace("_", "-"), [module, "--help"]))
    seen(client, module.replace("_", "-"), lambda found: found["status"]["phase"] == "Succeeded", what="ends well")
    assert says in whole_bed.kubectl("logs", module.replace("_", "-"))


def test_a_container_can_neither_write_nor_become_more(whole_bed: ControlPlane, client: Client) -> None:
    made = locked("tries", [])
    script = "touch /opt/kubesteer/x /tmp/x /x; grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/1/status"
    made["spec"]["containers"][0]["command"] = ["sh", "-c", f"{script} 2>&1"]
    client.create(made)
    seen(client, "tries", lambda found: found["status"]["phase"] == "Succeeded", what="ends well")
    lines = whole_bed.kubectl("logs", "tries").splitlines()
    assert sum("Read-only file system" in line for line in lines) == 3
    status = {
        line.split(":")[0]: line.split(":")[1].split() for line in lines if line.startswith(("Uid", "Cap", "NoN"))
    }
    assert status == {"Uid": [str(UID)] * 4, "CapEff": ["0" * 16], "NoNewPrivs": ["1"]}


def locked(name: str, args: list[str]) -> dict[str, Any]:
    """A pod of the image with the rights that manifests/ leave it."""
    made = runs(name, "", node="")
    del made["spec"]["nodeName"], made["spec"]["containers"][0]["command"]
    made["spec"] |= {"restartPolicy": "Never", "securityContext": {"runAsNonRoot": True}}
    made["spec"]["containers"][0] |= {
        "image": image.default_name(),
        "args": args,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return made


def test_the_dev_overlay_runs_from_it_and_places_a_pod(whole_bed: ControlPlane, client: Client) -> None:
    """The extender, an agent on every node and the scheduler as pods; the agents publish each node's links."""
    whole_bed.kubectl("apply", "--server-side", "-k", str(MANIFESTS / "overlays" / "dev"))
    for what in ("deployment/kubesteer-extender", "daemonset/kubesteer-agent", "deployment/kubesteer-scheduler"):
        whole_bed.kubectl("rollout", "status", what, f"--namespace={NAMESPACE}", "--timeout=90s")
    for node in whole_bed.real.names:
        eventually(
            lambda node=node: SLO in client.get("Node", node)["status"]["allocatable"],  # type: ignore[misc]
            within_s=60,
            what=f"{node}: {SLO} published",
        )
    asks = runs("asks", "sleep infinity", node="", limits={SLO: "1G"}, spec={"schedulerName": "kubesteer"})
    del asks["spec"]["nodeName"]
    client.create(asks)
    placed = seen(client, "asks", lambda found: container_status(found).get("ready"), what="runs")
    assert placed["spec"]["nodeName"] in whole_bed.real.names
    said = whole_bed.kubectl("logs", "deployment/kubesteer-extender", f"--namespace={NAMESPACE}")
    assert "asks" in said
