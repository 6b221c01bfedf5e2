"""What a node's agent sees of its network now, and how that is written down in the store.

Key: `<prefix>/nodes/v1/<node>`, outside the reward table's range. Value: JSON that a person can read. It changes every
few seconds, so it lives in kubesteer's own etcd and not in the API server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import (
    LATEST_TIME_S,
    VERSION,
    KeyRange,
    below,
    escaped_name,
    format_time,
    parse_time,
    shown,
    shown_key,
    unescaped_name,
)


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node's network at `time_s` (unix seconds), by direction name; a direction that is not known is left out.

    rate_bps: traffic measured. limit_bps: what the link carries now, less the reserve; it may be below what the node
    publishes as its extended resource, which must not fall under what its pods were promised. Raises InvalidRecord
    when a field breaks its rule.
    """

    node: str
    time_s: float
    rate_bps: Mapping[str, float]
    limit_bps: Mapping[str, int]

    def __post_init__(self) -> None:
        if not (isinstance(self.node, str) and self.node):
            raise InvalidRecord(f"node {shown(self.node)} is not a name; write one character or more")
        if not 0 <= self.time_s <= LATEST_TIME_S:
            raise InvalidRecord(f"time {shown(self.time_s)} is not a time from 1970 to 9999")
        for name in ("rate_bps", "limit_bps"):
            for direction, value in getattr(self, name).items():
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if not (is_number and value >= 0 and math.isfinite(value)):
                    raise InvalidRecord(f"{name}.{direction} {shown(value)} is not a finite number of 0 or more")


def states_range(prefix: str) -> KeyRange:
    """The keys of every node's state."""
    return below(f"{prefix.rstrip('/')}/nodes/v{VERSION}/".encode())


def state_key(prefix: str, node: str) -> bytes:
    """The key of one node's state."""
    return states_range(prefix).start + escaped_name("node", node)


def encode_state(state: NodeState) -> bytes:
    """The state as JSON."""
    fields = {
        "v": VERSION,
        "time": format_time(state.time_s),
        "rate_bps": dict(state.rate_bps),
        "limit_bps": dict(state.limit_bps),
    }
    return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()


def decode_state(prefix: str, key: bytes, value: bytes) -> NodeState:
    """The state that a key and its value hold; raises InvalidRecord naming the key, field, value and rule."""
    try:
        return _state(node_of_state_key(prefix, key), value)
    except InvalidRecord as exc:
        raise InvalidRecord(f"key {shown_key(key)}: {exc}") from exc


def node_of_state_key(prefix: str, key: bytes) -> str:
    """The node of a state's key; raises InvalidRecord for a key that `state_key` would not have written."""
    start = states_range(prefix).start
    node = unescaped_name(key.removeprefix(start))
    if key.startswith(start) and node and state_key(prefix, node) == key:
        return node
    raise InvalidRecord(f"key {shown_key(key)} is not {shown_key(start)}<node>, percent-escaped")


def _state(node: str, value: bytes) -> NodeState:
    try:
        fields: Any = json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise InvalidRecord(f"value {shown(value)} is not JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise InvalidRecord(f"value {shown(value)} is not a JSON object")
    if type(fields.get("v")) is not int or fields["v"] != VERSION:
        raise InvalidRecord(f"v {shown(fields.get('v'))} is not a version that can be read; write {VERSION}")
    for name in ("rate_bps", "limit_bps"):
        if not isinstance(fields.get(name), dict):
            raise InvalidRecord(f"{name} {shown(fields.get(name))} is not a JSON object of direction to bit/s")
    return NodeState(node, parse_time(fields.get("time")), fields["rate_bps"], fields["limit_bps"])
