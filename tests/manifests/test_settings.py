"""Settings in manifests/ are settings that the services take: every file, every variable, and what they mean together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from extender import settings_file as extender_settings
from kubesteer.cli.keeping import settings as keep_settings
from monitor_agent import settings_file as agent_settings
from monitor_agent.settings import Settings as AgentSettings

from .written import MANIFESTS, kustomizations, named_files, pod_spec, written

EXTENDER_FILES = [MANIFESTS / "base/extender/settings.yaml", MANIFESTS / "overlays/dev/extender-settings.yaml"]
KEEPER_FILES = [
    MANIFESTS / folder / "settings.yaml"
    for folder in ("base/keeper", "components/self-signed", "components/node-certificates")
]
AGENT_FILES = [MANIFESTS / "base/agent/settings.yaml", MANIFESTS / "overlays/dev/agent-settings.yaml"]


def spec_of(kind: str, name: str) -> Any:
    [found] = [e.object for e in written() if (e.object["kind"], e.object["metadata"]["name"]) == (kind, name)]
    return pod_spec(found)


def mounts(spec: Any) -> set[Path]:
    return {Path(mount["mountPath"]) for one in spec["containers"] for mount in one["volumeMounts"]}


def test_these_are_all_files_of_settings() -> None:
    named = {path for each in kustomizations() for field, path in named_files(each) if field == "files"}
    assert {path for path in named if path.name.endswith("settings.yaml")} == {
        *EXTENDER_FILES,
        *AGENT_FILES,
        *KEEPER_FILES,
    }


@pytest.mark.parametrize("file", EXTENDER_FILES, ids=lambda file: str(file.relative_to(MANIFESTS)))
def test_the_extender_takes_its_file(file: Path) -> None:
    settings = extender_settings.load(file)
    assert settings.cluster.source == "kubernetes"
    ports = {
        p["name"]: p["containerPort"] for p in spec_of("Deployment", "kubesteer-extender")["containers"][0]["ports"]
    }
    assert ports == {"verbs": settings.listen.port, "ops": settings.ops.port}
    assert (settings.listen.host, settings.ops.host) == ("0.0.0.0", "0.0.0.0")


@pytest.mark.parametrize("file", AGENT_FILES, ids=lambda file: str(file.relative_to(MANIFESTS)))
def test_the_agent_takes_its_file(file: Path) -> None:
    settings = agent_settings.load(file, {})
    [port] = spec_of("DaemonSet", "kubesteer-agent")["containers"][0]["ports"]
    assert port["containerPort"] == settings.ops.port


def test_extender_and_agents_mean_the_same_store_and_learn_alike() -> None:
    reader = extender_settings.load(EXTENDER_FILES[0]).rewards
    writer = agent_settings.load(AGENT_FILES[0], {})
    assert list(reader.endpoints) == writer.store.endpoints
    assert (reader.prefix, reader.half_life_s) == (writer.store.prefix, writer.learning.half_life_s)
    assert reader.policy == writer.learning.learner


def test_the_keeper_means_the_same_store_as_the_services() -> None:
    reader = extender_settings.load(EXTENDER_FILES[0]).rewards
    for file in KEEPER_FILES:
        etcd = keep_settings.load(file).etcd
        assert (etcd.endpoints, etcd.prefix) == (list(reader.endpoints), reader.prefix)


def test_a_pod_is_given_the_time_to_drain() -> None:
    listen = extender_settings.load(EXTENDER_FILES[0]).listen
    assert (
        spec_of("Deployment", "kubesteer-extender")["terminationGracePeriodSeconds"] > listen.drain_s + listen.grace_s
    )


def test_files_that_settings_name_are_in_folders_that_are_mounted() -> None:
    extender = extender_settings.load(EXTENDER_FILES[0])
    named = [extender.tls.cert_file, extender.tls.key_file, extender.tls.client_ca_file]
    named += [extender.rewards.ca_file, extender.rewards.cert_file, extender.rewards.key_file]
    assert {file.parent for file in named if file} <= mounts(spec_of("Deployment", "kubesteer-extender"))
    store = agent_settings.load(AGENT_FILES[0], {}).store
    files = [Path(file) for file in (store.ca_file, store.cert_file, store.key_file) if file]
    assert {file.parent for file in files} <= mounts(spec_of("DaemonSet", "kubesteer-agent"))
    assert {file.name for file in [*files, *filter(None, named)]} == {"ca.crt", "tls.crt", "tls.key"}


VARIABLES = sorted(
    {name for file in MANIFESTS.rglob("*.yaml") for name in re.findall(r"name: (KUBESTEER_\w+)", file.read_text())}
)
VALUES = {
    "KUBESTEER_CLUSTER__SCHEDULERS": '["default-scheduler"]',
    "KUBESTEER_REWARDS__ENDPOINTS": '["etcd-0.example.com:2379", "etcd-1.example.com:2379"]',
    "KUBESTEER_AGENT_STORE__ENDPOINTS": '["etcd-0.example.com:2379", "etcd-1.example.com:2379"]',
    "KUBESTEER_AGENT_NETWORK__MARK": "both",
    "KUBESTEER_AGENT_STORE__CERTIFICATE": "request",
    "KUBESTEER_AGENT_STORE__CERT_FILE": "/run/kubesteer/tls.crt",
    "KUBESTEER_AGENT_STORE__KEY_FILE": "/run/kubesteer/tls.key",
    "KUBESTEER_AGENT_OPS__HOST": "fd00::1",
    "KUBESTEER_AGENT_OPS__PROBES_HOST": "127.0.0.1",
    "KUBESTEER_AGENT_OPS__AUTH": "kubernetes",
    "KUBESTEER_AGENT_OPS__CERT_FILE": "/etc/kubesteer/server/tls.crt",
    "KUBESTEER_AGENT_OPS__KEY_FILE": "/etc/kubesteer/server/tls.key",
}


def test_these_are_all_variables() -> None:
    assert set(VARIABLES) == VALUES.keys()


@pytest.mark.parametrize("name", VARIABLES)
def test_a_service_takes_its_variable_over_its_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("KUBESTEER_AGENT_"):
        before, after = (agent_settings.load(AGENT_FILES[0], env) for env in ({}, {name: VALUES[name]}))
        assert isinstance(after, AgentSettings)
    else:
        before = extender_settings.load(EXTENDER_FILES[0])
        monkeypatch.setenv(name, VALUES[name])
        after = extender_settings.load(EXTENDER_FILES[0])
    assert before != after


def test_variables_that_kubernetes_makes_of_services_stop_no_agent() -> None:
    """The manifests switch service links off; a deployment of one's own may not."""
    links = {"KUBESTEER_AGENT_SERVICE_HOST": "10.96.0.7", "KUBESTEER_AGENT_PORT": "tcp://10.96.0.7:8890"}
    assert agent_settings.load(AGENT_FILES[0], links) == agent_settings.load(AGENT_FILES[0], {})
