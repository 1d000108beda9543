"""A look that finds nothing wrong must be able to: each of these drives leaves one care out, and is found out."""

import pytest
from smb.look import look
from smb.office import opened
from smbprotocol.exceptions import SMBException


@pytest.mark.parametrize("care", ["no_attributes", "no_room", "closed_door", "local_time"])
def test_a_careless_drive_is_found_out(care: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with opened(without=care) as office, pytest.raises((AssertionError, SMBException)):
        look(office)


def test_a_careful_drive_passes_the_same_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with opened(without="nothing") as office:
        look(office)
