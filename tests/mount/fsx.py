"""One file, many random operations, and a model in memory that says after each of them what the file must hold.

A program of our own after the idea of the fsx that every file system is tried with. Promises: the same seed makes the
same operations; every read is compared byte for byte with the model, the size after every operation; a mismatch prints
the seed, the place, and the last operations. It drops the file's cached pages now and then, so that what the drive
stored is read back and not only what the kernel remembers.

    python tests/mount/fsx.py --dir /mnt/drive --seed 1 --ops 100000 --size 4194304 [--direct]
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

PAGE = mmap.PAGESIZE
REMEMBERED = 40
COMMON_EDGES = (PAGE, 16 * 1024, 64 * 1024, 128 * 1024, 1 << 20)


class Mismatch(AssertionError):
    """The file is not what the model says; the message is all that is needed to see it again."""


class Exerciser:
    """Works on one file at `path`, at most `size_bytes` long."""

    def __init__(self, path: Path, seed: int, size_bytes: int, *, direct: bool = False) -> None:
        self.path = path
        self.seed = seed
        self.limit = size_bytes
        self.random = random.Random(seed)
        self.model = bytearray()
        self.last: deque[str] = deque(maxlen=REMEMBERED)
        self.done = 0
        self._direct = os.O_DIRECT if direct else 0
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        self._operations: list[tuple[int, Callable[[], str]]] = [
            (20, self._write),
            (5, self._append),
            (20, self._read),
            (12, self._store_through_map),
            (8, self._read_through_map),
            (6, self._cut),
            (5, self._grow),
            (3, self._punch_tail),
            (2, self._allocate),
            (3, self._copy_range),
            (2, self._sync),
            (3, self._forget),
            (4, self._reopen),
            (2, self._replace),
        ]

    def run(self, operations: int) -> None:
        """Does so many operations, then compares the whole file once through the cache and once without it."""
        weights = [weight for weight, _ in self._operations]
        acts = [act for _, act in self._operations]
        for _ in range(operations):
            act = self.random.choices(acts, weights)[0]
            self.done += 1
            self.last.append(f"{self.done}: {act.__name__.strip('_')} (unfinished)")
            self.last[-1] = f"{self.done}: {act()}"
            self._compare_size()
        self._compare(0, len(self.model) + 1)
        self._forget()
        self._compare(0, len(self.model) + 1)

    def close(self) -> None:
        os.close(self._handle)

    def _write(self) -> str:
        offset, content = self._somewhere(self.limit), self._content()
        content = content[: self.limit - offset]
        written = os.pwrite(self._handle, content, offset)
        self._require(written == len(content), f"wrote {written} of {len(content)} bytes at {offset}")
        self._apply(offset, content)
        return f"write {len(content)} at {offset}"

    def _append(self) -> str:
        content = self._content()[: self.limit - len(self.model)]
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.write(handle, content)
        os.close(handle)
        self._apply(len(self.model), content)
        return f"append {len(content)}"

    def _read(self) -> str:
        offset, size = self._somewhere(len(self.model) + 1), self._length()
        self._compare(offset, size)
        return f"read {size} at {offset}"

    def _store_through_map(self) -> str:
        if not self.model:
            return "map nothing: the file is empty"
        offset, content = self._somewhere(len(self.model)), self._content()
        content = content[: len(self.model) - offset]
        with mmap.mmap(self._handle, len(self.model)) as window:
            window[offset : offset + len(content)] = content
            synced = self.random.random() < 0.1
            if synced:
                window.flush()
        self._apply(offset, content)
        return f"store {len(content)} at {offset} through a map{', msync' if synced else ''}"

    def _read_through_map(self) -> str:
        if not self.model:
            return "map nothing: the file is empty"
        offset, size = self._somewhere(len(self.model)), self._length()
        with mmap.mmap(self._handle, len(self.model), prot=mmap.PROT_READ) as window:
            self._judge(offset, window[offset : offset + size], self.model[offset : offset + size])
        return f"read {size} at {offset} through a map"

    def _cut(self) -> str:
        return self._truncate(self._somewhere(len(self.model) + 1))

    def _grow(self) -> str:
        return self._truncate(self.random.randint(len(self.model), self.limit))

    def _punch_tail(self) -> str:
        """Down and up again: whatever lay between must be zeros, also in pages that stay cached or mapped."""
        size, low = len(self.model), self._somewhere(len(self.model) + 1)
        self._truncate(low)
        self._truncate(size)
        return f"truncate from {size} to {low} and back"

    def _allocate(self) -> str:
        """What a file system refuses, glibc does by hand: no byte may change, the file may grow."""
        low = self._somewhere(self.limit)
        size = min(self._length(), self.limit - low)
        os.posix_fallocate(self._handle, low, size)
        self.model.extend(bytes(max(0, low + size - len(self.model))))
        return f"allocate {size} at {low}"

    def _copy_range(self) -> str:
        if not self.model:
            return "copy nothing: the file is empty"
        source, target = self._somewhere(len(self.model)), self._somewhere(self.limit)
        size = min(self._length(), len(self.model) - source, self.limit - target, abs(source - target))
        if size:
            size = os.copy_file_range(self._handle, self._handle, size, source, target)
            self._apply(target, bytes(self.model[source : source + size]))
        return f"copy {size} from {source} to {target}"

    def _truncate(self, size: int) -> str:
        before = len(self.model)
        os.ftruncate(self._handle, size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))
        return f"truncate from {before} to {size}"

    def _sync(self) -> str:
        call = self.random.choice([os.fsync, os.fdatasync])
        call(self._handle)
        return call.__name__

    def _forget(self) -> str:
        os.fsync(self._handle)
        os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return "fsync and drop the cached pages"

    def _reopen(self) -> str:
        os.close(self._handle)
        flags = self._direct if self.random.random() < 0.5 else 0
        self._handle = os.open(self.path, os.O_RDWR | flags)
        return f"close and open{' with O_DIRECT' if flags else ''}"

    def _replace(self) -> str:
        new = self.path.with_name(self.path.name + ".new")
        handle = os.open(new, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        content = bytes(self.model)
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.rename(new, self.path)
        os.close(self._handle)
        self._handle = handle
        return f"replace by a copy of {len(content)}"

    def _somewhere(self, end: int) -> int:
        """An offset below `end`, often at or beside an edge where file systems change their mind."""
        if end <= 1:
            return 0
        offset = self.random.randrange(end)
        if self.random.random() < 0.4:
            edge = self.random.choice(COMMON_EDGES)
            offset = offset // edge * edge + self.random.choice((-1, 0, 0, 1))
        return min(max(offset, 0), end - 1)

    def _length(self) -> int:
        largest = self.random.choices((100, 2 * PAGE, 65_536, 150_000), (4, 4, 3, 1))[0]
        return self.random.randint(1, largest)

    def _content(self) -> bytes:
        return self.random.randbytes(self._length())

    def _apply(self, offset: int, content: bytes) -> None:
        if content and offset > len(self.model):
            self.model.extend(bytes(offset - len(self.model)))
        self.model[offset : offset + len(content)] = content

    def _compare(self, offset: int, size: int) -> None:
        self._judge(offset, os.pread(self._handle, size, offset), self.model[offset : offset + size])

    def _compare_size(self) -> None:
        size = os.fstat(self._handle).st_size
        self._require(size == len(self.model), f"the size is {size}, not {len(self.model)}")

    def _judge(self, offset: int, seen: bytes, expected: bytes | bytearray) -> None:
        if seen == expected:
            return
        pairs = enumerate(zip(seen, expected, strict=False))
        first = next((place for place, (one, two) in pairs if one != two), min(len(seen), len(expected)))
        self._require(
            False,
            f"{len(seen)} bytes at {offset} differ from byte {offset + first} on: "
            f"{seen[first : first + 16].hex()} instead of {bytes(expected[first : first + 16]).hex()}",
        )

    def _require(self, claim: bool, otherwise: str) -> None:
        if not claim:
            operations = "\n  ".join(self.last)
            raise Mismatch(
                f"seed {self.seed}, operation {self.done}: {otherwise}\nthe last operations:\n  {operations}"
            )


def exercise(directory: Path, seed: int, operations: int, size_bytes: int, *, direct: bool = False) -> None:
    """Runs one seed in a directory of its own below `directory`; raises Mismatch."""
    with tempfile.TemporaryDirectory(prefix=f"fsx-{seed}-", dir=directory) as place:
        exerciser = Exerciser(Path(place) / "file", seed, size_bytes, direct=direct)
        try:
            exerciser.run(operations)
        finally:
            exerciser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Exercise one file with random operations against a model.")
    parser.add_argument("--dir", type=Path, required=True, help="where to work")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ops", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1 << 20, help="largest size of the file, in bytes")
    parser.add_argument("--direct", action="store_true", help="some handles are O_DIRECT, at any alignment")
    chosen = parser.parse_args()
    try:
        exercise(chosen.dir, chosen.seed, chosen.ops, chosen.size, direct=chosen.direct)
    except Mismatch as mismatch:
        print(mismatch, file=sys.stderr)
        return 1
    print(f"seed {chosen.seed}: {chosen.ops} operations, every byte as it must be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
