"""Previous versions in Explorer's own way: the list by FSCTL, opening by TWrp, and Restore by the server's copy."""

import pytest
from kit.mounted import await_true
from smb.look import changed
from smb.office import SHARE, Office, name_of, token_of
from smb.wire import WRITE
from smbprotocol.exceptions import AccessDenied, SMBException
from smbprotocol.open import CreateDisposition


def test_a_changed_file_its_folder_and_the_share_list_every_snapshot_newest_first(office: Office, folder: str) -> None:
    first = changed(office, folder)
    second = office.snapshot()
    with office.as_user("bob") as share:
        for path in (f"{folder}\\plan.txt", folder, ""):
            tokens = share.snapshots(path)
            assert tokens == sorted(tokens, reverse=True)
            assert {first, second} <= set(tokens)


def test_a_snapshot_is_listed_at_once_and_gone_at_once_on_an_open_session(office: Office, folder: str) -> None:
    with office.as_user("alice") as share:
        share.write(f"{folder}\\a", b"1")
        token = office.snapshot()
        assert token in share.snapshots(folder)
        office.drop_snapshot(token)
        assert token not in share.snapshots(folder)


def test_the_past_opens_as_it_was(office: Office, folder: str) -> None:
    token = changed(office, folder)
    with office.as_user("bob") as share:
        assert share.read(f"{folder}\\plan.txt") == b"ruined"
        assert share.read(f"{folder}\\plan.txt", at=token) == b"first draft"
        assert share.read(f"{folder}\\plan.txt:notes", at=token) == b"then"
        assert share.names(folder) == {"plan.txt"}
        assert share.names(folder, at=token) == {"plan.txt", "gone"}
        assert share.read(f"{folder}\\gone\\inside.txt", at=token) == b"kept"


def test_times_and_rights_are_those_of_then(office: Office, folder: str) -> None:
    with office.as_user("alice") as share:
        share.write(f"{folder}\\a", b"1")
        then = (share.times(f"{folder}\\a"), share.rights(f"{folder}\\a"))
        token = office.snapshot()

        def is_later() -> bool:  # the clock of files moves in steps
            share.write(f"{folder}\\a", b"2")
            return share.times(f"{folder}\\a") != then[0]

        await_true(is_later, 5, "a later time")
        (office.folder / folder / "a").chmod(0o600)
        assert (share.times(f"{folder}\\a", at=token), share.rights(f"{folder}\\a", at=token)) == then


def test_restore_copies_the_old_bytes_back(office: Office, folder: str) -> None:
    token = changed(office, folder)
    with office.as_user("alice") as share:
        share.copy_back(f"{folder}\\plan.txt", token, f"{folder}\\plan.txt")
        assert share.read(f"{folder}\\plan.txt") == b"first draft"


def test_nothing_in_the_past_can_be_changed(office: Office, folder: str) -> None:
    token = changed(office, folder)
    path = f"{folder}\\plan.txt"
    with office.as_user("alice") as share:
        with pytest.raises(SMBException):  # smbd lets it be opened, as Windows does, and refuses the write
            share.open(path, WRITE, at=token).write(b"forged")
        with pytest.raises(SMBException):
            share.open(f"{folder}\\new", WRITE, CreateDisposition.FILE_CREATE, at=token)
        with pytest.raises(SMBException):
            share.remove(path, at=token)
        with pytest.raises(SMBException):
            share.rename(path, f"{folder}\\other.txt", at=token)
        assert share.read(path, at=token) == b"first draft"


def test_office_s_way_of_saving_keeps_its_versions(office: Office, folder: str) -> None:
    """Write beside it, move the old one away, move the new one there, delete the old one."""
    report, temporary, old = (f"{folder}\\{name}" for name in ("report.docx", "~WRD0001.tmp", "~WRL0002.tmp"))
    with office.as_user("alice") as share:
        share.write(report, b"version 0")
        tokens = [office.snapshot()]
        for version in (1, 2):
            share.write(temporary, b"version %d" % version)
            share.rename(report, old)
            share.rename(temporary, report)
            share.remove(old)
            tokens.append(office.snapshot())
        assert [share.read(report, at=token) for token in tokens] == [b"version %d" % version for version in range(3)]
        assert set(tokens) <= set(share.snapshots(report))
        assert share.names(folder) == {"report.docx"}


def test_the_folder_previous_versions_opens_at_the_root_of_every_share(office: Office, folder: str) -> None:
    token = changed(office, folder)
    office.smbclient("carol", "mkdir private", share="home")
    later = office.snapshot()
    for user, name, seen in (("alice", SHARE, f"{folder}/plan.txt"), ("carol", "home", "private")):
        listed = office.smbclient(user, f'ls "Previous Versions/{name_of(later)}/{seen}"', share=name)
        assert seen.rpartition("/")[2] in listed.stdout, listed.stdout
    with office.as_user("alice") as share:
        assert share.read(f"Previous Versions\\{name_of(token)}\\{folder}\\plan.txt") == b"first draft"
        assert share.read(f".snapshots\\{name_of(token)}\\{folder}\\gone\\inside.txt") == b"kept"


def test_samba_s_own_client_sees_the_same(office: Office, folder: str) -> None:
    token = changed(office, folder)
    said = office.smbclient(
        "bob", f'allinfo "{folder}/plan.txt"; get "{token}/{folder}/plan.txt" -; ls "{token}/{folder}/*"'
    )
    assert token in said.stdout
    assert "first draft" in said.stdout
    assert "gone" in said.stdout


def test_a_home_has_its_past_too(office: Office) -> None:
    with office.as_user("carol", "home") as home:
        home.write("letter.txt", b"then")
        token = office.snapshot()
        home.write("letter.txt", b"now")
        assert home.read("letter.txt", at=token) == b"then"
        assert token in home.snapshots("letter.txt")


def test_tokens_and_names_are_one() -> None:
    assert token_of("2026-03-01T12-00-00Z_label") == "@GMT-2026.03.01-12.00.00"
    assert name_of("@GMT-2026.03.01-12.00.00") == "2026-03-01T12-00-00Z"
    with pytest.raises(ValueError, match="does not match"):
        token_of("plan.txt")


def test_who_is_not_let_in_sees_no_past(office: Office) -> None:
    with pytest.raises(AccessDenied), office.as_user("dave"):
        pass
