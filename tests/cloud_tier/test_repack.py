"""Which packs are packed anew, and in which pieces one is read."""

import random
import sys

from cloud_tier.block_id import BlockId
from cloud_tier.margins import Margins
from cloud_tier.pack import Entry
from cloud_tier.repack import REQUEST_RECORDS, Living, Survey, Surveyed, batches

MIB = 1 << 20
FULL = 16 * MIB


def chosen(*packs: tuple[int, float], margins: Margins = Margins()) -> list[int]:  # noqa: B008  (frozen)
    """Of packs of these sizes and needed shares, numbered from 1."""
    survey = Survey(margins)
    for number, (size, share) in enumerate(packs, start=1):
        survey.add(Surveyed(number, size, int(size * share)))
    return list(survey.choose())


def test_small_packs_are_merged_once_there_are_enough() -> None:
    assert chosen(*[(MIB, 1.0)] * 7, (FULL, 1.0)) == []
    assert chosen(*[(MIB, 1.0)] * 8, (FULL, 1.0)) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_pack_less_than_half_needed_is_packed_anew() -> None:
    assert chosen((FULL, 0.49), *[(FULL, 1.0)] * 9, (FULL, 0.51)) == [1]


def test_nothing_is_sent_again_that_is_needed() -> None:
    assert chosen(*[(FULL, 1.0)] * 100) == []


def test_the_sparsest_follow_while_the_store_holds_too_much_that_is_dead() -> None:
    packs = [(FULL, 0.6), (FULL, 0.7), (FULL, 0.75), (FULL, 0.85), (FULL, 0.95)]
    assert chosen(*packs) == [1]
    assert chosen(*packs, margins=Margins(most_dead=0.1)) == [1, 2, 3]


def test_whatever_the_packs_are_like_little_stays_dead() -> None:
    for seed in range(50):
        dice = random.Random(seed)
        packs = [(dice.choice((MIB, 5 * MIB, FULL)), dice.random()) for _ in range(dice.randrange(8, 200))]
        anew = set(chosen(*packs))
        kept = [pack for number, pack in enumerate(packs, start=1) if number not in anew and pack[0] >= 4 * MIB]
        needed = sum(size * share for size, share in packs)
        dead = sum(size * (1 - share) for size, share in kept)
        assert dead <= 0.22 * (dead + needed), seed
        assert all(share >= 0.5 for _, share in kept)


def living(offset: int, length: int, *, is_held: bool = False) -> list[Living]:
    return [Living(offset, Entry(BlockId(bytes(32)), offset, length, 0, length), is_held)]


def test_records_that_lie_close_together_come_in_one_request() -> None:
    near = [living(64 + number * 300_000, 200_000) for number in range(20)]
    assert [len(batch) for batch in batches(near)] == [20]
    far = [living(64, 1000), living(5 * MIB, 1000)]
    assert [len(batch) for batch in batches(far)] == [1, 1]


def test_a_request_is_never_large_in_bytes_or_records() -> None:
    large = [living(64 + number * MIB, MIB) for number in range(16)]
    assert [len(batch) for batch in batches(large)] == [8, 8]
    many = [living(64 + number * 100, 100) for number in range(100)]
    assert max(len(batch) for batch in batches(many)) == REQUEST_RECORDS


def test_what_is_here_is_not_asked_for_with_what_is_not() -> None:
    mixed = [living(64 + number * 100, 100, is_held=number < 3) for number in range(6)]
    assert [len(batch) for batch in batches(mixed)] == [3, 3]


def test_a_survey_needs_a_word_or_two_for_each_pack() -> None:
    survey = Survey(Margins())
    for number in range(10_000):
        survey.add(Surveyed(number, MIB, MIB // 2))
        survey.add(Surveyed(number, FULL, FULL // 4))
    held = [survey._small, survey._sparse, survey._shares, survey.choose()]
    assert sum(map(sys.getsizeof, held)) < 20_000 * 20
