"""fio writes blocks that carry their own checksums, in nine ways; they are read back at once, and after a restart.

Each job writes a file of its own and verifies it; then the drive is stopped and started, so that what is read has been
on the disk, and every file is verified again. A snapshot is taken in between, each file is written anew from another
seed, and after a second restart the snapshot must still show the bytes of before.

    python tests/conformance/fio_verify.py [--size-mib N]
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.fresh_drive import silent_drive
from kit.mounted import CommandFailed, DriveFailed

DEADLINE_S = 900.0
JOBS: dict[str, tuple[str, ...]] = {
    "stream-1m": ("--rw=write", "--bs=1M"),
    "stream-64k-fsync": ("--rw=write", "--bs=64k", "--fsync=16"),
    "stream-mmap": ("--rw=write", "--bs=16k", "--ioengine=mmap"),
    "random-4k": ("--rw=randwrite", "--bs=4k"),
    "random-4k-fsync": ("--rw=randwrite", "--bs=4k", "--fdatasync=64"),
    "random-mmap": ("--rw=randwrite", "--bs=4k", "--ioengine=mmap"),
    "random-any": ("--rw=randwrite", "--bsrange=512-256k", "--bs_unaligned=1", "--verify_interval=512"),
    "random-direct": ("--rw=randwrite", "--bs=4k", "--direct=1"),
    "random-aio": ("--rw=randwrite", "--bs=16k", "--direct=1", "--ioengine=libaio", "--iodepth=8"),
}
# fio does not draw the same blocks again when their sizes are random, and so fails on ext4 as well.
ONLY_AT_ONCE = ("random-any",)


class Wrong(AssertionError):
    """fio found a block that is not what it wrote; the message is what it said."""


def fio(folder: Path, job: str, size_mib: int, seed: int, *words: str) -> None:
    """One run of a job; raises Wrong."""
    common = ("--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--ioengine=psync", "--fallocate=none")
    command = ["fio", f"--name={job}", f"--filename={folder / job}", f"--size={size_mib}M", *common, *JOBS[job]]
    ended = subprocess.run(
        [*command, f"--randseed={seed}", "--minimal", *words],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if ended.returncode != 0:
        raise Wrong(f"{job}: fio ended with {ended.returncode}: {ended.stderr[-2000:]}")


def sums(folder: Path) -> dict[str, str]:
    """A checksum of each job's file."""
    found = {}
    for job in JOBS:
        with (folder / job).open("rb") as file:
            found[job] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def verify(size_mib: int) -> None:
    """The whole run on a fresh drive. Raises Wrong, DriveFailed, CommandFailed."""
    with silent_drive() as drive:
        folder = drive.mount / "fio"
        folder.mkdir()
        for seed in (1, 2):
            for job in JOBS:
                begun = time.monotonic()
                fio(folder, job, size_mib, seed, "--do_verify=1")
                print(f"{job}, seed {seed}: written and verified in {time.monotonic() - begun:.1f} s", flush=True)
            written = sums(folder)
            drive.remount()
            if sums(folder) != written:
                raise Wrong("after a restart of the drive there are other bytes")
            for job in JOBS:
                if job not in ONLY_AT_ONCE:
                    fio(folder, job, size_mib, seed, "--verify_only")
            print(f"seed {seed}: all verified after a restart", flush=True)
            if seed == 1:
                snapshot, before = drive.cli("snapshot", "create")["name"], written
        if sums(drive.mount / ".snapshots" / snapshot / "fio") != before:
            raise Wrong("the snapshot does not show what was there when it was taken")


def main() -> int:
    parser = argparse.ArgumentParser(description="Write with fio, and verify before and after restarts of the drive.")
    parser.add_argument("--size-mib", type=int, default=64, help="of each file")
    chosen = parser.parse_args()
    begun = time.monotonic()
    try:
        verify(chosen.size_mib)
    except (Wrong, DriveFailed, CommandFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    took_s = time.monotonic() - begun
    print(f"fio: {len(JOBS)} jobs of {chosen.size_mib} MiB, twice, in {took_s:.0f} s, every block right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
