"""A file's text is read as the scheduler reads it, and kubesteer's settings as the extender does."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from extender.settings import Settings
from kubesteer.model.errors import InvalidInput, InvalidSettings
from kubesteer.schedulerconfig.findings import Severity
from kubesteer.schedulerconfig.minors import parse_minor
from kubesteer.schedulerconfig.reading import read
from kubesteer.schedulerconfig.service import Service, service_from
from tests.scheduler_config.documents import found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2", []),
        ("a: 1\na: 2", ["duplicate-key a"]),
        ("a: [{b: 1, b: 2}]", ["duplicate-key a[0].b"]),
        ('{"a": {"b": 1, "b": 1}}', ["duplicate-key a.b"]),
        ("a: 1\n---\na: 2", ["second-document"]),
        ("", []),
    ],
)
def test_fields_that_are_there_twice_and_documents_that_nobody_reads_are_found(text: str, said: list[str]) -> None:
    assert found(read(text)[1], Severity.ERROR, Severity.WARNING) == said


def test_a_date_is_text_and_yes_is_true_as_they_are_for_the_scheduler() -> None:
    assert read("a: 2026-01-01\nb: yes")[0] == {"a": "2026-01-01", "b": True}


@pytest.mark.parametrize("text", ["a: [", "\t- a: b\n  c", "a: !!python/object:os.system x", "\x00"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no YAML"):
        read(text)


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
