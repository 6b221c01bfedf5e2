"""Kubernetes' minor versions: read from text, and from which of them something holds."""

from __future__ import annotations

import re

from kubesteer.model.errors import InvalidInput

OLDEST = 29
"""From 1.29 on there is only kubescheduler.config.k8s.io/v1."""
TESTED = (34, 35, 36, 37)
"""The minors whose real kube-scheduler the tests load every file with."""
NEWEST = TESTED[-1]

FULL_NODES_LOSE_LOAD = 33
"""kubernetes#141781: after an extender filter over full nodes, Fit and BalancedAllocation see empty nodes."""
BATCHING = 35
"""Opportunistic batching is on by default, and any extender turns it off."""


def parse_minor(text: str) -> int:
    """37 for "1.37", "v1.37.2" or "37". Raises InvalidInput."""
    found = re.fullmatch(r"(?:v?1\.)?([0-9]{1,3})(?:\.[0-9]+)?(?:[-+].*)?", text.strip())
    minor = int(found[1]) if found else 0
    if minor < OLDEST:
        raise InvalidInput(f"minor {text!r}: give a Kubernetes version from 1.{OLDEST} on, such as 1.{NEWEST}")
    return minor
