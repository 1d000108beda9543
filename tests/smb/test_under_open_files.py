"""What happens to people at work when a version goes, a password changes, or the drive starts again under them."""

import uuid

import pytest
from kit.mounted import await_true
from smb.caches import Keeper, durable
from smb.look import changed
from smb.office import Office
from smb.wire import WRITE
from smbprotocol.exceptions import LogonFailure, SharingViolation, SMBException
from smbprotocol.open import ShareAccess


def test_a_version_that_goes_while_it_is_read_gives_its_own_bytes_or_none(office: Office, folder: str) -> None:
    token = changed(office, folder)
    with office.as_user("bob") as share:
        handle = share.open(f"{folder}\\plan.txt", at=token)
        office.drop_snapshot(token)
        office.drive.cli("gc")
        try:
            assert handle.read(0, 100) == b"first draft"
        except SMBException:
            assert share.names(folder) == {"plan.txt"}, "the session is as well as before"
        with pytest.raises(SMBException):
            share.read(f"{folder}\\plan.txt", at=token)


def test_a_save_does_not_disturb_who_reads_the_document(office: Office, folder: str) -> None:
    """Word's way: the old one is moved aside and a new one takes its name; Excel's writes it in place."""
    report, temporary, old = (f"{folder}\\{name}" for name in ("report.docx", "~WRD0001.tmp", "~WRL0002.tmp"))
    with office.as_user("alice") as share, office.as_user("bob") as reader:
        share.write(report, b"old " * 5000)
        reading = reader.open(report)
        share.write(temporary, b"new " * 5000)
        share.rename(report, old)
        share.rename(temporary, report)
        share.remove(old)
        assert reading.read(0, 4) + reading.read(19_996, 4) == b"old old "
        reading.close(False)
        assert reader.read(report) == b"new " * 5000
        in_place = share.open(report, WRITE, sharing=ShareAccess.FILE_SHARE_READ)
        with pytest.raises(SharingViolation):
            reader.open(report, sharing=ShareAccess.FILE_SHARE_READ)
        in_place.write(b"newest", 0)
        assert reader.read(report)[:6] == b"newest"
        in_place.close(False)


def test_a_new_password_counts_from_the_next_sign_in_and_ends_what_is_open(own_office: Office) -> None:
    office = own_office
    with office.as_user("alice") as share:
        handle = share.open("a", WRITE, 3)
        handle.write(b"kept")
        handle.flush()
        before = office.passwords["alice"]
        office.set_password("alice", "another horse 8")

        def is_over() -> bool:
            try:
                handle.read(0, 1)
            except (SMBException, OSError):
                return True
            return False

        await_true(is_over, 20, "the end of the session")
    with office.as_user("alice") as share:
        assert share.read("a") == b"kept"
    office.passwords["alice"] = before
    with pytest.raises(LogonFailure), office.as_user("alice"):
        pass


def test_what_was_flushed_is_there_when_the_core_dies_under_an_open_file(own_office: Office) -> None:
    """A durable handle does not outlive smbd; Windows opens anew and finds nothing in its way."""
    office, number = own_office, uuid.uuid4()
    with office.as_user("alice") as share:
        handle, _, _ = Keeper(share).open("a", durable=durable(number), sharing=0)
        handle.write(b"kept")
        handle.flush()
        killed = office.drive.core_pid()
        office.drive.kill()
    office.drive.await_serving(30, unlike=killed)
    office.await_smb()
    with office.as_user("carol") as share:
        assert share.read("a") == b"kept"
        share.write("a", b"changed")
