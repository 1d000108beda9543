"""An office: a served drive with people, shares and an smbd on a port of its own, and what its people do by hand.

The drive runs as real processes, `kit.mounted`; everything here is what a user or an administrator can do.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.mounted import MountedDrive, await_true
from mount.rights_table import people_of
from smb.careless import interpreter
from smb.wire import Share, connected

from appliance.control.people_protocol import AccessName, UserRequest

PASSWORD = "correct horse 7"
SHARE = "Our docs"
RIGHTS: dict[str, AccessName] = {"alice": "write", "carol": "write", "bob": "read"}
USERS = (*RIGHTS, "dave")
STARTS_WITHIN_S = 30.0


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


class OfficeDrive(MountedDrive):
    """Under `serve`. `without`: a care that its processes leave out, see `careless`."""

    without: str | None = None

    def _program(self) -> list[str]:
        if self.without is None:
            return super()._program()
        return [str(interpreter(self.without, self.state.parent)), "-m", "appliance"]


class Office:
    """A running one; see `opened`."""

    def __init__(self, home: Path, without: str | None = None) -> None:
        self.drive = OfficeDrive(home / "state", home / "drive", supervised=True)
        self.drive.without = without
        self.port = free_port()
        self.passwords = dict.fromkeys(USERS, PASSWORD)

    @property
    def folder(self) -> Path:
        """The share as root sees it on the mount."""
        return self.drive.mount / SHARE

    def open(self) -> None:
        """Make and start it, with its people."""
        self.drive.run_command("init", as_json=False)
        self.share_by_smb()
        self.drive.start()
        self.await_smb()
        people = people_of(self.drive)
        for user in USERS:
            people.add_user(UserRequest(name=user, password=PASSWORD))
        people.add_share(SHARE)
        for user, access in RIGHTS.items():
            people.allow(SHARE, user, access)
        await_true(lambda: self.smbclient("alice", "ls").returncode == 0, STARTS_WITHIN_S, "a share that opens")

    def share_by_smb(self) -> None:
        """Enter [smb] into the configuration."""
        config = self.drive.state / "config.toml"
        head, _, rest = config.read_text().partition("[smb]")
        _, _, tail = rest.partition("\n[")
        config.write_text(f'{head}[smb]\nenabled = true\nport = {self.port}\nbind = "127.0.0.1"\n\n[{tail}')

    def set_password(self, user: str, password: str) -> None:
        """As an administrator does."""
        self.passwords[user] = password
        people_of(self.drive).set_password(user, password)

    def door(self) -> dict[str, object]:
        """What `status` says of smbd."""
        (door,) = self.drive.cli("status")["doors"]
        return dict(door)

    def await_smb(self) -> None:
        """Wait until `status` says that smbd serves."""
        await_true(lambda: self.door()["state"] == "serving", STARTS_WITHIN_S, "an smbd that serves")

    def smbd_pid(self) -> int:
        """The first process of smbd."""
        return int((self.drive.state / "run" / "samba" / "pid" / "smbd.pid").read_text())

    @contextmanager
    def as_user(self, user: str, share: str = SHARE, machine: uuid.UUID | None = None) -> Iterator[Share]:
        """A session of the client that speaks SMB2 itself, at that machine."""
        with connected(self.port, share, user, self.passwords[user], machine) as opened:
            yield opened

    def smbclient(
        self, user: str, commands: str, share: str = SHARE, password: str | None = None, machine: str = "desk"
    ) -> subprocess.CompletedProcess[str]:
        """One run of Samba's own client."""
        return subprocess.run(
            [
                *("smbclient", f"//127.0.0.1/{share}", "--port", str(self.port), "--netbiosname", machine),
                *("--user", f"{user}%{self.passwords.get(user) if password is None else password}"),
                *("--command", commands),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def shares_seen_by(self, user: str) -> list[str]:
        """What Explorer shows of the server."""
        said = subprocess.run(
            [
                *("smbclient", "--list", "127.0.0.1", "--port", str(self.port), "--grepable"),
                *("--user", f"{user}%{self.passwords[user]}"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout
        return [line.split("|")[1] for line in said.splitlines() if line.startswith("Disk|")]

    def lose_and_recover(self) -> None:
        """The box burns; another one has the drive back from its store and the kit."""
        home = self.drive.state.parent
        store, kit = home / "store", home / "kit.txt"
        self.drive.cli("keys", "kit", "--file", str(kit))
        self.drive.cli("flush")
        self.drive.clear_away(keep_state=True)
        await_true(lambda: processes_of(self.drive.state) == [], STARTS_WITHIN_S, "the end of the old machine")
        (self.drive.state / "store").rename(store)
        shutil.rmtree(self.drive.state)
        self.drive.run_command("recover", "--store", f"file://{store}", "--kit", str(kit), "--take-over")
        self.share_by_smb()
        self.drive.start()
        self.await_smb()

    def snapshot(self) -> str:
        """A snapshot of now; returns its token. In a second of its own: names have no fraction of one."""
        made = self.drive.cli("snapshot", "create")
        return token_of(made["name"])

    def drop_snapshot(self, token: str) -> None:
        self.drive.cli("snapshot", "delete", name_of(token))

    def clear_away(self) -> None:
        """End it as its owner would, if it still can be; by force, Samba's helpers would go on for a while."""
        with suppress(AssertionError):
            self.drive.stop()
        self.drive.clear_away()


def token_of(name: str) -> str:
    """A snapshot's name as SMB has it: `@GMT-2026.03.01-12.00.00`."""
    return time.strftime("@GMT-%Y.%m.%d-%H.%M.%S", time.strptime(name[:20], "%Y-%m-%dT%H-%M-%SZ"))


def name_of(token: str) -> str:
    """The other way round."""
    return time.strftime("%Y-%m-%dT%H-%M-%SZ", time.strptime(token, "@GMT-%Y.%m.%d-%H.%M.%S"))


@contextmanager
def opened(without: str | None = None) -> Iterator[Office]:
    """An office in a temporary place; afterwards nothing of it is left."""
    home = Path(tempfile.mkdtemp(prefix="hybrid-office-"))
    home.chmod(0o755)
    office = Office(home, without)
    try:
        office.open()
        yield office
    except BaseException:
        print(office.drive.log_tail())
        raise
    finally:
        office.clear_away()


def processes_of(state: Path) -> list[str]:
    """What still runs of the office whose state directory that is, by command line and by mount namespace."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            table = (entry / "mountinfo").read_text()
        except OSError:
            continue
        if str(state) in command or f"{state}/run/extrausers" in table:
            found.append(f"{entry.name} {command}")
    return found
