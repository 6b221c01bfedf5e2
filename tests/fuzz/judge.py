"""Whether the two answers to one body keep the protocol's promises, told without the extender's own reader."""

from __future__ import annotations

import json
from typing import Any

import msgspec

OVER_LIMIT = 413


class Broken(Exception):
    """A promise is broken; the text says which."""


class FilterResult(msgspec.Struct, forbid_unknown_fields=True):
    """ExtenderFilterResult: all five keys, always. Nodes is read apart, whole, by another reader."""

    Nodes: msgspec.Raw
    NodeNames: list[str] | None
    FailedNodes: dict[str, str]
    FailedAndUnresolvableNodes: dict[str, str]
    Error: str


class HostPriority(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of HostPriorityList."""

    Host: str
    Score: int


_filter = msgspec.json.Decoder(FilterResult)
_scores = msgspec.json.Decoder(list[HostPriority])


def judge(
    body: bytes, filtered: tuple[int, bytes], prioritized: tuple[int, bytes], *, limit_bytes: int, shortlist: bool
) -> str:
    """How the body was taken: "answered", "refused" or "over limit". Raises Broken.

    shortlist: while some node passes, others that fit may be left out without a reason.
    """
    for status, _ in (filtered, prioritized):
        if status != 200 and not (status == OVER_LIMIT and len(body) > limit_bytes):
            raise Broken(f"status {status}")
    if filtered[0] == OVER_LIMIT:
        return "over limit"
    try:
        result, scores = _filter.decode(filtered[1]), _scores.decode(prioritized[1])
        nodes = _read(bytes(result.Nodes))
    except ValueError as exc:
        raise Broken(f"answer does not decode: {exc}") from exc
    if result.Error:
        if result.NodeNames is not None or nodes is not None or result.FailedNodes or scores:
            raise Broken("an answer beside an error")
        return "refused"
    _judge_answered(_candidates(body, result), nodes, result, scores, shortlist=shortlist)
    return "answered"


def _read(text: bytes, errors: str = "strict") -> Any:
    """JSON by the standard library, numbers of any size."""
    return json.loads(text.decode("utf-8", errors), parse_int=str, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _candidates(body: bytes, result: FilterResult) -> list[str]:
    """The node names in a body that was understood. Bytes that are no UTF-8 may stand in what nobody reads."""
    fields: dict[str, Any] = _read(body, "replace")
    if result.NodeNames is not None:
        return list(_field(fields, "NodeNames"))
    return _names(_field(fields, "Nodes"))


def _field(fields: dict[str, Any], key: str) -> Any:
    """A field by its exact name where the exact names suffice, or else by its last spelling in any case."""
    suffice = fields.get("Pod") is not None and any(fields.get(nodes) is not None for nodes in ("Nodes", "NodeNames"))
    spelt = [value for name, value in fields.items() if name == key or (not suffice and name.lower() == key.lower())]
    if not spelt or spelt[-1] is None:
        raise Broken(f"{key} in the answer, but not in the request")
    return spelt[-1]


def _names(nodes: dict[str, Any]) -> list[str]:
    return [node["metadata"].get("name", "") for node in nodes.get("items") or []]


def _judge_answered(
    names: list[str], nodes: dict[str, Any] | None, result: FilterResult, scores: list[HostPriority], *, shortlist: bool
) -> None:
    if (result.NodeNames is None) == (nodes is None):
        raise Broken("neither or both of Nodes and NodeNames, and no error")
    passed = result.NodeNames if nodes is None else _names(nodes)
    dropped = {**result.FailedNodes, **result.FailedAndUnresolvableNodes}
    if len(dropped) != len(result.FailedNodes) + len(result.FailedAndUnresolvableNodes):
        raise Broken("a node in both failed maps")
    answered = {*(passed or ()), *dropped}
    if not answered <= set(names):
        raise Broken("a node name that was not in the request")
    if answered != set(names) and not (shortlist and passed):
        raise Broken("a node that is neither passed nor failed")
    if not all(dropped.values()):
        raise Broken("a node is failed without a reason")
    if [score.Host for score in scores] != names:
        raise Broken("scores are not the candidates in their order")
    if not all(0 <= score.Score <= 10 for score in scores):
        raise Broken("a score out of 0..10")
