"""What others feel while the drive sends as fast as it can: the wait for a stat, and the rate of random writes.

A backlog of incompressible bytes is written, and as soon as its first packs are on their way, one measures; whoever
measures is done before the last one is, or the figure counts for nothing.
"""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.restore_speed import Prober
from bench.workloads import Sizes, plant, random_write, settle
from kit.mounted import MountedDrive

MIB = 1 << 20
DEADLINE_S = 120
ROUNDS = 3


@contextmanager
def uploading(drive: MountedDrive, size: int) -> Iterator[None]:
    """A block during which the drive sends what it got just before, `size` bytes at most. Raises RuntimeError if it
    had nothing left to send at its end.
    """
    for number in range(size // (8 * MIB)):
        (drive.mount / "backlog" / f"{time.monotonic_ns()}-{number}").write_bytes(os.urandom(8 * MIB))
    settle(drive.mount)
    await_sending(drive)
    yield
    if drive.cli("status")["cloud"]["state"] != "sending":
        raise RuntimeError("the upload ended before the measurement did: the backlog is too small")


def await_sending(drive: MountedDrive) -> None:
    """Wait until sealed bytes are on their way."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if drive.cli("status")["cloud"]["unsent_bytes"]:
            return
        time.sleep(0.1)
    raise RuntimeError("nothing was sent")


def stat_p99_ms(drive: MountedDrive, size: int, seconds: float) -> float:
    """How long 99 of 100 questions for a name are answered in, at most, while `size` bytes are sent."""
    with uploading(drive, size):
        prober = Prober(drive.mount)
        prober.start()
        time.sleep(seconds)
        prober.stop()
    return statistics.quantiles(prober.took_s, n=100)[98] * 1e3


def random_write_shares(drive: MountedDrive, place: Path, size: int) -> Iterator[float]:
    """By turns: random writes into a file that the store has while `size` bytes are sent, over the same without."""
    place.mkdir()
    for _ in range(ROUNDS):
        plant(place)
        drive.run_command("flush", as_json=False)
        alone = random_write(place, Sizes())
        drive.run_command("flush", as_json=False)
        with uploading(drive, size):
            yield random_write(place, Sizes()) / alone
        drive.run_command("flush", as_json=False)
