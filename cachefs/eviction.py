"""Which blocks leave when room is needed: pure, blocks in, victims out.

Owns the order of all blocks that could be fetched again. The policy is S3-FIFO (J. Yang and others, "FIFO queues are
all you need for cache eviction", SOSP 2023), by bytes and with changes that a replayed office justifies
(docs/performance.md). A new block enters the *small* queue. Whoever comes out of it unread is a victim; whoever was
read meanwhile goes on to the *main* queue, which gives everybody another round for each *credit* that reads have
earned. So a scan of everything passes through the small queue and leaves the main one as it was. Victims are remembered
for a while as *ghosts*: one that is wanted again goes to the main queue at once. The changes:

- Reads soon after the first, or after one that counted, earn nothing: a block is read in several requests, and opened,
  previewed and saved within minutes. Without this a scan that reads blocks in pieces would pay its way into the main
  queue.
- The small queue has a fifth of the bytes instead of a tenth, one read is enough to leave it, credits end at two.
- Ghosts come from the main queue as well, and stand for as many bytes as are held. More would remember one night's scan
  until the next one, which would then fill the main queue.

Promises that a call is short however many blocks there are (`LOOKS`), and some 55 bytes of memory for each held block,
its share of ghosts included. Refuses to know what is precious: only blocks that may go are admitted. A hit is noted in
a set, and sorted in later, because it is on the way of every read.
"""

from array import array
from collections.abc import Callable, Mapping

from cachefs.packed import Fifo, Words
from cloud_tier.clock import Clock

SMALL_SHARE = 5  # the small queue is to have one part in so many
SOON_MIN = 10
MOST_CREDITS = 2
SETTLED_AT_ONCE = 2000
LOOKS = 1000
"""How many blocks one call passes over before it is content with less, or with a block that has credits left."""

# A word: size in bytes, state, credits, minute of the last read that counted, tag of its entry in a queue.
_SIZE = (1 << 23) - 1
_STATE, _CREDITS, _MINUTE, _TAG = 23, 25, 27, 43
_MINUTES, _TAGS = (1 << 16) - 1, (1 << 20) - 1
# An entry of a queue: number, tag; in the main queue with the highest bit. The tag of a block's word is that of its one
# entry that counts.
_NUMBER = 20
_NUMBERS = (1 << 43) - 1
_IN_MAIN = 1 << 63
PARKED, SMALL, MAIN, GHOST = range(4)


