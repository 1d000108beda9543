"""The caller's end of the control interface, typed and blocking: for the command line, the supervisor and the portal.

Promises that every failure is a `ControlProblem` with a sentence: a socket that is missing or dead says that the
drive is not running, whatever the library under it calls that. Loads no web framework and no TLS certificates: a call
on a fresh process should cost milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from appliance.control.address import reachable_name
from appliance.control.protocol import (
    CacheStats,
    CheckReport,
    ControlProblem,
    Job,
    Problem,
    RestorePlan,
    RestoreRequest,
    Snapshot,
    SnapshotRequest,
    Status,
    UndoRequest,
    Version,
)

_Answer = TypeVar("_Answer", bound=BaseModel)


class ControlClient:
    """One caller of the core behind `socket_path`. Not for several threads at once. Close it, or use it as a context.

    `timeout_s` bounds the wait for each answer but that of `check`, which looks at the whole drive and takes its time.
    `acting_uid` names the user on whose behalf the caller asks; only root may name another than himself.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float = 30.0, acting_uid: int | None = None) -> None:
        self._state = socket_path.parent.parent
        self._stack = ExitStack()
        self._timeout_s = timeout_s
        headers = {} if acting_uid is None else {"X-Acting-User": str(acting_uid)}
        try:
            name = self._stack.enter_context(reachable_name(socket_path))
        except OSError as error:
            raise self._not_running() from error
        transport = httpx.HTTPTransport(uds=name, verify=False, trust_env=False)
        self._http = self._stack.enter_context(
            httpx.Client(
                transport=transport, base_url="http://core", headers=headers, timeout=timeout_s, trust_env=False
            )
        )

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def status(self) -> Status:
        return self._one(Status, "GET", "/v1/status")

    def create_snapshot(self, label: str | None = None) -> Snapshot:
        return self._one(Snapshot, "POST", "/v1/snapshots", SnapshotRequest(label=label))

    def list_snapshots(self) -> list[Snapshot]:
        return self._many(Snapshot, "/v1/snapshots")

    def delete_snapshot(self, name: str) -> None:
        self._ask("DELETE", f"/v1/snapshots/{_segment(name)}")

    def hold(self, name: str, held: bool) -> Snapshot:
        return self._one(Snapshot, "POST", f"/v1/snapshots/{_segment(name)}/{'hold' if held else 'release'}")

    def versions(self, path: str) -> list[Version]:
        return self._many(Version, f"/v1/versions?path={quote(path, safe='/', errors='surrogateescape')}")

    def plan_restore(self, path: str, at: str, to: str | None = None) -> RestorePlan:
        request = RestoreRequest(path=path, at=at, to=to, dry_run=True)
        return self._one(RestorePlan, "POST", "/v1/restores", request)

    def start_restore(self, path: str, at: str, to: str | None = None) -> Job:
        return self._one(Job, "POST", "/v1/restores", RestoreRequest(path=path, at=at, to=to))

    def undo(self, job_id: int, *, force: bool = False) -> Job:
        return self._one(Job, "POST", f"/v1/jobs/{job_id}/undo", UndoRequest(force=force))

    def jobs(self) -> list[Job]:
        return self._many(Job, "/v1/jobs")

    def job(self, job_id: int) -> Job:
        return self._one(Job, "GET", f"/v1/jobs/{job_id}")

    def cache_stats(self) -> CacheStats:
        return self._one(CacheStats, "GET", "/v1/cache")

    def check(self) -> CheckReport:
        return self._one(CheckReport, "GET", "/v1/check", timeout_s=None)

    def metrics(self) -> str:
        """The status as Prometheus text."""
        return self._ask("GET", "/metrics").text

    def _one(
        self, kind: type[_Answer], method: str, url: str, body: BaseModel | None = None, timeout_s: float | None = -1.0
    ) -> _Answer:
        response = self._ask(method, url, body, timeout_s)
        with self._understood():
            return kind.model_validate(json.loads(response.content))

    def _many(self, kind: type[_Answer], url: str) -> list[_Answer]:
        response = self._ask("GET", url)
        with self._understood():
            return [kind.model_validate(item) for item in json.loads(response.content)]

    def _ask(
        self, method: str, url: str, body: BaseModel | None = None, timeout_s: float | None = -1.0
    ) -> httpx.Response:
        content, headers = None, {}
        if body is not None:
            content, headers = json.dumps(body.model_dump(mode="json")), {"Content-Type": "application/json"}
        limit = self._timeout_s if timeout_s == -1.0 else timeout_s
        try:
            response = self._http.request(method, url, content=content, headers=headers, timeout=limit)
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx.TimeoutException as error:
            raise _problem(
                "unanswered",
                f"The core did not answer within {limit:g} s; whether it did what was asked is not known. "
                "`hybrid-drive doctor` looks into it.",
            ) from error
        except httpx.TransportError as error:
            raise _problem(
                "not_running",
                "The core stopped before it answered; whether it did what was asked is not known. Look at "
                f"`hybrid-drive status --state {self._state}` once it is back.",
            ) from error
        if response.is_success:
            return response
        with self._understood():
            raise ControlProblem(Problem.model_validate(json.loads(response.content)))

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, ValidationError) as error:
            raise _problem(
                "other_version",
                "The core's answer is not understood: the core and this command are of different versions. "
                "Restart the drive after an update.",
            ) from error

    def _unreachable(self, error: httpx.ConnectError) -> ControlProblem:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, PermissionError):
                return _problem(
                    "no_rights",
                    f"This user may not talk to the drive in {self._state}; run the command as root, as the user who "
                    "runs the drive, or as a member of the group hybrid-drive.",
                )
            cause = cause.__cause__ or cause.__context__
        return self._not_running()

    def _not_running(self) -> ControlProblem:
        return _problem(
            "not_running",
            f"The drive in {self._state} is not running; start it with `hybrid-drive serve --state {self._state}`.",
        )


def _segment(name: str) -> str:
    return quote(name, safe="", errors="surrogateescape")


def _problem(code: str, message: str) -> ControlProblem:
    return ControlProblem(Problem(code=code, message=message))
