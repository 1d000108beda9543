"""A `DriveService` in memory, for whoever tests the control interface or a command without a drive.

It keeps the contract of the protocol's docstrings (refusals included) over a dictionary of snapshots and of versions.
What a restore does to files is not its business: a job is done after `job_steps` questions about it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import trio
from kit.fake_people import FakePeople

from appliance.audit import Event
from appliance.control.protocol import (
    CacheStats,
    CheckReport,
    CloudStatus,
    Difference,
    Dropped,
    Finding,
    Job,
    KeyState,
    KeyWrap,
    KitPage,
    Pinned,
    Pins,
    Problem,
    RestorePlan,
    RestoreRequest,
    ServiceError,
    SessionRequest,
    Snapshot,
    Status,
    StoreStatus,
    Task,
    TaskKind,
    Version,
)
from appliance.control.server import serve_control
from appliance.control.upkeep_protocol import (
    PolicyPreview,
    PolicyRequest,
    PolicyState,
    Schedule,
    Spans,
    Tidied,
    UpkeepStatus,
)
from appliance.roles import Acting
from appliance.when import Unresolved, resolve_when
from cloud_tier.kit import Kit
from vfs.retention import Policy

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CLOUD = CloudStatus(
    state="complete",
    verdict="everything is in the cloud as of 2026-03-01 12:00:00 UTC",
    open_bytes=0,
    unsent_bytes=0,
    unsent_blocks=0,
    uploading_bytes=0,
    rate_bytes_per_s=0.0,
    sent_bytes=2**20,
)


class FakeKeys:
    """The keys of a `FakeService`: a kit to begin with; the last one is not revoked."""

    def __init__(self) -> None:
        self.known = [KeyWrap(number=1, kind="kit", name="recovery kit", made=START)]
        self.ring = self.generation = 1
        self.passphrases: list[str] = []
        self.is_offline = False

    async def state(self) -> KeyState:
        return KeyState(drive="00" * 16, ring=self.ring, generation=self.generation, wraps=self.known, revoked=0)

    async def add_passphrase(self, passphrase: str, name: str) -> KeyState:
        self._change()
        self.passphrases.append(passphrase)
        self.known.append(KeyWrap(number=self.ring, kind="passphrase", name=name, made=START))
        return await self.state()

    async def revoke(self, number: int) -> KeyState:
        left = [wrap for wrap in self.known if wrap.number != number]
        if len(left) == len(self.known):
            raise ServiceError("not_found", f"There is no wrap {number}.")
        if not left:
            raise ServiceError("refused", "That is the last one.")
        self._change()
        self.known, self.generation = left, self.generation + 1
        return await self.state()

    async def rotate(self) -> KeyState:
        self._change()
        self.generation += 1
        return await self.state()

    async def new_kit(self) -> KitPage:
        self._change()
        self.known.append(KeyWrap(number=self.ring, kind="kit", name="recovery kit", made=START))
        return KitPage(number=self.ring, text=Kit(bytes(32)).text())

    def _change(self) -> None:
        if self.is_offline:
            raise ServiceError("offline", "The cloud store cannot be reached.")
        self.ring += 1


class FakeUpkeep:
    """Housekeeping of a `FakeService`: a policy, of which what is set is to come, and one snapshot that would go."""

    def __init__(self) -> None:
        self.current = Spans.model_validate(Policy().spans)
        self.pending: Spans | None = None
        self.tidied = Tidied(repacked=1, doomed=2, deleted=3, waiting=4, waiting_bytes=2**20)

    async def gc(self) -> Tidied:
        return self.tidied

    async def policy(self) -> PolicyState:
        takes_effect = START + timedelta(days=7) if self.pending is not None else None
        return PolicyState(current=self.current, pending=self.pending, takes_effect=takes_effect)

    async def set_policy(self, request: PolicyRequest) -> PolicyState:
        self.pending = self._wanted(request)
        return await self.policy()

    async def cancel_policy(self) -> PolicyState:
        if self.pending is None:
            raise ServiceError("not_found", "No shorter policy is to come; nothing was changed.")
        self.pending = None
        return await self.policy()

    async def preview_policy(self, request: PolicyRequest) -> PolicyPreview:
        return PolicyPreview(policy=self._wanted(request), going=["2026-03-01T11-00-00Z"], snapshots=3)

    def _wanted(self, request: PolicyRequest) -> Spans:
        return (self.pending or self.current).model_copy(update=request.model_dump(exclude_none=True))


class FakeCloud:
    """Flush, warm and pins of a `FakeService`. A task is done after `steps` questions, of which 10 bytes each.

    `trouble` keeps every task from getting on; `warm` fails with `cache_full` when `is_full`.
    """

    def __init__(self, *, steps: int = 2) -> None:
        self.steps = steps
        self.trouble: str | None = None
        self.warning: str | None = None
        self.is_full = False
        self.begun: dict[int, Task] = {}
        self.paths: list[str] = []
        self.dropped = Dropped(dropped_bytes=2**20, unsent_bytes=0, pinned_bytes=0)
        self.beyond_bytes = 0

    async def flush(self) -> Task:
        return self._begin("flush", None)

    async def warm(self, path: str) -> Task:
        if path == "nothing":
            raise ServiceError("not_found", "The drive has no nothing; nothing was done.")
        return self._begin("warm", path)

    async def task(self, task_id: int) -> Task:
        task = self.begun.get(task_id)
        if task is None:
            raise ServiceError("not_found", f"There is no task {task_id}.")
        if task.state == "running" and self.trouble is None:
            change: dict[str, object] = {"done_bytes": task.done_bytes + 10, "trouble": None}
            if change["done_bytes"] == task.total_bytes:
                is_full = self.is_full and task.kind == "warm"
                error = Problem(code="cache_full", message="The cache is full.") if is_full else None
                change |= {"state": "failed" if is_full else "done", "error": error, "warning": self.warning}
                change["finished"] = START + timedelta(seconds=2)
            task = task.model_copy(update=change)
        else:
            task = task.model_copy(update={"trouble": self.trouble})
        self.begun[task_id] = task
        return task

    async def drop(self, path: str | None) -> Dropped:
        return self.dropped.model_copy(update={"path": path})

    async def pin(self, path: str) -> Pinned:
        self.paths.append(path)
        return Pinned(path=path, size_bytes=2**20, missing_bytes=2**10, beyond_bytes=self.beyond_bytes)

    async def unpin(self, path: str) -> Pins:
        if path not in self.paths:
            raise ServiceError("not_found", f"{path} was not pinned by itself.")
        self.paths.remove(path)
        return await self.pins()

    async def pins(self) -> Pins:
        return Pins(paths=self.paths, held_bytes=0, beyond_bytes=self.beyond_bytes)

    def _begin(self, kind: TaskKind, path: str | None) -> Task:
        number = 1 + len(self.begun)
        total = 10 * self.steps
        self.begun[number] = Task(
            id=number, kind=kind, state="running", path=path, done_bytes=0, total_bytes=total, created=START
        )
        return self.begun[number]


class FakeSessions:
    """The sessions of a `FakeService`: whatever is registered, but for process 404, which has ended."""

    def __init__(self) -> None:
        self.registered: list[SessionRequest] = []

    async def register(self, request: SessionRequest) -> None:
        if request.pid == 404:
            raise ServiceError("not_found", "There is no process 404.")
        self.registered.append(request)


class FakeOwn:
    """Everything is everybody's own."""

    def __init__(self, whole: "FakeService") -> None:
        self._whole = whole

    async def versions(self, by: Acting, path: str) -> list[Version]:
        return await self._whole.versions(path)

    async def plan_restore(self, by: Acting, request: RestoreRequest) -> RestorePlan:
        return await self._whole.plan_restore(request)

    async def start_restore(self, by: Acting, request: RestoreRequest) -> Job:
        return await self._whole.start_restore(request)

    async def undo(self, by: Acting, job_id: int, force: bool) -> Job:
        return await self._whole.undo(job_id, force)

    async def jobs(self, by: Acting) -> list[Job]:
        return await self._whole.jobs()

    async def job(self, by: Acting, job_id: int) -> Job:
        return await self._whole.job(job_id)


