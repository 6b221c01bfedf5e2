"""The chart's files without Helm: made from what manifests/ has now, described value by value, of kubesteer's version."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from tools.chart.making import CHART, MANIFESTS, ROOT, RuleError, Rules, made_files, read_rules, stale_files
from tools.chart.values_table import with_table

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def test_the_templates_are_made_from_the_manifests_as_they_are() -> None:
    """`make chart` writes them."""
    made = made_files(read_rules())
    assert [str(path) for path, text in made.items() if not _has(CHART / path, text)] == []
    assert stale_files(made) == []


def _has(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def test_every_folder_of_the_manifests_is_in_the_chart() -> None:
    """Overlays that are only a choice among components have no objects of their own; dev's are values."""
    folders = {folder.path for folder in read_rules().folders}
    own = {
        str(each.parent.relative_to(MANIFESTS))
        for each in MANIFESTS.rglob("kustomization.yaml")
        if any((each.parent / name).is_file() for name in yaml.safe_load(each.read_text()).get("resources", ()))
    }
    assert folders == own


def test_the_chart_is_of_kubesteers_version_and_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["name"], chart["version"], chart["appVersion"]) == ("kubesteer", *[project["version"]] * 2)


def test_the_values_are_valid_by_their_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(VALUES)


def test_every_value_is_described_and_no_other_is_taken() -> None:
    def faults(schema: dict[str, Any], values: Any, path: str) -> Iterator[str]:
        if not schema.get("description"):
            yield f"{path}: no description"
        if "properties" not in schema:
            return
        if schema["additionalProperties"] is not False:
            yield f"{path}: takes anything"
        for name in schema["properties"].keys() | values.keys():
            if name not in schema["properties"] or name not in values:
                yield f"{path}.{name}: is in values.yaml or in the schema, not in both"
            else:
                yield from faults(schema["properties"][name], values[name], f"{path}.{name}")

    values = {**VALUES, "global": {}}
    assert list(faults({**SCHEMA, "description": SCHEMA["title"]}, values, "")) == []


def test_the_readme_has_the_table_of_all_values() -> None:
    """`make chart` writes it."""
    page = (CHART / "README.md").read_text()
    assert with_table(page, VALUES, SCHEMA) == page
    assert "| `extender.replicas` | `2` |" in page


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "base" / "one"
    folder.mkdir(parents=True)
    content = {
        "resources": ["service.yaml"],
        "configMapGenerator": [
            {
                "name": "kubesteer-one",
                "namespace": "kubesteer",
                "files": ["settings.yaml"],
                "options": {"labels": {"a": "b"}},
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    (folder / "service.yaml").write_text(
        "kind: Service\nspec:\n  # Both.\n  ports:\n    - 1\n    - 2\n  text: {{ x }}\n"
    )
    (folder / "settings.yaml").write_text("a: 1\n")
    return tmp_path


def rules(tmp_path: Path, *edits: dict[str, str], file: str = "base/one/service.yaml", when: str = "") -> Rules:
    path = tmp_path / "rules.yaml"
    folders = {"base/one": {"into": "one"} | ({"when": when} if when else {})}
    path.write_text(yaml.safe_dump({"folders": folders, "everywhere": {}, "files": {file: list(edits)}}))
    return read_rules(path)


def made(manifests: Path, *edits: dict[str, str], when: str = "") -> str:
    text = made_files(rules(manifests, *edits, when=when), manifests)[Path("templates/one/service.yaml")]
    return text.partition("\n")[2]


def test_lines_are_found_at_any_depth_and_what_takes_their_place_stands_there(manifests: Path) -> None:
    edit = {"find": "- 1\n- 2\n", "put": "{{- range .Values.ports }}\n- {{ . }}\n{{- end }}\n"}
    assert made(manifests, edit) == (
        "kind: Service\nspec:\n  # Both.\n  ports:\n"
        "    {{- range .Values.ports }}\n    - {{ . }}\n    {{- end }}\n"
        '  text: {{ "{{" }} x }}\n'
    )


@pytest.mark.parametrize(
    ("edit", "want"),
    [
        ({"find": "- 2\n", "add": "- 3\n"}, "    - 2\n    - 3\n"),
        ({"find": "- 2\n", "when": ".x"}, "    {{- if .x }}\n    - 2\n    {{- end }}\n"),
        (
            {"find": "- 2\n", "when": ".x", "otherwise": "- 3\n"},
            "    {{- if .x }}\n    - 2\n    {{- else }}\n    - 3\n    {{- end }}\n",
        ),
        ({"find": "kind: Ser", "put": "kind: ser"}, "kind: service\n"),
    ],
    ids=["add", "when", "otherwise", "a part of a line"],
)
def test_a_rule(manifests: Path, edit: dict[str, str], want: str) -> None:
    assert want in made(manifests, edit)


def test_a_folder_under_a_condition_is_so_file_by_file(manifests: Path) -> None:
    text = made(manifests, when=".Values.one")
    assert (text.startswith("{{- if .Values.one }}\nkind"), text.endswith("{{- end }}\n")) == (True, True)


def test_a_config_map_has_the_text_with_values_merged_over_it(manifests: Path) -> None:
    files = made_files(rules(manifests), manifests)
    text = files[Path("templates/one/one-configmap.yaml")]
    assert '(list . "kubesteer-one.settings.yaml" .Values.one.settings)' in text
    assert '{{- define "kubesteer-one.settings.yaml" -}}\na: 1\n' in files[Path("templates/one/_settings.tpl")]


@pytest.mark.parametrize(
    ("file", "find", "want"),
    [
        ("base/one/service.yaml", "- 7\n", "base/one/service.yaml: 0 times '- 7"),
        ("base/one/service.yaml", "s", "base/one/service.yaml: 2 times 's'"),
        ("base/one/gone.yaml", "- 1\n", "base/one/gone.yaml: no kustomization there has that file"),
    ],
    ids=["not there any more", "there twice", "of a file that is gone"],
)
def test_a_rule_that_fits_nothing_is_told(manifests: Path, file: str, find: str, want: str) -> None:
    with pytest.raises(RuleError, match=want.replace("'", ".")):
        made_files(rules(manifests, {"find": find, "put": "x"}, file=file), manifests)
