"""Makes request bodies: random, mutated from valid ones, and adversarial. The same seed gives the same body.

Valid bodies are kept as values; a mutation replaces, drops or doubles something at a random place in one, and may put
raw bytes there that are no JSON at all. Sends nothing and judges nothing.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec

from tests.builders import EGRESS_ANNOTATION, container, node, pod

Json = Any
Path = tuple[str | int, ...]

NODES = [
    node("node-0"),
    node("node-1", egress="1G", ingress="1G"),
    node("node-2", egress=None),
    node("node-3", ready="False"),
    node("node-4", cpu="-1"),
    node(
        "node-5", annotations={"kubesteer.io/measured-traffic": '{"egress_bps": 9e9, "time": "2027-01-15T08:00:00Z"}'}
    ),
    *(node(f"node-{i}", cpu=str(i), memory=f"{i}Gi") for i in range(6, 12)),
]
"""The cluster that the extender under test knows."""
PODS = [pod(f"there-{i}", node=f"node-{i}", cpu="1", memory="1Gi", egress="500M") for i in range(8)]

_QUANTITIES = (
    "1", "0", "-1", "100m", "1.5Gi", "1e3", "1E6", ".5", "5.", "+1", "1e999999999", "1e-999999999", "1e" + "9" * 30,
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551616", "9" * 4400,
    "0." + "0" * 5000 + "1", "1Ei", "8Ei", "1n", "0.1n", "1KiB", "NaN", "Infinity", "-inf", "0x10", "١٢", "1 ", "",
    "1_000", "1e1e1", "--1", "1.2.3", "Ki", "e", "\u2212" + "1", "1\x00", "562949953421311", "562949953421312",
)  # fmt: skip
_TEXTS = (
    "", "node-0", "node-1", "nobody", "a" * 300, "é", "🐳", "a\nb", '"', "\\", "\x00", "\x1b[31m", "\u2028", "%s%n",
    "{0}", "../../etc", "node-0\nlevel=error", "null", "Pod", "uid-p0", "Always", "True", "NoSchedule", "Exists", "Infeasible",
    "node.kubernetes.io/not-ready", "PodResizePending", "x/y/z", '},"Nodes":null,"NodeNames":["a"]}',
)  # fmt: skip
_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.1, -0.0, 1e308, 5e-324)
_RAW = tuple(
    msgspec.Raw(text)
    for text in (
        b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e999999999", b"01", b"+1", b".5", b"1.", b"0x1",
        b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\\x41"', b'"\\u00"', b'"',
        b"'a'", b"{", b"}", b"]", b"", b",", b"nul", b"True", b"undefined", b"/* */1", b"[1,]", b'{"a":1,}', b"{a:1}",
        b"9" * 5000,
        b"[" * 50_000, b'{"a":' * 20_000, b"[" * 500 + b"]" * 500, b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"cpu":"1","cpu":"-1"}', b'{"name":"a","name":["b"]}', b'{"":null}', b'{"\\u0000":"1"}',
        b'["a","a","a"]', b"[null]", b"[[]]", b"[{}]", b'{"items":{}}', b'{"items":[null]}', b'{"items":[{}]}',
        b'{},"Nodes":null,"NodeNames":["a"]', b'{"x":{},"Nodes":null,"NodeNames":["a"]}', b'["a"],"NodeNames":["b"]',
    )
)  # fmt: skip
_TOKENS = (
    b"null",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"\\",
    b"\xff",
    b"\x00",
    b"1e9999",
    b"-",
    b'"Pod":',
    b'},"Nodes":null,"NodeNames":[',
    b"]}",
    b"\xef\xbb\xbf",
)
_MEASURED = (
    '{"egress_bps": 1e999, "time": "2027-01-15T08:00:00Z"}', '{"egress_bps": -1, "time": "2027-01-15T08:00:00Z"}',
    '{"egress_bps": "x", "time": 5}', "[]", "{", "[" * 5000, '{"egress_bps": NaN, "time": "0001-01-01T00:00:00+23:59"}',
    '{"egress_bps": ' + "9" * 5000 + ', "time": "2027-01-15T08:00:00Z"}', '{"time": "9999-12-31T23:59:59-23:59"}',
)  # fmt: skip


def _valid() -> list[Json]:
    names = [each["metadata"]["name"] for each in NODES]
    rich = pod(
        "p0",
        containers=[container("a", cpu="100m", memory="64Mi", egress="100M"), container("b", limits={"cpu": "1"})],
        init=[container("i", memory="1Gi"), container("s", restart="Always", egress="1M")],
        overhead={"cpu": "10m"},
        pod_level={"cpu": "2", "memory": "1Gi"},
        labels={"app": "web", "podtype": "web"},
        owners=[{"name": "web-7d9", "kind": "ReplicaSet", "controller": True}],
        tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}],
        status={
            "phase": "Pending",
            "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
            "allocatedResources": {"cpu": "1"},
            "resources": {"requests": {"cpu": "1"}},
            "containerStatuses": [
                {"name": "a", "allocatedResources": {"cpu": "50m"}, "resources": {"requests": {"cpu": "50m"}}}
            ],
            "initContainerStatuses": [{"name": "s", "resources": {"requests": {"cpu": "1m"}}}],
        },
    )
    annotated = pod("p1", cpu="1", annotations={EGRESS_ANNOTATION: "600M", "kubernetes.io/ingress-bandwidth": "1M"})
    pods = [
        rich,
        annotated,
        pod("p2", cpu="500m", memory="1Gi", egress="2G", ingress="1M"),
        pod("p3"),
        pod("p4", egress="1"),
    ]
    bodies: list[Json] = [{"Pod": one, "Nodes": None, "NodeNames": names} for one in pods]
    bodies += [{"Pod": one, "Nodes": {"metadata": {}, "items": NODES[:6]}, "NodeNames": None} for one in pods]
    bodies += [{"pod": rich, "nodes": None, "nodeNames": names[:3]}, {"Pod": rich, "NodeNames": ["node-0"]}]
    return bodies


class Inputs:
    """`body(i)` is the i-th body of this seed, whatever was asked before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._valid = [(value, list(_paths(value))) for value in _valid()]
        self._encoded = [msgspec.json.encode(value) for value, _ in self._valid]

    def body(self, index: int) -> bytes:
        chance = Random((self.seed << 40) + index)
        pick = chance.random()
        if pick < 0.10:
            return chance.choice(self._encoded)
        if pick < 0.70:
            return self._mutated_value(chance)
        if pick < 0.90:
            return self._mutated_bytes(chance)
        if pick < 0.95:
            return _encoded(_random_value(chance, 0))
        if pick < 0.9999:
            return chance.randbytes(chance.randrange(200))
        return self._huge(chance)

    def _mutated_value(self, chance: Random) -> bytes:
        value, paths = chance.choice(self._valid)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            value = _changed(value, chance.choice(paths), chance)
        return _encoded(value)

    def _mutated_bytes(self, chance: Random) -> bytes:
        body = bytearray(chance.choice(self._encoded))
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(len(body) + 1)
            match chance.randrange(5):
                case 0:
                    body[at : at + 1] = chance.randbytes(1)
                case 1:
                    del body[at : at + chance.randrange(1, 40)]
                case 2:
                    body[at:at] = body[at : at + chance.randrange(1, 200)]
                case 3:
                    body[at:at] = chance.choice(_TOKENS)
                case _:
                    del body[at:]
        return bytes(body)

    def _huge(self, chance: Random) -> bytes:
        """A megabyte of one thing, where a thing may be."""
        value = self._valid[0][0]
        giant: Json = chance.choice(("9" * 1_000_000, "a" * 1_000_000, "\n" * 300_000, "é" * 300_000))
        match chance.randrange(5):
            case 0:
                path: Path = ("Pod", "spec", "containers", 0, "resources", "requests", "cpu")
            case 1:
                path = ("Pod", "metadata", "name")
            case 2:
                path = ("Pod", "metadata", "labels", "app")
            case 3:
                path, giant = ("NodeNames",), [f"node-{i}" for i in range(50_000)]
            case _:
                path, giant = ("Pod", "spec", "containers"), [{"name": str(i)} for i in range(20_000)]
        return _encoded(_with(value, path, lambda _: giant))


