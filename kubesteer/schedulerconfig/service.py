"""What of kubesteer's own settings a scheduler's configuration has to agree with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.network import DEFAULT_NETWORK, NetworkResource

VERBS = ("filter", "prioritize")
"""What kubesteer answers, each under its own name."""


@dataclass(frozen=True, slots=True)
class Service:
    """The extender as its settings make it; without them, its defaults, and None for what they leave open.

    deadline_s: kubesteer's own, past which it answers with what it has.
    serves_tls, asks_certificate: whether the verbs' port speaks TLS, and wants a client's certificate.
    """

    path_prefix: str = ""
    port: int = 8888
    ops_port: int = 8889
    deadline_s: float = 0.3
    resource_names: tuple[str, ...] = tuple(name for each in DEFAULT_NETWORK for name in each.resource_names)
    annotations: tuple[str, ...] = tuple(each.annotation for each in DEFAULT_NETWORK)
    shortlist: int | None = None
    serves_tls: bool | None = None
    asks_certificate: bool | None = None


def service_from(settings: Any) -> Service:
    """The part of a settings file that matters here. Raises InvalidSettings for what the extender would refuse too."""
    if not isinstance(settings, Mapping):
        raise InvalidSettings("settings: write groups of settings (listen:, cluster:, ...)")
    listen, tls = _group(settings, "listen"), _group(settings, "tls")
    default = Service()
    try:
        network = [
            NetworkResource(each["direction"], tuple(each["resource_names"]), each.get("annotation", ""))
            for each in _group(settings, "network").get("directions", ())
        ] or DEFAULT_NETWORK
        prefix = str(listen.get("path_prefix", "")).strip("/")
        return Service(
            path_prefix=f"/{prefix}" if prefix else "",
            port=int(listen.get("port", default.port)),
            ops_port=int(_group(settings, "ops").get("port", default.ops_port)),
            deadline_s=float(_group(settings, "limits").get("deadline_ms", default.deadline_s * 1e3)) / 1e3,
            resource_names=tuple(name for each in network for name in each.resource_names),
            annotations=tuple(each.annotation for each in network if each.annotation),
            shortlist=_group(settings, "filter").get("shortlist"),
            serves_tls=bool(tls.get("cert_file")),
            asks_certificate=bool(tls.get("client_ca_file")),
        )
    except (TypeError, ValueError, KeyError) as exc:
        raise InvalidSettings(f"settings: {exc!r}; the extender does not take them either") from exc


def _group(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = settings.get(name) or {}
    if not isinstance(group, Mapping):
        raise InvalidSettings(f"settings: {name} is no group of settings")
    return group
