"""The claim of an agent on its node's column: its key, and what it says. No I/O.

Key: `<prefix>/agents/v1/<node>`. Value: JSON of the holder, as it names itself, and since when.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from kubesteer.model.errors import InvalidRecord, InvalidSettings
from kubesteer.model.node_state import NodeState
from kubesteer.model.reward import (
    VERSION,
    KeyRange,
    RewardRecord,
    below,
    encode_key,
    encode_value,
    escaped_name,
    format_time,
    shown,
)

LARGEST_RECORD_BYTES = 1 << 20
"""etcd takes requests of up to 1.5 MiB."""


def claims_range(prefix: str) -> KeyRange:
    """The keys of every node's claim."""
    return below(f"{prefix.rstrip('/')}/agents/v{VERSION}/".encode())


def claim_key(prefix: str, node: str) -> bytes:
    """The key of the claim on a node's column."""
    return claims_range(prefix).start + escaped_name("node", node)


def encode_claim(holder: str, since_s: float) -> bytes:
    """The claim as JSON; no two of one holder are alike, as they differ in their microsecond."""
    return json.dumps({"holder": holder, "since": format_time(since_s)}, separators=(",", ":")).encode()


def holder_of(claim: bytes) -> str:
    """The holder of a claim; a value that is no claim of ours is quoted."""
    try:
        holder = json.loads(claim)["holder"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return shown(claim)
    return holder if isinstance(holder, str) else shown(holder)


def require_ttls(holder: str, claim_ttl_s: float, column_ttl_s: float) -> None:
    """Raises InvalidSettings for what no claim can be made with."""
    if not holder:
        raise InvalidSettings("holder is empty; name the agent, best by its pod")
    if not 1 <= claim_ttl_s < column_ttl_s:
        raise InvalidSettings(
            f"claim_ttl_s {claim_ttl_s!r} is not from 1 up to, and without, column_ttl_s {column_ttl_s!r}"
        )


def column_changes(
    prefix: str, node: str, puts: Sequence[RewardRecord], deletes: Sequence[str]
) -> dict[bytes, bytes | None]:
    """What a write of a column changes, by key; None where the key goes. Raises InvalidRecord."""
    changes: dict[bytes, bytes | None] = {}
    for record in puts:
        require_own(node, record)
        value = encode_value(record)
        if len(value) > LARGEST_RECORD_BYTES:
            raise InvalidRecord(
                f"the record of podType {shown(record.pod_type)} takes {len(value)} bytes;"
                f" shorten its extra fields to {LARGEST_RECORD_BYTES} in all"
            )
        changes[encode_key(prefix, node, record.pod_type)] = value
    changes.update({encode_key(prefix, node, pod_type): None for pod_type in deletes})
    return changes


def require_own(node: str, value: RewardRecord | NodeState) -> None:
    """Raises InvalidRecord for what is about another node than the column's."""
    if value.node != node:
        raise InvalidRecord(f"node {shown(value.node)} is not {shown(node)}, whose column this is")