class Eviction:
    """The order of the blocks. `pinned` says of which none may go for now; it is asked of one about to go."""

    def __init__(self, clock: Clock, pinned: Callable[[int], bool] = lambda block: False) -> None:
        self._clock = clock
        self._pinned = pinned
        self._words = Words()
        self._queues = [Fifo(self._means) for _ in range(4)]
        self._bytes = [0, 0, 0, 0]
        self._tag = 0
        self._touched: set[int] = set()

    @property
    def evictable_bytes(self) -> int:
        """Bytes of all blocks that may go, pinned ones too."""
        return sum(self._bytes) - self._bytes[GHOST]

    def statistics(self) -> dict[str, int]:
        """Bytes of blocks that may go, of those that nobody has read twice yet, and of ghosts; how many are known."""
        return {
            "evictable_bytes": self.evictable_bytes,
            "small_bytes": self._bytes[SMALL],
            "ghost_bytes": self._bytes[GHOST],
            "known_blocks": self._words.count,
        }

    def admitted(self, block: int, size_bytes: int, *, is_read: bool) -> None:
        """A block (1 byte to 4 MiB) may go from now on. `is_read`: it was fetched because somebody reads it, or soon
        will; not if it was written, or came along. One that is there already stays as it is.
        """
        word = self._words.get(block)
        state = SMALL
        if word:
            if word >> _STATE & 3 != GHOST:
                return
            self._bytes[GHOST] -= word & _SIZE
            self._queues[GHOST].weeds += 1
            state = MAIN if is_read else SMALL
        self._enqueue(state, block, size_bytes, 0, self._minute())

    def touched(self, block: int) -> None:
        """Somebody reads it, and it is here. Of any block; costs a tenth of a microsecond."""
        self._touched.add(block)
        if len(self._touched) >= SETTLED_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Count the reads since the last time. To be called once a minute or so; `victims` does it, too."""
        words, minute = self._words, self._minute()
        for block in self._touched:
            word = words.get(block)
            if word and word >> _STATE & 3 != GHOST and (minute - (word >> _MINUTE)) & _MINUTES >= SOON_MIN:
                credits = min(MOST_CREDITS, (word >> _CREDITS & 3) + 1)
                keep = word & ~(3 << _CREDITS) & ~(_MINUTES << _MINUTE)
                words.put(block, keep | credits << _CREDITS | minute << _MINUTE)
        self._touched.clear()

    def gone(self, block: int) -> None:
        """It may not go any more, or has: it died, or is not held. Of any block; a ghost stays one till its turn."""
        word = self._words.get(block)
        state = word >> _STATE & 3
        if word and state != GHOST:
            self._bytes[state] -= self._words.pop(block) & _SIZE
            self._queues[state].weeds += 1

    def unpinned(self) -> None:
        """Blocks that were passed over because of a pin are looked at again."""
        self._queues[MAIN].take_over(self._queues[PARKED])

    def victims(self, size_bytes: int) -> list[int]:
        """Blocks to evict, of so many bytes or more. They count as evicted; one that could not be is admitted again.

        Fewer when that would take long, or there are none: only an empty list means that nothing may go.
        """
        self.settle()
        found: list[int] = []
        freed = looks = 0
        while freed < size_bytes and not (found and looks >= LOOKS):
            entry = self._oldest()
            if entry is None:
                break
            looks += 1
            block = entry >> _NUMBER & _NUMBERS
            word = self._words.get(block)
            size, state, credits = word & _SIZE, word >> _STATE & 3, word >> _CREDITS & 3
            self._bytes[state] -= size
            if self._pinned(block):
                self._enqueue(PARKED, block, size, credits, word >> _MINUTE)
            elif credits and looks < LOOKS:
                self._enqueue(MAIN, block, size, 0 if state == SMALL else credits - 1, word >> _MINUTE)
            else:
                self._enqueue(GHOST, block, size, 0, word >> _MINUTE)
                found.append(block)
                freed += size
        self._forget_ghosts()
        return found

    def _oldest(self) -> int | None:
        """The entry whose turn it is."""
        small, main = self._queues[SMALL], self._queues[MAIN]
        if self._bytes[SMALL] * SMALL_SHARE > self._bytes[SMALL] + self._bytes[MAIN]:
            small, main = main, small
        entry = main.pop()
        return small.pop() if entry is None else entry

    def _forget_ghosts(self) -> None:
        for _ in range(LOOKS):
            entry = self._queues[GHOST].pop() if self._bytes[GHOST] > self.evictable_bytes else None
            if entry is None:
                return
            self._bytes[GHOST] -= self._words.pop(entry >> _NUMBER & _NUMBERS) & _SIZE

    def export(self) -> bytes:
        """The order, to be loaded after a restart: 8 bytes a block. Any part of it at a multiple of 8 is one, too."""
        return self._queues[SMALL].entries() + self._queues[MAIN].entries() + self._queues[PARKED].entries()

    @staticmethod
    def blocks_of(exported: bytes) -> list[int]:
        """The blocks that an export, or a part of one, may name; some of them twice."""
        return [entry >> _NUMBER & _NUMBERS for entry in _entries(exported)]

    def load(self, exported: bytes, sizes: Mapping[int, int]) -> None:
        """Admit the blocks of `sizes` in the order of an export, then those that it does not name.

        Blocks that are known already stay as they are, so that a long list can be loaded in parts.
        """
        minute, named = self._minute(), set[int]()
        for entry in _entries(exported):
            block = entry >> _NUMBER & _NUMBERS
            if block in sizes and block not in named:
                named.add(block)
                if not self._words.get(block):
                    self._enqueue(MAIN if entry & _IN_MAIN else SMALL, block, sizes[block], 0, minute)
        for block in sorted(sizes.keys() - named):
            if not self._words.get(block):
                self._enqueue(SMALL, block, sizes[block], 0, minute)

    def _enqueue(self, state: int, block: int, size_bytes: int, credits: int, minute: int) -> None:
        self._tag = tag = self._tag + 1 & _TAGS
        minute &= _MINUTES
        word = size_bytes | state << _STATE | credits << _CREDITS | minute << _MINUTE | tag << _TAG
        self._words.put(block, word)
        self._bytes[state] += size_bytes
        self._queues[state].append((_IN_MAIN if state in (MAIN, PARKED) else 0) | block << _NUMBER | tag)

    def _means(self, entry: int) -> bool:
        word = self._words.get(entry >> _NUMBER & _NUMBERS)
        return word != 0 and word >> _TAG == entry & _TAGS

    def _minute(self) -> int:
        return int(self._clock.monotonic_s() / 60) & _MINUTES


def _entries(exported: bytes) -> "array[int]":
    entries = array("Q")
    entries.frombytes(exported[: len(exported) // 8 * 8])
    return entries
