"""Which block is encoded next, and when a pack is finished. Pure policy: it holds no bytes and does no work.

A pack is closed when it is full (16 MiB) or 5 s after its first block came, so that little work travels soon and much
work in few objects. There are two lanes, each with a pack of its own: *fresh* small work overtakes a *bulk* copy that
keeps the line busy for hours, and never waits for more than the pack that is being encoded. Should there be endless
fresh work, bulk still gets one turn in seven.

The caller asks for the `next` block, encodes it with the writer of that lane, tells how large the pack is now, and
closes the packs that are `due`.
"""

from collections import deque
from collections.abc import Collection
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from cloud_tier.clock import Clock

FULL_BYTES = 16 << 20
AGE_S = 5.0
BULK_FROM_BYTES = 4 << 20
"""A file of this size or more is bulk: it takes seconds on an office's line."""
FRESH_TURNS = 6

T = TypeVar("T")


class Lane(Enum):
    """Which pack a block goes to. On disk, as `unsent.lane`: do not change."""

    FRESH = 0
    BULK = 1


class Turn(NamedTuple, Generic[T]):
    """One block to be encoded."""

    lane: Lane
    item: T
    size_bytes: int


def lane_of(file_bytes: int) -> Lane:
    """Where the blocks of a file of this size belong."""
    return Lane.BULK if file_bytes >= BULK_FROM_BYTES else Lane.FRESH


class Packer(Generic[T]):
    """Two queues of blocks, and the ages and sizes of two open packs."""

    def __init__(self, clock: Clock, *, full_bytes: int = FULL_BYTES, age_s: float = AGE_S) -> None:
        self._clock = clock
        self._full_bytes = full_bytes
        self._age_s = age_s
        self._queues: dict[Lane, deque[Turn[T]]] = {lane: deque() for lane in Lane}
        self._fresh_turns = 0  # bytes of fresh work since bulk had a turn
        self._since_s: dict[Lane, float] = {}
        self._sizes = dict.fromkeys(Lane, 0)
        self.waiting_bytes = dict.fromkeys(Lane, 0)
        """Of all blocks that were offered and not taken."""

    def offer(self, lane: Lane, item: T, size_bytes: int) -> None:
        """One more block is ready."""
        self._queues[lane].append(Turn(lane, item, size_bytes))
        self.waiting_bytes[lane] += size_bytes

    def next(self) -> Turn[T] | None:
        """The block whose turn it is, taken out of its queue; None when nothing waits."""
        return self.next_of(self._lane())

    def next_of(self, lane: Lane) -> Turn[T] | None:
        """The next block of a lane, taken out of its queue, for who encodes several at once; None when none waits."""
        if not self._queues[lane]:
            return None
        turn = self._queues[lane].popleft()
        self.waiting_bytes[lane] -= turn.size_bytes
        self._fresh_turns = self._fresh_turns + turn.size_bytes if lane is Lane.FRESH else 0
        return turn

    def _lane(self) -> Lane:
        has_had_enough = self._fresh_turns >= FRESH_TURNS << 20
        first, second = (Lane.BULK, Lane.FRESH) if has_had_enough else (Lane.FRESH, Lane.BULK)
        return first if self._queues[first] else second

    def added(self, lane: Lane, pack_bytes: int) -> None:
        """A block went into the lane's open pack, which would have this size if it were closed now."""
        self._since_s.setdefault(lane, self._clock.monotonic_s())
        self._sizes[lane] = pack_bytes

    def closed(self, lane: Lane) -> None:
        """The lane's pack is closed; its next block begins another one."""
        self._since_s.pop(lane, None)
        self._sizes[lane] = 0

    def is_full(self, lane: Lane) -> bool:
        """Whether the lane's open pack holds as much as it should."""
        return self._sizes[lane] >= self._full_bytes

    def due(self) -> list[Lane]:
        """Lanes whose pack is full or old enough, fresh first."""
        now_s = self._clock.monotonic_s()
        return [lane for lane in Lane if lane in self._since_s and self._is_due(lane, now_s)]

    def _is_due(self, lane: Lane, now_s: float) -> bool:
        return self.is_full(lane) or self._since_s[lane] + self._age_s <= now_s

    def next_due_s(self, lanes: Collection[Lane] = tuple(Lane)) -> float | None:
        """When a pack of these lanes becomes old enough, by the monotonic clock; None when none of them is open."""
        return min((since + self._age_s for lane, since in self._since_s.items() if lane in lanes), default=None)
