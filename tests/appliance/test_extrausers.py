"""The files for the system: what stands in them, that nobody slips a line in, and that they change whole."""

import stat
import subprocess
from pathlib import Path

import pytest
from kit.still_drive import StillDrive

from appliance.extrausers import render, write
from vfs.people import Role
from vfs.shares import Access

MOUNT = Path("/srv/drive")


def test_people_groups_and_shares_as_a_system_reads_them(still: StillDrive) -> None:
    people, shares = still.drive.people, still.drive.shares
    for name in ("anna", "bert", "carla"):
        people.add_user(name, name.title(), Role.EMPLOYEE)
    people.add_group("team")
    for name in ("anna", "carla"):
        people.add_member("team", name)
    shares.open("Sales")
    shares.allow("Sales", "team", Access.READ)
    shares.allow("Sales", "bert", Access.WRITE)
    people.change_user("carla", is_enabled=False)
    assert render(people, shares, MOUNT) == {
        "passwd": "anna:x:60000:60000:Anna:/srv/drive/Homes/anna:/usr/sbin/nologin\n"
        "bert:x:60001:60001:Bert:/srv/drive/Homes/bert:/usr/sbin/nologin\n"
        "carla:x:60002:60002:Carla:/srv/drive/Homes/carla:/usr/sbin/nologin\n",
        "group": "anna:x:60000:\nbert:x:60001:\ncarla:x:60002:\nteam:x:60003:anna\nshare-60004:x:60004:anna,bert\n",
        "shadow": "".join(f"{name}:!:20000:0:99999:7:::\n" for name in ("anna", "bert", "carla")),
    }


def test_a_mount_that_a_line_cannot_hold_is_left_out(still: StillDrive) -> None:
    still.drive.people.add_user("anna", "", Role.EMPLOYEE)
    rendered = render(still.drive.people, still.drive.shares, Path("/srv/a:b\nroot"))
    assert rendered["passwd"] == "anna:x:60000:60000::/nonexistent/anna:/usr/sbin/nologin\n"


def test_a_reader_sees_the_old_files_or_the_new_ones(tmp_path: Path) -> None:
    folder = tmp_path / "extrausers"
    write(folder, {"passwd": "old\n", "group": "", "shadow": ""})
    with (folder / "passwd").open() as reader:
        write(folder, {"passwd": "new\n", "group": "", "shadow": ""})
        assert reader.read() == "old\n"
    assert (folder / "passwd").read_text() == "new\n"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"passwd": 0o644, "group": 0o644, "shadow": 0o640}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.needs_program("pwck")
def test_pwck_finds_nothing_wrong(still: StillDrive, tmp_path: Path) -> None:
    still.drive.people.add_user("anna", "Anna Ä. O'Hara & Söhne", Role.OWNER)
    write(tmp_path, render(still.drive.people, still.drive.shares, MOUNT))
    ended = subprocess.run(
        ["pwck", "-r", "-q", tmp_path / "passwd", tmp_path / "shadow"], capture_output=True, text=True, check=False
    )
    assert "invalid" not in ended.stdout, ended.stdout
