"""Who we are to the API server, and what happens when that changes."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kubesteer.clients.kubernetes.access import Access, from_kubeconfig, in_cluster
from kubesteer.clients.kubernetes.api import ApiRefused, ApiServer
from kubesteer.model.errors import ClusterUnavailable, InvalidSettings
from tests.certificates import Authority
from tests.cluster_state.builders import node
from tests.cluster_state.conftest import access_to
from tests.cluster_state.fake_api import FakeApi

if TYPE_CHECKING:
    from pathlib import Path

LIST = ("/api/v1/nodes", {"limit": "500"})


def kubeconfig(path: Path, *, server: str, user: dict[str, Any], **cluster: Any) -> str:
    clusters = [{"name": "c", "cluster": {"server": server, **cluster}}]
    contexts = [{"name": "main", "context": {"cluster": "c", "user": "u"}}]
    users = [{"name": "u", "user": user}]
    document = {"clusters": clusters, "contexts": contexts, "users": users, "current-context": "main"}
    file = path / "config"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **document}))
    return str(file)


async def names(server: ApiServer) -> list[str]:
    items = json.loads(await server.get(*LIST))["items"]
    return [item["metadata"]["name"] for item in items]


async def test_a_service_account_is_read_from_its_files_and_a_rotated_token_counts_at_once(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    api = FakeApi()
    await api.start(Authority(tmp_path, "ca").server())
    try:
        api.put(node("a"))
        api.accepted_token = "first"
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        async with ApiServer(in_cluster(environ, directory=tmp_path)) as server:
            assert await names(server) == ["a"]
            api.accepted_token = "second"
            with pytest.raises(ApiRefused, match="401"):
                await names(server)
            (tmp_path / "token").write_text("second\n")
            assert await names(server) == ["a"]
            (tmp_path / "token").unlink()
            with pytest.raises(ClusterUnavailable, match="mount the service account"):
                await names(server)
    finally:
        await api.stop()


async def test_a_server_that_the_ca_does_not_vouch_for_is_not_talked_to(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    Authority(tmp_path / "ours", "ca")
    (tmp_path / "ours" / "token").write_text("secret")
    api = FakeApi()
    await api.start(Authority(tmp_path / "theirs", "ca").server())
    try:
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        async with ApiServer(in_cluster(environ, directory=tmp_path / "ours")) as server:
            with pytest.raises(ClusterUnavailable, match=r"(?i)certificate verify failed"):
                await names(server)
        assert api.headers == []
    finally:
        await api.stop()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        pytest.param({}, "KUBERNETES_SERVICE_HOST is not set", id="not in a cluster"),
        pytest.param(
            {"KUBERNETES_SERVICE_HOST": "::1", "KUBERNETES_SERVICE_PORT": "1"}, r"ca\.crt", id="nothing mounted"
        ),
    ],
)
async def test_a_missing_service_account_stops_the_start(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        await in_cluster(environ, directory=tmp_path)()


async def test_an_address_of_six_bytes_groups_is_put_in_brackets(tmp_path: Path) -> None:
    Authority(tmp_path, "ca")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert (await in_cluster(environ, directory=tmp_path)()).url == "https://[fd00::1]:443"


async def test_a_kubeconfig_gives_address_and_token(api: FakeApi, tmp_path: Path) -> None:
    api.accepted_token = "t0ken"
    api.put(node("a"))
    path = kubeconfig(tmp_path, server=api.url, user={"token": "t0ken"})
    async with ApiServer(from_kubeconfig(path, context="main")) as server:
        assert await names(server) == ["a"]


async def test_a_kubeconfig_that_is_not_there_is_told_so_and_one_of_several_may_be_missing(
    api: FakeApi, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path, server=api.url, user={"token": "t"})
    with pytest.raises(InvalidSettings, match=r"kubeconfig .*absent: no such file"):
        await from_kubeconfig(str(tmp_path / "absent"))()
    assert (await from_kubeconfig(f"{tmp_path / 'absent'}{os.pathsep}{path}")()).url == api.url


@pytest.mark.parametrize(
    "has_usage", [True, False], ids=["an authority", "an old one, which Python 3.13 refuses by itself"]
)
async def test_a_kubeconfig_gives_the_ca_of_its_server(tmp_path: Path, has_usage: bool) -> None:
    api = FakeApi()
    await api.start(Authority(tmp_path, "ca", has_usage=has_usage).server())
    try:
        api.put(node("a"))
        server_url = f"https://127.0.0.1:{api.port}"
        ca = {"certificate-authority": str(tmp_path / "ca.crt")}
        async with ApiServer(from_kubeconfig(kubeconfig(tmp_path, server=server_url, user={}, **ca))) as server:
            assert await names(server) == ["a"]
        insecure = {"insecure-skip-tls-verify": True}
        async with ApiServer(from_kubeconfig(kubeconfig(tmp_path, server=server_url, user={}, **insecure))) as server:
            assert await names(server) == ["a"]
    finally:
        await api.stop()


async def test_an_exec_plugin_is_run_again_when_its_token_is_refused(api: FakeApi, tmp_path: Path) -> None:
    token_file, plugin = tmp_path / "token", tmp_path / "plugin"
    plugin.write_text(
        f"#!/bin/sh\necho run >> {tmp_path}/runs\n"
        'printf \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        f'"status":{{"token":"%s"}}}}\' "$(cat {token_file})"\n'
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    token_file.write_text("first")
    api.accepted_token = "first"
    api.put(node("a"))
    async with ApiServer(from_kubeconfig(kubeconfig(tmp_path, server=api.url, user=user))) as server:
        assert await names(server) == ["a"]
        token_file.write_text("second")
        api.accepted_token = "second"
        assert await asyncio.gather(*[names(server) for _ in range(4)]) == [["a"]] * 4
    assert (tmp_path / "runs").read_text().split() == ["run", "run"], "four refused together load once"


@pytest.mark.parametrize(
    ("content", "context"),
    [
        pytest.param(None, None, id="no file"),
        pytest.param("{", None, id="broken"),
        pytest.param("{}", None, id="empty"),
        pytest.param(None, "other", id="no such context"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_stops_the_start_and_is_named(
    tmp_path: Path, content: str | None, context: str | None
) -> None:
    path = kubeconfig(tmp_path, server="http://127.0.0.1:1", user={}) if context else str(tmp_path / "config")
    if content is not None:
        (tmp_path / "config").write_text(content)
    with pytest.raises(InvalidSettings, match=f"kubeconfig {path}: "):
        await from_kubeconfig(path, context=context)()


async def test_a_refused_token_is_loaded_anew_only_once_a_call(api: FakeApi) -> None:
    api.accepted_token = "right"
    loads: list[int] = []

    async def load() -> Access:
        loads.append(1)
        return access_to(api, lambda: "wrong")

    async with ApiServer(load) as server:
        with pytest.raises(ApiRefused, match="401: Unauthorized") as caught:
            await names(server)
    assert caught.value.status == 401
    assert (len(loads), len(api.requests)) == (2, 2)


async def test_a_silent_server_is_given_up_after_the_time_limit() -> None:
    accepted = asyncio.Event()
    release = asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await release.wait()
        writer.close()

    async def load() -> Access:
        async def nobody() -> None:
            return None

        return Access(f"http://127.0.0.1:{port}", nobody)

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with ApiServer(load, timeout_s=0.1) as server:
            with pytest.raises(ClusterUnavailable, match=r"GET /api/v1/nodes: .* did not answer"):
                await names(server)
        release.set()
    assert accepted.is_set()


def test_who_uses_no_kubeconfig_does_not_import_the_official_client() -> None:
    script = (
        "import sys; import kubesteer.clients.kubernetes.source, kubesteer.clients.kubernetes.cluster_file;"
        "print('kubernetes' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"
