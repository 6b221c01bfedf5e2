"""What an etcd over TLS and its client show each other: flags, options and credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path


class Certificates:
    def __init__(self, folder: Path, *, clients_must_show_theirs: bool) -> None:
        self.clients_must_show_theirs = clients_must_show_theirs
        authority = Authority(folder, "test authority")
        self.ca = authority.ca_file
        self._server, self._server_key = authority.issue("server")
        self._client, self._client_key = authority.issue("client")

    def server_flags(self) -> list[str]:
        flags = [f"--cert-file={self._server}", f"--key-file={self._server_key}"]
        return (
            [*flags, "--client-cert-auth", f"--trusted-ca-file={self.ca}"] if self.clients_must_show_theirs else flags
        )

    def client_options(self) -> dict[str, Path]:
        own = {"cert_file": self._client, "key_file": self._client_key} if self.clients_must_show_theirs else {}
        return {"ca_file": self.ca, **own}

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(), self._client_key.read_bytes(), self._client.read_bytes()
        )
