"""The ops port: health, readiness, metrics, version, and why a pod would go where. It only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from extender.explaining.process import Busy
from extender.explaining.work import Explain, Read
from extender.routes import schemas
from extender.routes.access import DETAILS
from extender.routes.body import BodyReader
from extender.wire.names import IS_COMPILED
from kubesteer.model.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from extender.decisions import Decisions
    from extender.explaining.process import Worker
    from extender.health import Health
    from extender.metrics import Metrics
    from extender.settings import Limits
    from kubesteer.placement.policy import Policy

VERBS_DOCS, VERBS_OPENAPI = "/docs/verbs", "/docs/verbs.json"


def ops_app(
    decisions: Decisions,
    health: Health,
    metrics: Metrics,
    limits: Limits,
    policy: Policy,
    version: str,
    verbs: FastAPI,
    *,
    most_nodes: Callable[[], int],
    worker: Worker,
    log: FilteringBoundLogger,
) -> FastAPI:
    """The application of the ops port. verbs: described on a page of its own. worker: explains."""
    app: FastAPI = FastAPIOffline(
        title="kubesteer extender: ops port",
        version=version,
        description=f"The scheduler's verbs are on another port: [{VERBS_DOCS}]({VERBS_DOCS[1:]}).",
        redoc_url=None,
        redirect_slashes=False,
    )
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

    @app.get("/version", tags=["ops"], summary="Version of kubesteer; whether names are found by compiled code")
    async def version_page() -> dict[str, str | bool]:
        return {"version": version, "compiled_names": IS_COMPILED}

    @app.post("/explain", tags=["ops"], openapi_extra=schemas.EXPLAIN, summary="Each term of each node's score")
    async def explain(request: Request) -> Response:
        try:
            body = await bodies.read(request.scope, request.receive)
            pod, asked = await worker.do(Read(body, limits.names_body_bytes, most_nodes(), policy))
            asked = decisions.every_node(most_nodes()) if asked is None else asked
            page = await worker.do(Explain(decisions.question(pod, asked), policy))
        except InvalidInput as exc:
            return JSONResponse({"error": str(exc)}, status_code=400, headers={"Connection": "close"})
        except Busy as exc:
            return JSONResponse({"error": str(exc)}, status_code=503, headers={"Retry-After": "1"})
        except Exception as exc:
            log.exception("fault", verb="explain")
            fault = f"kubesteer fault {type(exc).__name__}: see its log"
            return JSONResponse({"error": fault}, status_code=500, headers={"Connection": "close"})
        return Response(page, media_type="application/json")

    _add_verbs_docs(app, verbs)
    return app


def _add_verbs_docs(app: FastAPI, verbs: FastAPI) -> None:
    """A page that calls nothing: the verbs are on another port, which lets no page of a browser in.

    A call would be cross-origin, may need a client certificate, and would make promises.
    """

    @app.get(VERBS_OPENAPI, include_in_schema=False)
    async def verbs_openapi() -> dict[str, Any]:
        return verbs.openapi()

    @app.get(VERBS_DOCS, include_in_schema=False)
    async def verbs_docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        static = f"{root}/static-offline-docs"
        return get_swagger_ui_html(
            openapi_url=f"{root}{VERBS_OPENAPI}",
            title=verbs.title,
            swagger_js_url=f"{static}/swagger-ui-bundle.js",
            swagger_css_url=f"{static}/swagger-ui.css",
            swagger_favicon_url=f"{static}/favicon.png",
            swagger_ui_parameters={"supportedSubmitMethods": []},
        )
