"""The control interface's routes: who may ask, what is asked, and nothing else.

Owns the map from a request to one call of `DriveService`, and from a refusal to a `Problem` with an HTTP status.
Decides nothing about the drive. Every handler is `async def`: a plain `def` would be run in a thread, and the service
belongs to the core's loop.

Who may ask what stands in `appliance.roles`, and is asked once for all routes; routes of people and shares are in
`people_handlers`. The caller is who the kernel says he is (SO_PEERCRED); only root may act as somebody else.
"""

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from appliance.control.answering import REFUSALS, By, answer, long_answer
from appliance.control.auditing import ACTING
from appliance.control.metrics import as_prometheus
from appliance.control.people_handlers import route_shares, route_users
from appliance.control.protocol import (
    CacheStats,
    CheckReport,
    Dropped,
    DropRequest,
    Job,
    KeyState,
    KitPage,
    PassphraseRequest,
    PathRequest,
    Pinned,
    Pins,
    Problem,
    RestorePlan,
    RestoreRequest,
    ServiceError,
    SessionRequest,
    Snapshot,
    SnapshotRequest,
    Status,
    Task,
    UndoRequest,
    Version,
)
from appliance.control.services import DriveService
from appliance.control.upkeep_handlers import route_upkeep
from appliance.roles import Acting, require
from vfs.people import Role

ActingUser = Annotated[int | None, Header(alias="X-Acting-User", ge=0, lt=1 << 32)]
PEER_UID = "hybrid_drive.peer_uid"
"""The key in the ASGI scope under which the server puts the caller's uid."""

_HTTP_STATUS = {
    "usage": 400,
    "no_rights": 403,
    "not_found": 404,
    "exists": 409,
    "held": 409,
    "changed_since": 409,
    "refused": 409,
    "already_running": 409,
    "read_only": 409,
    "not_running": 503,
    "disk_full": 507,
    "cache_full": 507,
    "offline": 503,
    "store_refused": 502,
    "locked": 403,
}


def build_app(service: DriveService, core_uid: int) -> FastAPI:
    """The ASGI application over `service`; `core_uid` is the user who runs the core."""

    async def allowed(request: Request, acting: ActingUser = None) -> None:
        """Lets pass whoever may ask that, by the table of `roles`."""
        uid = _acting_uid(request, acting)
        request.scope.get(ACTING, {})["uid"] = uid
        request.state.by = Acting(uid, Role.OWNER if uid in (0, core_uid) else service.people.role_of(uid))
        require(request.state.by, f"{request.method} {request.scope['route'].path}")

    app = FastAPI(
        title="Hybrid Drive control",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        dependencies=[Depends(allowed)],
    )
    app.add_exception_handler(ServiceError, _refused)
    app.add_exception_handler(RequestValidationError, _misworded)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Exception, _unforeseen)

    _route_everybody(app, service)
    _route_snapshots(app, service)
    _route_restores(app, service)
    _route_keys(app, service)
    _route_cloud(app, service)
    route_users(app, service)
    route_shares(app, service)
    route_upkeep(app, service)
    _route_doors(app, service)
    return app


def _route_everybody(app: FastAPI, service: DriveService) -> None:
    async def named_path(
        request: Request, path: Annotated[str, Query(description="As DrivePath, percent-encoded")]
    ) -> str:
        # Starlette decodes a query with U+FFFD for what is not UTF-8; a file's name must survive.
        query: bytes = request.scope["query_string"]
        return parse_qs(query.decode("ascii", "replace"), keep_blank_values=True, errors="surrogateescape")["path"][-1]

    @app.get("/v1/status", response_model=Status, responses=REFUSALS)
    async def status() -> Response:
        return answer(await service.status())

    @app.get("/v1/snapshots", response_model=list[Snapshot], responses=REFUSALS)
    async def list_snapshots() -> Response:
        return await long_answer(await service.list_snapshots())

    @app.get("/v1/versions", response_model=list[Version], responses=REFUSALS)
    async def versions(path: Annotated[str, Depends(named_path)], by: By) -> Response:
        return await long_answer(await service.own.versions(by, path))

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        return Response(as_prometheus(await service.status()), media_type="text/plain; version=0.0.4")


def _route_snapshots(app: FastAPI, service: DriveService) -> None:
    @app.post("/v1/snapshots", response_model=Snapshot, status_code=201, responses=REFUSALS)
    async def create_snapshot(request: SnapshotRequest) -> Response:
        return answer(await service.create_snapshot(request.label), 201)

    @app.delete("/v1/snapshots/{name}", status_code=204, responses=REFUSALS)
    async def delete_snapshot(name: str) -> Response:
        await service.delete_snapshot(name)
        return Response(status_code=204)

    @app.post("/v1/snapshots/{name}/hold", response_model=Snapshot, responses=REFUSALS)
    async def hold(name: str) -> Response:
        return answer(await service.hold(name, True))

    @app.post("/v1/snapshots/{name}/release", response_model=Snapshot, responses=REFUSALS)
    async def release(name: str) -> Response:
        return answer(await service.hold(name, False))