def _paths(value: Json, here: Path = ()) -> Any:
    yield here
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*here, key))


def _with(value: Json, path: Path, change: Any) -> Json:
    """The value with what is at the path changed; the original stays. A path that is gone changes nothing."""
    if not path:
        return change(value)
    key, rest = path[0], path[1:]
    if isinstance(value, dict) and key in value:
        return {**value, key: _with(value[key], rest, change)}
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return [*value[:key], _with(value[key], rest, change), *value[key + 1 :]]
    return value


def _changed(value: Json, path: Path, chance: Random) -> Json:
    kind = chance.randrange(8)
    if kind < 5 or not path:
        return _with(value, path, lambda old: _replacement(chance, old))
    parent, key = path[:-1], path[-1]
    if kind == 5:
        return _with(value, parent, lambda old: _without(old, key))
    if kind == 6:
        return _with(value, parent, lambda old: _doubled(old, key))
    return _with(value, parent, lambda old: _renamed(old, key, chance))


def _replacement(chance: Random, old: Json) -> Json:
    match chance.randrange(8):
        case 0:
            return chance.choice(_RAW)
        case 1:
            return chance.choice(_NUMBERS)
        case 2:
            return chance.choice(_TEXTS)
        case 3 | 4:
            return chance.choice(_QUANTITIES)
        case 5:
            return chance.choice((None, True, False, [], {}, [old], {"": old}, [old, old]))
        case 6:
            return chance.choice(_MEASURED)
        case _:
            return _random_value(chance, 2)


