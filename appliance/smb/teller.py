"""Keeps smbd told: what the rows say of people and shares becomes smbd's files, at the start and at each change.

Promises that smbd's files are there before anybody can start smbd, and that whoever changes people or shares has his
answer when smbd knows, and the sessions of those who lost a right have ended. What goes wrong is logged and does not
end the core: the next change tries again.
"""

import logging
import subprocess

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
        self._is_first = True

    async def tell(self) -> None:
        """What the rows say now; the first time everything anew. To be called by one at a time."""
        sharing = self._sharing()
        try:
            if self._is_first:
                await trio.to_thread.run_sync(self._files.make, sharing)
            else:
                await trio.to_thread.run_sync(self._files.tell, sharing, dict(self._drive.actors.sessions()))
            self._is_first = False
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
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
