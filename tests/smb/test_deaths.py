"""Any process may die while people work: the others go on, it is back within 5 s, nothing acknowledged is lost."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from kit.mounted import await_true
from smb.at_work import Worker, back_after, sessions
from smb.office import SHARE, Office, processes_of

BACK_WITHIN_S = 10.0
"""Twice what is promised: these tests share the machine's cores with two people at work and with other tests.
`./just bench-smb --deaths` asks for what is promised.
"""


@pytest.mark.timeout(120)
def test_any_process_may_die_under_load(own_office: Office) -> None:
    office = own_office
    with Worker(office, "alice") as alice, Worker(office, "carol") as carol:
        core, smbd = office.drive.core_pid(), office.smbd_pid()

        session = next(pid for pid in sessions(office) if pid != smbd)
        assert back_after(office, lambda: os.kill(session, signal.SIGKILL)) < BACK_WITHIN_S
        assert (office.drive.core_pid(), office.smbd_pid()) == (core, smbd), "only the session was killed"

        assert back_after(office, lambda: os.kill(smbd, signal.SIGKILL)) < BACK_WITHIN_S
        assert office.drive.core_pid() == core, "the core does not mind"
        door = office.door()
        assert (door["state"], door["restarts"]) == ("serving", 1)

        assert back_after(office, office.drive.kill) < BACK_WITHIN_S
        assert office.drive.core_pid() != core
        assert office.door()["restarts"] == 2
        before = len(alice.kept), len(carol.kept)
        await_true(lambda: len(alice.kept) > before[0] and len(carol.kept) > before[1], 20, "both at work again")
    assert alice.lost() == carol.lost() == []
    token = office.snapshot()
    with office.as_user("alice") as share:
        share.write("alice-1", b"changed")
        assert share.read("alice-1", at=token) == alice.kept["alice-1"]
        assert token in share.snapshots("alice-1")


def test_while_smbd_cannot_start_status_says_why_and_the_drive_goes_on(own_office: Office) -> None:
    office = own_office
    config = office.drive.state / "run" / "samba" / "smb.conf"
    good = config.read_text()
    config.write_text(good.replace("[global]", "[global]\n  server role = nonsense\n  bad dir = %"))
    config.rename(config.with_suffix(".kept"))
    os.kill(office.smbd_pid(), signal.SIGKILL)
    await_true(lambda: office.door()["state"] == "down", 20, "a door that is down")
    reason = str(office.door()["reason"])
    assert "smbd.log" in reason
    office.folder.joinpath("still works").write_text("yes")
    config.write_text(good)
    config.chmod(0o600)
    office.await_smb()
    assert office.smbclient("bob", "ls").returncode == 0


def test_an_end_leaves_no_process_no_mount_and_no_secret(own_office: Office) -> None:
    office = own_office
    with office.as_user("alice") as share:
        share.write("a", b"1")
        office.smbclient("alice", "ls", share="home")
        office.shares_seen_by("alice")  # starts Samba's helpers, which detach from smbd
        assert len(processes_of(office.drive.state)) > 5
        before = Path("/proc/self/mountinfo").read_text()
        office.drive.stop()
    await_true(lambda: processes_of(office.drive.state) == [], 5, "the end of every process")
    left = sorted(path.name for path in (office.drive.state / "run").iterdir())
    assert "samba" not in left
    assert "doors.json" not in left
    assert str(office.drive.mount) in before
    assert str(office.drive.mount) not in Path("/proc/self/mountinfo").read_text()
    assert subprocess.run(["getent", "passwd", "alice"], check=False, capture_output=True).returncode != 0


def test_a_core_that_is_told_to_stop_does_not_wait_for_smbd(own_office: Office) -> None:
    """smbd's mount table would keep the drive mounted."""
    office = own_office
    with office.as_user("alice") as share:
        handle = share.open("")
        begun, core = time.monotonic(), office.drive.core_pid()
        os.kill(core, signal.SIGTERM)
        await_true(lambda: not Path(f"/proc/{core}").exists(), 10, "the end of the core")
        del handle
    office.drive.await_serving(30, unlike=core)
    office.await_smb()
    assert time.monotonic() - begun < 20


def test_a_lost_machine_comes_back_with_its_passwords_and_its_sid(own_office: Office) -> None:
    office = own_office
    with office.as_user("alice") as share:
        share.write("a", b"kept")
        before = share.rights("a")
    office.lose_and_recover()
    with office.as_user("alice") as share:
        assert share.read("a") == b"kept"
        assert share.rights("a") == before
    assert "LOGON_FAILURE" in office.smbclient("alice", "ls", password="wrong horse 7").stdout
    assert "ACCESS_DENIED" in office.smbclient("bob", "put /etc/hostname b").stdout
    assert office.smbclient("dave", "ls", share=SHARE).returncode != 0
