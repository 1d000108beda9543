"""The chain of leases over every store: one holder, whoever asks at the same time, whatever answers are lost."""

import contextlib

import pytest
import trio
from contracts.subjects import Subject
from kit.drive_keys import drive_keys

from cloud_tier.errors import LeaseDamaged, LeaseHeld, LeaseLost
from cloud_tier.lease import Lease, accepted_of, check, claim, current, resume, survey
from cloud_tier.object_names import LeaseName

KEYS = drive_keys()
NOW_NS = 1_800_000_000 * 10**9
SETTLE_S = 0.1  # real stores on this machine answer in a few milliseconds


async def claimed(subject: Subject, machine: str, take_over: int | None = None) -> Lease:
    return await claim(subject.store, KEYS, machine, NOW_NS, subject.creates_only, take_over, settle_s=SETTLE_S)


async def test_the_first_machine_has_it_and_a_second_one_is_told_who(subject: Subject) -> None:
    assert await current(subject.store, KEYS) is None
    lease = await claimed(subject, "büro")
    assert (lease.fence, lease.machine, lease.claimed_ns) == (1, "büro", NOW_NS)
    assert await current(subject.store, KEYS) == lease
    with pytest.raises(LeaseHeld, match=r"büro since 2027-01-15 at 08:00 UTC \(lease 1\)") as refused:
        await claimed(subject, "laptop")
    assert (refused.value.machine, refused.value.fence) == ("büro", 1)
    await check(subject.store, KEYS, lease)


async def test_who_was_taken_over_finds_out_by_whom(subject: Subject) -> None:
    old = await claimed(subject, "old")
    new = await claimed(subject, "new", take_over=1)
    assert new.fence == 2
    with pytest.raises(LeaseLost, match=r"the machine new has taken this drive over .*\(lease 2\)"):
        await check(subject.store, KEYS, old)
    await check(subject.store, KEYS, new)
    with pytest.raises(LeaseHeld):
        await claimed(subject, "third", take_over=1)
    newest = await claimed(subject, "third", take_over=2)
    with pytest.raises(LeaseLost, match="third"):
        await check(subject.store, KEYS, old)
    assert await current(subject.store, KEYS) == newest


async def test_of_several_that_take_over_at_once_one_has_it(subject: Subject) -> None:
    await claimed(subject, "first")
    won: list[Lease] = []

    async def take_over(machine: str) -> None:
        with contextlib.suppress(LeaseHeld):
            won.append(await claimed(subject, machine, take_over=1))

    async with trio.open_nursery() as nursery:
        for machine in ("a", "b", "c"):
            nursery.start_soon(take_over, machine)
    assert len(won) == 1
    assert await current(subject.store, KEYS) == won[0]


async def test_a_claim_that_was_kept_is_made_once_however_often_it_is_resumed(subject: Subject) -> None:
    kept: list[bytes] = []

    class Died(Exception):
        pass

    def keep(body: bytes) -> None:
        kept.append(body)
        raise Died

    with pytest.raises(Died):
        await claim(subject.store, KEYS, "a", NOW_NS, subject.creates_only, keep=keep)
    assert await current(subject.store, KEYS) is None, "kept comes before put"
    lease = Lease.decode(KEYS, kept[0])
    made = [await resume(subject.store, KEYS, lease, NOW_NS, settle_s=SETTLE_S)]
    made.append(await resume(subject.store, KEYS, made[0], NOW_NS, settle_s=SETTLE_S))
    assert await current(subject.store, KEYS) == made[0] == made[1]
    if subject.creates_only:
        assert made[0] == lease


async def test_a_kept_claim_that_somebody_else_made_meanwhile_is_refused(subject: Subject) -> None:
    mine = Lease.make(KEYS, 1, "a", NOW_NS, is_certain=subject.creates_only)
    await claimed(subject, "b")
    with pytest.raises(LeaseHeld, match="machine b"):
        await resume(subject.store, KEYS, mine, NOW_NS, settle_s=SETTLE_S)


async def test_what_no_holder_of_the_keys_wrote_takes_nothing_over(subject: Subject) -> None:
    lease = await claimed(subject, "a")
    other = Lease.make(KEYS, 3, "b", NOW_NS).body
    for forged in (b"", b"nonsense", lease.body, other, other[:-1] + b"\0"):
        await subject.store.put(str(LeaseName(2)), forged)
        with pytest.raises(LeaseDamaged):
            await check(subject.store, KEYS, lease)


async def test_a_damaged_claim_is_made_whole_by_its_owner_and_holds_up_no_takeover(subject: Subject) -> None:
    first = await claimed(subject, "a")
    second = await claimed(subject, "b", take_over=1)
    name = str(LeaseName(2))
    await subject.store.put(name, second.body[:-5] + bytes(5))
    assert [one.fence for one in await survey(subject.store, KEYS)] == [1, 2]
    assert accepted_of(await survey(subject.store, KEYS))[1] > 1 << 60, "nobody knows what was accepted: all of it"
    with pytest.raises(LeaseDamaged):
        await resume(subject.store, KEYS, Lease.make(KEYS, 2, "c", NOW_NS), NOW_NS, settle_s=SETTLE_S)
    assert await resume(subject.store, KEYS, second, NOW_NS, settle_s=SETTLE_S) == second
    assert await subject.store.get(name) == second.body
    await subject.store.put(name, second.body[:40])
    third = await claimed(subject, "c", take_over=2)
    assert third.fence == 3
    await subject.store.delete([name])
    fourth = await claimed(subject, "d", take_over=3)
    assert fourth.fence == 4
    assert [one.fence for one in await survey(subject.store, KEYS)] == [1, 3, 4]
    with pytest.raises(LeaseHeld):
        await claimed(subject, "e", take_over=first.fence)


async def test_no_name_of_a_machine_can_be_read_in_the_store(subject: Subject) -> None:
    lease = await claimed(subject, "reception-desk")
    assert b"reception" not in await subject.store.get(str(LeaseName(lease.fence)))
