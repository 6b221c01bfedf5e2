"""The software bill of materials: what the image is made of, with hashes, licences and who needs whom, as CycloneDX 1.6.

The same lock gives the same bytes: no time, no random number.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.audit.locks import Locked

ROOT_REF = "root-component"


def make(tools: Path, root: Path, requirements: Sequence[Locked], licences: Mapping[str, str]) -> str:
    """JSON. tools: the folder with cyclonedx-py. Raises CalledProcessError, ValueError where it is not valid."""
    command: list[str | Path] = [
        tools / "cyclonedx-py",
        "requirements",
        root / "requirements.lock",
        "--pyproject",
        root / "pyproject.toml",
    ]
    # What is made of it is judged below as a whole.
    options = [
        "--no-validate",
        "--mc-type",
        "application",
        "--output-reproducible",
        "--sv",
        "1.6",
        "--of",
        "JSON",
        "-o",
        "-",
    ]
    plain = subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout
    text = json.dumps(enriched(json.loads(plain), requirements, licences), indent=1, sort_keys=True) + "\n"
    if fault := fault_of(text):
        raise ValueError(f"SBOM: {fault}")
    return text


def enriched(bom: dict[str, Any], requirements: Sequence[Locked], licences: Mapping[str, str]) -> dict[str, Any]:
    """With licences and dependencies, and without what is not installed here (markers)."""
    here = {(one.name, one.version) for one in requirements if one.is_for()}
    components = []
    for component in bom["components"]:
        name = str(canonicalize_name(component["name"]))
        if (name, component["version"]) in here:
            kept = {key: value for key, value in component.items() if key != "description"}
            components.append({**kept, "bom-ref": component["purl"], "licenses": [_licence(licences[name])]})
    refs = {str(canonicalize_name(each["name"])): each["bom-ref"] for each in components}
    dependencies = [
        {"ref": ref, "dependsOn": sorted(refs[one] for one in needs(name) if one in refs)}
        for name, ref in [("kubesteer", ROOT_REF), *sorted(refs.items())]
    ]
    return {
        **bom,
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
        "dependencies": dependencies,
    }


def needs(name: str) -> set[str]:
    """The packages that an installed one needs, as it says itself; extras left out."""
    asked = [Requirement(each) for each in importlib.metadata.requires(name) or ()]
    return {
        str(canonicalize_name(one.name)) for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def _licence(text: str) -> dict[str, Any]:
    is_expression = any(word in text for word in (" AND ", " OR "))
    return {"expression": text} if is_expression else {"license": {"name": text}}


def fault_of(text: str) -> str | None:
    """What CycloneDX's own schema says against it; None where nothing."""
    # It builds grammars for a second when it is imported.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if error is None else str(error)
