"""The table of rights once more, through SMB: who can do what in a share does not depend on the door."""

import pytest
from mount.rights_table import ACTIONS, CONTENT, PASSWORD, PEOPLE, furnish, plant
from smb.office import Office
from smb.wire import WRITE, Share, connected
from smbprotocol.exceptions import AccessDenied, SMBResponseException
from smbprotocol.open import CreateDisposition, CreateOptions

ACCOUNT_DISABLED = 0xC0000072  # MS-ERREF 2.3.1


class SmbDoor:
    """SMB, by a session of each user."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def attempt(self, person: str, action: str, share: str) -> bool:
        try:
            with connected(self._office.port, share, person, PASSWORD) as opened:
                _act(opened, action)
        except AccessDenied:
            return False
        except SMBResponseException as error:
            if error.status != ACCOUNT_DISABLED:
                raise
            return False
        return True


def _act(share: Share, action: str) -> None:
    match action:
        case "list":
            assert "file" in share.names("work")
        case "read":
            assert share.read("work\\file") == CONTENT
        case "make":
            share.write("work\\new", b"made")
        case "make folder":
            folder = CreateOptions.FILE_DIRECTORY_FILE
            share.open("work\\folder", disposition=CreateDisposition.FILE_CREATE, options=folder).close(False)
        case "change":
            handle = share.open("work\\file", WRITE)
            handle.write(b"changed")
            handle.close(False)
        case "truncate":
            share.open("work\\file", WRITE, CreateDisposition.FILE_OVERWRITE).close(False)
        case "rename":
            share.rename("work\\file", "work\\renamed")
        case "remove":
            share.remove("work\\file")
        case _:
            raise AssertionError(action)


@pytest.fixture(scope="module")
def furnished(office: Office) -> Office:
    furnish(office.drive)
    return office


@pytest.mark.parametrize("person", PEOPLE)
def test_door_role_right(person: str, furnished: Office) -> None:
    door = SmbDoor(furnished)
    for action in ACTIONS:
        plant(furnished.drive, "writer", "Sales")
        assert door.attempt(person, action, "Sales") is (action in PEOPLE[person][1]), action
    assert not door.attempt(person, "list", "Plans")


def test_names_that_differ_only_by_case_are_one_for_smb_and_two_for_nobody(furnished: Office) -> None:
    plant(furnished.drive, "writer", "Sales")
    with connected(furnished.port, "Sales", "writer", PASSWORD) as share:
        share.write("work\\FILE", b"changed")
        assert share.names("work") == {"file"}
        share.rename("work\\file", "work\\FILE")
        assert share.names("work") == {"FILE"}
    with pytest.raises(FileExistsError):
        (furnished.drive.mount / "Sales" / "work" / "File").mkdir()
