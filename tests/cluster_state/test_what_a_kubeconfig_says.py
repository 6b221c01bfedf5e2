"""A kubeconfig means to kubesteer what it means to client-go, and what kubesteer cannot honour is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubesteer.clients.kubernetes.access import from_kubeconfig
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.model.errors import ClusterUnavailable, InvalidSettings
from tests.certificates import Authority
from tests.cluster_state.builders import node
from tests.cluster_state.fake_api import FakeApi
from tests.cluster_state.test_getting_access import kubeconfig, names


def changed(path: str, **parts: Any) -> str:
    """The file with parts of it replaced."""
    file = Path(path)
    file.write_text(json.dumps({**json.loads(file.read_text()), **parts}))
    return path


async def test_who_acts_as_another_says_so_in_headers(api: FakeApi, tmp_path: Path) -> None:
    """As client-go writes them: keys of extras are percent-encoded, and a key may come twice."""
    extra = {"acme.com/project": ["x", "y"], "a b": ["z"]}
    user = {"as": "jane", "as-uid": "7", "as-groups": ["dev", "ops"], "as-user-extra": extra}
    api.put(node("a"))
    access = await from_kubeconfig(kubeconfig(tmp_path, server=api.url, user=user))()
    assert access.headers == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Extra-acme.com%2Fproject", "x"),
        ("Impersonate-Extra-acme.com%2Fproject", "y"),
        ("Impersonate-Extra-a%20b", "z"),
    )
    async with ApiServer(from_kubeconfig(kubeconfig(tmp_path, server=api.url, user=user))) as server:
        assert await names(server) == ["a"]
    assert api.headers[-1]["Impersonate-User"] == "jane"


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"as-groups": ["dev"]}, "is written without as; write the user's name"),
        ({"as": "jane", "as-groups": "dev"}, "as-groups 'dev' is no list; write ['dev']"),
        ({"as": "jane", "as-user-extra": {"k": "v"}}, "as-user-extra.k 'v' is no list"),
        ({"as": "jane\nX-Other: 1"}, "as has a line break"),
        ({"token": "a\nb"}, "the token has a line break"),
        ({"token": "t", "username": "u", "password": "p"}, "token and username are both written"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider 'gcp' is not known"),
        ({"auth-provider": {"name": "oidc"}, "exec": {}}, "auth-provider and exec are both written"),
        ({"tokenFile": "absent"}, "absent: "),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "exec: Object missing required field `command`"),
        (["token"], "it has not the shape of a kubeconfig"),
    ],
)
async def test_a_user_that_cannot_be_honoured_stops_the_start(tmp_path: Path, user: Any, words: str) -> None:
    path = kubeconfig(tmp_path, server="http://127.0.0.1:1", user=user)
    with pytest.raises(InvalidSettings) as caught:
        await from_kubeconfig(path)()
    assert str(caught.value).startswith(f"kubeconfig {path}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"server": ""}, "cluster 'c' has no server"),
        ({"server": "http://127.0.0.1:1", "proxy-url": "socks5://127.0.0.1:1"}, "is no HTTP proxy"),
    ],
)
async def test_a_cluster_that_cannot_be_reached_so_stops_the_start(
    tmp_path: Path, cluster: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidSettings, match=words):
        await from_kubeconfig(kubeconfig(tmp_path, user={}, **cluster))()


@pytest.mark.parametrize("content", ["", "[]", "3", '"text"', '{"users": 3}', '{"contexts": [3]}'])
async def test_a_file_of_another_shape_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(InvalidSettings, match="config: "):
        await from_kubeconfig(str(tmp_path / "config"))()


@pytest.mark.parametrize("users", [None, [], [{"name": "u", "user": None}]])
async def test_without_users_it_is_nobody_who_asks_also_over_tls(tmp_path: Path, users: Any) -> None:
    api = FakeApi()
    await api.start(Authority(tmp_path, "ca").server())
    try:
        api.put(node("a"))
        path = kubeconfig(
            tmp_path, server=f"https://127.0.0.1:{api.port}", user={}, **{"certificate-authority": "ca.crt"}
        )
        async with ApiServer(from_kubeconfig(changed(path, users=users))) as server:
            assert await names(server) == ["a"]
        assert "Authorization" not in api.headers[-1]
    finally:
        await api.stop()


async def test_a_user_that_is_not_among_those_there_are_stops_the_start(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, server="http://127.0.0.1:1", user={})
    changed(path, users=[{"name": "other", "user": {"token": "t"}}])
    with pytest.raises(InvalidSettings, match="context 'main' names the user 'u', and users has none"):
        await from_kubeconfig(path)()


async def test_a_token_file_beside_the_kubeconfig_is_read_again_for_every_request(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    api.accepted_token = "first"
    api.put(node("a"))
    user = {"token": "stale", "tokenFile": "token"}
    async with ApiServer(from_kubeconfig(kubeconfig(tmp_path, server=api.url, user=user))) as server:
        assert await names(server) == ["a"]
        (tmp_path / "token").write_text("second\n")
        api.accepted_token = "second"
        assert await names(server) == ["a"]
        assert len(api.requests) == 2, "nothing was refused in between"
        (tmp_path / "token").unlink()
        with pytest.raises(ClusterUnavailable, match=r"token .*/token: "):
            await names(server)


async def test_a_name_and_a_password_are_sent(api: FakeApi, tmp_path: Path) -> None:
    """Basic YTpi is a:b in base64."""
    path = kubeconfig(tmp_path, server=api.url, user={"username": "a", "password": "b"})
    access = await from_kubeconfig(path)()
    assert await access.authorization() == "Basic YTpi"


async def test_empty_data_does_not_hide_the_file(tmp_path: Path) -> None:
    Authority(tmp_path, "ca").issue("client")
    user = {"client-certificate": "client.crt", "client-key": "client.key", "client-certificate-data": ""}
    path = kubeconfig(tmp_path, server="https://127.0.0.1:1", user=user, **{"certificate-authority": "ca.crt"})
    assert (await from_kubeconfig(path)()).tls is not None
