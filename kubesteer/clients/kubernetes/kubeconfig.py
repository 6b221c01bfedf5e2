"""What a kubeconfig says of one context, as client-go reads it, before the official client's loader sees it.

No request is sent and no plugin is run here. Fields that kubesteer cannot honour are refused in words: to leave
them out in silence would make it another user.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.quantity import shown

_FILES = ("client-certificate", "client-key", "tokenFile")
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_TOLD_TO_PLUGINS = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
_TOKEN_CHARACTERS = "!#$&'*+-.^_`|~"  # noqa: S105 - of a header's name, RFC 9110


@dataclass(frozen=True, slots=True)
class SelectedContext:
    """One context.

    merged: for the loader, without what it would read in another way. plugin: the user's `exec`. impersonate: headers.
    """

    merged: Any
    context: str
    folder: Path
    plugin: Any
    token_file: Path | None
    impersonate: tuple[tuple[str, str], ...]
    cluster: Mapping[str, Any]
    cluster_folder: Path

    def told_to_plugins(self) -> dict[str, Any]:
        """The cluster as a plugin with `provideClusterInfo` learns of it."""
        told = {key: self.cluster[key] for key in _TOLD_TO_PLUGINS if key in self.cluster}
        if "certificate-authority-data" in self.cluster:
            told["certificate-authority-data"] = self.cluster["certificate-authority-data"]
        elif "certificate-authority" in self.cluster:
            authority = (self.cluster_folder / self.cluster["certificate-authority"]).read_bytes()
            told["certificate-authority-data"] = base64.b64encode(authority).decode()
        for extension in self.cluster.get("extensions", ()):
            if extension.get("name") == _EXEC_EXTENSION:
                told["config"] = extension.get("extension")
        return told


def chosen(path: str, context: str | None) -> SelectedContext:
    """The context of merged files. Raises InvalidSettings, or what the official client raises for odd files."""
    from kubernetes.aio.config.kube_config import ConfigNode, KubeConfigMerger  # noqa: PLC0415 - see access.py

    merged = KubeConfigMerger(path).config  # type: ignore[no-untyped-call]
    name = context or merged["current-context"]
    of_context = merged["contexts"].get_with_name(name)["context"]
    cluster_node = merged["clusters"].get_with_name(of_context["cluster"])
    cluster = cluster_node.value["cluster"] = _filled(cluster_node.value.get("cluster"))
    _check_cluster(of_context["cluster"], cluster)
    user_name = of_context.safe_get("user")
    users = merged.value["users"]
    node = next((each for each in users if each.value.get("name") == user_name), None)
    if node is None:
        if user_name and users:
            raise InvalidSettings(f"context {shown(name)} names the user {shown(user_name)}, and users has none")
        # As client-go: nobody. The loader wants a user all the same.
        of_context.value["user"] = user_name or "nobody"
        node = ConfigNode("users/nobody", {"name": of_context.value["user"]}, cluster_node.path)  # type: ignore[no-untyped-call]
        users.append(node)
    folder = _folder(node.path)
    user = node.value["user"] = _filled(node.value.get("user"))
    _check_user(user)
    user.update({key: str(folder / user[key]) for key in _FILES if key in user})
    token_file, plugin = user.pop("tokenFile", None), user.pop("exec", None)
    if token_file is not None:
        user.pop("token", None)
    if "username" in user or "password" in user:
        user["username"], user["password"] = user.get("username", ""), user.get("password", "")
    has_other = token_file is not None or "token" in user or "username" in user
    return SelectedContext(
        merged=merged,
        context=name,
        folder=folder,
        plugin=None if has_other else plugin,
        token_file=None if token_file is None else Path(token_file),
        impersonate=_impersonation(user),
        cluster=cluster,
        cluster_folder=_folder(cluster_node.path),
    )


def _filled(section: Any) -> dict[str, Any]:
    """An empty or null value counts as absent."""
    return {key: value for key, value in (section or {}).items() if value not in (None, "")}


def _folder(file: str) -> Path:
    return Path(os.path.abspath(os.path.dirname(file)))  # noqa: PTH100, PTH120 - a link is not followed, as client-go


def _check_cluster(name: str, cluster: Mapping[str, Any]) -> None:
    if "server" not in cluster:
        raise InvalidSettings(f"cluster {shown(name)} has no server; write its address")
    proxy = cluster.get("proxy-url", "http:")
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise InvalidSettings(f"proxy-url {shown(proxy)} is no HTTP proxy; kubesteer can use no other kind")


def _check_user(user: Mapping[str, Any]) -> None:
    provider = user.get("auth-provider")
    if provider is not None and provider.get("name") != "oidc":
        raise InvalidSettings(
            f"auth-provider {shown(provider.get('name'))} is not known (only oidc is); use an exec plugin in its place"
        )
    if provider is not None and "exec" in user:
        raise InvalidSettings("auth-provider and exec are both written; leave one of them")
    if ("token" in user or "tokenFile" in user) and "username" in user:
        raise InvalidSettings("token and username are both written; leave one of them")


def _impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    extra = user.get("as-user-extra", {})
    lists = {"as-groups": user.get("as-groups", []), **{f"as-user-extra.{key}": extra[key] for key in extra}}
    for where, texts in lists.items():
        if not isinstance(texts, list):
            raise InvalidSettings(f"{where} {shown(texts)} is no list; write [{shown(texts)}]")
    headers = [("Impersonate-User", user["as"])] if "as" in user else []
    if "as-uid" in user:
        headers.append(("Impersonate-Uid", user["as-uid"]))
    headers += [("Impersonate-Group", group) for group in user.get("as-groups", ())]
    for key, values in extra.items():
        headers += [(f"Impersonate-Extra-{quote(key, safe=_TOKEN_CHARACTERS)}", value) for value in values]
    if headers and "as" not in user:
        raise InvalidSettings("as-uid, as-groups or as-user-extra is written without as; write the user's name")
    return tuple((name, header_value(str(value), "as")) for name, value in headers)


def header_value(text: str, what: str) -> str:
    """The text, without space around it. Raises InvalidSettings for one that no header can carry."""
    text = text.strip()
    if any(ord(each) < ord(" ") or each == "\x7f" for each in text):
        raise InvalidSettings(f"{what} has a line break or another control character in it; write it on one line")
    return text