class FakeService:
    """A drive with one file per path in `kept`; time moves one minute with each snapshot."""

    def __init__(self, *, job_steps: int = 2) -> None:
        self.now = START
        self.keys = FakeKeys()
        self.cloud = FakeCloud()
        self.people = FakePeople()
        self.own = FakeOwn(self)
        self.upkeep = FakeUpkeep()
        self.schedules = [
            Schedule(name="retention", last_run=START, next_due=START + timedelta(minutes=15)),
            Schedule(name="scrub store", result="read 1.0 GiB", last_run=START, next_due=START + timedelta(days=1)),
        ]
        self.upkeep_status = UpkeepStatus(waiting=2, waiting_bytes=2**20, stored_bytes=2**30, needed_bytes=2**29)
        self.sessions = FakeSessions()
        self.store = StoreStatus(url="file:///the/store", state="reachable")
        self.cloud_status = CLOUD
        self.snapshots: dict[str, Snapshot] = {}
        self.kept: dict[str, list[Version]] = {}
        self.recorded: dict[int, Job] = {}
        self.job_steps = job_steps
        self.changed_since: list[Difference] = []
        self.findings: list[Finding] = []
        self.defect: Exception | None = None
        """Raised by `status`, as a defect of the core would be."""
        self.read_only_reason: str | None = None
        self.last_cut: datetime | None = START
        self.stuck = False
        """Whether `status` never answers."""

    def keep(self, path: str, size_bytes: int = 10) -> None:
        """Gives `path` a live version and one per snapshot there is."""
        live = Version(snapshot=None, size_bytes=size_bytes, modified=self.now, actor="local", is_live=True)
        past = [
            Version(snapshot=name, size_bytes=size_bytes, modified=made.created, actor="local", is_live=False)
            for name, made in reversed(self.snapshots.items())
        ]
        self.kept[path] = [live, *past]

    async def status(self) -> Status:
        if self.defect is not None:
            raise self.defect
        if self.stuck:
            await trio.sleep_forever()
        return Status(
            state="read_only" if self.read_only_reason else "serving",
            reason=self.read_only_reason,
            version="0.0",
            mount="/the/drive",
            started=START,
            epoch=1 + len(self.snapshots),
            snapshots=len(self.snapshots),
            files=len(self.kept),
            last_cut=self.last_cut,
            uncommitted_rows=0,
            slow_turns=0,
            cache=await self.cache_stats(),
            jobs_running=sum(job.state == "building" for job in self.recorded.values()),
            size_bytes=10 * 2**40,
            free_bytes=9 * 2**40,
            store=self.store,
            cloud=self.cloud_status,
            upkeep=self.upkeep_status,
            schedules=self.schedules,
        )

    async def create_snapshot(self, label: str | None) -> Snapshot:
        if label is not None and "/" in label:
            raise ServiceError("usage", "A label cannot hold a slash; no snapshot was made. Choose another.")
        self.now += timedelta(minutes=1)
        name = self.now.strftime("%Y-%m-%dT%H-%M-%SZ") + (f"_{label}" if label else "")
        made = Snapshot(name=name, created=self.now, epoch=1 + len(self.snapshots), held=False, label=label)
        self.snapshots[name] = made
        return made

    async def list_snapshots(self) -> list[Snapshot]:
        return list(self.snapshots.values())

    async def delete_snapshot(self, name: str) -> None:
        if self._snapshot(name).held:
            raise ServiceError("held", f"The snapshot {name} is held; it was kept. Release it first.")
        del self.snapshots[name]

    async def hold(self, name: str, held: bool) -> Snapshot:
        self.snapshots[name] = self._snapshot(name).model_copy(update={"held": held})
        return self.snapshots[name]

    async def versions(self, path: str) -> list[Version]:
        if path not in self.kept:
            raise ServiceError("not_found", "The drive has and had no such file. Check the path.")
        return self.kept[path]

    async def snapshot_at(self, when: str) -> Snapshot:
        return self.snapshots[self._at(when)]

    async def plan_restore(self, request: RestoreRequest) -> RestorePlan:
        differences = [
            Difference(path=f"{request.path}/new", change="added", kind="file"),
            Difference(path=f"{request.path}/old", change="removed", kind="folder"),
        ]
        return RestorePlan(snapshot=self._at(request.at), differences=differences, added=1, removed=1, changed=0)

    async def start_restore(self, request: RestoreRequest) -> Job:
        at = self._at(request.at)
        if request.to is not None and request.to in self.kept:
            raise ServiceError("exists", "There is something at the target already; nothing was changed.")
        return self._record(
            Job(
                id=1 + len(self.recorded),
                kind="restore",
                path=request.path,
                at=at,
                to=request.to,
                state="building",
                done=0,
                total=self.job_steps,
                undo_snapshot=at,
                created=self.now,
            )
        )

    async def undo(self, job_id: int, force: bool) -> Job:
        job = await self.job(job_id)
        if job.state == "undone":
            raise ServiceError("refused", f"Job {job_id} was undone already; nothing was changed.")
        if self.changed_since and not force:
            raise ServiceError(
                "changed_since",
                "The drive changed since that restore; nothing was undone. Use --force to lose those changes.",
                {"differences": [difference.model_dump(mode="json") for difference in self.changed_since]},
            )
        self._record(job.model_copy(update={"state": "undone"}))
        return self._record(job.model_copy(update={"id": 1 + len(self.recorded), "kind": "undo", "state": "done"}))

    async def jobs(self) -> list[Job]:
        return list(reversed(self.recorded.values()))

    async def job(self, job_id: int) -> Job:
        if job_id not in self.recorded:
            raise ServiceError("not_found", f"There is no job {job_id}. `hybrid-drive jobs` lists them.")
        job = self.recorded[job_id]
        if job.state == "building":
            done = job.done + 1
            finished = done >= job.total
            change = {"done": done, "state": "done" if finished else "building"}
            job = self._record(job.model_copy(update=change | ({"finished": self.now} if finished else {})))
        return job

    async def cache_stats(self) -> CacheStats:
        return CacheStats(
            budget_bytes=2**30,
            held_bytes=2**20,
            allocated_bytes=2**20,
            precious_bytes=4096,
            free_queue_bytes=0,
            segments=1,
            blocks_open=1,
            blocks_sealed=0,
            damaged_pages=0,
        )

    async def check(self) -> CheckReport:
        return CheckReport(findings=self.findings, checked={"inodes": 3})

    async def scrub(self, percent: float) -> CheckReport:
        return CheckReport(findings=self.findings, checked={"percent": int(percent)})

    async def scrub_store(self) -> CheckReport:
        return CheckReport(findings=self.findings, checked={"packs": 5})

    def _record(self, job: Job) -> Job:
        self.recorded[job.id] = job
        return job

    def _snapshot(self, name: str) -> Snapshot:
        if name not in self.snapshots:
            raise ServiceError("not_found", f"There is no snapshot {name}. `hybrid-drive snapshot list` shows them.")
        return self.snapshots[name]

    def _at(self, when: str) -> str:
        try:
            return resolve_when(when, list(self.snapshots.values()), self.now).name
        except Unresolved as error:
            raise ServiceError(error.code, str(error)) from error


@contextmanager
def serving(
    service: FakeService,
    socket_path: Path,
    *,
    core_uid: int = 0,
    tell: Callable[[Event], None] = lambda event: None,
) -> Iterator[None]:
    """Serves `service` on a real Unix socket from a thread with a loop of its own, as a core would, until the end."""
    started = threading.Event()
    control: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def core() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_control, service, socket_path, core_uid=core_uid, tell=tell))
            control.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            started.set()

    socket_path.parent.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=trio.run, args=(core,), name="fake core")
    thread.start()
    try:
        assert started.wait(10), "the fake core did not start"
        yield
    finally:
        if control:
            token, scope = control[0]
            token.run_sync_soon(scope.cancel)
        thread.join(10)
        assert not thread.is_alive(), "the fake core did not stop"
