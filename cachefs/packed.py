"""Much about many blocks in little memory: a word for each, and queues of them.

A dict of a million numbers takes a hundred bytes for each, most of it for the objects. Here a number and its word take
17 bytes, an entry of a queue 8. `Words` is four thousand sorted arrays, found by the low bits of the number: numbers
are handed out one after the other, so the arrays stay equally long, and putting one in moves a few kilobytes.

Nothing takes long at once: an array grows by itself, and a queue is weeded chunk by chunk while it is filled.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable

SHARDS = 4096
CHUNK = 4096


class Words:
    """Number → word; both unsigned, 64 bits. No word is 0."""

    def __init__(self) -> None:
        self._numbers = [array("Q") for _ in range(SHARDS)]
        self._words = [array("Q") for _ in range(SHARDS)]
        self.count = 0

    def get(self, number: int) -> int:
        """Its word, or 0 when there is none."""
        numbers = self._numbers[number % SHARDS]
        at = bisect_left(numbers, number)
        return self._words[number % SHARDS][at] if at < len(numbers) and numbers[at] == number else 0

    def put(self, number: int, word: int) -> None:
        """From now on this is its word."""
        shard = number % SHARDS
        numbers = self._numbers[shard]
        at = bisect_left(numbers, number)
        if at < len(numbers) and numbers[at] == number:
            self._words[shard][at] = word
        else:
            numbers.insert(at, number)
            self._words[shard].insert(at, word)
            self.count += 1

    def pop(self, number: int) -> int:
        """Forget it. Returns its word, or 0 when there was none."""
        shard = number % SHARDS
        numbers = self._numbers[shard]
        at = bisect_left(numbers, number)
        if at == len(numbers) or numbers[at] != number:
            return 0
        del numbers[at]
        self.count -= 1
        return self._words[shard].pop(at)


class Fifo:
    """A queue of 64-bit entries. Those that mean nothing any more stay until they come out, or are weeded."""

    def __init__(self, means: Callable[[int], bool]) -> None:
        self.weeds = 0
        """Entries that mean nothing any more, counted up by the owner."""
        self._means = means
        self._chunks = [array("Q")]
        self._first = 0  # of the first chunk
        self._weeded = 0  # chunks from the first one on that were looked through in this round

    def append(self, entry: int) -> None:
        """Put it at the end. Every 4,096th weeds two chunks, if more than half of the queue is weeds."""
        if len(self._chunks[-1]) >= CHUNK:
            for _ in range(2):
                if self.weeds * 2 > len(self._chunks) * CHUNK:
                    self._weed()
            self._chunks.append(array("Q"))
        self._chunks[-1].append(entry)

    def pop(self) -> int | None:
        """Take the oldest entry that means something; None when there is none."""
        while True:
            chunk = self._chunks[0]
            while self._first < len(chunk):
                entry = chunk[self._first]
                self._first += 1
                if self._means(entry):
                    return entry
                self.weeds -= 1
            self._first = 0
            if len(self._chunks) == 1:
                self._chunks = [array("Q")]
                return None
            del self._chunks[0]
            self._weeded = max(0, self._weeded - 1)

    def take_over(self, other: "Fifo") -> None:
        """Put all entries of another queue at the end; it is empty then."""
        self._chunks += [other._chunks[0][other._first :], *other._chunks[1:]]
        self.weeds += other.weeds
        other._chunks, other._first, other._weeded, other.weeds = [array("Q")], 0, 0, 0

    def entries(self) -> bytes:
        """All of them, oldest first, meaningless ones too: 8 bytes each in the machine's byte order."""
        return b"".join([self._chunks[0][self._first :].tobytes(), *(chunk.tobytes() for chunk in self._chunks[1:])])

    def _weed(self) -> None:
        if self._weeded >= len(self._chunks) - 1:
            self._weeded = 0
        at = self._weeded
        first = self._first if at == 0 else 0
        kept = array("Q", filter(self._means, self._chunks[at][first:]))
        self.weeds -= len(self._chunks[at]) - first - len(kept)
        if at == 0:
            self._first = 0
        if at > 0 and len(self._chunks[at - 1]) + len(kept) <= CHUNK:
            self._chunks[at - 1] += kept
            del self._chunks[at]
        else:
            self._chunks[at] = kept
            self._weeded += 1
