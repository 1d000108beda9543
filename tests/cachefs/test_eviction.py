"""Who leaves: what was read once goes before what was read again, whatever a scan does; and a plain model agrees."""

import random
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.fake_clock import FakeClock

from cachefs.eviction import LOOKS, SETTLED_AT_ONCE, SOON_MIN, Eviction

KIB, MIB = 1 << 10, 1 << 20
SOON_S = 60.0 * SOON_MIN


class Cache:
    """Holds blocks of one length by a policy; the simplest caller there can be."""

    def __init__(self, capacity_blocks: int, size_bytes: int = 256 * KIB) -> None:
        self.clock = FakeClock()
        self.pins: set[int] = set()
        self.policy = Eviction(self.clock, self.pins.__contains__)
        self.held: set[int] = set()
        self._capacity_blocks = capacity_blocks
        self._size_bytes = size_bytes

    def read(self, blocks: Iterable[int], *, pieces: int = 1) -> int:
        """How many of them were there."""
        hits = 0
        for block in blocks:
            is_hit = block in self.held
            hits += is_hit
            if not is_hit:
                self.held.add(block)
                self.policy.admitted(block, self._size_bytes, is_read=True)
            if is_hit or pieces > 1:
                self.policy.touched(block)
            while len(self.held) > self._capacity_blocks:
                victims = self.policy.victims(self._size_bytes)
                assert victims
                self.held.difference_update(victims)
        self.policy.settle()
        return hits


@pytest.mark.parametrize("pieces", [1, 8])
def test_a_scan_of_everything_does_not_push_out_the_working_set(pieces: int) -> None:
    cache, working_set = Cache(1000), range(600)
    for _ in range(3):
        cache.read(working_set)
        cache.clock.advance(2 * SOON_S)
    cache.read(range(10_000, 12_000))  # what else was read that day; the queues have found their lengths
    cache.clock.advance(2 * SOON_S)
    cache.read(range(100_000, 120_000), pieces=pieces)
    assert cache.read(working_set) == 600


def test_reads_soon_after_another_earn_nothing() -> None:
    cache = Cache(100)
    cache.read(range(100))
    for _ in range(5):
        cache.clock.advance(60)
        cache.read(range(5))  # opened, previewed, saved
    cache.clock.advance(SOON_S)
    cache.read(range(5, 10))  # opened again
    cache.read(range(100, 190))
    assert cache.held & set(range(10)) == {5, 6, 7, 8, 9}


def test_block_that_is_read_again_soon_after_it_left_stays_then() -> None:
    cache = Cache(100)
    cache.read(range(105))
    assert 0 not in cache.held
    cache.read([0])
    cache.read(range(1000, 1400))
    assert 0 in cache.held


def test_block_that_comes_back_unread_has_no_privilege() -> None:
    cache = Cache(100)
    cache.read(range(105))
    cache.policy.admitted(0, 256 * KIB, is_read=False)  # along with a neighbour
    cache.held.add(0)
    cache.read(range(1000, 1100))
    assert 0 not in cache.held


def test_victims_are_worth_what_was_asked_for() -> None:
    policy = Eviction(FakeClock())
    for block in range(100):
        policy.admitted(block, 1000 + block, is_read=False)
    victims = policy.victims(10_000)
    assert sum(1000 + block for block in victims) >= 10_000
    assert sum(1000 + block for block in victims[:-1]) < 10_000
    assert sorted([*victims, *policy.victims(1 << 40)]) == list(range(100))
    assert policy.victims(1) == []


def test_pinned_blocks_stay_until_they_are_unpinned() -> None:
    cache = Cache(100)
    cache.pins.update(range(50))
    cache.read(range(100))
    assert sorted(cache.policy.victims(1 << 40)) == list(range(50, 100))
    assert cache.policy.victims(1) == []
    cache.pins.clear()
    cache.policy.unpinned()
    cache.policy.gone(7)
    assert sorted(cache.policy.victims(1 << 40)) == [block for block in range(50) if block != 7]
    assert cache.policy.statistics()["evictable_bytes"] == 0


