"""The audit notices what it is there for: each test breaks one thing that is well, and the audit says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.audit import licences, locks, sbom
from tools.audit.__main__ import ROOT, TOOLS, advisories, installed_licences, starters, vulnerable

LOCK = (ROOT / "requirements.lock").read_text()
DEVELOPMENT, _ = locks.read((ROOT / "requirements-dev.lock").read_text())


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    return installed_licences(locks.read(LOCK)[0])


def faults(text: str) -> list[str]:
    requirements, unread = locks.read(text)
    return unread + locks.faults_of(requirements, DEVELOPMENT)


def test_the_lock_as_it_is_has_no_fault() -> None:
    assert faults(LOCK) == []
    assert len(locks.read(LOCK)[0]) > 50


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        pytest.param("uvicorn==", "uvicorn>=", "is not NAME==VERSION", id="a range"),
        pytest.param("pyyaml==6", "pyyaml==5", "is not what requirements-dev.lock has", id="another version"),
        pytest.param(
            "structlog==", "structlag==", "is not what requirements-dev.lock has", id="a name that looks alike"
        ),
        pytest.param("aetcd==1.0.0 \\", "aetcd==1.0.0", "has no sha256 hash", id="hashes cut off"),
        pytest.param(
            "aetcd==1.0.0 ", "aetcd @ https://example.com/aetcd.whl ", "is not NAME==VERSION", id="an address"
        ),
        pytest.param("aetcd==1.0.0 ", "git+https://example.com/aetcd ", "is not NAME==VERSION", id="a repository"),
        pytest.param(
            "--hash=sha256:743641d4",
            "--hash=sha256:843641d4",
            "requirements-dev.lock does not know sha256:8436",
            id="a hash",
        ),
        pytest.param("--hash=sha256:743641d4", "--hash=md5:743641d4", "something else beside", id="a weak hash"),
    ],
)
def test_a_line_that_was_tampered_with_is_noticed(was: str, becomes: str, fault: str) -> None:
    assert was in LOCK
    assert fault in "\n".join(faults(LOCK.replace(was, becomes, 1)))


@pytest.mark.parametrize(
    "line", ["--index-url https://example.com/simple", "-e .", "--extra-index-url=https://x.example"]
)
def test_a_line_beside_the_requirements_is_noticed(line: str) -> None:
    assert faults(f"{line}\n{LOCK}")


def test_a_hash_that_is_left_out_is_noticed() -> None:
    """Somebody who leaves only the hash of one file chooses which file is installed."""
    hashes = [line for line in LOCK.splitlines() if "--hash" in line]
    assert "does not know" in "\n".join(faults(LOCK.replace(f"{hashes[0]}\n", "", 1)))


def test_the_one_package_whose_setup_runs_is_in_no_image() -> None:
    assert "etcd3" in {one.name for one in DEVELOPMENT}
    assert "etcd3" not in {one.name for one in locks.read(LOCK)[0]}


@pytest.mark.parametrize(
    ("command", "is_well"),
    [
        ("pip install --require-hashes --only-binary=:all: -r requirements.lock", True),
        ("pip install --require-hashes \\\n   --only-binary :all: \\\n   -r requirements-dev.lock", True),
        ("pip install --require-hashes -r requirements.lock", False),
        ("pip install --only-binary=:all: -r requirements.lock", False),
    ],
)
def test_an_install_without_hashes_or_that_may_build_is_noticed(command: str, is_well: bool) -> None:
    assert (locks.commands_that_may_build(f"RUN {command}\n") == []) is is_well


def test_both_files_that_install_ask_for_hashes_and_wheels() -> None:
    for name in ("Makefile", "Containerfile"):
        text = (ROOT / name).read_text()
        assert "pip install" in text
        assert locks.commands_that_may_build(text) == []


@pytest.mark.parametrize(
    ("licence", "is_accepted"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache Software License; MIT License", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("GPL-3.0-only", False),
        ("GNU Affero General Public License v3", False),
        ("MIT AND GPL-2.0-or-later", False),
        ("MIT License; GNU Lesser General Public License v3 (LGPLv3)", False),
        ("Business Source License 1.1", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_a_package_with_a_licence_that_is_not_accepted_is_noticed(licence: str, is_accepted: bool) -> None:
    assert (licences.faults_of({"a-package": licence}, ["a-package"]) == []) is is_accepted


def test_a_package_whose_licence_is_not_known_is_noticed() -> None:
    assert licences.faults_of({}, ["a-package"]) == [
        "a-package: not installed here, so its licence is not known; run `make install`"
    ]


def test_every_package_of_the_image_has_an_accepted_licence(found: dict[str, str]) -> None:
    here = [one.name for one in locks.read(LOCK)[0] if one.is_for()]
    assert licences.faults_of(found, here) == []


def test_a_package_that_starts_code_with_python_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "sneaky-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sneaky\nVersion: 1.0\n")
    (info / "RECORD").write_text("sneaky.pth,,\nsneaky.py,,\n")
    for name in ("sneaky.pth", "sneaky.py"):
        (tmp_path / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert starters(["sneaky"]) == ["sneaky: sneaky.pth"]
    assert starters([one.name for one in locks.read(LOCK)[0] if one.is_for()]) == []


def test_a_vulnerability_and_a_package_that_was_not_looked_at_are_told() -> None:
    told = vulnerable(
        {
            "dependencies": [
                {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
                {"name": "b", "version": "1", "vulns": []},
                {"name": "c", "skip_reason": "not on the index"},
            ]
        }
    )
    assert told == ["a 1: CVE-1; fixed in 2", "c: not looked at: not on the index"]


VULNERABLE = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": []}]}
WELL = {"name": "b", "version": "1", "vulns": []}
SKIPPED = {"name": "c", "skip_reason": "not on the index"}


@pytest.mark.parametrize(
    ("report", "online", "is_well", "told"),
    [
        pytest.param([WELL], "if-reachable", True, "ok", id="none"),
        pytest.param([WELL, VULNERABLE], "if-reachable", False, "FAIL", id="one"),
        pytest.param([WELL, SKIPPED], "if-reachable", False, "FAIL", id="one not looked at"),
        pytest.param([SKIPPED], "if-reachable", True, "skip", id="a mirror that knows of none"),
        pytest.param([SKIPPED], "required", False, "FAIL", id="a mirror, and an answer is required"),
        pytest.param(None, "if-reachable", True, "skip", id="not reachable"),
        pytest.param(None, "required", False, "FAIL", id="not reachable, and required"),
        pytest.param([VULNERABLE], "never", True, "skip", id="not asked for"),
    ],
)
def test_what_nobody_could_look_at_is_not_told_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], report: Any, online: str, is_well: bool, told: str
) -> None:
    """pip-audit's place is taken by a program that gives this report, or none."""
    writes = (
        "" if report is None else f"pathlib.Path(sys.argv[-1]).write_text({json.dumps({'dependencies': report})!r})"
    )
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{writes}\nsys.exit(1)\n")
    program.chmod(0o755)
    assert advisories(online, tmp_path) is is_well
    assert capsys.readouterr().out.split()[0] == told


