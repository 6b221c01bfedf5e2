"""`python -m tools.audit`: everything about the supply chain that can be looked at here. Ends with 1 where one is not well.

Style rules against insecure code (ruff's S) are `make lint`'s affair.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tools.audit import licences, locks, sbom

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
ADVISORIES_WITHIN_S = 180


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.audit", description=__doc__)
    parser.add_argument("--sbom", type=Path, help="write the bill of materials there, and look at nothing else")
    parser.add_argument("--online", choices=["if-reachable", "required", "never"], default="if-reachable")
    asked = parser.parse_args()
    locked, faults = locks.read((ROOT / "requirements.lock").read_text())
    if asked.sbom:
        written = sbom.make(TOOLS, ROOT, locked, installed_licences(locked))
        asked.sbom.parent.mkdir(parents=True, exist_ok=True)
        asked.sbom.write_text(written)
        print(f"{asked.sbom}: {len(json.loads(written)['components'])} packages, CycloneDX 1.6")
        return
    development, more = locks.read((ROOT / "requirements-dev.lock").read_text())
    faults += locks.faults_of(locked, development)
    found = installed_licences(locked)
    here = [one.name for one in locked if one.is_for()]
    files = [ROOT / "Makefile", ROOT / "Containerfile"]
    installs = [f"{file.name}: {line}" for file in files for line in locks.commands_that_may_build(file.read_text())]
    well = [
        told("requirements.lock: pinned, hashed, as in requirements-dev.lock", faults, f"{len(locked)} packages"),
        told("requirements-dev.lock: pinned, hashed", more, f"{len(development)} packages"),
        told("installs ask for hashes and for wheels", installs, "Makefile, Containerfile"),
        told("no package starts code of its own with Python (.pth)", starters(here), f"{len(here)} packages"),
        told("licences", licences.faults_of(found, here), ", ".join(sorted(set(found.values())))),
        advisories(asked.online),
    ]
    sys.exit(0 if all(well) else 1)


def told(what: str, faults: Sequence[str], when_well: str) -> bool:
    """Print one line, and a line for each fault."""
    print(f"{'FAIL' if faults else 'ok  '}  {what}{'' if faults else f' ({when_well})'}")
    for fault in faults:
        print(f"        {fault}")
    return not faults


def installed_licences(locked: Iterable[locks.Locked]) -> dict[str, str]:
    """By package, of those that are installed here."""
    names = [one.name for one in locked if one.is_for()]
    command: list[str | Path] = [
        TOOLS / "pip-licenses",
        "--python",
        sys.executable,
        "--from=mixed",
        "--format=json",
        "--packages",
        *names,
    ]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {str(canonicalize_name(each["Name"])): each["License"] for each in json.loads(answer)}


def starters(names: Iterable[str]) -> list[str]:
    """Packages with a file that Python runs each time it starts."""
    files = {name: importlib.metadata.files(name) or () for name in names}
    return [f"{name}: {file}" for name, owned in files.items() for file in owned if file.suffix == ".pth"]


def advisories(online: str, tools: Path = TOOLS) -> bool:
    """Known vulnerabilities, by pip-audit and the service it asks; a service that is not reachable is told, not passed over."""
    what = "known vulnerabilities"
    if online == "never":
        print(f"skip  {what}: not asked for")
        return True
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options: list[str | Path] = [
            "--require-hashes",
            "--disable-pip",
            "--progress-spinner",
            "off",
            "--format",
            "json",
            "-o",
            report,
        ]
        command = [tools / "pip-audit", "-r", ROOT / "requirements.lock", *options]
        try:
            run = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=ADVISORIES_WITHIN_S,
                env={**os.environ, "NO_COLOR": "1"},
            )
            answer = json.loads(report.read_text()) if report.exists() else None
            why = (run.stderr.strip().splitlines() or ["no answer"])[-1]
        except subprocess.TimeoutExpired:
            answer, why = None, f"no answer within {ADVISORIES_WITHIN_S} s"
    if answer is not None and all("skip_reason" in each for each in answer["dependencies"]):
        # A mirror of the index has packages, and nothing to say of them.
        why, answer = answer["dependencies"][0]["skip_reason"], None
    if answer is None:
        print(f"{'FAIL' if online == 'required' else 'skip'}  {what}: the service cannot be asked from here: {why}")
        return online != "required"
    return told(what, vulnerable(answer), f"{len(answer['dependencies'])} packages")


def vulnerable(report: dict[str, Any]) -> list[str]:
    """What a report of pip-audit names, and what is better."""
    return [
        f"{each['name']} {each['version']}: {one['id']}; fixed in {', '.join(one['fix_versions']) or 'nothing yet'}"
        for each in report["dependencies"]
        for one in each.get("vulns", ())
    ] + [
        f"{each['name']}: not looked at: {each['skip_reason']}"
        for each in report["dependencies"]
        if "skip_reason" in each
    ]


if __name__ == "__main__":
    main()