def test_a_call_passes_over_a_bounded_number_of_blocks_and_comes_to_an_end() -> None:
    cache = Cache(1 << 30)
    looked: list[int] = []
    policy = Eviction(cache.clock, lambda block: bool(looked.append(block)))
    everything = range(3 * LOOKS)
    for block in everything:
        policy.admitted(block, KIB, is_read=True)
    cache.clock.advance(SOON_S)
    for block in everything:
        policy.touched(block)
    left = set(everything)
    while left:
        looked.clear()
        victims = policy.victims(1 << 40)
        assert victims
        assert len(looked) <= LOOKS
        left.difference_update(victims)
    assert policy.victims(1) == []


def test_hits_alone_do_not_pile_up() -> None:
    cache = Cache(1 << 30)
    cache.read(range(2 * SETTLED_AT_ONCE))
    cache.clock.advance(SOON_S)
    cache.read(range(2 * SETTLED_AT_ONCE))
    assert len(cache.policy._touched) < SETTLED_AT_ONCE


def test_blocks_that_come_and_go_leave_nothing_behind() -> None:
    policy = Eviction(FakeClock())
    for block in range(60_000):
        policy.admitted(block, 4 * MIB, is_read=False)
        policy.gone(block)
    assert policy.statistics() == {"evictable_bytes": 0, "small_bytes": 0, "ghost_bytes": 0, "known_blocks": 0}
    assert len(policy.export()) < 20_000 * 8


def test_order_survives_a_restart() -> None:
    before = Cache(1000)
    before.read(range(600))
    before.clock.advance(SOON_S)
    before.read(range(300))
    before.read(range(1000, 1500))
    exported = before.policy.export()
    after = Eviction(FakeClock())
    sizes = dict.fromkeys([*before.held, 5000], 256 * KIB)  # 5000 came after the export
    del sizes[1499]
    after.load(exported, sizes)
    assert after.statistics()["evictable_bytes"] == 1000 * 256 * KIB
    left = [block for _ in range(1000) for block in after.victims(1)]
    assert set(left) == set(sizes)
    assert set(range(300)) & set(left[:500]) == set()


def test_order_can_be_loaded_in_parts() -> None:
    cache = Cache(100)
    cache.read(range(400))
    exported, sizes = cache.policy.export(), dict.fromkeys(cache.held, 256 * KIB)
    whole, parts = Eviction(FakeClock()), Eviction(FakeClock())
    whole.load(exported, sizes)
    for low in range(0, len(exported), 80):
        parts.load(exported[low : low + 80], {})
    assert parts.statistics()["known_blocks"] == 0
    for low in range(0, len(exported), 80):
        named = Eviction.blocks_of(exported[low : low + 80])
        parts.load(exported[low : low + 80], {block: sizes[block] for block in named if block in sizes})
    assert parts.victims(1 << 40) == whole.victims(1 << 40)


@settings(max_examples=30)
@given(st.binary(max_size=100))
def test_an_export_that_was_damaged_is_only_a_worse_order(exported: bytes) -> None:
    policy = Eviction(FakeClock())
    policy.load(exported, {1: 10, 2: 20})
    assert sorted(policy.victims(1 << 40)) == [1, 2]


def test_a_block_takes_little_memory() -> None:
    sizes = random.Random(1).choices([4 * KIB, 100_000, MIB], k=20_000)
    tracemalloc.start()
    policy = Eviction(FakeClock())
    floor_bytes = tracemalloc.get_traced_memory()[0]
    for block, size in enumerate(sizes):
        policy.admitted(block * 3, size, is_read=True)
    used_bytes = tracemalloc.get_traced_memory()[0] - floor_bytes
    tracemalloc.stop()
    assert used_bytes / len(sizes) < 40  # of a million each takes less: the arrays are longer


