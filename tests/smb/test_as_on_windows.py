"""What programs written for Windows' own disks take for granted of a file: times, attributes, streams, names, sizes."""

import os
import signal
import struct

import pytest
from kit.mounted import await_true
from smb.office import Office
from smb.wire import WRITE
from smbprotocol.exceptions import (
    AccessDenied,
    CannotDelete,
    DirectoryNotEmpty,
    ObjectNameCollision,
    ObjectNameInvalid,
    ObjectNameNotFound,
    ObjectPathNotFound,
    SMBException,
)
from smbprotocol.file_info import FileInformationClass
from smbprotocol.open import CreateDisposition, CreateOptions, FilePipePrinterAccessMask

HIDDEN, READ_ONLY, SYSTEM, ARCHIVE, NORMAL = 2, 1, 4, 32, 128
SECOND = 10_000_000
NEW_YEAR = 133_485_408_000_000_000  # 2024-01-01, in 100 ns since 1601
STAMPS = (NEW_YEAR + 1, NEW_YEAR + 2 * SECOND + 3, NEW_YEAR + 5 * SECOND + 1234567, NEW_YEAR + 7)
FOLDER = CreateOptions.FILE_DIRECTORY_FILE


def test_times_and_attributes_are_kept_to_the_last_digit_now_then_and_after_a_restart(own_office: Office) -> None:
    """Explorer sets them on what it copies; carol may, who did not make the file."""
    office, wanted = own_office, {}
    with office.as_user("alice") as share, office.as_user("carol") as second:
        for name, attributes in (("a", HIDDEN | ARCHIVE), ("b", READ_ONLY), ("c", SYSTEM | HIDDEN), ("d", NORMAL)):
            share.write(name, b"1")
            second.stamp(name, (*STAMPS[:3], 0), attributes)
            wanted[name] = (*STAMPS[:3], attributes)
        share.make_folder("folder")
        second.stamp("folder", (*STAMPS[:3], 0), HIDDEN)
        wanted["folder"] = (*STAMPS[:3], HIDDEN | 16)
        token = office.snapshot()
    office.drive.stop()
    office.drive.start()
    office.await_smb()
    with office.as_user("bob") as share:
        for name, kept in wanted.items():
            for at in (None, token):
                created, accessed, written, _, attributes = share.basics(name, at=at)
                assert (created, accessed, written, attributes) == kept, (name, at)


def test_the_time_of_a_save_stands_still_once_the_file_is_closed(office: Office, folder: str) -> None:
    """Excel compares: a later time is somebody else's save."""
    path = f"{folder}\\budget.xlsx"
    with office.as_user("alice") as share:
        share.write(path, b"1" * 300_000)
        before = share.basics(path)
        office.snapshot()
        office.drive.cli("flush")
        assert share.basics(path)[:4:2] == before[:4:2]
        handle = share.open(path, WRITE)
        handle.write(b"2")
        share.set(handle, FileInformationClass.FILE_BASIC_INFORMATION, struct.pack("<QQQQII", 0, 0, STAMPS[2], 0, 0, 0))
        handle.write(b"3")
        handle.close(False)
        assert share.basics(path)[2] == STAMPS[2], "a time that was set outlives what is written by the same handle"


def test_a_read_only_file_is_neither_written_nor_removed(office: Office, folder: str) -> None:
    path = f"{folder}\\contract.pdf"
    with office.as_user("alice") as share, office.as_user("carol") as second:
        share.write(path, b"1")
        share.stamp(path, (0, 0, 0, 0), READ_ONLY)
        for each in (share, second):
            with pytest.raises(AccessDenied):
                each.write(path, b"2")
            with pytest.raises(CannotDelete):
                each.remove(path)
        second.stamp(path, (0, 0, 0, 0), NORMAL)
        second.remove(path)


def test_a_file_whose_name_begins_with_a_dot_is_overwritten_like_any(office: Office, folder: str) -> None:
    """Explorer hides it, and what was hidden is not overwritten without saying so again; this is."""
    with office.as_user("alice") as share:
        for content in (b"1", b"2"):
            share.write(f"{folder}\\.gitignore", content)
        assert share.read(f"{folder}\\.gitignore") == b"2"


