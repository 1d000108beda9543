"""Versions and restores for whoever is no admin: what he could have done by hand on the mount, and no more.

- A **version** is shown to whoever could open it in `.snapshots`: the folders above and the file let him, as they were
  then; or as they are now, for the live one. One that he could not read is not there for him.
- A **restore** is for whoever could read the past state, and may write in the folder where it goes, inside one share or
  home. A share itself, a home itself and the root are an admin's.
- **Jobs** are those of places that he may change.

Admins ask the drive directly. The rules of the kernel are asked in `vfs.permissions`, those of shares in `Areas`.
"""

import os

from appliance.control.protocol import Job, RestorePlan, RestoreRequest, ServiceError, Version
from appliance.control.services import DriveService
from appliance.roles import Acting
from vfs.drive import Drive
from vfs.errors import NoAccess, NotFound, VfsError
from vfs.ids import ROOT, Epoch
from vfs.inodes import Inode
from vfs.people import Role
from vfs.permissions import READ, SEARCH, WRITE, may_reach
from vfs.restore import split
from vfs.shares import HOMES, Access


class OwnVerbs:
    """An `OwnService` over the whole service and the drive that it serves."""

    def __init__(self, whole: DriveService, drive: Drive) -> None:
        self._whole = whole
        self._drive = drive

    async def versions(self, by: Acting, path: str) -> list[Version]:
        """Raises `not_found` also for what the caller may not see: whether it exists is no business of his."""
        if by.is_admin:
            return await self._whole.versions(path)
        if not self._has_names(path):
            raise _unseen(path)
        found = [one for one in await self._whole.versions(path) if self._may_read(by, path, one.snapshot)]
        if not found:
            raise _unseen(path)
        return found

    async def plan_restore(self, by: Acting, request: RestoreRequest) -> RestorePlan:
        return await self._whole.plan_restore(await self._own(by, request))

    async def start_restore(self, by: Acting, request: RestoreRequest) -> Job:
        return await self._whole.start_restore(await self._own(by, request))

    async def jobs(self, by: Acting) -> list[Job]:
        found = await self._whole.jobs()
        return [job for job in found if self._sees(by, job)]

    async def job(self, by: Acting, job_id: int) -> Job:
        found = await self._whole.job(job_id)
        if not self._sees(by, found):
            raise ServiceError("not_found", f"There is no job {job_id}; nothing was changed.")
        return found

    async def undo(self, by: Acting, job_id: int, force: bool) -> Job:
        await self.job(by, job_id)
        return await self._whole.undo(job_id, force)

    # --- the rules ---

    def _sees(self, by: Acting, job: Job) -> bool:
        return by.is_admin or self._may_change(by, job.to if job.to is not None else job.path)

    async def _own(self, by: Acting, request: RestoreRequest) -> RestoreRequest:
        """The request, of the very snapshot that was looked at. Raises ServiceError unless it is the caller's."""
        if by.is_admin:
            if by.role is not Role.OWNER and self._leaves_area(request):
                raise ServiceError(
                    "no_rights",
                    f"What lies in a share or home is restored there only: {request.path} would become readable for"
                    " others. Nothing was changed. Ask an owner.",
                )
            return request
        places = [request.path] if request.to is None else [request.path, request.to]
        is_own = all(map(self._has_names, places)) and len({_area(place) for place in places}) == 1
        snapshot = await self._whole.snapshot_at(request.at)
        if not (is_own and self._may_read(by, request.path, snapshot.name) and self._may_change(by, places[-1])):
            raise ServiceError(
                "no_rights",
                f"You may not restore {request.path or 'the drive'} there: that takes the right to read it as it was,"
                " and to write where it goes, in the same share or home. Nothing was changed. Ask an administrator.",
            )
        return request.model_copy(update={"at": snapshot.name})

    def _leaves_area(self, request: RestoreRequest) -> bool:
        """Whether something out of a share or home would be put elsewhere."""
        if request.to is None or not self._has_names(request.path):
            return request.to is not None
        top = _area(request.path)[0]
        is_kept = top == HOMES.encode() or self._drive.shares.of_folder(top) is not None
        return is_kept and not (self._has_names(request.to) and _area(request.to) == _area(request.path))

    def _has_names(self, path: str) -> bool:
        try:
            return len(split(os.fsencode(path))) > 0
        except VfsError:
            return False

    def _may_read(self, by: Acting, path: str, snapshot: str | None) -> bool:
        """Whether the caller could open the file, or list the folder, in the snapshot; None = as it is now."""
        try:
            epoch = self._drive.snapshots.get(snapshot).epoch if snapshot is not None else None
        except NotFound:  # deleted meanwhile
            return False
        way = self._way(split(os.fsencode(path)), epoch)
        if way is None:
            return False
        return may_reach(way, by.uid, self._groups(by.uid), READ | SEARCH if way[-1].is_folder else READ)

    def _may_change(self, by: Acting, path: str) -> bool:
        """Whether the caller could put something in place of the path: inside a share or home, not a whole one."""
        names = split(os.fsencode(path))
        way = self._way(names[:-1], None) if names else None
        if way is None or self._drive.areas.of(way[-1].ino) is None:
            return False
        try:
            self._drive.areas.require(by.uid, way[-1].ino, Access.WRITE)
        except NoAccess:
            return False
        return may_reach(way, by.uid, self._groups(by.uid), WRITE | SEARCH)

    def _way(self, names: list[bytes], epoch: Epoch | None) -> list[Inode] | None:
        """Everything from the root to the end of the path, at the end of the epoch or now; None if it is not there."""
        drive = self._drive
        way: list[Inode] = []
        ino: int | None = ROOT
        for name in (None, *names):
            if name is not None:
                above = way[-1].ino
                ino = drive.namespace.find(above, name) if epoch is None else drive.past.find(above, name, epoch)
            if ino is None:
                return None
            inode = drive.inodes.get(ino) if epoch is None else drive.past.inode(ino, epoch)
            if inode is None:
                return None
            way.append(inode)
        return way

    def _groups(self, uid: int) -> set[int]:
        """The groups of a user of the drive. Somebody else has none that count here."""
        if self._drive.people.by_uid(uid) is None:
            return set()
        shares = {share.gid for share in self._drive.shares.all() if self._drive.shares.access(share.gid, uid)}
        return {uid, *(group.gid for group in self._drive.people.groups_of(uid)), *shares}


def _area(path: str) -> tuple[bytes, ...]:
    names = split(os.fsencode(path))
    return tuple(names[: 2 if names[0] == HOMES.encode() else 1])


def _unseen(path: str) -> ServiceError:
    return ServiceError("not_found", f"You can see no file {path}, and no past state of one. Check the path.")
