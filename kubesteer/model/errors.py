"""The one error tree. A refusal of a node is no error: it is a verdict with a reason.

KubesteerError
├── InvalidInput            input from outside that cannot be used: field, value, rule
│   ├── InvalidQuantity     ... as a Kubernetes quantity
│   ├── InvalidRecord       ... as a stored reward
│   └── InvalidSettings     ... as a setting, at the start
├── ColumnClaimed           another agent writes this node's column
├── TaskEnded               a task that must never end did; the process has to
├── ColumnEdited            records of the column were changed by hand
└── Unavailable             a dependency did not answer; the caller goes on with what it has
    ├── StoreUnavailable    etcd
    ├── ClusterUnavailable  the API server or the cluster file
    │   └── KubectlFailed   ... through kubectl, which says why
    └── MetricsUnavailable  a kubelet's or Prometheus' measurements
"""

from __future__ import annotations


class KubesteerError(Exception):
    """Everything that kubesteer raises on purpose."""


class InvalidInput(KubesteerError):
    """Input that cannot be used; the message names field, value and rule, and nothing has changed."""


class InvalidQuantity(InvalidInput):
    """Not a Kubernetes quantity, or one that the API server would refuse in this place."""


class InvalidRecord(InvalidInput):
    """A stored reward that cannot be read."""


class InvalidSettings(InvalidInput):
    """Settings that stop the start."""


class ColumnClaimed(KubesteerError):
    """Another agent writes this node's column. holder: who, as it named itself."""

    def __init__(self, node: str, holder: str) -> None:
        super().__init__(f"the column of node {node!r} is claimed by {holder!r}; stop that agent, or run one a node")
        self.holder = holder


class TaskEnded(KubesteerError):
    """A task of a service that must never end did."""

    def __init__(self, task: str, why: str) -> None:
        super().__init__(f"task {task!r} ended by itself ({why}); it is begun anew with the process")


class ColumnEdited(KubesteerError):
    """Somebody changed records of this node's column by hand; what is believed in memory is behind them."""


class Unavailable(KubesteerError):
    """A dependency did not answer."""


class StoreUnavailable(Unavailable):
    """The reward store did not answer."""


class ClusterUnavailable(Unavailable):
    """The source of nodes and pods did not answer."""


class KubectlFailed(ClusterUnavailable):
    """kubectl is not there, or ended with an error; the message has its own words."""


class MetricsUnavailable(Unavailable):
    """A server of measurements, a kubelet or Prometheus, did not answer or answered what cannot be used."""
