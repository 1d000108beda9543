"""Keeps smbd told: what the rows say of people and shares becomes smbd's files, at the start and at each change.

Promises that smbd's files are there when `started` returns, before anybody can start smbd; and that changes in quick
succession become one. What goes wrong is logged and does not end the core: the next change tries again.
"""

import logging

import trio

from appliance.config import SmbConfig
from appliance.places import StatePlaces
from appliance.smb.files import SmbFiles
from appliance.smb.sharing import Sharing, SmbShare, SmbUser, machine_sid
from vfs.fuse.mount import Mount
from vfs.people import SecretKind
from vfs.shares import HOMES, Access

log = logging.getLogger(__name__)


class SmbTeller:
    """Of a mounted drive. `drive_id` is the drive's own number."""

    def __init__(self, mount: Mount, places: StatePlaces, config: SmbConfig, drive_id: bytes) -> None:
        self._drive = mount.drive
        self._files = SmbFiles(places, mount.path, config, machine_sid(drive_id))
        self._changed = trio.Event()
        self._drive.shares.on_change(self.changed)

    def changed(self) -> None:
        """People, shares or rights are not what they were."""
        self._changed.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell, until cancelled. Started once smbd's files are there."""
        await self._tell(is_first=True)
        task_status.started()
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await self._tell()

    async def _tell(self, *, is_first: bool = False) -> None:
        sharing = self._sharing()
        try:
            if is_first:
                await trio.to_thread.run_sync(self._files.make, sharing)
            else:
                await trio.to_thread.run_sync(self._files.tell, sharing, dict(self._drive.actors.sessions()))
        except (OSError, ValueError) as error:
            log.error("smbd is not told of people and shares: %s", error)

    def _sharing(self) -> Sharing:
        people, shares = self._drive.people, self._drive.shares
        names = {user.uid: user.name for user in people.users()}
        users = []
        for user in people.users():
            secret = people.secret(user.uid, SecretKind.NT)
            users.append(SmbUser(user.name, user.uid, bytes.fromhex(secret) if secret else None, user.is_enabled))
        found = []
        for share in shares.all():
            rights = shares.people_of(share)
            writers = frozenset(names[uid] for uid, access in rights.items() if access is Access.WRITE)
            found.append(SmbShare(share.name, writers, frozenset(names[uid] for uid in rights) - writers))
        return Sharing(tuple(users), tuple(found), HOMES)
