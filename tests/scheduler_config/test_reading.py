"""A file's text is read as the scheduler reads it, and kubesteer's settings as the extender does."""

from __future__ import annotations

import json
from textwrap import indent
from typing import Any

import pytest
import yaml

from extender.settings import Settings
from kubesteer.model.errors import InvalidInput, InvalidSettings
from kubesteer.schedulerconfig.checking import check_text
from kubesteer.schedulerconfig.findings import Severity
from kubesteer.schedulerconfig.minors import parse_minor
from kubesteer.schedulerconfig.reading import read
from kubesteer.schedulerconfig.service import Service, service_from
from tests.scheduler_config.documents import KUBECONFIG, found
from tests.scheduler_config.texts import HEAD, NAMES, TEXTS, WHOLE, Text


def refused(text: str) -> bool:
    """Whether the check says that the scheduler does not start with this text."""
    try:
        return bool(found(check_text(text, 37), Severity.ERROR))
    except InvalidInput:
        return True


@pytest.mark.parametrize("case", TEXTS.values(), ids=TEXTS)
def test_a_text_is_read_as_the_scheduler_reads_it(case: Text) -> None:
    assert refused(case.text) is (case.weights is None)
    if case.weights is not None:
        assert tuple(each["weight"] for each in read(case.text).document["extenders"]) == case.weights


@pytest.mark.parametrize("word", NAMES)
def test_a_word_is_for_kubesteer_what_it_is_for_the_scheduler(word: str) -> None:
    text = f"{HEAD}profiles: [{{schedulerName: {word}}}]\n"
    assert refused(text) is (NAMES[word] is None)
    if NAMES[word] is not None:
        assert read(text).document["profiles"] == [{"schedulerName": NAMES[word]}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", ["duplicate-key a"]),
        ("a: [{b: 1, b: 2}]", ["duplicate-key a[0].b"]),
        ('{"a": [{"b": 1, "b": 1}]}', ["duplicate-key a[0].b"]),
        ("a: &a {b: 1}\nc: {b: 2, <<: *a}", ["duplicate-key c.b"]),
        ("a: 1\n---\na: 2", ["second-document"]),
        ("a: 1\n---\na: [", ["second-document"]),
        ("a: 1\n---\n# nothing\n", []),
        ("", []),
    ],
)
def test_fields_that_are_there_twice_and_documents_that_are_not_read_are_found(text: str, said: list[str]) -> None:
    assert found(read(text).findings, Severity.ERROR, Severity.WARNING) == said


@pytest.mark.parametrize("text", ["a: [", "\t- a: b\n  c", "\x00", "a: !!int b", "!!binary =: a"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no YAML"):
        read(text)


def test_a_tag_of_another_program_is_text_and_runs_nothing() -> None:
    assert read("a: !!python/object/apply:os.system [echo]\nb: !!python/name:os.system x").document == {
        "a": ["echo"],
        "b": "x",
    }


CONFIG_MAP = f"""\
apiVersion: v1
kind: ConfigMap
metadata: {{name: mine}}
data:
  other.yaml: "a: ["
  config.yaml: |
{indent(WHOLE, "    ")}"""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param(CONFIG_MAP, "data[config.yaml]", id="by itself"),
        pytest.param(f"---\nkind: Service\n---\n{CONFIG_MAP}", "data[config.yaml]", id="among others, as Helm prints"),
        pytest.param(
            json.dumps({"kind": "List", "items": [yaml.safe_load(CONFIG_MAP)]}), "data[config.yaml]", id="List"
        ),
        pytest.param(f"{CONFIG_MAP}---\n{CONFIG_MAP}", "mine.data[config.yaml]", id="two of them"),
    ],
)
def test_a_configuration_is_found_in_a_config_map(text: str, path: str) -> None:
    findings = check_text(text, 37)
    # weight 15 beside the 15 of 1.37's Score plugins
    assert f"weight {path}.extenders[0].weight" in found(findings, Severity.NOTE)
    assert f"wrapped {path}" in found(findings, Severity.NOTE)
    assert found(findings, Severity.ERROR) == []


@pytest.mark.parametrize(("in_pod", "said"), [(None, []), (False, ["no-kubeconfig"]), (True, [])])
def test_a_scheduler_whose_file_is_in_a_config_map_runs_in_a_pod(in_pod: bool | None, said: list[str]) -> None:
    text = CONFIG_MAP.replace(f"clientConnection: {{kubeconfig: {KUBECONFIG}}}", "parallelism: 16")
    assert [each.rule for each in check_text(text, 37, in_pod=in_pod) if each.rule == "no-kubeconfig"] == said


def test_a_config_map_without_a_configuration_is_refused_as_the_scheduler_would() -> None:
    assert found(check_text("apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n", 37), Severity.ERROR) == [
        "api-version apiVersion",
        "kind kind",
    ]


@pytest.mark.parametrize(
    ("text", "minor"), [("1.37", 37), ("v1.34.4", 34), ("35", 35), ("v1.37.2-beta.0+abc", 37), ("1.100", 100)]
)
def test_a_minor_is_read_from_what_kubectl_version_prints(text: str, minor: int) -> None:
    assert parse_minor(text) == minor


@pytest.mark.parametrize("text", ["", "1", "1.28", "2.37", "new", "-37", "1.37x"])
def test_what_is_no_minor_or_too_old_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"give a Kubernetes version from 1\.29 on"):
        parse_minor(text)


def test_without_settings_the_extenders_defaults_hold() -> None:
    default = Settings()
    assert Service() == Service(
        path_prefix=default.listen.path_prefix,
        port=default.listen.port,
        ops_port=default.ops.port,
        deadline_s=default.limits.deadline_ms / 1e3,
        resource_names=tuple(name for each in default.network.directions for name in each.resource_names),
        annotations=tuple(each.annotation for each in default.network.directions),
        shortlist=default.filter.shortlist,
    )


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("listen: {path_prefix: scheduler/}", {"path_prefix": "/scheduler"}),
        ("listen: {port: 9443}", {"port": 9443}),
        ("ops: {port: 9000}", {"ops_port": 9000}),
        ("limits: {deadline_ms: 50}", {"deadline_s": 0.05}),
        ("filter: {shortlist: 1}", {"shortlist": 1}),
        ("tls: {cert_file: a, key_file: b}", {"serves_tls": True}),
        ("tls: {cert_file: a, key_file: b, client_ca_file: c}", {"serves_tls": True, "asks_certificate": True}),
        (
            "network: {directions: [{direction: up, resource_names: [a.io/b]}]}",
            {"resource_names": ("a.io/b",), "annotations": ()},
        ),
    ],
)
def test_a_settings_file_says_what_the_scheduler_has_to_agree_with(text: str, changes: dict[str, Any]) -> None:
    settings = yaml.safe_load(text)
    assert service_from(settings) == Service(**{"serves_tls": False, "asks_certificate": False, **changes})
    assert Settings(**settings)


@pytest.mark.parametrize(
    "settings", [["a"], {"listen": "x"}, {"limits": {"deadline_ms": "soon"}}, {"network": {"directions": [{}]}}]
)
def test_settings_that_the_extender_refuses_are_refused(settings: Any) -> None:
    with pytest.raises(InvalidSettings, match="settings"):
        service_from(settings)
