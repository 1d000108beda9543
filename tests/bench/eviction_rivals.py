"""The policies that ours is measured against, as plain as they can be written; sizes differ, so all count bytes.

Each holds at most `capacity_bytes`. `read` says whether the block was there, and brings it; `write` brings a new block;
`gone` takes one away.

- LRU; FIFO; CLOCK (FIFO with a second chance).
- 2Q: T. Johnson and D. Shasha, VLDB 1994, full version: a quarter for newcomers, ghosts worth a half.
- ARC: N. Megiddo and D. Modha, FAST 2003; its target moves by bytes.
- S3-FIFO: J. Yang and others, SOSP 2023: a tenth for newcomers, ghosts of as many bytes as the main queue.
"""

from collections import OrderedDict
from typing import Protocol

Queue = OrderedDict[int, int]
"""Block → bytes, oldest first."""


class Rival(Protocol):
    def read(self, block: int, size_bytes: int) -> bool: ...
    def write(self, block: int, size_bytes: int) -> None: ...
    def gone(self, block: int) -> None: ...


class Sized:
    """A queue that knows its bytes."""

    def __init__(self) -> None:
        self.blocks: Queue = OrderedDict()
        self.size_bytes = 0

    def __contains__(self, block: int) -> bool:
        return block in self.blocks

    def push(self, block: int, size_bytes: int) -> None:
        self.blocks[block] = size_bytes
        self.size_bytes += size_bytes

    def take(self, block: int) -> int:
        size_bytes = self.blocks.pop(block)
        self.size_bytes -= size_bytes
        return size_bytes

    def pop(self) -> tuple[int, int]:
        block, size_bytes = self.blocks.popitem(last=False)
        self.size_bytes -= size_bytes
        return block, size_bytes

    def trim(self, most_bytes: float) -> None:
        while self.size_bytes > most_bytes:
            self.pop()


class Lru:
    moves_on_hit = True

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._held = Sized()

    def read(self, block: int, size_bytes: int) -> bool:
        if block in self._held:
            if self.moves_on_hit:
                self._held.blocks.move_to_end(block)
            return True
        self.write(block, size_bytes)
        return False

    def write(self, block: int, size_bytes: int) -> None:
        self._held.push(block, size_bytes)
        self._held.trim(self._capacity_bytes)

    def gone(self, block: int) -> None:
        if block in self._held:
            self._held.take(block)


class Fifo(Lru):
    moves_on_hit = False


class Clock:
    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._held = Sized()
        self._touched: set[int] = set()

    def read(self, block: int, size_bytes: int) -> bool:
        if block in self._held:
            self._touched.add(block)
            return True
        self.write(block, size_bytes)
        return False

    def write(self, block: int, size_bytes: int) -> None:
        self._held.push(block, size_bytes)
        while self._held.size_bytes > self._capacity_bytes:
            oldest, size = self._held.pop()
            if oldest in self._touched:
                self._touched.discard(oldest)
                self._held.push(oldest, size)

    def gone(self, block: int) -> None:
        if block in self._held:
            self._held.take(block)
            self._touched.discard(block)


class TwoQueues:
    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._new, self._ghosts, self._main = Sized(), Sized(), Sized()

    def read(self, block: int, size_bytes: int) -> bool:
        if block in self._main:
            self._main.blocks.move_to_end(block)
            return True
        if block in self._new:
            return True
        if block in self._ghosts:
            self._ghosts.take(block)
            self._main.push(block, size_bytes)
            self._make_room()
        else:
            self.write(block, size_bytes)
        return False

    def write(self, block: int, size_bytes: int) -> None:
        self._new.push(block, size_bytes)
        self._make_room()

    def _make_room(self) -> None:
        while self._new.size_bytes + self._main.size_bytes > self._capacity_bytes:
            if self._new.size_bytes > self._capacity_bytes / 4 or not self._main.blocks:
                self._ghosts.push(*self._new.pop())
                self._ghosts.trim(self._capacity_bytes / 2)
            else:
                self._main.pop()

    def gone(self, block: int) -> None:
        for queue in (self._new, self._main, self._ghosts):
            if block in queue:
                queue.take(block)


class Arc:
    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._once, self._often, self._ghosts_once, self._ghosts_often = Sized(), Sized(), Sized(), Sized()
        self._target = 0.0  # bytes of `once`

    def read(self, block: int, size_bytes: int) -> bool:
        for queue in (self._once, self._often):
            if block in queue:
                queue.take(block)
                self._often.push(block, size_bytes)
                return True
        if block in self._ghosts_once:
            weight = max(1.0, self._ghosts_often.size_bytes / self._ghosts_once.size_bytes)
            self._target = min(self._capacity_bytes, self._target + weight * size_bytes)
            self._ghosts_once.take(block)
            self._often.push(block, size_bytes)
        elif block in self._ghosts_often:
            weight = max(1.0, self._ghosts_once.size_bytes / self._ghosts_often.size_bytes)
            self._target = max(0.0, self._target - weight * size_bytes)
            self._ghosts_often.take(block)
            self._often.push(block, size_bytes)
        else:
            self._once.push(block, size_bytes)
        self._make_room()
        return False

    def write(self, block: int, size_bytes: int) -> None:
        self._once.push(block, size_bytes)
        self._make_room()

    def _make_room(self) -> None:
        while self._once.size_bytes + self._often.size_bytes > self._capacity_bytes:
            if self._once.blocks and (self._once.size_bytes > self._target or not self._often.blocks):
                self._ghosts_once.push(*self._once.pop())
            else:
                self._ghosts_often.push(*self._often.pop())
        self._ghosts_once.trim(max(0, self._capacity_bytes - self._once.size_bytes))
        held = self._once.size_bytes + self._often.size_bytes + self._ghosts_once.size_bytes
        self._ghosts_often.trim(max(0, 2 * self._capacity_bytes - held))

    def gone(self, block: int) -> None:
        for queue in (self._once, self._often, self._ghosts_once, self._ghosts_often):
            if block in queue:
                queue.take(block)


class S3Fifo:
    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._small, self._main, self._ghosts = Sized(), Sized(), Sized()
        self._often: dict[int, int] = {}

    def read(self, block: int, size_bytes: int) -> bool:
        if block in self._often:
            self._often[block] = min(3, self._often[block] + 1)
            return True
        if block in self._ghosts:
            self._ghosts.take(block)
            self._often[block] = 0
            self._main.push(block, size_bytes)
            self._make_room()
        else:
            self.write(block, size_bytes)
        return False

    def write(self, block: int, size_bytes: int) -> None:
        self._often[block] = 0
        self._small.push(block, size_bytes)
        self._make_room()

    def _make_room(self) -> None:
        while self._small.size_bytes + self._main.size_bytes > self._capacity_bytes:
            if self._small.size_bytes > self._capacity_bytes / 10 or not self._main.blocks:
                block, size = self._small.pop()
                if self._often[block] > 1:  # as the authors' own implementation has it
                    self._often[block] = 0
                    self._main.push(block, size)
                else:
                    del self._often[block]
                    self._ghosts.push(block, size)
                    self._ghosts.trim(self._capacity_bytes * 0.9)
            else:
                block, size = self._main.pop()
                if self._often[block]:
                    self._often[block] -= 1
                    self._main.push(block, size)
                else:
                    del self._often[block]

    def gone(self, block: int) -> None:
        self._often.pop(block, None)
        for queue in (self._small, self._main, self._ghosts):
            if block in queue:
                queue.take(block)
