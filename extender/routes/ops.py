"""The ops port: health, readiness, metrics, version, and why a pod would go where. It only reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from extender.routes import schemas
from extender.routes.access import DETAILS
from extender.routes.body import BodyReader
from extender.wire.arguments import ArgumentsReader
from kubesteer.model.errors import InvalidInput

if TYPE_CHECKING:
    from extender.decisions import Decisions, ExplainAnswer
    from extender.health import Health
    from extender.metrics import Metrics
    from extender.settings import Limits
    from kubesteer.placement.candidates import Opinion


def ops_app(
    decisions: Decisions, health: Health, metrics: Metrics, limits: Limits, version: str, verbs: FastAPI
) -> FastAPI:
    """The application of the ops port; its /docs describe the verbs too."""
    app: FastAPI = FastAPIOffline(title="kubesteer", version=version, redoc_url=None, redirect_slashes=False)
    reader = ArgumentsReader(names_body_bytes=limits.names_body_bytes)
    bodies = BodyReader(limit_bytes=limits.nodes_body_bytes, timeout_s=limits.body_timeout_s)

    @app.get("/healthz", tags=["ops"], summary="The event loop turns")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["ops"], summary="Caches are synced; says what is not, and what is stale")
    async def readyz(request: Request) -> JSONResponse:
        report = health.report()
        shown = report if request.scope.get(DETAILS, True) else {"ready": report["ready"]}
        return JSONResponse(shown, status_code=200 if report["ready"] else 503)

    @app.get("/metrics", tags=["ops"], summary="Prometheus metrics", response_class=Response)
    async def metrics_page() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/version", tags=["ops"], summary="Version of kubesteer")
    async def version_page() -> dict[str, str]:
        return {"version": version}

    @app.post("/explain", tags=["ops"], openapi_extra=schemas.EXPLAIN, summary="Each term of each node's score")
    async def explain(request: Request) -> JSONResponse:
        try:
            arguments = reader.read(await bodies.read(request.scope, request.receive))
            answer = decisions.explain(arguments)
        except InvalidInput as exc:
            return JSONResponse({"error": str(exc)}, status_code=400, headers={"Connection": "close"})
        return JSONResponse(
            {
                "pod": f"{answer.question.pod.namespace}/{answer.question.pod.name}",
                "podType": answer.question.pod.pod_type,
                "requests": asdict(answer.question.pod.requests),
                "nodes": _explained(arguments.names, answer),
                "suspect": answer.explanation.filtered.suspect,
            }
        )

    own_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        described = own_openapi()
        described["paths"] = {**verbs.openapi()["paths"], **described["paths"]}
        return described

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _explained(names: list[str], answer: ExplainAnswer) -> list[dict[str, Any]]:
    """One object a candidate, in request order."""
    explanation = answer.explanation
    verdicts = {verdict.position: verdict for verdict in explanation.filtered.refused}
    passed = set(explanation.filtered.passed.tolist())
    terms = explanation.terms
    return [
        {
            "node": name,
            "fits": p not in verdicts,
            "offered": p in passed,
            "reason": verdicts[p].reason if p in verdicts else None,
            "balance": None if terms.balance is None else round(float(terms.balance[p]), 4),
            "reward": None if terms.reward is None else round(float(terms.reward[p]), 4),
            "learned": _learned(answer.question.opinion, p),
            "total": round(float(terms.total[p]), 4),
            "score": int(explanation.scores[p]),
        }
        for p, name in enumerate(names)
    ]


def _learned(opinion: Opinion | None, position: int) -> dict[str, float | None] | None:
    """Where a node's reward comes from: what its own runs are worth, what was believed without them, and both joined.

    sample: the draw that the score goes by where rewards.choice is thompson.
    """
    if opinion is None:
        return None
    sample = opinion.sample
    return {
        "evidence": round(float(opinion.evidence[position]), 4),
        "prior": round(float(opinion.prior[position]), 4),
        "mean": round(float(opinion.mean[position]), 4),
        "sample": None if sample is None else round(float(sample[position]), 4),
    }
