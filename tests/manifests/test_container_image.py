"""The Containerfile: what it copies is there, what pods start is in it, and it runs as nobody from a pinned base."""

from __future__ import annotations

import importlib.util
import re
import tomllib

import pytest
import yaml

from .written import ROOT, Written, containers, pod_spec, written

TEXT = (ROOT / "Containerfile").read_text()
STEPS = [
    (step.split(" ", 1)[0], step.split(" ", 1)[1])
    for step in re.sub(
        r"\\\n", " ", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    ).splitlines()
    if step.strip()
]
IMAGE = "localhost/kubesteer"
OWN = [
    pytest.param(each, container, id=f"{each.object['metadata']['name']} {container['name']}")
    for each in written()
    if (spec := pod_spec(each.object))
    for container in containers(spec)
    if container["image"].startswith(f"{IMAGE}:")
]


def of(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def test_every_base_is_pinned_by_its_version() -> None:
    arguments = dict(each.split("=", 1) for each in of("ARG") if "=" in each)
    images = [each.split(" ")[0] for each in of("FROM")]
    assert images == ["${BUILD_BASE}", "${BASE}"]
    assert re.fullmatch(r"\S+/python:3\.\d+-slim-\w+", arguments["BASE"])
    assert arguments["BUILD_BASE"] == arguments["BASE"].replace("-slim", "")


def test_the_base_has_a_python_that_kubesteer_runs_on() -> None:
    [minor] = set(re.findall(r"python:3\.(\d+)", TEXT))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [least] = re.findall(r">=3\.(\d+)", project["project"]["requires-python"])
    assert int(minor) >= int(least)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for each in of("COPY") if not each.startswith("--from") for name in each.split()[:-1]}
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_every_package_of_the_project_is_in_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"{name} /opt/kubesteer/{name}" for name in packages} <= set(of("COPY"))


def test_packages_come_by_hash_and_run_nothing_while_they_are_installed() -> None:
    [install] = [step for step in of("RUN") if "pip install" in step]
    assert {"--require-hashes", "--only-binary=:all:"} <= set(install.split())


def test_python_finds_every_folder_that_the_image_has() -> None:
    """The packages and the code are layers of their own, so that an upgrade brings the code alone."""
    copied = [each.split()[-1] for each in of("COPY") if each.startswith("--from=build")]
    [environment] = of("ENV")
    variables = dict(each.split("=", 1) for each in environment.split())
    assert variables["PYTHONPATH"].split(":") == list(reversed(copied)) == ["/opt/kubesteer", "/opt/site-packages"]


def test_it_runs_as_the_user_that_pods_run_as() -> None:
    [user] = of("USER")
    ids = {
        (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"])
        for each in written()
        if (spec := pod_spec(each.object))
    }
    assert ids == {tuple(int(part) for part in user.split(":"))}


@pytest.mark.parametrize(("each", "container"), OWN)
def test_a_pod_starts_what_the_image_has(each: Written, container: dict[str, list[str]]) -> None:
    """A module by the image's entrypoint, or a program of Debian's base."""
    assert each
    if "command" in container:
        assert container["command"][0] in {"sh", "find"}
        return
    assert yaml.safe_load(of("ENTRYPOINT")[0]) == ["python3", "-m"]
    module = container["args"][0]
    found = importlib.util.find_spec(f"{module}.__main__")
    assert found is not None
    assert found.origin == str(ROOT / module / "__main__.py")


def test_all_own_images_have_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {container["image"] for _, container in (each.values for each in OWN)}
    assert images == {f"{IMAGE}:{version}"}


def test_ports_of_the_image_are_those_of_the_pods() -> None:
    pods = {
        port["containerPort"] for _, container in (each.values for each in OWN) for port in container.get("ports", ())
    }
    assert pods == {int(port) for each in of("EXPOSE") for port in each.split()}
