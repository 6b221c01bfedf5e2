"""An etcd that knows its clients by their certificates' names, and options for a client of any name."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kubesteer.certificates.issuing import Maker, issue, issue_authority
from kubesteer.certificates.pems import cert_pem, key_pem
from kubesteer.certificates.values import Usage
from kubesteer.clients.rewards.etcd_access import EtcdAccess, Role, agent_role, extender_role, root_role
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.etcd_users import ROOT, agent_user
from tests.rewards.etcd_server import EtcdServer

PREFIX = "/k"
SERVICE = "kubesteer-etcd.kubesteer.svc"
"""A name of every member's certificate."""
MAKER = Maker(lambda: ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number)
DAY = timedelta(days=1)


class Identities:
    """Certificates of one authority; what EtcdServer asks of its certificates, and a client's files by its name."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kubesteer-identities-"))
        self._authority = issue_authority("authority", MAKER, now=datetime.now(UTC), lasts=DAY)
        self.ca = self._folder / "ca.crt"
        self.ca.write_bytes(cert_pem(self._authority.certificate))
        self._server = self._files("etcd", Usage.SERVER)

    def of(self, name: str) -> tuple[Path, Path]:
        """A client's certificate and key."""
        return self._files(name, Usage.CLIENT)

    def of_server(self) -> tuple[Path, Path]:
        """etcd's own."""
        return self._server

    def server_flags(self) -> list[str]:
        cert, key = self._server
        return [f"--cert-file={cert}", f"--key-file={key}", "--client-cert-auth", f"--trusted-ca-file={self.ca}"]

    def client_options(self, name: str = ROOT) -> dict[str, Path]:
        cert, key = self.of(name)
        return {"ca_file": self.ca, "cert_file": cert, "key_file": key}

    def credentials(self) -> grpc.ChannelCredentials:
        cert, key = self.of(ROOT)
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), key.read_bytes(), cert.read_bytes())

    def _files(self, name: str, usage: Usage) -> tuple[Path, Path]:
        stem = name.replace("/", "_")
        cert, key = self._folder / f"{stem}.{usage.name}.crt", self._folder / f"{stem}.{usage.name}.key"
        if not cert.exists():
            private = MAKER.key()
            made = issue(
                self._authority,
                private.public_key(),
                serial=MAKER.serial(),
                common_name=name,
                usages=[usage],
                dns_names=["localhost", SERVICE] if usage is Usage.SERVER else [],
                now=datetime.now(UTC),
                lasts=DAY,
            )
            cert.write_bytes(cert_pem(made))
            key.write_bytes(key_pem(private))
        return cert, key


class SecuredEtcd(EtcdServer):
    """Reached by its name: certificates of kubesteer are for names, not for addresses."""

    def __init__(self, *flags: str) -> None:
        self.identities = Identities()
        super().__init__(*flags, certificates=self.identities)  # type: ignore[arg-type]

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def as_user(self, name: str, prefix: str = PREFIX, **changes: object) -> EtcdOptions:
        return self.options(prefix, **{**self.identities.client_options(name), **changes})

    def access(self) -> EtcdAccess:
        return EtcdAccess(self.as_user(ROOT))


def of_node(node: str, uid: str = "u") -> Role:
    """Of the agent of one node."""
    return agent_role(PREFIX, node, uid)


def user_of(node: str, uid: str = "u") -> str:
    """Its name."""
    return agent_user(node, uid)


def base_roles(prefix: str = PREFIX) -> list[Role]:
    return [root_role(), extender_role(prefix)]
