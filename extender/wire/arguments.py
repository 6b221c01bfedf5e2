"""Reads ExtenderArgs. Field names are Go's, in any case; what cannot be used is named. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from extender.wire.names import Finder, SentNames, find_nothing
from kubesteer.clients.kubernetes.mistyped import told
from kubesteer.clients.kubernetes.objects import Node, Pod
from kubesteer.model.errors import InvalidInput
from kubesteer.placement.candidates import Found

_NULL = msgspec.Raw(b"null")
"""Raw equals Raw only, never bytes."""
MOST_NODES = 100_000
_MOST_VALUES = 4_000_000
"""In a body with full nodes: 64 MiB of real ones have about 3,000,000. Decoded, one takes up to 30 times its bytes."""
_BEFORE_POD, _AFTER_POD, _AFTER_NAMES = b'{"Pod":', b'},"Nodes":null,"NodeNames":[', b"]}"
"""All that kube-scheduler writes around a pod and names."""
_KEYS = {"pod": "Pod", "nodes": "Nodes", "nodenames": "NodeNames"}


class BodyTooLarge(InvalidInput):
    """The body is over a limit."""


class _Args(msgspec.Struct):
    """The three fields as raw JSON: node names are copied to the answer as they came."""

    pod: msgspec.Raw = msgspec.field(default_factory=lambda: _NULL, name="Pod")
    nodes: msgspec.Raw = msgspec.field(default_factory=lambda: _NULL, name="Nodes")
    node_names: msgspec.Raw = msgspec.field(default_factory=lambda: _NULL, name="NodeNames")


class _Named(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _NamedPod(msgspec.Struct):
    metadata: _Named


class _RawNodeList(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


@dataclass(frozen=True, slots=True)
class NamesArguments:
    """One request with names (nodeCacheCapable true): the candidates in order, and the same as JSON.

    found: their rows in the node table, where reading found them.
    """

    pod: Pod
    names: Sequence[str]
    raw_names: bytes
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class NodesArguments:
    """One request with full nodes (nodeCacheCapable false): their names in order, decoded, and as they came."""

    pod: Pod
    names: list[str]
    nodes: list[Node]
    raw_nodes: list[bytes]


Arguments = NamesArguments | NodesArguments


class ArgumentsReader:
    """Decodes bodies. Keeps the last pod and the last names: prioritize comes with the very bytes of filter's answer.

    So a caller that gets the same Pod or the same list again, by identity, knows that its bytes were the same.
    """

    def __init__(
        self,
        *,
        names_body_bytes: int,
        most_nodes: Callable[[], int] = lambda: MOST_NODES,
        find: Finder = find_nothing,
    ) -> None:
        """names_body_bytes: the most that a body with names, or the pod in any body, may have.

        most_nodes: the most candidates, now. find: finds names without decoding them.
        """
        self._names_body_bytes = names_body_bytes
        self._most_nodes = most_nodes
        self._find = find
        self._args = msgspec.json.Decoder(_Args)
        self._any_case = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._pod = msgspec.json.Decoder(Pod)
        self._named_pod = msgspec.json.Decoder(_NamedPod)
        self._names = msgspec.json.Decoder(list[str])
        self._node_list = msgspec.json.Decoder(_RawNodeList)
        self._node = msgspec.json.Decoder(Node)
        self._last_pod: tuple[bytes, Pod] | None = None
        self._last_names: tuple[bytes, Sequence[str], Found | None] | None = None

    def read(self, body: bytes) -> Arguments:
        """The arguments in a body. Raises InvalidInput naming what is wrong, BodyTooLarge before it is decoded."""
        found = self.read_open(body)
        if isinstance(found, Pod):
            raise InvalidInput(
                "Nodes and NodeNames are both null; send one of them (nodeCacheCapable: true sends names)"
            )
        return found

    def read_open(self, body: bytes) -> Arguments | Pod:
        """The same; the pod alone where the body names no nodes."""
        if not body:
            raise InvalidInput("body is empty; send ExtenderArgs as JSON: Pod, and NodeNames or Nodes")
        large = len(body) > self._names_body_bytes
        if large and body.count(b",") >= _MOST_VALUES:
            raise BodyTooLarge(f"body has over {_MOST_VALUES} values; set nodeCacheCapable: true")
        if not large and (cut := self._cut(body)) is not None:
            return cut
        args = self._fields(body, any_case=not large)
        if large:
            self._check_sizes(args)
        if args.pod == _NULL:
            raise InvalidInput("Pod is missing or null; send the pod that is to be placed")
        pod = self._pod_in(bytes(args.pod))
        if args.node_names != _NULL:
            return self._with_names(pod, bytes(args.node_names))
        if args.nodes == _NULL:
            return pod
        _require_utf8(args.nodes, "Nodes")
        raw_nodes = _decoded(self._node_list, args.nodes, "Nodes").items or []
        _check_count(raw_nodes, "Nodes", self._most_nodes())
        nodes = [_decoded(self._node, raw, f"Nodes.items[{i}]") for i, raw in enumerate(raw_nodes)]
        return NodesArguments(pod, [node.metadata.name for node in nodes], nodes, [bytes(raw) for raw in raw_nodes])

    def expect_names(self, raw_names: bytes, names: Sequence[str], found: Found | None = None) -> None:
        """These names were just sent to the scheduler, and will come back."""
        self._last_names = (raw_names, names, found)

    def pod_named_in(self, body: bytes) -> str | None:
        """Namespace and name of the pod in a body that may be of no other use; None where they cannot be read."""
        if len(body) > self._names_body_bytes:
            return None
        try:
            named = _decoded(self._named_pod, self._fields(body, any_case=True).pod, "Pod").metadata
        except InvalidInput:
            return None
        return f"{named.namespace}/{named.name}" if named.name else None

    def _cut(self, body: bytes) -> NamesArguments | None:
        """Pod and names of a body as kube-scheduler writes it, each decoded where it stands; None for any other body.

        Two JSON values with nothing but these keys around them are the whole of it, wherever the text was found; so
        the walk through all of it is spared that finds where each value ends. Faults are not told here.
        """
        end = body.find(_AFTER_POD) if body.startswith(_BEFORE_POD) and body.endswith(_AFTER_NAMES) else -1
        if end < 0:
            return None
        raw_names = body[end + len(_AFTER_POD) - 1 : -1]
        try:
            return self._with_names(self._pod_in(body[len(_BEFORE_POD) : end + 1]), raw_names)
        except InvalidInput:
            return None

    def _check_sizes(self, args: _Args) -> None:
        """Of a body that is larger than one with names may be."""
        limit_bytes = self._names_body_bytes
        if args.node_names != _NULL:
            raise BodyTooLarge(f"body with NodeNames is over {limit_bytes} bytes; raise limits.names_body_bytes")
        if len(memoryview(args.pod)) > limit_bytes:
            raise BodyTooLarge(f"Pod is over {limit_bytes} bytes; raise limits.names_body_bytes")

    def _pod_in(self, raw: bytes) -> Pod:
        if self._last_pod is not None and self._last_pod[0] == raw:
            return self._last_pod[1]
        pod: Pod = _decoded(self._pod, raw, "Pod")
        if not pod.metadata.name and not pod.metadata.uid:
            raise InvalidInput("Pod.metadata.name is empty; send the pod as the API has it")
        self._last_pod = (raw, pod)
        return pod

    def _with_names(self, pod: Pod, raw: bytes) -> NamesArguments:
        names, found = None, None
        if self._last_names is not None and self._last_names[0] == raw:
            _, names, found = self._last_names
        found = self._find(raw, found)
        if names is None:
            names = _decoded(self._names, raw, "NodeNames") if found is None else SentNames(raw, len(found.rows))
            _check_count(names, "NodeNames", self._most_nodes())
        self._last_names = (raw, names, found)
        return NamesArguments(pod, names, raw, found)

    def _fields(self, body: bytes, *, any_case: bool) -> _Args:
        args: _Args = _decoded(self._args, body, "body")
        if any_case and (args.pod == _NULL or (args.nodes == _NULL and args.node_names == _NULL)):
            # Go reads keys in any case, and some clients send lowerCamel.
            fields: dict[str, msgspec.Raw] = _decoded(self._any_case, body, "body")
            folded = {_KEYS[key.lower()]: raw for key, raw in fields.items() if key.lower() in _KEYS}
            args = _Args(**{name: folded[key] for name, key in _FIELDS if key in folded})
        return args


T = TypeVar("T")
_FIELDS = (("pod", "Pod"), ("nodes", "Nodes"), ("node_names", "NodeNames"))


def _decoded(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw, where: str) -> T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as exc:
        raise InvalidInput(f"{where}: {told(exc, raw)}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"{where} is not JSON: {exc}") from exc
    except RecursionError as exc:
        raise InvalidInput(f"{where} is nested too deeply; send ExtenderArgs as JSON") from exc


def _check_count(nodes: Sized, where: str, most: int) -> None:
    if len(nodes) > most:
        raise BodyTooLarge(f"{where} has {len(nodes)} nodes; send at most {most}, or raise limits.candidates")


def _require_utf8(raw: msgspec.Raw, where: str) -> None:
    """Nodes go back as they came, also the fields that nobody here reads and no decoder looks into."""
    try:
        str(raw, "utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidInput(f"{where} is not JSON: {exc}") from exc
