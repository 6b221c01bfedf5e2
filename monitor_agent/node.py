"""The node's own object, as the API server last told."""

from __future__ import annotations

from kubesteer.clients.kubernetes.objects import Node
from monitor_agent.logs import Log


class NodeBook:
    """`node` is None while there is no node of this name."""

    def __init__(self, name: str, log: Log) -> None:
        self.name = name
        self.node: Node | None = None
        self._log = log
        self._last_uid: str | None = None
        self._is_missed = False

    def put(self, node: Node) -> None:
        """The node appeared or changed."""
        uid = node.metadata.uid
        if self._last_uid is not None and uid != self._last_uid:
            self._log.warning("the node was made anew", node=self.name, uid=uid)
        self._last_uid = uid
        self.node = node

    def listed(self) -> None:
        """The API server has told all it knows; a name that it never knew is told once, as it may be mistyped."""
        if self.node is None and self._last_uid is None and not self._is_missed:
            self._is_missed = True
            self._log.warning("no node of this name in the cluster; is node.name or NODE_NAME right?", node=self.name)

    def delete(self, _name: str) -> None:
        """The node is gone."""
        self._log.warning("the node is gone", node=self.name)
        self.node = None
