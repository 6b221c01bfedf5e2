"""What the documents say is true: files exist, commands are targets, configurations are complete."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(
        r"`((?:kubesteer|extender|monitor_agent|tools|tests|docs|examples|scheduler-config)/[\w./-]+)`", text
    )
    missing = [name for name in links if not (document.parent / name).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_command_that_a_document_names_is_a_target(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", document.read_text(), re.MULTILINE))
    assert named <= targets


def test_ci_calls_only_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z0-9-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert called
    assert set(called) <= targets


def test_every_test_that_the_threat_model_names_exists() -> None:
    """A control whose test is gone, or was never there, is a claim."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/security.md").read_text()))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(named) > 50
    assert sorted(named - there) == []


def test_every_alert_is_explained_in_operations_and_no_other_is() -> None:
    alerts = (ROOT / "manifests/components/monitoring/alerts.yaml").read_text()
    rows = re.findall(r"^\| (Kubesteer[^|]+) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"Kubesteer\w+", row)}
    assert explained == set(re.findall(r"alert: (\w+)", alerts))
