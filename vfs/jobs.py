"""Jobs: long work in steps, recorded, so that a person can ask how far it is and what became of it."""

from dataclasses import dataclass, replace

from cachefs.counters import Counters
from cachefs.database import Database
from cloud_tier.clock import Clock
from vfs.errors import NotFound

_COLUMNS = "job, kind, state, path, target, undoes, at, undo_snapshot, done, total, created_ns, finished_ns, error"


@dataclass(frozen=True)
class Job:
    """One restore or undo, as recorded. `target` None = in its own place."""

    number: int
    kind: str
    state: str
    path: bytes
    target: bytes | None
    undoes: int | None
    at: str
    undo_snapshot: str | None
    done: int
    total: int
    created_ns: int
    finished_ns: int | None
    error: str | None


class Jobs:
    """The table of jobs."""

    def __init__(self, database: Database, counters: Counters, clock: Clock) -> None:
        self._database = database
        self._counters = counters
        self._clock = clock
        self._jobs: dict[int, Job] = {}

    def load(self) -> None:
        """Read the table; what a crash interrupted has changed nothing, and says so."""
        for row in self._database.rows(f"SELECT {_COLUMNS} FROM jobs"):
            job = Job(*row)
            self._jobs[job.number] = job
            if job.state == "building":
                self.fail(job, "it was interrupted by a stop or a crash; nothing was changed")

    def all(self) -> list[Job]:
        """Newest first."""
        return sorted(self._jobs.values(), key=lambda job: job.number, reverse=True)

    def get(self, number: int) -> Job:
        """One job. Raises NotFound."""
        try:
            return self._jobs[number]
        except KeyError:
            raise NotFound(f"there is no job {number}") from None

    def record(self, kind: str, path: bytes, target: bytes | None, at: str, undoes: int | None = None) -> Job:
        """A new job that begins now."""
        number = self._counters.next("job")
        job = Job(number, kind, "building", path, target, undoes, at, None, 0, 0, self._clock.now_ns(), None, None)
        self._write("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._row(job))
        self._jobs[number] = job
        return job

    def progress(self, number: int, done: int, total: int) -> None:
        """So far; kept in memory, the row follows at the end."""
        self._jobs[number] = replace(self._jobs[number], done=done, total=total)

    def finish(self, number: int, undo_snapshot: str) -> None:
        """It is done, and `undo_snapshot` leads back. In the transaction that made it visible."""
        job = replace(self._jobs[number], state="done", undo_snapshot=undo_snapshot)
        self._close(replace(job, finished_ns=self._clock.now_ns()))

    def mark_undone(self, number: int) -> None:
        """An undo has taken it back."""
        self._close(replace(self._jobs[number], state="undone"))

    def fail(self, job: Job, error: str) -> None:
        """It was not done, and nothing was changed."""
        self._close(replace(self._jobs[job.number], state="failed", finished_ns=self._clock.now_ns(), error=error))

    def running(self) -> int:
        """How many are at work."""
        return sum(job.state == "building" for job in self._jobs.values())

    def _close(self, job: Job) -> None:
        self._jobs[job.number] = job
        self._write(
            "UPDATE jobs SET state = ?, undo_snapshot = ?, done = ?, total = ?, finished_ns = ?, error = ?"
            " WHERE job = ?",
            (job.state, job.undo_snapshot, job.done, job.total, job.finished_ns, job.error, job.number),
        )

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        with self._database.operation:
            self._database.write(sql, values)

    @staticmethod
    def _row(job: Job) -> tuple[object, ...]:
        return (
            job.number, job.kind, job.state, job.path, job.target, job.undoes, job.at, job.undo_snapshot, job.done,
            job.total, job.created_ns, job.finished_ns, job.error,
        )  # fmt: skip
