"""What the core offers behind the control interface, as protocols: the handlers ask it, the core and a fake give it.

Every method raises `ServiceError` for a refusal; anything else is a defect of the core.
"""

from typing import Protocol

from appliance.control.protocol import (
    CacheStats,
    CheckReport,
    Dropped,
    Job,
    KeyState,
    KitPage,
    Pinned,
    Pins,
    RestorePlan,
    RestoreRequest,
    SessionRequest,
    Snapshot,
    Status,
    Task,
    Version,
)


class KeyService(Protocol):
    """The keys of the drive. Every method raises `ServiceError`; a change needs the store, and is whole or not at all.

    Refusals: `offline` and `store_refused` when the store cannot take the change, `damaged`, `locked`.
    """

    async def state(self) -> KeyState: ...

    async def add_passphrase(self, passphrase: str, name: str) -> KeyState:
        """Raises `usage` for one that is too weak."""
        ...

    async def revoke(self, number: int) -> KeyState:
        """Let a wrap open nothing that is written from now on. Raises `not_found`, `refused` for the last one."""
        ...

    async def rotate(self) -> KeyState:
        """Seal what is written from now on under a new key; every wrap opens it."""
        ...

    async def new_kit(self) -> KitPage:
        """One more; those before stay good until they are revoked."""
        ...


class CloudService(Protocol):
    """What is asked of the cloud and of the local copies. Paths that lead nowhere raise `not_found`."""

    async def flush(self) -> Task:
        """Begin to bring everything into the store that was written until now; ask `task` how far it is."""
        ...

    async def warm(self, path: str) -> Task:
        """Begin to fetch what is not here. The task fails with `cache_full` when it finds no room."""
        ...

    async def task(self, task_id: int) -> Task:
        """Raises `not_found` also for one of a core that has ended."""
        ...

    async def drop(self, path: str | None) -> Dropped: ...

    async def pin(self, path: str) -> Pinned:
        """Twice is no error."""
        ...

    async def unpin(self, path: str) -> Pins:
        """Raises `not_found` for a path that is not pinned itself."""
        ...

    async def pins(self) -> Pins: ...


class SessionService(Protocol):
    """Who comes in by the doors."""

    async def register(self, request: SessionRequest) -> None:
        """Take what the process does for that user's, from now on until it ends. Raises `not_found` when it has."""
        ...


class DriveService(Protocol):
    """What the core offers. Every method raises `ServiceError` for a refusal, anything else is a defect of the core."""

    @property
    def keys(self) -> KeyService: ...

    @property
    def cloud(self) -> CloudService: ...

    @property
    def sessions(self) -> SessionService: ...

    async def status(self) -> Status: ...

    async def create_snapshot(self, label: str | None) -> Snapshot:
        """Refuses a label that cannot be part of a folder's name (`usage`), and a read-only drive (`read_only`)."""
        ...

    async def list_snapshots(self) -> list[Snapshot]:
        """Oldest first."""
        ...

    async def delete_snapshot(self, name: str) -> None:
        """Raises `not_found`, or `held`."""
        ...

    async def hold(self, name: str, held: bool) -> Snapshot:
        """Sets or gives back the promise not to delete it. Doing it twice is no error. Raises `not_found`."""
        ...

    async def versions(self, path: str) -> list[Version]:
        """Newest first. Raises `not_found` when no state known to the drive has a file there."""
        ...

    async def plan_restore(self, request: RestoreRequest) -> RestorePlan: ...

    async def start_restore(self, request: RestoreRequest) -> Job:
        """Returns as soon as the job is recorded; ask `job` how far it is. Raises `not_found`, or `exists` for `to`."""
        ...

    async def undo(self, job_id: int, force: bool) -> Job:
        """Raises `not_found`, `refused` when there is nothing to undo, or `changed_since` with "differences"."""
        ...

    async def jobs(self) -> list[Job]:
        """Newest first."""
        ...

    async def job(self, job_id: int) -> Job: ...

    async def cache_stats(self) -> CacheStats: ...

    async def check(self) -> CheckReport: ...

    async def scrub(self, percent: float) -> CheckReport:
        """Reads so many percent of the local bytes, and names the files of those that are damaged."""
        ...

    async def scrub_store(self) -> CheckReport:
        """Reads the whole store, heals what is here, and names the files of what is lost."""
        ...
