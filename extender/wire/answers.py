"""Writes ExtenderFilterResult and HostPriorityList as bytes, in Go's exact key case. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import getitem

import msgspec

from kubesteer.placement.scoring import MAX_SCORE

NO_SCORES = b"[]"
_FILTER = b'{"Nodes":%b,"NodeNames":%b,"FailedNodes":%b,"FailedAndUnresolvableNodes":%b,"Error":%b}'
_KEPT = 20_000
"""Names whose cells are kept whatever is asked for: about 1 kB each."""
_NULL = b"null"
_EMPTY = b"{}"
_encode = msgspec.json.Encoder().encode


def filter_error(message: str) -> bytes:
    """The request could not be judged. kube-scheduler reads this with status 200 only."""
    return _FILTER % (_NULL, _NULL, _EMPTY, _EMPTY, _encode(message))


def filter_names(names: bytes, failed: Mapping[str, str], unresolvable: Mapping[str, str]) -> bytes:
    """names: the passing node names as a JSON array."""
    return _FILTER % (_NULL, names, _reasons(failed), _reasons(unresolvable), b'""')


def filter_nodes(nodes: Sequence[bytes], failed: Mapping[str, str], unresolvable: Mapping[str, str]) -> bytes:
    """nodes: the passing nodes as they came; the scheduler gets back what it sent."""
    items = b'{"metadata":{},"items":[%b]}' % b",".join(nodes)
    return _FILTER % (items, _NULL, _reasons(failed), _reasons(unresolvable), b'""')


def encode_names(names: Sequence[str]) -> bytes:
    """A JSON array of names."""
    return _encode(names)


def _reasons(reasons: Mapping[str, str]) -> bytes:
    return _encode(reasons) if reasons else _EMPTY


class ScoreWriter:
    """Writes score lists from cells rendered once for each node name: one for each score 0..10."""

    def __init__(self) -> None:
        self._cells: dict[str, list[bytes]] = {}

    def write(self, names: Sequence[str], scores: Sequence[int], *, keep: bool) -> bytes:
        """The list, in order. keep: the names are the cluster's own, so their cells are worth keeping."""
        if not keep:
            return b"[" + b",".join(map(_cell, names, scores)) + b"]"
        try:
            return b"[" + b",".join(map(getitem, map(self._cells.__getitem__, names), scores)) + b"]"
        except KeyError:
            self._render(names)
            return self.write(names, scores, keep=keep)

    def _render(self, names: Sequence[str]) -> None:
        """Nodes come and go: what has grown to twice what is asked for now starts anew."""
        if len(self._cells) > 2 * len(names) + _KEPT:
            self._cells.clear()
        for name in names:
            if name not in self._cells:
                self._cells[name] = [_cell(name, score) for score in range(MAX_SCORE + 1)]


def _cell(name: str, score: int) -> bytes:
    return b'{"Host":%b,"Score":%d}' % (_encode(name), score)
