"""What the core offers behind the control interface, as protocols: the handlers ask it, the core and a fake give it.

Every method raises `ServiceError` for a refusal; anything else is a defect of the core.
"""

from typing import Protocol

from appliance.control.people_protocol import (
    AccessName,
    Group,
    PasswordRequest,
    RoleName,
    Share,
    ShareRemoved,
    User,
    UserRequest,
)
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
from appliance.control.upkeep_protocol import PolicyPreview, PolicyRequest, PolicyState, Tidied
from appliance.roles import Acting
from vfs.people import Role


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


class OwnService(Protocol):
    """What a user may ask of versions and restores: all of it for an admin, else what is his own."""

    async def versions(self, by: Acting, path: str) -> list[Version]:
        """Newest first. Raises `not_found` when there is none that he may see."""
        ...

    async def plan_restore(self, by: Acting, request: RestoreRequest) -> RestorePlan:
        """Raises `no_rights` also for what he could not do."""
        ...

    async def start_restore(self, by: Acting, request: RestoreRequest) -> Job: ...

    async def undo(self, by: Acting, job_id: int, force: bool) -> Job: ...

    async def jobs(self, by: Acting) -> list[Job]: ...

    async def job(self, by: Acting, job_id: int) -> Job: ...


class PeopleService(Protocol):
    """Users, groups and shares. A change is whole or not at all, and in force when it is answered.

    Refusals: `not_found`, `exists`, `usage` for a name that cannot be, `refused` on a drive that is run by an ordinary
    user, `no_rights` for what only an owner may do to an owner.
    """

    def role_of(self, uid: int) -> Role | None:
        """None for whoever is no user, or a disabled one."""
        ...

    async def users(self) -> list[User]: ...

    async def add_user(self, by: Acting, request: UserRequest) -> User: ...

    async def remove_user(self, by: Acting, name: str) -> None:
        """What he made stays, under his number, which nobody gets again."""
        ...

    async def set_role(self, by: Acting, name: str, role: RoleName) -> User: ...

    async def enable(self, by: Acting, name: str, is_enabled: bool) -> User: ...

    async def set_password(self, by: Acting, name: str, request: PasswordRequest) -> User: ...

    async def groups(self) -> list[Group]: ...

    async def add_group(self, name: str) -> Group: ...

    async def remove_group(self, name: str) -> None: ...

    async def add_member(self, group: str, user: str) -> Group: ...

    async def remove_member(self, group: str, user: str) -> Group: ...

    async def shares(self) -> list[Share]: ...

    async def add_share(self, name: str) -> Share: ...

    async def remove_share(self, name: str) -> ShareRemoved:
        """The folder stays, for root alone, unless it is empty."""
        ...

    async def rename_share(self, name: str, new: str) -> Share: ...

    async def allow(self, name: str, who: str, access: AccessName) -> Share: ...

    async def deny(self, name: str, who: str) -> Share: ...


class UpkeepService(Protocol):
    """Housekeeping: tidying the store up, and how long snapshots stay. Every method raises `ServiceError`."""

    async def gc(self) -> Tidied:
        """Raises `store_refused` when this machine may not write to the store."""
        ...

    async def policy(self) -> PolicyState: ...

    async def set_policy(self, request: PolicyRequest) -> PolicyState:
        """What gets longer counts at once, what gets shorter after a week. Raises `usage`."""
        ...

    async def cancel_policy(self) -> PolicyState:
        """Raises `not_found` when no shorter one is to come."""
        ...

    async def preview_policy(self, request: PolicyRequest) -> PolicyPreview: ...


class DriveService(Protocol):
    """What the core offers. Every method raises `ServiceError` for a refusal, anything else is a defect of the core."""

    @property
    def keys(self) -> KeyService: ...

    @property
    def people(self) -> PeopleService: ...

    @property
    def own(self) -> OwnService: ...

    @property
    def cloud(self) -> CloudService: ...

    @property
    def upkeep(self) -> UpkeepService: ...

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

    async def snapshot_at(self, when: str) -> Snapshot:
        """The newest one not later than a WHEN. Raises `not_found`, `usage`."""
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
