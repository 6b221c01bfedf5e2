"""One object by its path, or that there is none."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from kubesteer.clients.kubernetes.api import NOT_FOUND, ApiRefused, ApiServer
from kubesteer.model.errors import ClusterUnavailable

ReadT = TypeVar("ReadT", bound=msgspec.Struct)


async def object_at(api: ApiServer, path: str, kind: type[ReadT], *, called: str) -> ReadT | None:
    """None where there is none. called: its kind, for errors. Raises ClusterUnavailable."""
    try:
        return msgspec.json.decode(await api.get(path), type=kind)
    except ApiRefused as exc:
        if exc.status == NOT_FOUND:
            return None
        raise
    except msgspec.MsgspecError as exc:
        raise ClusterUnavailable(f"GET {path}: the answer is no {called}: {exc}") from exc
