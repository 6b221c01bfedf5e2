"""Makes the etcd3 package importable on today's protobuf, next to any other etcd library of the process.

etcd3 0.12.0 ships message classes that protobuf since 4 refuses to make. The same classes are made here from the
descriptors that its files carry, in a pool of their own: in the common pool they would clash with other packages that
bring etcd's messages. Nothing in etcd3 is changed.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import descriptor_pool  # type: ignore[import-untyped]
from google.protobuf.internal import builder  # type: ignore[import-untyped]

from kubesteer.model.errors import InvalidSettings

_PACKAGE = "etcd3.etcdrpc"
_IN_ORDER_OF_USE = ("kv_pb2", "auth_pb2", "rpc_pb2")


def import_etcd3() -> Any:
    """The etcd3 package; raises InvalidSettings when it is not installed."""
    if "etcd3" in sys.modules:
        return sys.modules["etcd3"]
    spec = importlib.util.find_spec("etcd3")
    if spec is None or not spec.submodule_search_locations:
        raise InvalidSettings('the etcd3 back end needs the etcd3 package; run: pip install "kubesteer[etcd3]"')
    folder = Path(spec.submodule_search_locations[0]) / "etcdrpc"
    pool = descriptor_pool.DescriptorPool()
    for name in _IN_ORDER_OF_USE:
        sys.modules[f"{_PACKAGE}.{name}"] = _rebuilt(f"{_PACKAGE}.{name}", folder / f"{name}.py", pool)
    return importlib.import_module("etcd3")


def _rebuilt(name: str, path: Path, pool: descriptor_pool.DescriptorPool) -> ModuleType:
    module = ModuleType(name)
    descriptor = pool.AddSerializedFile(_serialized_descriptor(path))
    builder.BuildMessageAndEnumDescriptors(descriptor, module.__dict__)
    builder.BuildTopDescriptorsAndMessages(descriptor, name, module.__dict__)
    return module


def _serialized_descriptor(path: Path) -> bytes:
    """The bytes that the file hands to protobuf as `serialized_pb=_b('...')`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.keyword(arg="serialized_pb", value=ast.Call(args=[ast.Constant(value=str(text))])):
                return text.encode("latin-1")
    raise InvalidSettings(
        f"the etcd3 package is not version 0.12: {path.name} holds no descriptor; install etcd3==0.12.0"
    )
