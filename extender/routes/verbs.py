"""POST /filter and /prioritize: raw bytes in and out, status 200 whatever is wrong, as kube-scheduler expects it.

Only HTTP lives here: bodies, deadlines, counting. Decisions are made in extender.decisions.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request, Response

from extender.routes import schemas
from extender.routes.body import BodyReader, ClientGone, SlowClient
from extender.routes.large import SMALL_BYTES, LargeBodies
from extender.routes.shortcut import Straight
from extender.wire import answers
from extender.wire.arguments import Arguments, ArgumentsReader, BodyTooLarge
from kubesteer.model.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from structlog.typing import FilteringBoundLogger

    from extender.decisions import Decisions
    from extender.metrics import Metrics
    from extender.routes.shortcut import Endpoint
    from extender.settings import Limits
    from extender.warnings import PodWarnings
    from extender.wire.names import Finder

_JSON, _CLOSE = (b"content-type", b"application/json"), (b"connection", b"close")

_TOLD_WRONG_PATHS = 16


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a verb: when it came, and the id that logs and answers name it by."""

    verb: str
    decision_id: str
    started_s: float


class Verbs:
    """The verbs of one extender. warnings is told of pods whose SLO is, or looks like, a mistake."""

    def __init__(
        self,
        decisions: Decisions,
        metrics: Metrics,
        log: FilteringBoundLogger,
        limits: Limits,
        *,
        boot_id: str,
        warnings: PodWarnings,
        most_nodes: Callable[[], int],
        find: Finder,
        perf_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        """most_nodes: a request may name now. find: finds names in the node table."""
        self._decisions = decisions
        self._metrics = metrics
        self._log = log
        self._limits = limits
        self._boot_id = boot_id
        self._warnings = warnings
        self._perf_s = perf_s
        self._serial = itertools.count(1)
        self._reader = ArgumentsReader(names_body_bytes=limits.names_body_bytes, most_nodes=most_nodes, find=find)
        self._large = LargeBodies(
            ArgumentsReader(names_body_bytes=limits.names_body_bytes, most_nodes=most_nodes),
            most_bytes=limits.nodes_body_bytes,
        )
        self._wrong_paths: set[tuple[str, str]] = set()
        self._bodies = BodyReader(limit_bytes=limits.nodes_body_bytes, timeout_s=limits.body_timeout_s)

    def router(self, prefix: str) -> APIRouter:
        """The routes, under a path prefix."""
        router = APIRouter(prefix=prefix, tags=["extender"])
        for verb, endpoint, schema, summary in (
            ("filter", self.filter, schemas.FILTER, "Which nodes can carry the pod"),
            ("prioritize", self.prioritize, schemas.PRIORITIZE, "A score 0..10 for each node"),
        ):
            router.add_api_route(
                f"/{verb}",
                _route(endpoint),
                methods=["POST"],
                openapi_extra=schema,
                summary=summary,
                response_class=Response,
                operation_id=verb,
            )
            router.add_api_route(f"/{verb}", self.how_to_call, methods=["GET"], include_in_schema=False)
        return router

    def endpoints(self, prefix: str) -> Mapping[str, Endpoint]:
        """The verbs by path: the same that router() has."""
        return {f"{prefix}/filter": self.filter, f"{prefix}/prioritize": self.prioritize}

    async def filter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The filter verb: ExtenderArgs in, ExtenderFilterResult out."""
        await self._answer(scope, receive, send, "filter", self._filter, answers.filter_error)

    async def prioritize(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The prioritize verb: ExtenderArgs in, HostPriorityList out; empty where the request cannot be used."""
        await self._answer(scope, receive, send, "prioritize", self._prioritize, lambda _: answers.NO_SCORES)

    def wrong_path(self, method: str, path: str, prefix: str) -> bytes:
        """What a request for no verb is answered; counted, and the first few of them are told in the log."""
        self._metrics.wrong_paths.inc()
        right = (
            f"POST {prefix}/filter and {prefix}/prioritize: the scheduler's urlPrefix must end with "
            f"{prefix or 'the port'}, or set listen.path_prefix; all else is on the ops port"
        )
        if len(self._wrong_paths) < _TOLD_WRONG_PATHS and (method, path) not in self._wrong_paths:
            self._wrong_paths.add((method, path))
            self._log.warning(
                "request for no verb; the same again is only counted", method=method, path=path, right=right
            )
        return orjson.dumps({"error": f"{method} is no verb here; {right}"})

    async def how_to_call(self, request: Request) -> dict[str, Any]:
        """A person who opened the address in a browser is told what to do."""
        return schemas.how_to_call(str(request.url))

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        verb: str,
        decide: Callable[[Call, Arguments, bool], bytes],
        failed: Callable[[str], bytes],
    ) -> None:
        call = Call(verb, f"{self._boot_id}-{next(self._serial)}", self._perf_s())
        status, body = 200, b""
        try:
            body = await self._bodies.read(scope, receive)
            arguments = self._reader.read(body) if len(body) <= SMALL_BYTES else await self._large.read(body)
            self._metrics.candidates[verb].observe(len(arguments.names))
            content = decide(call, arguments, self._is_late(call))
        except InvalidInput as exc:
            kind, status = _kind_and_status(exc)
            self._metrics.errors[kind].inc()
            self._log.warning(
                "request refused",
                verb=verb,
                decision=call.decision_id,
                pod=self._reader.pod_named_in(body),
                kind=kind,
                error=str(exc),
            )
            content = failed(str(exc))
        except Exception as exc:  # noqa: BLE001 - the scheduler throws away every answer but 200
            self._metrics.errors["fault"].inc()
            self._log.exception("fault", verb=verb, decision=call.decision_id, pod=self._reader.pod_named_in(body))
            content = failed(f"kubesteer fault {type(exc).__name__}, decision {call.decision_id}: see its log")
        self._metrics.latency[verb].observe(self._perf_s() - call.started_s)
        headers = [_JSON, (b"content-length", b"%d" % len(content))]
        if status != 200:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _is_late(self, call: Call) -> bool:
        late = (self._perf_s() - call.started_s) * 1000 > self._limits.deadline_ms
        if late:
            self._metrics.late[call.verb].inc()
            self._log.warning(
                "deadline hit", verb=call.verb, decision=call.decision_id, deadline_ms=self._limits.deadline_ms
            )
        return late

    def _filter(self, call: Call, arguments: Arguments, late: bool) -> bytes:
        answer = self._decisions.filter(arguments, decision_id=call.decision_id, late=late)
        filtered, pod = answer.decision.filtered, answer.decision.pod
        if answer.offered is not None:
            self._reader.expect_names(*answer.offered)
        judged, refused, none_fit = filtered, self._metrics.refused, self._metrics.none_fit
        if answer.decision.observed is not None:
            judged = answer.decision.observed
            refused, none_fit = self._metrics.observed_refused, self._metrics.observed_none_fit
        if judged.fitting < len(arguments.names):
            for cause, count in judged.verdicts.counts().items():
                refused[cause].inc(count)
        if not judged.fitting:
            none_fit.inc()
        if not answer.decision.moment.synced:
            self._metrics.unsynced.inc()
        if pod.fault is not None:
            self._warnings.invalid(pod, pod.fault, call.decision_id)
        if pod.override is not None and pod.override.fault is not None:
            self._warnings.unread(pod, pod.override.fault, call.decision_id)
        if filtered.suspect is not None:
            self._warnings.suspect(pod, filtered.suspect, call.decision_id)
        self._log.debug(
            "filter",
            decision=call.decision_id,
            pod=f"{pod.namespace}/{pod.name}",
            observed=answer.decision.observed is not None,
            fitting=judged.fitting,
            offered=len(filtered.passed),
            refused=len(arguments.names) - judged.fitting,
        )
        return answer.body

    def _prioritize(self, call: Call, arguments: Arguments, late: bool) -> bytes:
        answer = self._decisions.prioritize(arguments, decision_id=call.decision_id, late=late)
        pod = answer.decision.pod
        self._log.debug("prioritize", decision=call.decision_id, pod=f"{pod.namespace}/{pod.name}")
        return answer.body


def _route(endpoint: Endpoint) -> Callable[[], Awaitable[Response]]:
    async def route() -> Response:
        return Straight(endpoint)

    return route


def _kind_and_status(exc: InvalidInput) -> tuple[str, int]:
    """Metric label and HTTP status: 200 so that the scheduler reads the error, but for bodies that were not read."""
    match exc:
        case BodyTooLarge():
            return "body-too-large", 413
        case SlowClient():
            return "slow-client", 408
        case ClientGone():
            return "slow-client", 400
        case _:
            return "bad-input", 200
