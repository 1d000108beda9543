"""The cache of a mounted drive keeps to its budget, as the disk counts it, however much is written and read."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kit.mounted import MountedDrive
from mount.calls import write_file

pytestmark = pytest.mark.needs_product

MIB = 1 << 20
BUDGET, PACK = 96 * MIB, 16 * MIB
FILES, EACH, LARGE = 24, 8 * MIB, 160 * MIB
LOOK_S = 0.02


@pytest.fixture
def drive() -> Iterator[MountedDrive]:
    drive = MountedDrive.make()
    try:
        drive.stop()
        config = drive.state / "config.toml"
        config.write_text(f'[cache]\nbudget = "{BUDGET // MIB} MiB"\n')
        drive.start()
        yield drive
        drive.stop()
        assert drive.complaints() == []
    finally:
        drive.clear_away()


@contextmanager
def watched(drive: MountedDrive) -> Iterator[list[int]]:
    """How many bytes the disk gave to the cache, again and again while the block lasts."""
    seen: list[int] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_S):
            held = 0
            for path in (drive.state / "segments").glob("*.seg"):
                try:
                    held += path.stat().st_blocks * 512
                except FileNotFoundError:
                    continue
            seen.append(held)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        is_over.set()
        looking.join()


@pytest.mark.timeout(240)
def test_three_times_the_budget_is_written_and_read_within_it_and_one_pack(drive: MountedDrive) -> None:
    with watched(drive) as seen:
        for number in range(FILES):
            write_file(drive.mount / f"{number:02d}", random.Random(number).randbytes(EACH))
        write_file(drive.mount / "large", noise := random.Random(-1).randbytes(LARGE))
        assert drive.cli("flush")["state"] == "done"
        assert (drive.mount / "large").read_bytes() == noise
        for number in range(FILES):
            assert (drive.mount / f"{number:02d}").read_bytes() == random.Random(number).randbytes(EACH)
    assert FILES * EACH + LARGE > 3 * BUDGET
    assert max(seen) <= BUDGET + PACK, f"{max(seen) / MIB:.1f} MiB"
    assert max(seen) > BUDGET / 2, "or nothing was asked of it"