def _without(value: Json, key: str | int) -> Json:
    if isinstance(value, dict):
        return {name: child for name, child in value.items() if name != key}
    return [child for i, child in enumerate(value) if i != key] if isinstance(value, list) else value


def _doubled(value: Json, key: str | int) -> Json:
    """The same key a second time, which only raw text can say; or the same item."""
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return [*value, value[key]]
    if isinstance(value, dict) and key in value and isinstance(key, str):
        try:
            text = msgspec.json.encode(value)[:-1]
            return msgspec.Raw(b"%b,%b:%b}" % (text, msgspec.json.encode(key), msgspec.json.encode(value[key])))
        except (msgspec.EncodeError, UnicodeEncodeError):
            return value
    return value


def _renamed(value: Json, key: str | int, chance: Random) -> Json:
    if not isinstance(value, dict) or key not in value or not isinstance(key, str):
        return value
    other = chance.choice(
        (key.upper(), key.lower(), f"{key} ", "", chance.choice(_TEXTS), "cpu", "kubesteer.io/egress-bps")
    )
    return {other if name == key else name: child for name, child in value.items()}


def _random_value(chance: Random, depth: int) -> Json:
    pick = chance.randrange(8 if depth < 4 else 6)
    if pick < 2:
        return chance.choice(_TEXTS + _QUANTITIES)
    if pick < 4:
        return chance.choice(_NUMBERS)
    if pick == 4:
        return chance.choice((None, True, False))
    if pick == 5:
        return chance.choice(_RAW)
    if pick == 6:
        return [_random_value(chance, depth + 1) for _ in range(chance.randrange(5))]
    keys = ("Pod", "Nodes", "NodeNames", "metadata", "spec", "status", "name", "items", "containers", "requests", "cpu")
    return {chance.choice(keys): _random_value(chance, depth + 1) for _ in range(chance.randrange(6))}


def _encoded(value: Json) -> bytes:
    """JSON text; whole numbers past 64 bits need the slower writer."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, msgspec.EncodeError, ValueError):
        return json.dumps(value, default=lambda raw: bytes(raw).decode("latin-1"), ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )
