"""What somebody will want next: pure, requests in, ranges out.

A reader who goes on where he stopped gets a window ahead that doubles as he comes along: 1 MiB first, 32 MiB at most,
which at 40 ms a request is 800 MB/s. The next is due when half of the last is read. A reader at random gets nothing, so
that a cold read of 4 KiB fetches the block that it needs and no other.

The requests are the kernel's and come several at once, not in order. So a reader is a few *runs*: stretches that were
read, nearly whole. A request joins the run whose end it comes close to, on either side, or into whose window it falls;
runs that meet become one. So what overtook its neighbours is not taken for a jump; who looks something up elsewhere and
comes back has not lost his window; two readers of one file have one each; and who reads backwards is led backwards.
"Close" is as far away as the request is long: whoever reads every second piece gets everything, twice what he wants at
most, and whoever reads every tenth is at random. A window of which not a quarter was wanted is the last.

Promises bounded memory, whatever is read: a run remembers `SPAN_BYTES`, a reader `RUNS`, and only the newest readers
are remembered. Refuses to know what is here already, and how it is fetched.
"""

from collections import OrderedDict
from collections.abc import Hashable

MIB = 1 << 20
FIRST_BYTES = MIB
MOST_BYTES = 32 * MIB
LEAST_NEAR_BYTES = 64 << 10
MOST_NEAR_BYTES = MIB
SPAN_BYTES = 8 * MIB
RUNS = 8
READERS = 1000
_ENOUGH = 2
"""Trust from which on somebody is read ahead for: one request that follows without a gap, or two that nearly do."""
_TURNS = 4
"""So many requests in a row at the other end are not late ones: the reader has turned."""


class _Run:
    """Places [low, high) that were read, nearly whole, and what was fetched ahead of them. Of a reader who goes
    backwards all places are times -1, so that both directions are one.
    """

    __slots__ = ("against", "ahead", "given_at", "high", "low", "read_bytes", "sign", "trust", "window_bytes")

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high
        self.sign = 1
        self._begin(trust=0)

    def _begin(self, trust: int) -> None:
        self.trust = trust
        self.against = 0  # requests in a row that came at the lower end
        self.window_bytes = 0
        self.ahead = self.given_at = self.high  # where the last window ends, and where the reader was when he got it
        self.read_bytes = 0  # since then

    def seen(self, low: int, high: int) -> tuple[int, int]:
        """Bytes of the file as places of this run, and places as bytes."""
        return (low, high) if self.sign > 0 else (-high, -low)

    def takes(self, offset: int, end: int, near: int) -> bool:
        """Whether a request belongs here."""
        low, high = self.seen(offset, end)
        return high >= self.low - near and low <= max(self.high + near, self.ahead)

    def go_on(self, offset: int, end: int) -> None:
        """A request that belongs here was made."""
        low, high = self.seen(offset, end)
        if high > self.high:
            self.trust += 2 if low <= self.high else 1
            self.against = 0
        elif low < self.low:  # late, or the reader has turned
            self.against += 1
            if self.trust < _ENOUGH or self.against >= _TURNS:
                self.low, self.high, self.sign = -self.high, -self.low, -self.sign
                self._begin(trust=2 if high >= -self.high else 1)
                low, high = -high, -low
        self.read_bytes += high - low
        self.low, self.high = min(self.low, low), max(self.high, high)

    def meets(self, other: "_Run") -> bool:
        """Whether the two are one, by now."""
        low, high = self.seen(*other.seen(other.low, other.high))
        return low <= max(self.high, self.ahead) and high >= self.low

    def absorb(self, other: "_Run") -> None:
        """What the other was is part of this one."""
        low, high = self.seen(*other.seen(other.low, other.high))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.read_bytes += other.read_bytes
        if other.sign == self.sign:
            self.ahead, self.window_bytes = max(self.ahead, other.ahead), max(self.window_bytes, other.window_bytes)

    def due(self, file_size: int) -> tuple[int, int] | None:
        """The window that is due, if one is."""
        self.low = max(self.low, self.high - SPAN_BYTES)
        ahead = max(self.ahead, self.high)
        if self.trust < _ENOUGH or ahead - self.high > self.window_bytes // 2:
            return None
        if self.read_bytes * 4 < self.high - self.given_at:
            self._begin(trust=0)
            return None
        window_bytes = min(MOST_BYTES, max(FIRST_BYTES, 2 * self.window_bytes))
        target = min(file_size if self.sign > 0 else 0, self.high + window_bytes)
        if target <= ahead:
            return None
        self.ahead, self.given_at, self.window_bytes, self.read_bytes = target, self.high, window_bytes, 0
        return self.seen(ahead, target)


class ReadAhead:
    """The readers, each known by a key: an open file, or a content."""

    def __init__(self, readers: int = READERS) -> None:
        self._readers = readers
        self._runs: OrderedDict[Hashable, list[_Run]] = OrderedDict()  # of each reader, newest first

    def next(self, key: Hashable, offset: int, end: int, file_size: int) -> tuple[int, int] | None:
        """Somebody reads bytes [offset, end), at least one. Returns the range to fetch ahead now, if there is one:
        within the file, beside what he reads, and not the same again as long as he goes on.
        """
        runs = self._runs.get(key)
        if runs is None:
            self._runs[key] = [_Run(offset, end)]
            if len(self._runs) > self._readers:
                self._runs.popitem(last=False)
            return None
        self._runs.move_to_end(key)
        near = min(max(end - offset, LEAST_NEAR_BYTES), MOST_NEAR_BYTES)
        run = next((run for run in runs if run.takes(offset, end, near)), None)
        if run is None:
            runs.insert(0, _Run(offset, end))
            del runs[RUNS:]
            return None
        run.go_on(offset, end)
        for other in [other for other in runs if other is not run and run.meets(other)]:
            if other.trust > run.trust:
                run, other = other, run
            run.absorb(other)
            runs.remove(other)
        if run is not runs[0]:
            runs.remove(run)
            runs.insert(0, run)
        return run.due(file_size)

    def closed(self, key: Hashable) -> None:
        """Nobody reads by this key any more."""
        self._runs.pop(key, None)
