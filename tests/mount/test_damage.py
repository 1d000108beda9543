"""A disk that returns other bytes than were written, under a real mount: who notices, and who is told what."""

import errno
import json
import os
from pathlib import Path

import pytest
from kit.damage import flip_bit
from kit.mounted import CommandFailed, MountedDrive
from mount.calls import write_file
from mount.snapshots import snap

PAGES = 256
DAMAGED = 100
CONTENT = b"".join(number.to_bytes(4, "big") * 1024 for number in range(PAGES))


def damage(drive: MountedDrive) -> None:
    """One bit of one page of the only file, on the disk."""
    (segment,) = (drive.state / "segments").glob("*.seg")
    flip_bit(segment, segment.read_bytes().index(DAMAGED.to_bytes(4, "big") * 1024) + 7)


def read_pages(path: Path) -> list[bytes | int]:
    """Each page alone; an errno where it cannot be had."""
    found: list[bytes | int] = []
    handle = os.open(path, os.O_RDONLY)
    for number in range(PAGES):
        try:
            found.append(os.pread(handle, 4096, number * 4096))
        except OSError as error:
            found.append(error.errno or 0)
    os.close(handle)
    return found


def assert_only_the_page_is_refused(path: Path) -> None:
    shall: list[bytes | int] = [CONTENT[number * 4096 : (number + 1) * 4096] for number in range(PAGES)]
    shall[DAMAGED] = errno.EIO
    assert read_pages(path) == shall


def complaints(drive: MountedDrive) -> list[str]:
    return [line for line in (drive.state / "log" / "core.log").read_text().splitlines() if "ERROR" in line]


def test_a_damaged_page_is_an_error_with_the_names_of_its_files(own_drive: MountedDrive) -> None:
    (own_drive.mount / "letters").mkdir()
    write_file(own_drive.mount / "letters" / "contract", CONTENT)
    name = snap(own_drive)
    own_drive.stop()
    damage(own_drive)
    own_drive.start()
    assert_only_the_page_is_refused(own_drive.mount / "letters" / "contract")
    assert_only_the_page_is_refused(own_drive.mount / ".snapshots" / name / "letters" / "contract")
    (complaint,) = complaints(own_drive)
    assert "letters/contract is damaged at byte 409600" in complaint
    assert own_drive.cli("status")["cache"]["damaged_pages"] == 1
    with pytest.raises(CommandFailed) as broken:
        own_drive.run_command("doctor")
    assert "Stored bytes were damaged" in broken.value.stdout


def test_scrub_names_live_files_and_snapshots_running_or_not(own_drive: MountedDrive) -> None:
    write_file(own_drive.mount / "contract", CONTENT)
    name = snap(own_drive)
    assert own_drive.cli("scrub")["findings"] == []
    own_drive.stop()
    damage(own_drive)
    for is_running in (False, True):
        if is_running:
            own_drive.start()
        with pytest.raises(CommandFailed) as found:
            own_drive.run_command("scrub")
        assert found.value.code == 12
        assert [(one["path"], one["message"]) for one in json.loads(found.value.stdout)["findings"]] == [
            ("contract", "4 KiB from byte 409600 on are not what was written"),
            ("contract", f"4 KiB from byte 409600 on are not what was written in {name}"),
        ]


def test_writing_a_damaged_page_anew_heals_it(own_drive: MountedDrive) -> None:
    write_file(own_drive.mount / "contract", CONTENT)
    own_drive.stop()
    damage(own_drive)
    own_drive.start()
    with (own_drive.mount / "contract").open("r+b") as file:
        file.seek(DAMAGED * 4096)
        file.write(CONTENT[DAMAGED * 4096 :][:4096])
    own_drive.remount()
    assert (own_drive.mount / "contract").read_bytes() == CONTENT
