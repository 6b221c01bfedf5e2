"""A kubeconfig's exec plugin: how it is started, what it is told, and what becomes of its answers and its faults."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kubesteer.clients.kubernetes.access import from_kubeconfig
from kubesteer.clients.kubernetes.api import ApiRefused, ApiServer
from kubesteer.clients.kubernetes.reflector import Pace
from kubesteer.clients.kubernetes.source import KubernetesSource
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.network import DEFAULT_NETWORK
from tests.certificates import Authority
from tests.cluster_state.builders import node
from tests.cluster_state.fake_api import FakeApi
from tests.cluster_state.sink import RecordingSink
from tests.cluster_state.test_getting_access import kubeconfig, names
from tests.waiting import until

V1 = "client.authentication.k8s.io/v1"


def answer(**status: str) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


def plugin(folder: Path, script: str, name: str = "plugin") -> Path:
    """A shell script that also notes that it ran."""
    file = folder / name
    file.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def printing(folder: Path, text: str) -> Path:
    (folder / "answer").write_text(text)
    return plugin(folder, f"cat {folder}/answer")


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().split())


def of_plugin(command: Path | str, **more: Any) -> dict[str, Any]:
    return {"exec": {"apiVersion": V1, "command": str(command), "interactiveMode": "Never", **more}}


async def refused(path: str, **options: Any) -> str:
    with pytest.raises(InvalidSettings) as caught:
        await from_kubeconfig(path, **options)()
    return str(caught.value)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(
            "echo trace >&2; echo 'session expired' >&2; echo 'run: login' >&2; exit 3",
            "ended with 3: 'session expired run: login'",
            id="fails",
        ),
        pytest.param("echo hello", "printed no JSON", id="no JSON"),
        pytest.param("printf '\\377'", "printed no JSON", id="no UTF-8"),
        pytest.param("echo no browser >&2", "printed nothing: 'no browser'", id="nothing"),
        pytest.param("echo '[]'", "printed no ExecCredential", id="a list"),
        pytest.param(f"echo '{answer()}'", "neither a token nor a client certificate", id="no credentials"),
        pytest.param(f"echo '{answer(clientKeyData='k')}'", "only one of clientCertificateData", id="half a pair"),
        pytest.param(f"echo '{answer(token='t').replace('/v1', '/v1beta1')}'", "the kubeconfig wants", id="version"),
        pytest.param(
            f"echo '{answer(token='t', expirationTimestamp='soon')}'", "expirationTimestamp 'soon'", id="time"
        ),
        pytest.param("printf %s '" + answer(token="first\nsecond") + "'", "line break", id="two lines"),
    ],
)
async def test_a_plugin_that_gives_nothing_stops_the_start_in_its_own_words(
    tmp_path: Path, script: str, words: str
) -> None:
    path = kubeconfig(tmp_path, server="http://127.0.0.1:1", user=of_plugin(plugin(tmp_path, script)))
    told = await refused(path)
    assert told.startswith(f"kubeconfig {path}: ")
    assert words in told


async def test_a_plugin_that_is_missing_is_told_with_the_hint_how_to_install_it(tmp_path: Path) -> None:
    user = of_plugin("no-such-plugin-anywhere", installHint="get it from the store")
    told = await refused(kubeconfig(tmp_path, server="http://127.0.0.1:1", user=user))
    assert "'no-such-plugin-anywhere' could not be started: No such file or directory; 'get it from the store'" in told


async def test_a_plugin_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    path = kubeconfig(tmp_path, server="http://127.0.0.1:1", user=of_plugin(plugin(tmp_path, script)))
    noted = tmp_path / "child"
    noted.touch()

    async def hung_after_it_had_a_child() -> bool:
        assert "gave no answer within 0.5 s" in await refused(path, plugin_timeout_s=0.5)
        return noted.read_text() != ""

    await until(hung_after_it_had_a_child)
    await until(lambda: not _runs(int(noted.read_text())))


def _runs(process: int) -> bool:
    """A zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"interactiveMode": "Always"}, "interactiveMode is Always"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1' is none of"),
        ({"args": "one"}, "exec: Expected `array"),
    ],
)
async def test_what_cannot_be_asked_of_a_plugin_is_refused_before_it_runs(
    tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    user = of_plugin(plugin(tmp_path, "exit 1"), **more)
    assert words in await refused(kubeconfig(tmp_path, server="http://127.0.0.1:1", user=user))
    assert not (tmp_path / "runs").exists()


async def test_a_plugin_beside_the_kubeconfig_gets_arguments_variables_and_the_cluster(
    api: FakeApi, tmp_path: Path
) -> None:
    """KUBERNETES_EXEC_INFO as client-go writes it."""
    (tmp_path / "bin").mkdir()
    told = tmp_path / "told"
    script = f'printf "%s\\n%s\\n%s" "$1" "$COLOUR" "$KUBERNETES_EXEC_INFO" > {told}; echo \'{answer(token="t")}\''
    plugin(tmp_path / "bin", script, "mine")
    (tmp_path / "ca.pem").write_text("the authority")
    user = of_plugin("./bin/mine", args=["--now"], env=[{"name": "COLOUR", "value": "blue"}], provideClusterInfo=True)
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    cluster = {"certificate-authority": "ca.pem", "tls-server-name": "api", "extensions": [extension]}
    access = await from_kubeconfig(kubeconfig(tmp_path, server=api.url, user=user, **cluster))()
    assert await access.authorization() == "Bearer t"
    argument, colour, info = told.read_text().split("\n", 2)
    assert (argument, colour) == ("--now", "blue")
    assert json.loads(info) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": api.url,
                "tls-server-name": "api",
                "certificate-authority-data": base64.b64encode(b"the authority").decode(),
                "config": {"audience": "a"},
            },
        },
    }