def test_the_bill_of_materials_is_valid_complete_and_the_same_each_time(found: dict[str, str]) -> None:
    requirements, _ = locks.read(LOCK)
    first, second = (sbom.make(TOOLS, ROOT, requirements, found) for _ in range(2))
    assert first == second
    bom = json.loads(first)
    assert {(each["name"], each["version"]) for each in bom["components"]} == {
        (one.name, one.version) for one in requirements if one.is_for()
    }
    hashes = {one.name: {each.removeprefix("sha256:") for each in one.hashes} for one in requirements if one.is_for()}
    for each in bom["components"]:
        told = {one["content"] for reference in each["externalReferences"] for one in reference.get("hashes", ())}
        assert told == hashes[each["name"]]
        assert each["licenses"]
    needs = {each["ref"]: each["dependsOn"] for each in bom["dependencies"]}
    assert any(ref.startswith("pkg:pypi/fastapi@") for ref in needs[sbom.ROOT_REF])
    assert needs.keys() == {sbom.ROOT_REF, *(each["bom-ref"] for each in bom["components"])}
    assert str(ROOT) not in first
    assert sys.version.split()[0] not in json.dumps(bom["metadata"])


def test_a_bill_of_materials_that_the_schema_refuses_is_noticed() -> None:
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library", "name": "a"}]}
    assert sbom.fault_of(json.dumps(bom)) is None
    bom["components"][0]["licenses"] = "MIT"
    assert sbom.fault_of(json.dumps(bom)) is not None
