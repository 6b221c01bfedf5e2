"""How to reach etcd: settings, checked once, and what gRPC needs to know of them. No connection is made here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import grpc

from kubesteer.model.errors import InvalidSettings, StoreUnavailable

_MILLI = 1000


class EtcdFiles(Protocol):
    """Settings of this client's identity and trust; as in EtcdOptions."""

    @property
    def ca_file(self) -> str | Path | None:
        """Authority of the server's certificate."""

    @property
    def cert_file(self) -> str | Path | None:
        """This client's certificate."""

    @property
    def key_file(self) -> str | Path | None:
        """Its key."""

    @property
    def user(self) -> str | None:
        """Whom to log in as."""

    @property
    def password_file(self) -> str | Path | None:
        """Holds the user's password and nothing else, but for space around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdOptions:
    """Raises InvalidSettings for settings that cannot work together."""

    endpoints: tuple[str, ...]
    """host:port, or http(s)://host:port; tried in turn."""
    prefix: str = "/kubesteer"
    """Every key is below it."""
    ca_file: Path | None = None
    """The server's authority; turns TLS on. With https:// and without it, the system's authorities count."""
    cert_file: Path | None = None
    """This client's certificate, with `key_file`. Files are read anew for every connection, so they may be rotated."""
    key_file: Path | None = None
    server_name: str | None = None
    """What the server's certificate must name, where it is not the address: behind a tunnel, or on another host."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    page_size: int = 1000
    """Entries a page of the list."""
    call_timeout_s: float = 5.0
    """How long one request may take."""
    heartbeat_s: float = 5.0
    """After so long without a change the store is asked whether it is there."""
    keepalive_s: float = 10.0
    """A quiet link is pinged this often; etcd by default hangs up on clients that do so more often than every 5 s."""
    keepalive_timeout_s: float = 5.0
    """A ping that is not answered for so long ends the connection."""
    backoff_first_s: float = 0.1
    """Wait before the first new attempt; doubles up to `backoff_longest_s`, and each wait is shortened by chance."""
    backoff_longest_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise InvalidSettings("endpoints is empty; name one host:port or more")
        for endpoint in self.endpoints:
            _require_address(endpoint)
        self._require_tls_as_told()
        for one, other in (("cert_file", "key_file"), ("user", "password")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise InvalidSettings(f"{one} and {other} belong together; give both or neither")
        for name in ("page_size", "call_timeout_s", "heartbeat_s", "keepalive_s", "keepalive_timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidSettings(f"{name} {getattr(self, name)!r} is not above 0")
        if not 0 < self.backoff_first_s <= self.backoff_longest_s:
            raise InvalidSettings(
                f"backoff_first_s {self.backoff_first_s!r} is not above 0 and up to backoff_longest_s"
                f" {self.backoff_longest_s!r}"
            )

    def _require_tls_as_told(self) -> None:
        if len({endpoint.startswith("https://") for endpoint in self.endpoints}) > 1:
            raise InvalidSettings(f"endpoints {self.endpoints!r} mix https:// with plain ones; write all alike")
        if self.tls and any(endpoint.startswith("http://") for endpoint in self.endpoints):
            raise InvalidSettings(f"endpoints {self.endpoints!r} are plain but TLS files are given; write https://")
        if self.server_name is not None and not self.tls:
            raise InvalidSettings(f"server_name {self.server_name!r} is for TLS; give ca_file too, or leave it out")

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        files = self.ca_file is not None or self.cert_file is not None
        return files or self.endpoints[0].startswith("https://")

    @property
    def addresses(self) -> tuple[str, ...]:
        """The endpoints as host:port."""
        return tuple(_address(endpoint) for endpoint in self.endpoints)


def chosen_etcd(
    choice: EtcdFiles, *, section: str, endpoints: Iterable[str], prefix: str, server_name: str | None = None
) -> EtcdOptions:
    """The options that settings ask for. Raises InvalidSettings, also where a file that they name cannot be read.

    `section`: what stands before the settings' fields in a message, with its dot.
    """
    password = _read(f"{section}password_file", choice.password_file)
    for name in ("ca_file", "cert_file", "key_file"):
        _read(section + name, getattr(choice, name))
    return EtcdOptions(
        endpoints=tuple(endpoints),
        prefix=prefix,
        ca_file=_path(choice.ca_file),
        cert_file=_path(choice.cert_file),
        key_file=_path(choice.key_file),
        server_name=server_name,
        user=choice.user,
        password=password,
    )


def channel_options(options: EtcdOptions) -> list[tuple[str, int | str]]:
    """What every channel to etcd needs; each line answers a fault that was seen without it."""
    timeout_ms = round(options.keepalive_timeout_s * _MILLI)
    named = [("grpc.ssl_target_name_override", options.server_name)] if options.server_name else []
    return [
        ("grpc.max_receive_message_length", -1),  # a catch-up batch above 4 MiB would end the stream
        ("grpc.keepalive_time_ms", round(options.keepalive_s * _MILLI)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.ping_timeout_ms", timeout_ms),  # gRPC's own pings wait a minute, whatever keepalive says
        ("grpc.use_local_subchannel_pool", 1),  # a new channel must not inherit another's back-off
        ("grpc.initial_reconnect_backoff_ms", round(options.backoff_first_s * _MILLI)),
        ("grpc.max_reconnect_backoff_ms", round(options.backoff_longest_s * _MILLI)),
        ("grpc.enable_http_proxy", 0),
        *named,
    ]


def channel_credentials(options: EtcdOptions) -> grpc.ChannelCredentials:
    """TLS as the files now are; raises StoreUnavailable when one cannot be read."""
    try:
        ca, key, cert = (
            path.read_bytes() if path else None for path in (options.ca_file, options.key_file, options.cert_file)
        )
    except OSError as exc:
        raise StoreUnavailable(f"etcd: a TLS file cannot be read: {exc}") from exc
    return grpc.ssl_channel_credentials(ca, key, cert)


def _path(name: str | Path | None) -> Path | None:
    return Path(name) if name else None


def _read(field_name: str, name: str | Path | None) -> str | None:
    path = _path(name)
    try:
        return path.read_text(encoding="utf-8").strip() if path else None
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettings(f"{field_name}: {exc}; name a file that can be read, or mount it") from exc


def _require_address(endpoint: str) -> None:
    host, _, port = _address(endpoint).rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise InvalidSettings(f"endpoints: {endpoint!r} is not host:port or https://host:port")


def _address(endpoint: str) -> str:
    return endpoint.removeprefix("https://").removeprefix("http://").rstrip("/")
