"""The caller's end of the control interface, typed and blocking: for the command line, the supervisor and the portal.

Promises that every failure is a `ControlProblem` with a sentence: a socket that is missing or dead says that the
drive is not running, whatever lies under it calls that. One connection per question: on a Unix socket that costs 0.1
ms, and no question ever meets a connection that the core has closed meanwhile.

It stands on the standard library's HTTP, not on httpx: importing httpx took 0.2 s of the 0.4 s of a `status`, because
it loads trio along, and its Unix connection leaves the socket open when the core is not there.
"""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from appliance.control.address import reachable_name
from appliance.control.protocol import (
    CacheStats,
    CheckReport,
    ControlProblem,
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
    SessionRequest,
    Snapshot,
    SnapshotRequest,
    Status,
    Task,
    UndoRequest,
    Version,
)
from appliance.control.upkeep_protocol import PolicyPreview, PolicyRequest, PolicyState, Tidied
from appliance.errors import NoRights
from appliance.lock import is_held
from appliance.places import StatePlaces

STARTING_S = 30.0
"""How long a question waits for a core that has the state directory and does not listen yet."""
STORE_S = 600.0
"""How long an answer may take that waits for the cloud store, which is asked again for minutes."""
_PAUSE_S = 0.05
_Answer = TypeVar("_Answer", bound=BaseModel)