@pytest.mark.parametrize("size", [1, 60_000])
def test_a_stream_goes_where_its_file_goes(office: Office, folder: str, size: int) -> None:
    path, stream = f"{folder}\\photo.jpg", b"z" * size
    with office.as_user("alice") as share:
        share.write(path, b"1")
        share.write(f"{path}:Zone.Identifier", b"then")
        share.write(f"{path}:AFP_Resource", stream)
        assert share.streams(path) == {"::$DATA": 1, ":Zone.Identifier:$DATA": 4, ":AFP_Resource:$DATA": size}
        token = office.snapshot()
        share.rename(path, f"{folder}\\moved.jpg")
        share.write(f"{folder}\\moved.jpg:Zone.Identifier", b"now")
        assert share.read(f"{folder}\\moved.jpg:AFP_Resource") == stream
        assert share.read(f"{path}:AFP_Resource", at=token) == stream
        assert share.read(f"{path}:Zone.Identifier", at=token) == b"then"
        share.remove(f"{folder}\\moved.jpg:AFP_Resource")
        assert share.streams(f"{folder}\\moved.jpg") == {"::$DATA": 1, ":Zone.Identifier:$DATA": 3}


def test_a_file_has_the_size_that_is_said(office: Office, folder: str) -> None:
    path = f"{folder}\\disk.img"
    with office.as_user("alice") as share:
        handle = share.open(path, WRITE, CreateDisposition.FILE_CREATE)

        def end() -> int:
            standard = share.query(handle, 1, FileInformationClass.FILE_STANDARD_INFORMATION)
            return int(struct.unpack_from("<QQ", standard)[1])

        handle.write(b"0123456789")
        for size in (5, 1 << 40, 7):
            share.set(handle, FileInformationClass.FILE_END_OF_FILE_INFORMATION, struct.pack("<Q", size))
            assert end() == size
        share.set(handle, FileInformationClass.FILE_ALLOCATION_INFORMATION, struct.pack("<Q", 1 << 20))
        assert end() == 7, "room that is kept is no size"
        share.set(handle, FileInformationClass.FILE_ALLOCATION_INFORMATION, struct.pack("<Q", 0))
        assert end() == 0
        handle.close(False)


def test_names_are_kept_that_macs_and_people_give(office: Office, folder: str) -> None:
    names = {
        "~$report.docx",
        "Gru\u0308\u00dfe.txt",
        "Grüße.txt",
        "a;b,c=d+e [1] {2} %41 #'&.txt",
        " leading",
        "\uf022private.txt",
        "😀.txt",
        ".DS_Store",
        "._x",
    }
    with office.as_user("alice") as share:
        for name in names:
            share.write(f"{folder}\\{name}", name.encode())
        assert share.names(folder) == names
        for name in names:
            assert share.read(f"{folder}\\{name}") == name.encode()
        for name in ("a*b", "a?b", "a<b", 'a"b', "a|b", "a/b\tc"):
            with pytest.raises(SMBException):
                share.write(f"{folder}\\{name}", b"1")


def test_names_that_windows_cannot_say_are_shown_by_others_and_open(office: Office, folder: str) -> None:
    names = {"a:b.txt", "a|b.txt", "ends in a dot.", "ends in a space ", "back\\slash", "con.txt"}
    for name in names:
        (office.folder / folder / name).write_bytes(name.encode())
    with office.as_user("alice") as share:
        shown = share.names(folder)
        assert len(shown) == len(names)
        assert {share.read(f"{folder}\\{name}").decode() for name in shown} == names
        for name in shown:
            share.remove(f"{folder}\\{name}")
        assert share.names(folder) == set()


