"""Years of snapshots: Explorer's list stays useful, and the folder shows them all."""

import trio
from kit.fake_clock import START_NS, FakeClock
from smb.office import SHARE, Office

from vfs.drive import Drive

MANY = 1500
APART_S = 6 * 3600


async def take_many(office: Office) -> None:
    """Snapshots of a year, on the stopped drive: names have no fraction of a second."""
    clock = FakeClock(START_NS)
    drive = await Drive.open(office.drive.state, clock=clock)
    try:
        for _ in range(MANY):
            clock.advance(APART_S)
            await drive.snapshots.create(None)
    finally:
        await drive.close()


def test_fifteen_hundred_snapshots_leave_a_useful_list(own_office: Office) -> None:
    office = own_office
    with office.as_user("alice") as share:
        share.write("plan.txt", b"then")
    office.drive.stop()
    trio.run(take_many, office)
    office.drive.start()
    office.await_smb()
    with office.as_user("alice") as share:
        share.write("plan.txt", b"now")
        tokens = share.snapshots("plan.txt")
        assert 100 < len(tokens) <= 500
        assert tokens == sorted(tokens, reverse=True)
        for token in (tokens[0], tokens[len(tokens) // 2], tokens[-1]):
            assert share.read("plan.txt", at=token) == b"then"
        assert len(share.names("Previous Versions")) == MANY
    names = [snapshot["name"] for snapshot in office.drive.cli("snapshot", "list")]
    assert len(names) == MANY
    assert (office.drive.mount / SHARE / "Previous Versions" / names[0] / "plan.txt").read_bytes() == b"then"
