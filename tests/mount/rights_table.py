"""Door × role × right: who can do what in a share, and one office to try it in through any door.

The table is the promise. A door is anything that can try an action as one of the people (`Door`); the mount's is below,
others bring their own. The office has two shares: in `Sales` everybody of `PEOPLE` is what his name says, and is
nothing in `Plans`. Before each action `Sales/work` holds `file`, as a writer has left it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kit.mounted import MountedDrive
from mount.people import as_user

from appliance.control.people_client import PeopleClient
from appliance.control.people_protocol import RoleName, UserRequest

PASSWORD = "violet kettle 9"
CONTENT = b"as the writer left it"
LOOKING = ("list", "read")
CHANGING = ("make", "make folder", "change", "truncate", "rename", "remove")
ACTIONS = (*LOOKING, *CHANGING)

PEOPLE: dict[str, tuple[RoleName, tuple[str, ...]]] = {
    "writer": ("employee", ACTIONS),
    "groupwriter": ("employee", ACTIONS),  # reads by himself, writes by a group
    "reader": ("employee", LOOKING),
    "groupreader": ("employee", LOOKING),
    "stranger": ("employee", ()),
    "former": ("employee", ()),  # was a writer
    "disabled": ("employee", ()),  # is a writer, and may not sign in
    "auditor1": ("auditor", ()),
    "admin1": ("admin", ()),  # looks after the drive, and reads nobody's files through a door
    "owner1": ("owner", ()),
}
"""Everybody, his role, and what he can do in `Sales`. In `Plans` nobody can do anything."""

CASES = [(person, action) for person in PEOPLE for action in ACTIONS]


class Door(Protocol):
    """A way in."""

    def attempt(self, person: str, action: str, share: str) -> bool:
        """Try it in the share's folder `work`; whether it was done. Anything but a plain refusal is an error."""
        ...


def people_of(drive: MountedDrive) -> PeopleClient:
    """Asks the drive's core about people."""
    return PeopleClient(drive.state / "run" / "control.sock")


def furnish(drive: MountedDrive) -> None:
    """Make the office on a drive that runs."""
    people = people_of(drive)
    for name, (role, _) in PEOPLE.items():
        people.add_user(UserRequest(name=name, role=role, password=PASSWORD))
    for group, name in (("writers", "groupwriter"), ("readers", "groupreader")):
        people.add_group(group)
        people.add_member(group, name)
    for share in ("Sales", "Plans"):
        people.add_share(share)
        people.allow(share, "owner1", "write")  # somebody has to put things there
    for who in ("writer", "writers", "former", "disabled"):
        people.allow("Sales", who, "write")
    for who in ("reader", "readers", "groupwriter"):
        people.allow("Sales", who, "read")
    plant(drive, "writer", "Sales")
    plant(drive, "owner1", "Plans")
    for share in ("Sales", "Plans"):
        people.deny(share, "owner1")
    people.deny("Sales", "former")
    people.enable("disabled", False)


def plant(drive: MountedDrive, person: str, share: str) -> None:
    """`work/file` as somebody who may write leaves it; what stood there is gone."""
    work = drive.mount / share / "work"

    def leave() -> None:
        os.umask(0o077)
        work.mkdir(exist_ok=True)
        for name in os.listdir(work):
            path = work / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (work / "file").write_bytes(CONTENT)

    as_person(drive, person, leave)


def groups_in_use(drive: MountedDrive, person: str) -> tuple[int, list[int]]:
    """uid and groups that somebody gets at a sign-in, from the files that the core gives to the system."""
    folder = drive.state / "run" / "extrausers"
    rows = [line.split(":") for line in (folder / "passwd").read_text().splitlines()]
    uid = next(int(row[2]) for row in rows if row[0] == person)
    groups = [line.split(":") for line in (folder / "group").read_text().splitlines()]
    return uid, [int(row[2]) for row in groups if person in row[3].split(",")]


def as_person(drive: MountedDrive, person: str, call: Callable[[], object]) -> object:
    """Run `call` in a process that is the person, as the system knows him."""
    uid, groups = groups_in_use(drive, person)
    return as_user(uid, call, groups=groups)


class MountDoor:
    """The mount itself, by processes with the identity of each user."""

    def __init__(self, drive: MountedDrive) -> None:
        self._drive = drive

    def attempt(self, person: str, action: str, share: str) -> bool:
        try:
            as_person(self._drive, person, lambda: _act(self._drive.mount / share / "work", action))
        except OSError as refusal:
            if refusal.errno == errno.EACCES:
                return False
            raise
        return True


def _act(work: Path, action: str) -> None:
    file = work / "file"
    match action:
        case "list":
            assert "file" in os.listdir(work)
        case "read":
            assert file.read_bytes() == CONTENT
        case "make":
            (work / "new").write_bytes(b"made")
        case "make folder":
            (work / "folder").mkdir()
        case "change":
            with file.open("r+b") as open_file:
                open_file.write(b"changed")
        case "truncate":
            os.truncate(file, 3)
        case "rename":
            file.rename(work / "renamed")
        case "remove":
            file.unlink()
        case _:
            raise AssertionError(action)