async def test_a_plugins_certificate_speaks_for_us(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    certificate, key = authority.issue("client")
    tls = authority.server()
    tls.load_verify_locations(authority.ca_file)
    tls.verify_mode = ssl.CERT_REQUIRED
    given = answer(clientCertificateData=certificate.read_text(), clientKeyData=key.read_text())
    api = FakeApi()
    await api.start(tls)
    try:
        api.put(node("a"))
        path = kubeconfig(
            tmp_path,
            server=f"https://127.0.0.1:{api.port}",
            user=of_plugin(printing(tmp_path, given)),
            **{"certificate-authority": "ca.crt"},
        )
        async with ApiServer(from_kubeconfig(path)) as server:
            assert await names(server) == ["a"]
    finally:
        await api.stop()


async def test_a_renewal_that_fails_keeps_the_old_credentials_and_is_tried_again_ever_more_seldom(
    api: FakeApi, tmp_path: Path
) -> None:
    now_s = 0.0
    path = kubeconfig(tmp_path, server=api.url, user=of_plugin(printing(tmp_path, answer(token="first"))))
    plugin(tmp_path, f"test -e {tmp_path}/broken && echo 'login first' >&2 && exit 1; cat {tmp_path}/answer")
    api.accepted_token = "first"
    api.put(node("a"))
    async with ApiServer(from_kubeconfig(path), clock=lambda: now_s) as server:
        assert await names(server) == ["a"]
        (tmp_path / "broken").touch()
        api.accepted_token = "second"
        counts = []
        for now_s in (10.0, 10.5, 10.9, 11.0, 12.9, 13.0, 16.9, 17.0):  # noqa: B007 - the clock reads it
            with pytest.raises(ApiRefused, match=r"401: Unauthorized; .*renewed: .*ended with 1: 'login first'"):
                await names(server)
            counts.append(runs(tmp_path) - 1)
        assert counts == [1, 1, 1, 2, 2, 3, 3, 4], "after 1 s, 2 s, 4 s"
        assert {headers["Authorization"] for headers in api.headers} == {"Bearer first"}, "never nobody"
        api.accepted_token = "first"
        assert await names(server) == ["a"]
        (tmp_path / "broken").unlink()
        (tmp_path / "answer").write_text(answer(token="second"))
        api.accepted_token = "second"
        now_s = 60.0
        assert await names(server) == ["a"]


async def test_a_storm_of_refusals_does_not_run_the_plugin_for_each_request(api: FakeApi, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, server=api.url, user=of_plugin(printing(tmp_path, answer(token="never"))))
    api.accepted_token = "other"
    async with ApiServer(from_kubeconfig(path), clock=lambda: 5.0) as server:
        for _ in range(5):
            refusals = await asyncio.gather(*[names(server) for _ in range(20)], return_exceptions=True)
            assert all(isinstance(each, ApiRefused) for each in refusals)
    assert runs(tmp_path) == 2, "at the start and once more"


async def test_credentials_are_renewed_before_they_end(api: FakeApi, tmp_path: Path) -> None:
    """Of a life of 100 s the last tenth: from 90 s on."""
    start_s, age_s = 1_800_000_000.0, 0.0

    def ending_after(life_s: float, token: str) -> str:
        return answer(token=token, expirationTimestamp=datetime.fromtimestamp(start_s + life_s, UTC).isoformat())

    path = kubeconfig(tmp_path, server=api.url, user=of_plugin(printing(tmp_path, ending_after(100, "first"))))
    api.put(node("a"))

    def wall_clock() -> float:
        return start_s + age_s

    async with ApiServer(
        from_kubeconfig(path, wall_clock=wall_clock), wall_clock=wall_clock, clock=lambda: age_s
    ) as server:
        seen = []
        for age_s in (1.0, 89.0, 91.0, 92.0):  # noqa: B007 - the clocks read it
            (tmp_path / "answer").write_text(ending_after(1000, "second"))
            assert await names(server) == ["a"]
            seen.append(api.headers[-1]["Authorization"])
    assert seen == ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]
    assert runs(tmp_path) == 2


async def test_a_token_beside_a_plugin_counts_and_the_plugin_is_not_run(api: FakeApi, tmp_path: Path) -> None:
    user = {"token": "t", **of_plugin(plugin(tmp_path, "exit 1"))}
    access = await from_kubeconfig(kubeconfig(tmp_path, server=api.url, user=user))()
    assert await access.authorization() == "Bearer t"
    assert not (tmp_path / "runs").exists()


async def test_a_source_whose_plugin_fails_says_so_and_goes_on_once_it_works(
    api: FakeApi, sink: RecordingSink, tmp_path: Path
) -> None:
    script = f"test -e {tmp_path}/broken && echo 'login first' >&2 && exit 1; cat {tmp_path}/answer"
    path = kubeconfig(tmp_path, server=api.url, user=of_plugin(plugin(tmp_path, script)))
    (tmp_path / "answer").write_text(answer(token="first"))
    api.accepted_token = "first"

    async def sleep(_delay_s: float) -> None:
        await asyncio.sleep(0.005)

    async with ApiServer(from_kubeconfig(path)) as server:
        source = KubernetesSource(server, DEFAULT_NETWORK, random=Random(1), pace=Pace(), sleep=sleep)
        task = asyncio.create_task(source.run(sink))
        await until(lambda: api.of("pods") and api.of("nodes"))
        (tmp_path / "broken").touch()
        api.accepted_token = "second"
        api.cut()
        await until(lambda: "ended with 1: 'login first'" in (source.status().last_error or ""))
        (tmp_path / "answer").write_text(answer(token="second"))
        (tmp_path / "broken").unlink()
        api.put(node("late"))
        await until(lambda: "late" in sink.nodes)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