def _route_restores(app: FastAPI, service: DriveService) -> None:
    @app.post("/v1/restores", response_model=RestorePlan | Job, responses=REFUSALS)
    async def restore(request: RestoreRequest, by: By) -> Response:
        """A RestorePlan when `dry_run`, else the Job."""
        if request.dry_run:
            return answer(await service.own.plan_restore(by, request))
        return answer(await service.own.start_restore(by, request))

    @app.get("/v1/jobs", response_model=list[Job], responses=REFUSALS)
    async def jobs(by: By) -> Response:
        return answer(await service.own.jobs(by))

    @app.get("/v1/jobs/{job_id}", response_model=Job, responses=REFUSALS)
    async def job(job_id: int, by: By) -> Response:
        return answer(await service.own.job(by, job_id))

    @app.post("/v1/jobs/{job_id}/undo", response_model=Job, responses=REFUSALS)
    async def undo(job_id: int, request: UndoRequest, by: By) -> Response:
        return answer(await service.own.undo(by, job_id, request.force))

    @app.get("/v1/cache", response_model=CacheStats, responses=REFUSALS)
    async def cache_stats() -> Response:
        return answer(await service.cache_stats())

    @app.get("/v1/check", response_model=CheckReport, responses=REFUSALS)
    async def check() -> Response:
        return answer(await service.check())

    @app.get("/v1/scrub", response_model=CheckReport, responses=REFUSALS)
    async def scrub(percent: Annotated[float, Query(gt=0, le=100)] = 100) -> Response:
        return answer(await service.scrub(percent))

    @app.get("/v1/scrub/store", response_model=CheckReport, responses=REFUSALS)
    async def scrub_store() -> Response:
        return answer(await service.scrub_store())


def _route_keys(app: FastAPI, service: DriveService) -> None:
    @app.get("/v1/keys", response_model=KeyState, responses=REFUSALS)
    async def keys() -> Response:
        return answer(await service.keys.state())

    @app.post("/v1/keys/passphrases", response_model=KeyState, responses=REFUSALS)
    async def add_passphrase(request: PassphraseRequest) -> Response:
        return answer(await service.keys.add_passphrase(request.passphrase, request.name))

    @app.post("/v1/keys/wraps/{number}/revoke", response_model=KeyState, responses=REFUSALS)
    async def revoke(number: int) -> Response:
        return answer(await service.keys.revoke(number))

    @app.post("/v1/keys/rotate", response_model=KeyState, responses=REFUSALS)
    async def rotate() -> Response:
        return answer(await service.keys.rotate())

    @app.post("/v1/keys/kit", response_model=KitPage, responses=REFUSALS)
    async def new_kit() -> Response:
        return answer(await service.keys.new_kit())


def _route_cloud(app: FastAPI, service: DriveService) -> None:
    @app.post("/v1/flush", response_model=Task, responses=REFUSALS)
    async def flush() -> Response:
        return answer(await service.cloud.flush())

    @app.get("/v1/tasks/{task_id}", response_model=Task, responses=REFUSALS)
    async def task(task_id: int) -> Response:
        return answer(await service.cloud.task(task_id))

    @app.post("/v1/cache/warm", response_model=Task, responses=REFUSALS)
    async def warm(request: PathRequest) -> Response:
        return answer(await service.cloud.warm(request.path))

    @app.post("/v1/cache/drop", response_model=Dropped, responses=REFUSALS)
    async def drop(request: DropRequest) -> Response:
        return answer(await service.cloud.drop(request.path))

    @app.post("/v1/cache/pin", response_model=Pinned, responses=REFUSALS)
    async def pin(request: PathRequest) -> Response:
        return answer(await service.cloud.pin(request.path))

    @app.post("/v1/cache/unpin", response_model=Pins, responses=REFUSALS)
    async def unpin(request: PathRequest) -> Response:
        return answer(await service.cloud.unpin(request.path))

    @app.get("/v1/cache/pins", response_model=Pins, responses=REFUSALS)
    async def pins() -> Response:
        return answer(await service.cloud.pins())


def _route_doors(app: FastAPI, service: DriveService) -> None:
    @app.post("/v1/actors", status_code=204, responses=REFUSALS)
    async def register(request: SessionRequest) -> Response:
        await service.sessions.register(request)
        return Response(status_code=204)


def _acting_uid(request: Request, acting: int | None) -> int:
    peer = int(request.scope[PEER_UID])
    if acting is None or acting == peer:
        return peer
    if peer != 0:
        raise ServiceError(
            "no_rights", "Only root may act as another user; nothing was changed. Leave X-Acting-User out."
        )
    return acting


def _problem(status_code: int, code: str, message: str, details: dict[str, Any] | None = None) -> Response:
    return answer(Problem(code=code, message=message, details=details or {}), status_code)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return _problem(_HTTP_STATUS.get(error.code, 500), error.code, error.message, error.details)


async def _misworded(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = f"The request is not understood: {place}: {first['msg']}. Nothing was changed."
    return _problem(400, "usage", message)


async def _unrouted(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "not_found" if error.status_code == 404 else "usage"
    return _problem(
        error.status_code, code, f"The control interface has no such request ({error.detail}). Nothing was changed."
    )


async def _unforeseen(_request: Request, _error: Exception) -> Response:
    """Answers the caller; the error itself goes on to the server, which logs it with its traceback."""
    message = "The core met an error that nobody foresaw; the drive goes on serving. The core's log has the details."
    return _problem(500, "unexpected", message)