class Plain:
    """The policy as a person would write it down: lists, and no care for memory or time."""

    def __init__(self, clock: FakeClock, pins: set[int]) -> None:
        self.clock, self.pins = clock, pins
        self.small: list[int] = []
        self.main: list[int] = []
        self.parked: list[int] = []
        self.ghosts: list[int] = []
        self.size: dict[int, int] = {}
        self.credits: dict[int, int] = {}
        self.minute: dict[int, int] = {}
        self.is_parked: set[int] = set()
        self.touched_blocks: set[int] = set()

    def admitted(self, block: int, size_bytes: int, is_read: bool) -> None:
        if block in self.size:
            if block not in self.ghosts:
                return
            self.ghosts.remove(block)
            (self.main if is_read else self.small).append(block)
        else:
            self.small.append(block)
        self.size[block], self.credits[block], self.minute[block] = size_bytes, 0, int(self.clock.monotonic_s() / 60)

    def settle(self) -> None:
        minute = int(self.clock.monotonic_s() / 60)
        for block in self.touched_blocks & set(self.size) - set(self.ghosts):
            if minute - self.minute[block] >= SOON_MIN:
                self.credits[block], self.minute[block] = min(2, self.credits[block] + 1), minute
        self.touched_blocks.clear()

    def gone(self, block: int) -> None:
        for queue in (self.small, self.main, self.parked):
            if block in queue:
                queue.remove(block)
                self.size.pop(block)
        self.is_parked.discard(block)

    def unpinned(self) -> None:
        self.main += self.parked
        self.parked.clear()

    def victims(self, size_bytes: int) -> list[int]:
        self.settle()
        found: list[int] = []
        while sum(self.size[block] for block in found) < size_bytes and (self.small or self.main):
            small = sum(self.size[block] for block in self.small)
            held = small + sum(self.size[block] for block in self.main if block not in self.is_parked)
            is_from_small = bool(self.small) and (small * 5 > held or not self.main)
            block = (self.small if is_from_small else self.main).pop(0)
            self.is_parked.discard(block)
            if block in self.pins:
                self.parked.append(block)
                self.is_parked.add(block)
            elif self.credits[block]:
                self.credits[block] = 0 if is_from_small else self.credits[block] - 1
                self.main.append(block)
            else:
                self.ghosts.append(block)
                found.append(block)
        held = sum(self.size[block] for block in self.size if block not in self.ghosts)
        while sum(self.size[block] for block in self.ghosts) > held:
            self.size.pop(self.ghosts.pop(0))
        return found


steps = st.one_of(
    st.tuples(st.just("admitted"), st.integers(1, 30), st.integers(1, 4 * MIB), st.booleans()),
    st.tuples(st.sampled_from(["touched", "gone", "pin", "unpin"]), st.integers(1, 30)),
    st.tuples(st.just("victims"), st.integers(1, 20 * MIB)),
    st.tuples(st.just("wait"), st.floats(0, 2000)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=120))
def test_victims_are_those_of_a_plain_model(story: list[tuple]) -> None:
    clock, pins = FakeClock(), set[int]()
    policy, plain = Eviction(clock, pins.__contains__), Plain(clock, pins)
    for what, *values in story:
        match what:
            case "admitted":
                block, size, is_read = values
                policy.admitted(block, size, is_read=is_read)
                plain.admitted(block, size, is_read)
            case "touched":
                policy.touched(values[0])
                plain.touched_blocks.add(values[0])
            case "gone":
                policy.gone(values[0])
                plain.gone(values[0])
            case "pin":
                pins.add(values[0])
            case "unpin":
                pins.discard(values[0])
                policy.unpinned()
                plain.unpinned()
            case "victims":
                assert policy.victims(values[0]) == plain.victims(values[0])
            case "wait":
                policy.settle()
                plain.settle()
                clock.advance(values[0])
    held = sum(size for block, size in plain.size.items() if block not in plain.ghosts)
    assert policy.statistics()["evictable_bytes"] == held
