"""Who gets in, what he may do, and that nothing but share rights decides it."""

import uuid

import pytest
from kit.mounted import await_true
from smb.office import PASSWORD, SHARE, Office
from smb.wire import READ, WRITE, Share, connected
from smbprotocol.connection import Connection
from smbprotocol.exceptions import AccessDenied, LogonFailure, SMBException
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

WRITE_DAC, WRITE_OWNER, READ_CONTROL = 0x40000, 0x80000, 0x20000


def test_only_the_right_password_lets_in(office: Office) -> None:
    assert "LOGON_FAILURE" in office.smbclient("alice", "ls", password="wrong horse 7").stdout
    assert "LOGON_FAILURE" in office.smbclient("nobody", "ls", password="").stdout
    assert "LOGON_FAILURE" in office.smbclient("mallory", "ls", password="correct horse 7").stdout
    with pytest.raises(LogonFailure), connected(office.port, SHARE, "alice", "wrong horse 7"):
        pass
    assert office.smbclient("alice", "ls").returncode == 0


def test_without_a_name_there_is_nothing_to_see(office: Office) -> None:
    """No guest, and no list of shares or people for whoever does not sign in."""
    for share in (SHARE, "home", "IPC$"):
        said = office.smbclient("%", "ls", share=share, password="")
        assert "NT_STATUS" in said.stdout, said.stdout


def test_a_share_shows_itself_to_its_members(office: Office) -> None:
    assert SHARE in office.shares_seen_by("bob")
    assert SHARE not in office.shares_seen_by("dave")
    assert "home" in office.shares_seen_by("dave")


def test_an_access_list_is_not_a_client_s_to_change(office: Office, folder: str) -> None:
    """Rights come from shares alone; the owner of a file is no exception."""
    path = f"{folder}\\mine"
    with office.as_user("alice") as share:
        share.write(path, b"1")
        for access in (WRITE_DAC, WRITE_OWNER):
            with pytest.raises(AccessDenied):
                share.open(path, access)
            with pytest.raises(AccessDenied):
                share.open(folder, access)
        share.open(path, READ | READ_CONTROL).close(False)
    assert office.smbclient("bob", f'get "{folder}/mine" -').stdout.startswith("1")


def test_a_file_made_with_an_access_list_of_its_own_is_the_share_s_all_the_same(office: Office, folder: str) -> None:
    with office.as_user("alice") as share:
        share.make_private(f"{folder}\\mine")
    with office.as_user("carol") as share:
        share.write(f"{folder}\\mine", b"ours")
        assert share.read(f"{folder}\\mine") == b"ours"


def test_members_rename_and_remove_what_others_made(office: Office, folder: str) -> None:
    with office.as_user("alice") as share:
        for name in ("a", "b"):
            share.write(f"{folder}\\{name}", b"1")
    with office.as_user("carol") as share:
        share.rename(f"{folder}\\a", f"{folder}\\c")
        share.remove(f"{folder}\\b")
        assert share.names(folder) == {"c"}


def test_a_home_is_its_owner_s_alone(office: Office) -> None:
    with office.as_user("alice", "home") as home:
        home.write("diary", b"secret")
    assert office.smbclient("bob", "ls", share="home").returncode == 0
    for path in ("../alice/diary", "..\\alice\\diary"):
        assert "secret" not in office.smbclient("bob", f'get "{path}" -', share="home").stdout
    with office.as_user("bob", "home") as home, pytest.raises(SMBException):
        home.read("..\\alice\\diary")


def test_taking_a_right_away_ends_his_session_and_nobody_else_s(own_office: Office) -> None:
    office = own_office
    with office.as_user("alice") as alice, office.as_user("carol") as carol:
        carol.write("a", b"1")
        open_file = carol.open("a", WRITE)
        office.drive.cli("share", "deny", SHARE, "carol")
        await_true(lambda: is_refused(open_file), 20, "the end of carol's session")
        with pytest.raises(AccessDenied), office.as_user("carol"):
            pass
        alice.write("a", b"2")
        assert alice.read("a") == b"2"
        office.drive.cli("share", "allow", SHARE, "carol", "read")
        await_true(lambda: office.smbclient("carol", "ls").returncode == 0, 20, "carol's return")
        assert "ACCESS_DENIED" in office.smbclient("carol", "put /etc/hostname b").stdout


def test_a_disabled_user_is_out_at_once_and_back_with_the_old_password(own_office: Office) -> None:
    office = own_office
    with office.as_user("bob") as bob:
        open_folder = bob.open("")
        office.drive.cli("user", "disable", "bob")
        await_true(lambda: is_refused(open_folder), 20, "the end of bob's session")
    assert "ACCOUNT_DISABLED" in office.smbclient("bob", "ls").stdout
    office.drive.cli("user", "enable", "bob")
    await_true(lambda: office.smbclient("bob", "ls").returncode == 0, 20, "bob's return")
    office.set_password("bob", "another horse 8")
    await_true(lambda: office.smbclient("bob", "ls").returncode == 0, 20, "the new password")
    assert "LOGON_FAILURE" in office.smbclient("bob", "ls", password="correct horse 7").stdout


def is_refused(handle: object) -> bool:
    """Whether an open file's session is over."""
    try:
        handle.read(0, 1)  # type: ignore[attr-defined]
    except Exception as error:
        return "end of the file" not in str(error).lower() and "END_OF_FILE" not in str(error)
    return False


def test_two_people_of_one_machine_have_sessions_that_end_each_for_itself(own_office: Office) -> None:
    line = Connection(uuid.uuid4(), "127.0.0.1", own_office.port)  # one process of smbd serves both
    line.connect(timeout=30)
    homes = {}
    for user in ("alice", "carol"):
        session = Session(line, user, PASSWORD, require_encryption=False)
        session.connect()
        tree = TreeConnect(session, r"\\127.0.0.1\home")
        tree.connect()
        homes[user] = Share(tree)
    homes["alice"].write("diary", b"secret")
    own_office.drive.cli("user", "disable", "alice")
    with pytest.raises((SMBException, OSError)):
        homes["alice"].read("diary")
