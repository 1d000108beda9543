"""smbd's files as text, and who must sign in again when something changes."""

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from appliance.smb.config_text import Door, SmbPlaces, smb_conf, smbpasswd
from appliance.smb.files import changed_users
from appliance.smb.namespace import first_closed, with_extra_users
from appliance.smb.sharing import Sharing, SmbShare, SmbUser, fits_smb, machine_sid, volume_number

HASH = bytes.fromhex("878d8014606cda29677a44efa1353fc7")
ALICE, BOB = SmbUser("alice", 60_001, HASH), SmbUser("bob", 60_002, None)
DOCS = SmbShare("Our documents", frozenset({"alice"}), frozenset({"bob"}))
OFFICE = Sharing((ALICE, BOB), (DOCS,))
PLACES = SmbPlaces(Path("/state/run/samba"), Path("/state/log/smbd.log"))
DOOR = Door(Path("/srv/drive"), 445, "192.168.1.2", "'/register' '%d'", machine_sid(bytes(16)))


def sections(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line[1:-1], {})
        elif line:
            option, _, value = line.strip().partition(" = ")
            assert option not in section, "said twice"
            section[option] = value
    return found


def test_a_share_is_for_its_members_and_written_by_its_writers() -> None:
    share = sections(smb_conf(OFFICE, DOOR, PLACES))["Our documents"]
    assert share["path"] == "/srv/drive/Our documents"
    assert (share["valid users"], share["read only"], share["write list"]) == ("alice bob", "yes", "alice")


def test_a_share_without_members_is_for_nobody() -> None:
    """An empty list of users would let everybody in."""
    share = sections(smb_conf(Sharing((ALICE,), (SmbShare("s", frozenset(), frozenset()),)), DOOR, PLACES))["s"]
    assert share["valid users"] == share["write list"] == "-"


def test_a_home_is_of_whoever_signs_in() -> None:
    home = sections(smb_conf(OFFICE, DOOR, PLACES))["home"]
    assert (home["path"], home["valid users"]) == ("/srv/drive/Homes/%u", "alice bob")
    assert "home" not in sections(smb_conf(Sharing(), DOOR, PLACES))


def test_nothing_is_served_that_the_core_does_not_know_of() -> None:
    for name, section in sections(smb_conf(OFFICE, DOOR, PLACES)).items():
        if name != "global":
            assert (section["root preexec"], section["root preexec close"]) == ("'/register' '%d'", "yes")


def test_everything_of_smbd_lies_below_its_folder() -> None:
    for value in sections(smb_conf(Sharing(), DOOR, PLACES))["global"].values():
        for path in re.findall(r"/\S+", value):
            assert path.startswith(("/state/run/samba", "/state/log", "/dev/null"))


def test_there_are_no_guests_and_no_old_protocols() -> None:
    found = sections(smb_conf(OFFICE, DOOR, PLACES))["global"]
    assert (found["map to guest"], found["restrict anonymous"], found["server min protocol"]) == (
        "never",
        "2",
        "SMB2_10",
    )


@pytest.mark.parametrize("name", ["a/b", "50%", "x]", "global", "HOMES", "home", "", " a", "a\nb", "x" * 81, "IPC$"])
def test_a_share_that_smb_cannot_name_is_left_out(name: str) -> None:
    assert not fits_smb(name)
    assert len(sections(smb_conf(Sharing((), (SmbShare(name, frozenset(), frozenset()),)), DOOR, PLACES))) == 1


def test_a_path_that_the_file_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        smb_conf(OFFICE, replace(DOOR, mount=Path("/srv/%u")), PLACES)


def test_a_password_file_has_one_line_a_user() -> None:
    lines = smbpasswd([BOB, ALICE, replace(ALICE, name="eve", uid=3, is_enabled=False)]).splitlines()
    assert lines == [
        f"alice:60001:{'X' * 32}:878D8014606CDA29677A44EFA1353FC7:[U          ]:LCT-00000001:",
        f"bob:60002:{'X' * 32}:{'X' * 32}:[DU         ]:LCT-00000001:",
        f"eve:3:{'X' * 32}:878D8014606CDA29677A44EFA1353FC7:[DU         ]:LCT-00000001:",
    ]
    assert "878d" not in repr(ALICE).lower(), "a hash is as good as the password"


def test_the_machine_keeps_its_sid_wherever_the_drive_goes() -> None:
    """Access lists hold it: do not change."""
    assert machine_sid(bytes(16)) == "S-1-5-21-606994018-2121675839-814696116"
    assert machine_sid(bytes(15) + b"\1") != machine_sid(bytes(16))


def test_a_volume_is_known_by_the_drive_and_the_share() -> None:
    """Programs hold it: do not change."""
    sid = machine_sid(bytes(16))
    assert volume_number(sid, "Our documents") == 0x5148976F
    assert len({volume_number(each, name) for each in (sid, "S-1-5-21-1-2-3") for name in ("a", "b")}) == 4


def test_only_those_whose_rights_changed_sign_in_again() -> None:
    def after(**changes: Any) -> set[int]:
        return changed_users(OFFICE, replace(OFFICE, **changes))

    assert after() == set()
    assert after(users=(replace(ALICE, is_enabled=False), BOB)) == {60_001}
    assert after(users=(replace(ALICE, nt_hash=bytes(16)), BOB)) == {60_001}
    assert after(users=(ALICE,)) == {60_002}
    assert after(shares=()) == {60_001, 60_002}
    assert after(shares=(replace(DOCS, writers=frozenset({"alice", "bob"}), readers=frozenset()),)) == {60_002}
    assert after(shares=(DOCS, SmbShare("more", frozenset({"bob"}), frozenset()))) == {60_002}


def test_accounts_are_looked_for_where_they_were_and_in_the_drive_s() -> None:
    before = "# as Debian has it\npasswd:   files systemd\ngroup: files # local\nhosts: files dns\n"
    assert with_extra_users(before) == (
        "# as Debian has it\npasswd:   files systemd extrausers\ngroup: files extrausers\nhosts: files dns\n"
        "shadow: files extrausers\n"
    )
    assert with_extra_users(with_extra_users(before)) == with_extra_users(before)


def test_the_folder_that_keeps_people_out_is_named() -> None:
    with TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        below = Path(home) / "state" / "run" / "samba" / "smb.conf"
        below.parent.mkdir(parents=True, mode=0o711)
        assert first_closed(below) is None
        (Path(home) / "state" / "run").chmod(0o750)
        assert first_closed(below) == Path(home) / "state" / "run"
