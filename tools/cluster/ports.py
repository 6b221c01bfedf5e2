"""Free TCP ports on the loopback address."""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 20_000, 30_000
"""Below the range that the kernel gives to outgoing connections: a port stays free while its server restarts."""


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listens on now."""
    chance = random.SystemRandom()
    found: set[int] = set()
    while len(found) < count:
        port = chance.randrange(LOWEST, HIGHEST)
        if _is_free(port):
            found.add(port)
    return list(found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
