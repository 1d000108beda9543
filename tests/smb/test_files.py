"""Files over SMB as people use them: case, streams, sizes, and who wrote what from where."""

from smb.office import SHARE, Office


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
        office.smbclient(user, f'put /etc/hostname "{path}"', machine=machine)
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
