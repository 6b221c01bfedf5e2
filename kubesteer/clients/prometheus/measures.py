"""How well pods do by the application's own account: a PromQL query whose value is 0 (worst) to 1 (best).

A query is written once for a pod type. It may name the pod, `rate(good{pod="$pod"}[5m]) / ...`, and is then sent for
each pod; or it gives one series a pod, told apart by the labels namespace and pod, and is sent once for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Template

import msgspec

from kubesteer.clients.metrics_server import MetricsServer
from kubesteer.model.errors import InvalidSettings, MetricsUnavailable
from kubesteer.model.quantity import shown

EVERY_TYPE = "*"
_PATH = "/api/v1/query"
_VARIABLES = frozenset({"namespace", "pod", "type"})
_AT_ONCE = 4
_REFUSED = frozenset({400, 422})
"""A query that cannot be parsed, and one that fails while it runs."""


@dataclass(frozen=True, slots=True)
class MeasuredPod:
    """A pod to be measured."""

    namespace: str
    name: str
    pod_type: str


@dataclass(frozen=True, slots=True)
class Measure:
    """What a query says of a pod: value, 0..1, or None and the problem that stands in its place."""

    value: float | None
    problem: str = ""


class _Series(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Response(msgspec.Struct):
    status: str = ""
    error: str = ""
    data: _Data | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    """One value of an answer; a scalar has no labels."""

    labels: Mapping[str, str]
    value: float


_Found = Sequence[_Sample] | str
"""What a query gives, or why it gives nothing."""


class Measures:
    """The queries, by pod type; EVERY_TYPE is asked for types that have none of their own.

    Raises InvalidSettings that names the query and the variable that it must not use.
    """

    def __init__(self, prometheus: MetricsServer, queries: Mapping[str, str]) -> None:
        self._prometheus = prometheus
        self._queries = {pod_type: _template(pod_type, query) for pod_type, query in queries.items()}

    async def of(self, pods: Iterable[MeasuredPod]) -> dict[MeasuredPod, Measure]:
        """The measures of these pods now. Pods of a type without a query are left out.

        A value that is missing, ambiguous or not in 0..1, and a query that Prometheus refuses, are problems of the
        pods concerned. Raises MetricsUnavailable when Prometheus does not answer.
        """
        texts = {pod: text for pod in pods if (text := self._text(pod)) is not None}
        queries = frozenset(texts.values())
        turns = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                asked = {query: group.create_task(self._ask(query, turns)) for query in queries}
        except ExceptionGroup as exc:
            raise exc.exceptions[0] from exc
        return {pod: _measure(pod, asked[text].result(), whole=self._names_pod(pod)) for pod, text in texts.items()}

    def _template_of(self, pod: MeasuredPod) -> Template | None:
        return self._queries.get(pod.pod_type, self._queries.get(EVERY_TYPE))

    def _names_pod(self, pod: MeasuredPod) -> bool:
        template = self._template_of(pod)
        return template is not None and "pod" in template.get_identifiers()

    def _text(self, pod: MeasuredPod) -> str | None:
        template = self._template_of(pod)
        if template is None:
            return None
        return template.substitute(
            namespace=_quotable(pod.namespace), pod=_quotable(pod.name), type=_quotable(pod.pod_type)
        )

    async def _ask(self, query: str, turns: asyncio.Semaphore) -> _Found:
        async with turns:
            answer = await self._prometheus.ask(_PATH, {"query": query})
        try:
            response = msgspec.json.decode(answer.body, type=_Response)
            if answer.ok and response.status == "success" and response.data is not None:
                return _result(response.data)
        except (msgspec.MsgspecError, ValueError) as exc:
            where = f"{self._prometheus.url}{_PATH}"
            raise MetricsUnavailable(f"{where}: answered {answer.status}, which cannot be read: {exc}") from exc
        if answer.status in _REFUSED and response.error:
            return f"Prometheus refuses the query {shown(query, limit=200)}: {response.error}"
        raise MetricsUnavailable(f"{self._prometheus.url}{_PATH}: answered {answer.status}: {response.error}")


def _template(pod_type: str, query: str) -> Template:
    template = Template(query)
    if not template.is_valid():
        raise InvalidSettings(f"query of {pod_type!r} {shown(query)}: a lone $; write $$ for the character itself")
    unknown = set(template.get_identifiers()) - _VARIABLES
    if unknown:
        known = ", ".join(f"${name}" for name in sorted(_VARIABLES))
        raise InvalidSettings(f"query of {pod_type!r} {shown(query)}: ${min(unknown)} is not known; use {known}")
    return template


def _quotable(text: str) -> str:
    """A name as it may stand between quotes in PromQL, so that a label on a pod cannot change the query."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'").replace("\n", "\\n")


def _result(data: _Data) -> _Found:
    if data.result_type == "vector":
        series = msgspec.json.decode(data.result, type=list[_Series])
        return [_Sample(each.metric, float(each.value[1])) for each in series]
    if data.result_type == "scalar":
        return [_Sample({}, float(msgspec.json.decode(data.result, type=tuple[float, str])[1]))]
    return f"the query gives a {data.result_type}; write one that gives an instant vector or a scalar"


def _measure(pod: MeasuredPod, found: _Found, *, whole: bool) -> Measure:
    """whole: the answer is this pod's alone, whatever its labels."""
    if isinstance(found, str):
        return Measure(None, found)
    where = f"{pod.namespace}/{pod.name}"
    values = [sample.value for sample in found if whole or _is_about(sample, pod)]
    if not values:
        return Measure(None, f"the query gives no series for {where}")
    if len(values) > 1:
        return Measure(None, f"the query gives {len(values)} series for {where}; aggregate them to one")
    if not 0 <= values[0] <= 1:
        return Measure(None, f"the query gives {values[0]} for {where}; make it 0 (worst) to 1 (best)")
    return Measure(values[0])


def _is_about(sample: _Sample, pod: MeasuredPod) -> bool:
    return (sample.labels.get("namespace"), sample.labels.get("pod")) == (pod.namespace, pod.name)
