"""Two machines with the keys of one drive, both real: one has the lease, the other only reads and says who has it."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from kit.mounted import CommandFailed, MountedDrive
from mount.calls import write_file

from appliance.keys import Brought, Keys
from appliance.leasing import claim_lease
from appliance.places import StatePlaces
from cachefs.disk import RealDisk
from cloud_tier.clock import SystemClock
from cloud_tier.dir_store import open_dir_store

pytestmark = pytest.mark.needs_product


@pytest.fixture
def machines(own_drive: MountedDrive, tmp_path: Path) -> Iterator[tuple[MountedDrive, MountedDrive]]:
    """The first has flushed a file; the second has a copy of its state from then, no lease, and uses its store."""
    write_file(own_drive.mount / "a", b"first" * 1000)
    own_drive.cli("flush")
    own_drive.stop()
    home = own_drive.state.parent / "second"
    home.mkdir()
    shutil.copytree(own_drive.state, home / "state", ignore=shutil.ignore_patterns("store", "lease", "run", "log"))
    second = MountedDrive(home / "state", home / "drive")
    for folder in ("run", "log"):
        (second.state / folder).mkdir()
    config = second.state / "config.toml"
    config.write_text(config.read_text().replace('url = ""', f'url = "file://{own_drive.state}/store"', 1))
    try:
        yield own_drive, second
    finally:
        second.clear_away(keep_state=True)


def take_over(second: MountedDrive, store: Path) -> None:
    """As `recover --take-over` does."""
    places = StatePlaces(second.state)

    async def claim() -> None:
        keys, opened = Keys.open(places, Brought()), await open_dir_store(store)
        await claim_lease(places, opened, keys.held, RealDisk(), SystemClock().now_ns(), take_over=1)

    trio.run(claim)


def require_reading_only(drive: MountedDrive, fence: int) -> None:
    status = drive.cli("status")
    assert status["state"] == "read_only"
    assert f"machine {socket.gethostname()} " in status["reason"]
    assert f"(lease {fence})" in status["reason"]
    assert status["store"]["state"] == "refused"
    for attempt in (lambda: write_file(drive.mount / "new", b"x"), lambda: os.unlink(drive.mount / "a")):
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            attempt()
    assert (drive.mount / "a").read_bytes() == b"first" * 1000
    with pytest.raises(CommandFailed) as advised:
        drive.cli("doctor")
    assert "The drive is read-only" in advised.value.stdout
    assert f"(lease {fence})" in advised.value.stdout


def test_the_one_without_the_lease_only_reads_and_after_a_takeover_it_is_the_other(
    machines: tuple[MountedDrive, MountedDrive],
) -> None:
    first, second = machines
    packs = first.state / "store" / "packs"
    first.start()
    second.start()
    require_reading_only(second, 1)
    write_file(first.mount / "b", b"goes on" * 1000)
    first.cli("flush")
    first.stop()
    second.stop()
    before = sorted((packs / "000001").rglob("*"))
    take_over(second, first.state / "store")
    second.start()
    write_file(second.mount / "c", b"second" * 1000)
    second.cli("flush")
    first.start()
    require_reading_only(first, 2)
    first.stop()
    second.stop()
    assert sorted((packs / "000001").rglob("*")) == before
    assert list((packs / "000002").rglob("*"))