class ControlClient:
    """One caller of the core behind `socket_path`; several threads may share it. It holds nothing open in between.

    `timeout_s` bounds the wait for each answer but those of `check`, `scrub`, `drop` and pins, which may look at all of
    the drive, and of changes of keys, which wait for the cloud store.
    `patience_s` bounds the wait for a core that is being started: it serves the mount a moment before it listens.
    `acting_uid` names the user on whose behalf the caller asks; only root may name another than himself.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        timeout_s: float = 30.0,
        patience_s: float = STARTING_S,
        acting_uid: int | None = None,
    ) -> None:
        self._socket_path = socket_path
        self._state = socket_path.parent.parent
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._headers = {} if acting_uid is None else {"X-Acting-User": str(acting_uid)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Every question has closed its connection already."""

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

    def scrub(self, percent: float) -> CheckReport:
        """Reads all local bytes; takes as long as there are many."""
        return self._one(CheckReport, "GET", f"/v1/scrub?percent={percent:g}", timeout_s=None)

    def scrub_store(self) -> CheckReport:
        """Reads the whole store; takes as long as the line needs."""
        return self._one(CheckReport, "GET", "/v1/scrub/store", timeout_s=None)

    def keys(self) -> KeyState:
        return self._one(KeyState, "GET", "/v1/keys")

    def add_passphrase(self, passphrase: str, name: str) -> KeyState:
        request = PassphraseRequest(passphrase=passphrase, name=name)
        return self._one(KeyState, "POST", "/v1/keys/passphrases", request, STORE_S)

    def revoke_key(self, number: int) -> KeyState:
        return self._one(KeyState, "POST", f"/v1/keys/wraps/{number}/revoke", timeout_s=STORE_S)

    def rotate_keys(self) -> KeyState:
        return self._one(KeyState, "POST", "/v1/keys/rotate", timeout_s=STORE_S)

    def new_kit(self) -> KitPage:
        return self._one(KitPage, "POST", "/v1/keys/kit", timeout_s=STORE_S)

    def flush(self) -> Task:
        return self._one(Task, "POST", "/v1/flush")

    def task(self, task_id: int) -> Task:
        return self._one(Task, "GET", f"/v1/tasks/{task_id}")

    def warm(self, path: str) -> Task:
        return self._one(Task, "POST", "/v1/cache/warm", PathRequest(path=path))

    def drop(self, path: str | None = None) -> Dropped:
        return self._one(Dropped, "POST", "/v1/cache/drop", DropRequest(path=path), timeout_s=None)

    def pin(self, path: str) -> Pinned:
        return self._one(Pinned, "POST", "/v1/cache/pin", PathRequest(path=path), timeout_s=None)

    def unpin(self, path: str) -> Pins:
        return self._one(Pins, "POST", "/v1/cache/unpin", PathRequest(path=path), timeout_s=None)

    def pins(self) -> Pins:
        return self._one(Pins, "GET", "/v1/cache/pins")

    def register_session(self, request: SessionRequest) -> None:
        self._ask("POST", "/v1/actors", request)

    def gc(self) -> Tidied:
        """Takes as long as the line needs."""
        return self._one(Tidied, "POST", "/v1/gc", timeout_s=None)

    def policy(self) -> PolicyState:
        return self._one(PolicyState, "GET", "/v1/policy")

    def set_policy(self, request: PolicyRequest) -> PolicyState:
        return self._one(PolicyState, "PUT", "/v1/policy", request)

    def cancel_policy(self) -> PolicyState:
        return self._one(PolicyState, "POST", "/v1/policy/cancel")

    def preview_policy(self, request: PolicyRequest) -> PolicyPreview:
        return self._one(PolicyPreview, "POST", "/v1/policy/preview", request)

    def metrics(self) -> str:
        """The status as Prometheus text."""
        return self._ask("GET", "/metrics").decode()

    def _one(
        self, kind: type[_Answer], method: str, url: str, body: BaseModel | None = None, timeout_s: float | None = -1.0
    ) -> _Answer:
        answer = self._ask(method, url, body, timeout_s)
        with self._understood():
            return kind.model_validate(json.loads(answer))

    def _many(self, kind: type[_Answer], url: str) -> list[_Answer]:
        answer = self._ask("GET", url)
        with self._understood():
            return [kind.model_validate(item) for item in json.loads(answer)]

    def _ask(self, method: str, url: str, body: BaseModel | None = None, timeout_s: float | None = -1.0) -> bytes:
        limit = self._timeout_s if timeout_s == -1.0 else timeout_s
        content, headers = None, self._headers
        if body is not None:
            content = json.dumps(body.model_dump(mode="json")).encode()
            headers = headers | {"Content-Type": "application/json"}
        connection = _UnixConnection(self._socket_path, limit)
        try:
            self._connect(connection)
            try:
                connection.request(method, url, content, headers)
                response = connection.getresponse()
                answer = response.read()
            except TimeoutError as error:
                raise self._unanswered() from error
            except (OSError, http.client.HTTPException) as error:
                raise _problem(
                    "not_running",
                    "The core stopped before it answered; whether it did what was asked is not known. Look at "
                    f"`hybrid-drive status --state {self._state}` once it is back.",
                ) from error
        finally:
            connection.close()
        if 200 <= response.status < 300:
            return answer
        with self._understood():
            raise ControlProblem(Problem.model_validate(json.loads(answer)))

    def _connect(self, connection: "_UnixConnection") -> None:
        give_up = time.monotonic() + self._patience_s
        while not self._connected(connection):
            if not self._is_starting():
                raise _problem(
                    "not_running",
                    f"The drive in {self._state} is not running; start it with "
                    f"`hybrid-drive serve --state {self._state}`.",
                )
            if time.monotonic() > give_up:
                raise _problem(
                    "unanswered",
                    f"Another process has the drive in {self._state} and does not listen: the drive is being started, "
                    "or a command works on it. Try again in a minute; `hybrid-drive doctor` looks into it.",
                )
            time.sleep(_PAUSE_S)

    def _is_starting(self) -> bool:
        """Whether somebody has the state directory; False also if this user may not know."""
        if not self._patience_s:
            return False
        try:
            return is_held(StatePlaces(self._state))
        except NoRights:
            return False

    def _connected(self, connection: "_UnixConnection") -> bool:
        """False when nobody listens."""
        try:
            connection.connect()
        except PermissionError as error:
            raise _problem(
                "no_rights",
                f"This user may not talk to the drive in {self._state}; run the command as root, as the user who "
                "runs the drive, or as a member of the group hybrid-drive.",
            ) from error
        except (TimeoutError, BlockingIOError) as error:
            # The queue of a core that accepts nobody is full.
            raise self._unanswered() from error
        except OSError:
            connection.close()
            return False
        return True

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

    def _unanswered(self) -> ControlProblem:
        return _problem(
            "unanswered",
            f"The core did not answer within {self._timeout_s:g} s; whether it did what was asked is not known. "
            "`hybrid-drive doctor` looks into it.",
        )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket of any name's length."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("core", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with reachable_name(self._path) as name:
            self.sock.connect(name)


def _segment(name: str) -> str:
    return quote(name, safe="", errors="surrogateescape")


def _problem(code: str, message: str) -> ControlProblem:
    return ControlProblem(Problem(code=code, message=message))
