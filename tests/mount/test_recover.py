"""The box burns: from the store and the printed kit the whole drive is back, on a machine that knows nothing else."""

import os
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.mounted import CommandFailed, MountedDrive
from mount.calls import write_file
from mount.rights_table import MountDoor, furnish, people_of
from mount.snapshots import snap
from mount.twin_machine import tree

from appliance.control.people_protocol import UserRequest
from vfs.state import open_database

pytestmark = [pytest.mark.needs_product, pytest.mark.timeout(120)]


@pytest.fixture
def burnt(own_drive: MountedDrive, tmp_path: Path) -> Iterator[tuple[MountedDrive, list[str]]]:
    """A new, empty machine, and the words of a command that brings the drive back on it."""
    new = MountedDrive(own_drive.state.with_name("new"), own_drive.state.with_name("new-mount"))
    store, kit = own_drive.state.with_name("store"), tmp_path / "kit.txt"
    own_drive.cli("keys", "kit", "--file", str(kit))
    try:
        yield new, ["recover", "--store", f"file://{store}", "--kit", str(kit)]
    finally:
        new.clear_away(keep_state=True)


def burn(drive: MountedDrive) -> None:
    """kill -9, and nothing is left but the store."""
    drive.kill()
    drive.clear_away(keep_state=True)
    (drive.state / "store").rename(drive.state.with_name("store"))
    shutil.rmtree(drive.state)


def plant(folder: Path, seed: int, count: int) -> None:
    dice = random.Random(seed)
    for number in range(count):
        place = folder / f"{number % 5}"
        place.mkdir(parents=True, exist_ok=True)
        write_file(place / f"{number}", dice.randbytes(dice.choice((0, 100, 5000, 70_000))))


def test_what_was_flushed_is_back_with_all_its_past_and_the_new_machine_goes_on(
    own_drive: MountedDrive, burnt: tuple[MountedDrive, list[str]]
) -> None:
    new, command = burnt
    plant(own_drive.mount / "team", 1, 120)
    os.setxattr(own_drive.mount / "team", "user.note", b"ours")
    (own_drive.mount / "link").symlink_to("team/0")
    then = tree(own_drive.mount / "team")
    name = snap(own_drive)
    shutil.rmtree(own_drive.mount / "team" / "3")
    plant(own_drive.mount / "team" / "later", 2, 20)
    write_file(own_drive.mount / "big", random.Random(3).randbytes(9 << 20))
    now, own_drive_snapshots = tree(own_drive.mount), own_drive.cli("snapshot", "list")
    assert own_drive.cli("flush")["state"] == "done"
    burn(own_drive)
    with pytest.raises(CommandFailed, match="--take-over") as refused:
        new.run_command(*command)
    assert refused.value.code == 4
    assert socket.gethostname() in refused.value.stderr
    told = new.run_command(*command, "--take-over")
    assert told["behind"] == []
    assert told["left"] is None
    new.start()
    assert tree(new.mount) == now
    assert tree(new.mount / ".snapshots" / name / "team") == then
    assert new.cli("snapshot", "list") == own_drive_snapshots
    write_file(new.mount / "new", b"work goes on")
    assert new.cli("flush")["state"] == "done"
    new.stop()
    assert new.cli("fsck")["findings"] == []
    assert new.complaints() == []


def test_what_had_not_been_sent_is_named_and_its_last_complete_version_is_there(
    own_drive: MountedDrive, burnt: tuple[MountedDrive, list[str]]
) -> None:
    new, command = burnt
    write_file(own_drive.mount / "letter", b"sent" * 2000)
    own_drive.cli("flush")
    write_file(own_drive.mount / "draft", b"on its way" * 900)
    write_file(own_drive.mount / "letter.tmp", b"changed" * 2000)
    os.rename(own_drive.mount / "letter.tmp", own_drive.mount / "letter")
    burn(own_drive)
    new.run_command(*command, "--take-over")
    new.start()
    assert (new.mount / "letter").read_bytes() in (b"sent" * 2000, b"changed" * 2000)
    assert set(os.listdir(new.mount)) - {"draft", "letter.tmp", "Previous Versions"} == {"letter"}
    new.stop()


def test_what_cannot_be_recovered_is_told_and_nothing_is_made(
    own_drive: MountedDrive, burnt: tuple[MountedDrive, list[str]], tmp_path: Path
) -> None:
    new, command = burnt
    other = tmp_path / "other.txt"
    empty = tmp_path / "empty"
    empty.mkdir()
    write_file(own_drive.mount / "a", b"a")
    own_drive.cli("flush")
    kit = Path(command[-1])
    other.write_text(kit.read_text().replace("1:", "1: X", 1))
    burn(own_drive)
    for words, code in (
        ([*command[:-1], str(other), "--take-over"], 16),
        (["recover", "--store", f"file://{empty}", "--kit", str(kit)], 14),
        (["recover", "--store", "http://example.com", "--kit", str(kit)], 15),
        ([*command, "--as-of", "yesterday-ish", "--take-over"], 2),
        ([*command, "--as-of", "2001-01-01T00:00Z", "--take-over"], 3),
    ):
        with pytest.raises(CommandFailed) as refused:
            new.run_command(*words)
        assert refused.value.code == code, refused.value
        assert not (new.state / "layout").exists()
    new.run_command(*command, "--take-over")
    with pytest.raises(CommandFailed, match="There is a drive") as refused:
        new.run_command(*command, "--take-over")
    assert refused.value.code == 4


def test_people_and_shares_are_back_with_their_numbers_rights_and_secrets(
    own_drive: MountedDrive, burnt: tuple[MountedDrive, list[str]]
) -> None:
    new, command = burnt
    furnish(own_drive)
    people_of(own_drive).remove_user("stranger")
    before = [people_of(own_drive).users(), people_of(own_drive).groups(), people_of(own_drive).shares()]
    kept = secrets_in(own_drive)
    assert own_drive.cli("flush")["state"] == "done"
    burn(own_drive)
    new.run_command(*command, "--take-over")
    new.start()
    people = people_of(new)
    assert [people.users(), people.groups(), people.shares()] == before
    assert secrets_in(new) == kept
    door = MountDoor(new)
    for person, action in (("writer", "read"), ("writer", "change"), ("reader", "list")):
        assert door.attempt(person, action, "Sales")
    for person, action in (("reader", "change"), ("former", "read"), ("disabled", "list"), ("reader", "rename")):
        assert not door.attempt(person, action, "Sales")
    numbers = [user.uid for user in before[0]] + [group.gid for group in before[1]] + [s.gid for s in before[2]]
    assert people.add_user(UserRequest(name="dora")).uid > max(numbers)
    new.stop()
    assert new.cli("fsck")["findings"] == []


def secrets_in(drive: MountedDrive) -> list[tuple[object, ...]]:
    """What is kept of passwords, as the database has it."""
    drive.cli("fsck")  # looks at a cut that it waits for
    database = open_database(drive.state)
    try:
        return database.rows("SELECT uid, kind, body FROM secrets ORDER BY uid, kind")
    finally:
        database.close()