@pytest.mark.parametrize("sign", '"*<>?', ids=["quote", "star", "less", "more", "question"])
@pytest.mark.xfail(strict=False, raises=ObjectNameInvalid, reason="smbd 4.22 takes the stored name for a pattern")
def test_a_name_like_a_pattern_opens_by_the_one_shown(office: Office, folder: str, sign: str) -> None:
    office.folder.joinpath(folder, f"a{sign}b.txt").write_bytes(b"1")
    with office.as_user("alice") as share:
        (shown,) = share.names(folder)
        assert share.read(f"{folder}\\{shown}") == b"1"


def test_a_path_may_be_longer_than_explorer_s_own_limit(office: Office, folder: str) -> None:
    path = folder
    with office.as_user("alice") as share:
        for _ in range(12):
            path += "\\" + "n" * 80
            share.make_folder(path)
        share.write(f"{path}\\plan.txt", b"1")
        assert share.read(f"{path}\\plan.txt") == b"1"


def test_errors_are_those_that_programs_look_for(office: Office, folder: str) -> None:
    with office.as_user("alice") as share, office.as_user("bob") as reader:
        share.make_folder(f"{folder}\\full")
        share.write(f"{folder}\\full\\a", b"1")
        going = share.open(f"{folder}\\full", FilePipePrinterAccessMask.DELETE, options=FOLDER)
        with pytest.raises(DirectoryNotEmpty):
            share.set(going, FileInformationClass.FILE_DISPOSITION_INFORMATION, b"\1")
        going.close(False)
        with pytest.raises(ObjectNameNotFound):
            share.read(f"{folder}\\none")
        with pytest.raises(ObjectPathNotFound):
            share.read(f"{folder}\\none\\none")
        with pytest.raises(ObjectNameCollision):
            share.open(f"{folder}\\FULL\\A", WRITE, CreateDisposition.FILE_CREATE)
        with pytest.raises(AccessDenied):
            reader.write(f"{folder}\\full\\new", b"1")
        with pytest.raises(AccessDenied):
            reader.write(f"{folder}\\full\\a", b"1")
        with pytest.raises(AccessDenied):
            reader.remove(f"{folder}\\full\\a")
        with pytest.raises(AccessDenied):
            reader.stamp(f"{folder}\\full\\a", (0, 0, 0, 0), HIDDEN)
        with pytest.raises(AccessDenied):
            reader.write(f"{folder}\\full\\a:Zone.Identifier", b"1")


def test_a_reader_is_told_that_he_may_read_and_no_more(office: Office, folder: str) -> None:
    """Programs that want all that they can get must not be promised what is refused later; MS-SMB2 2.2.13.1.1."""
    reads, writes = (
        0x1,
        0x116,
    )  # FILE_READ_DATA; FILE_WRITE_DATA, FILE_APPEND_DATA, FILE_WRITE_EA, FILE_WRITE_ATTRIBUTES
    path, most = f"{folder}\\plan.docx", FilePipePrinterAccessMask.MAXIMUM_ALLOWED
    with office.as_user("bob") as reader, office.as_user("alice") as writer:
        writer.write(path, b"1")
        for share, wanted in ((reader, reads), (writer, reads | writes)):
            handle = share.open(path, most)
            granted = struct.unpack("<I", share.query(handle, 1, FileInformationClass.FILE_ACCESS_INFORMATION))[0]
            assert granted & (reads | writes) == wanted
            handle.close(False)


def test_a_share_is_known_by_the_same_number_wherever_the_drive_is(own_office: Office) -> None:
    """Shortcuts and licences hold it; Samba's own changes with the name of the machine."""
    office = own_office
    config = office.drive.state / "run" / "samba" / "smb.conf"

    def number() -> int:
        with office.as_user("alice") as share:
            root = share.open("", FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES)
            return int(struct.unpack_from("<QI", share.query(root, 2, 1))[1])  # FileFsVolumeInformation

    before = number()
    config.write_text(config.read_text().replace("[global]", "[global]\n  netbios name = elsewhere"))
    killed = office.smbd_pid()
    os.kill(killed, signal.SIGKILL)
    await_true(lambda: office.smbd_pid() != killed and office.door()["state"] == "serving", 30, "another smbd")
    assert number() == before
