"""smbd's files, as the core writes them: at its start, and whenever people or shares change.

Owns STATE/run/samba. Promises that smbd finds each file whole, the old one or the new one; that a running smbd has
taken the change over when `tell` returns; and that the sessions of those whose rights have changed are ended then: what
a session may do was settled when it began. Windows signs in again by itself.

Samba's own commands are used where a file is Samba's: `net` for the machine's SID, `sharesec` for a share's access
list, `smbcontrol` to be heard.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from appliance.config import SmbConfig
from appliance.places import StatePlaces
from appliance.smb import register
from appliance.smb.config_text import HOME, SHARE_ACCESS, Door, SmbPlaces, smb_conf, smbpasswd
from appliance.smb.sharing import Sharing, fits_smb
from vfs.actors import Session

log = logging.getLogger(__name__)

AT_ONCE = 4
_WITHIN_S = 20.0


class SmbFiles:
    """What smbd is told, and was told last. The methods block; call them in a thread, one at a time."""

    def __init__(self, places: StatePlaces, mount: Path, config: SmbConfig, sid: str) -> None:
        self.places = SmbPlaces(places.samba, places.smbd_log)
        told = [sys.executable, "-I", "-S", str(Path(register.__file__)), str(places.control_socket), "%d", "%u", "%m"]
        command = " ".join(f"'{word}'" for word in told)
        self._door = Door(mount, config.port, config.bind, command, sid)
        self._state = places
        self._sid = sid
        self._told = Sharing()
        self._listed: set[str] = set()

    def make(self, sharing: Sharing) -> None:
        """Everything anew, before smbd starts: nothing of a core before this one counts. Raises OSError, ValueError."""
        shutil.rmtree(self.places.root, ignore_errors=True)
        for folder in (self.places.root, *self.places.folders.values()):
            folder.mkdir(parents=True, mode=0o700)
        self._state.extra_users.mkdir(exist_ok=True, mode=0o755)
        # As in its usual places, smbd lets everybody through to the sockets of its services. And a process of smbd that
        # works for a user looks there whether the one that holds a file open still lives: what it may not see it takes
        # for dead, and opens a file that somebody has for himself alone.
        self.places.root.chmod(0o711)
        self.places.folders["lock directory"].chmod(0o711)
        self.places.folders["ncalrpc dir"].chmod(0o755)
        self.places.log_file.parent.mkdir(parents=True, exist_ok=True)
        self._told = sharing
        self._write()
        if shutil.which("net") is not None:  # without it there is no smbd either, and `doctor` says so
            self._run("net", "setlocalsid", self._sid)
            self._list_rights()

    def tell(self, sharing: Sharing, sessions: Mapping[int, Mapping[int, Session]]) -> None:
        """What changed, while smbd runs or not. Raises OSError, ValueError."""
        changed = changed_users(self._told, sharing)
        self._told = sharing
        self._write()
        self._list_rights()
        if self._is_smbd_there():
            self._run("smbcontrol", "smbd", "reload-config")
        for process, users in list(sessions.items()):
            if ended := changed & {uid for uid, session in users.items() if session.kind == "smb"}:
                log.info("the rights of users %s changed: session %d ends", sorted(ended), process)
                _end(process)

    def _write(self) -> None:
        for share in self._told.shares:
            if not fits_smb(share.name):
                log.warning("SMB cannot carry the name of the share %r; it is not shared there", share.name)
        self._put(self.places.passwords, smbpasswd(self._told.users))
        self._put(self.places.config, smb_conf(self._told, self._door, self.places))

    def _list_rights(self) -> None:
        shares = {share.name for share in self._told.shares if fits_smb(share.name)}
        if any(user.is_enabled for user in self._told.users):
            shares.add(HOME)
        new = sorted(shares - self._listed)
        with ThreadPoolExecutor(AT_ONCE) as threads:  # people wait for these programs whenever the core comes back
            list(threads.map(lambda share: self._run("sharesec", share, f"--replace={SHARE_ACCESS}"), new))
        self._listed.update(new)

    def _is_smbd_there(self) -> bool:
        try:
            os.kill(int((self.places.folders["pid directory"] / "smbd.pid").read_text()), 0)
        except (OSError, ValueError):
            return False
        return True

    def _put(self, path: Path, text: str) -> None:
        draft = path.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        draft.rename(path)

    def _run(self, program: str, *words: str) -> None:
        command = [program, f"--configfile={self.places.config}", *words]
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_WITHIN_S, check=False
        )
        if ended.returncode:
            log.error(
                "%s ended with %d: %s", " ".join(command[:1] + list(words)), ended.returncode, ended.stderr[-500:]
            )


def changed_users(before: Sharing, after: Sharing) -> set[int]:
    """The uids of those whose password, state or rights are not what they were. Pure."""
    users = {user.name: user for user in (*before.users, *after.users)}
    is_other = {user.uid for user in {*before.users} ^ {*after.users}}
    return is_other | {user.uid for user in users.values() if _rights(before, user.name) != _rights(after, user.name)}


def _rights(sharing: Sharing, name: str) -> set[tuple[str, bool]]:
    return {(share.name, name in share.writers) for share in sharing.shares if name in share.writers | share.readers}


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
