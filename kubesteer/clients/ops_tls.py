"""The certificate that an ops port shows, read again when its files change. No client certificate is asked."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

from kubesteer.model.errors import InvalidSettings


class ServerTls:
    """One context for the whole life of the server: what is loaded into it again counts for the next connection."""

    def __init__(self, cert_file: str, key_file: str, *, until_there: tuple[Path, Path] | None = None) -> None:
        """until_there: a certificate and its key to be shown while the files are not there yet.

        Raises OSError where the files cannot be used.
        """
        self._files = (cert_file, key_file)
        self._read: list[tuple[int, int, int]] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._read = self._signatures()
            self.context.load_cert_chain(*self._files)
        except FileNotFoundError:
            if until_there is None:
                raise
            self.context.load_cert_chain(*until_there)

    def reread(self) -> None:
        """Load the files anew where they have changed; what cannot be used changes nothing, and is tried again."""
        with suppress(OSError):
            now = self._signatures()
            if now != self._read:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files)
                self.context.load_cert_chain(*self._files)
                self._read = now

    def _signatures(self) -> list[tuple[int, int, int]]:
        stats = [Path(file).stat() for file in self._files]
        return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats]


def server_tls(
    cert_file: str | None, key_file: str | None, *, until_there: tuple[Path, Path] | None = None
) -> ServerTls | None:
    """TLS by the settings ops.cert_file and ops.key_file; None where they name none. Raises InvalidSettings."""
    if cert_file is None and key_file is None:
        return None
    if cert_file is None or key_file is None:
        raise InvalidSettings("ops.cert_file, ops.key_file: they go together; give both or neither")
    try:
        return ServerTls(cert_file, key_file, until_there=until_there)
    except OSError as exc:
        files, why = f"ops.cert_file {cert_file}, ops.key_file {key_file}", exc.strerror or exc
        raise InvalidSettings(f"{files}: {why}; give a PEM certificate and its key that can be read") from exc
