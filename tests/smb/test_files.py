"""Files over SMB as people use them: case, streams, sizes, and who wrote what from where."""

import threading

import pytest
from smb.office import SHARE, Office
from smb.wire import WRITE
from smbprotocol.exceptions import SharingViolation
from smbprotocol.open import ShareAccess


def test_names_are_found_whatever_their_case_and_kept_as_given(office: Office, folder: str) -> None:
    with office.as_user("alice") as share:
        share.write(f"{folder}\\Größe.TXT", b"1")
        assert share.read(f"{folder}\\GRÖßE.txt".upper().replace("SS", "ß")) == b"1"
        share.write(f"{folder}\\größe.txt", b"2")
        assert share.names(folder) == {"Größe.TXT"}
    assert (office.folder / folder / "Größe.TXT").read_bytes() == b"2"


def test_a_disk_of_the_drive_s_size_is_shown_with_room(office: Office) -> None:
    with office.as_user("alice") as share:
        total, free = share.space()
    assert 0 < free <= total


def test_a_long_name_that_smb_can_ask_for_is_kept(office: Office, folder: str) -> None:
    """227 bytes: the question for its stored name has no room for more."""
    name = "ä" * 111 + ".docx"
    assert len(name.encode()) == 227
    with office.as_user("alice") as share:
        share.write(f"{folder}\\{name}", b"1")
        assert share.names(folder) == {name}


def test_versions_name_who_and_from_which_machine(office: Office, folder: str) -> None:
    path = f"{folder}/plan.txt"
    for user, machine in (("alice", "desk-3"), ("carol", "laptop-7")):
        put = office.smbclient(user, f'put /etc/hostname "{path}"', machine=machine)
        assert put.returncode == 0, put
        office.snapshot()
    found = office.drive.cli("versions", f"{SHARE}/{path}")
    assert [version["actor"] for version in found][-2:] == ["carol (laptop-7)", "alice (desk-3)"]


def test_what_is_made_belongs_to_the_share_and_to_nobody_else(office: Office, folder: str) -> None:
    with office.as_user("alice") as share:
        share.write(f"{folder}\\a", b"1")
    with office.as_user("carol") as share:
        share.write(f"{folder}\\a", b"2")
    group = office.folder.stat().st_gid
    for path, mode in (("", 0o2770), ("a", 0o660)):
        found = (office.folder / folder / path).stat()
        assert (found.st_gid, found.st_mode & 0o7777) == (group, mode)


@pytest.mark.parametrize("other", ["alice", "carol"])
def test_a_file_that_somebody_has_for_himself_is_refused_to_others(office: Office, folder: str, other: str) -> None:
    """Word and Excel keep a document to themselves by this, and tell a second person who has it."""
    path = f"{folder}\\budget.xlsx"
    with office.as_user("alice") as share, office.as_user(other) as second:
        share.write(path, b"1")
        held = share.open(path, WRITE, sharing=0)
        for _ in range(3):  # the first refusal must not be the end of what is remembered
            with pytest.raises(SharingViolation):
                second.read(path)
        held.close(False)
        held = share.open(path, WRITE, sharing=ShareAccess.FILE_SHARE_READ)
        assert second.read(path) == b"1"
        with pytest.raises(SharingViolation):
            second.write(path, b"2")
        held.close(False)
        second.write(path, b"2")
        assert share.read(path) == b"2"


def test_many_look_into_one_folder_at_once(office: Office, folder: str) -> None:
    def look() -> None:
        with office.as_user("alice") as share:
            for _ in range(60):
                try:
                    share.names(folder)
                except Exception as error:
                    errors.append(error)

    errors: list[Exception] = []
    lookers = [threading.Thread(target=look) for _ in range(6)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    assert errors == []
