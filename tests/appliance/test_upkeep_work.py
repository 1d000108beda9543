"""What the drive does by itself: snapshots while somebody works and none while nobody does, and the policy kept."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio
from kit.cloud_drive import CloudDrive
from kit.damage import flip
from kit.fake_clock import FakeClock
from trio.testing import MockClock

from appliance.assemble import scrub_share
from appliance.config import CacheConfig, Config, DriveConfig, SnapshotsConfig, UpkeepConfig
from appliance.control.protocol import ServiceError
from appliance.control.upkeep_protocol import PolicyRequest
from appliance.scheduler import Postponed
from appliance.service import told
from appliance.upkeep_verbs import UpkeepVerbs
from appliance.upkeep_work import moments_of
from vfs.retention import DAY_S, HOUR_S, Policy, needless
from vfs.snapshots import Snapshot


@dataclass
class Unmounted:
    """As much of a mount as housekeeping asks for."""

    drive: Any
    operations: Any = field(default_factory=lambda: SimpleNamespace(read_only_reason=None))

    async def collect(self) -> bool:
        return True


class Housekept:
    """A drive, and what keeps its house; anew after each start."""

    def __init__(self, built: CloudDrive, config: Config) -> None:
        self.built = built
        self.config = config
        self.begin()

    def begin(self) -> None:
        self.mount = Unmounted(self.built.drive)
        self.verbs = UpkeepVerbs(self.mount, self.config, told)  # type: ignore[arg-type]
        self.works = {work.name: work.do for work in self.verbs._scheduler._works.values()}

    async def do(self, name: str) -> str:
        return (await self.works[name]()).result

    async def keep_states(self, count: int, clock: FakeClock) -> None:
        """A change and a snapshot of it each minute."""
        for number in range(count):
            await self.built.write("a", b"%d" % number)
            await self.built.snapshot()
            clock.advance(60)

    def names(self) -> list[str]:
        return [one.name for one in self.built.drive.snapshots.all()]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def house(tmp_path: Path, virtual_time: MockClock, clock: FakeClock) -> AsyncIterator[Housekept]:
    night = UpkeepConfig(night=23)  # the fake clock begins in the morning
    async with CloudDrive(tmp_path / "state", clock=clock) as built:
        yield Housekept(built, Config(upkeep=night))


async def test_an_idle_hour_makes_no_snapshot_no_cut_and_no_request(virtual_time: MockClock, house: Housekept) -> None:
    await house.built.write("a", b"work")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.verbs.run)
        await trio.sleep(HOUR_S + 120)  # all is sent, a checkpoint is made, first runs are written down
        built = house.built
        before = house.names(), built.drive.cuts.number, built.store.calls["any"]
        await trio.sleep(HOUR_S)
        assert (house.names(), built.drive.cuts.number, built.store.calls["any"]) == before
        assert len(house.names()) == 1
        nursery.cancel_scope.cancel()


async def test_every_minute_in_which_something_changed_has_a_snapshot(
    virtual_time: MockClock, house: Housekept
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.verbs.run)
        await trio.sleep(61)
        made = len(house.names())
        for minute in range(5):
            await house.built.write("a", b"%d" % minute)
            await house.built.write(f"new-{minute}", b"")
            await trio.sleep(60)
        assert len(house.names()) == made + 5
        await house.built.rename("new-1", "renamed")
        await trio.sleep(60)
        await house.built.unlink("new-2")
        await trio.sleep(60)
        assert len(house.names()) == made + 7
        assert await house.built.read_past(house.names()[-6], "a") == b"1"
        nursery.cancel_scope.cancel()


async def test_after_a_restart_an_unchanged_drive_is_left_alone(virtual_time: MockClock, house: Housekept) -> None:
    await house.built.write("a", b"work")
    assert await house.do("snapshots") != ""
    assert await house.do("snapshots") == ""
    for is_crash in (False, True):
        await house.built.restart(crash=is_crash)
        house.begin()
        assert await house.do("snapshots") == ""
    await house.built.write("a", b"more work")
    house.built.close_point()
    await house.built.restart(crash=True)
    house.begin()
    assert await house.do("snapshots") != ""


async def test_snapshots_go_by_the_policy(virtual_time: MockClock, house: Housekept, clock: FakeClock) -> None:
    for number in range(30):
        await house.built.write("a", b"%d" % number)
        await house.built.snapshot("kept-by-name" if number == 3 else None)
        clock.advance(60)
    everything = house.names()
    assert await house.do("retention") == ""
    for name in everything[:2]:
        house.built.drive.snapshots.hold(name, True)
    clock.advance(3 * HOUR_S)
    assert "went" in await house.do("retention")
    left = house.names()
    assert {*everything[:2], everything[3], everything[-1]} <= set(left)
    assert 4 <= len(left) <= 7
    assert await house.do("retention") == ""
    await house.built.drive.reaper.finish()
    assert await house.built.read_past(everything[0], "a") == b"0"


async def test_a_clock_that_leaps_costs_no_snapshot(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    await house.keep_states(5, clock)
    await house.do("retention")
    before = house.names()
    clock._start_ns += 70 * 365 * DAY_S * 10**9
    for _ in range(10):
        with pytest.raises(Postponed, match="the clock has leapt"):
            await house.do("retention")
        clock.advance(HOUR_S)
    await house.built.restart()
    house.begin()
    with pytest.raises(Postponed):
        await house.do("retention")
    assert house.names() == before
    assert house.verbs.status().doubt is not None
    with pytest.raises(ServiceError, match="Set the clock"):
        await house.verbs.set_policy(PolicyRequest(day=0))
    clock._start_ns -= 70 * 365 * DAY_S * 10**9
    assert "went" in await house.do("retention")
    assert house.verbs.status().doubt is None


async def test_after_a_holiday_the_clock_is_believed_within_a_day(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    await house.do("retention")
    await house.built.cut()
    await house.built.restart(between=lambda: clock.advance(20 * DAY_S))
    house.begin()
    with pytest.raises(Postponed):
        await house.do("retention")
    for _ in range(21):
        clock.advance(HOUR_S)
        try:
            await house.do("retention")
            return
        except Postponed:
            continue
    pytest.fail("still in doubt")


async def test_a_shorter_policy_counts_after_a_week_and_can_be_called_off(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    state = await house.verbs.set_policy(PolicyRequest(day=DAY_S, month=8 * 365 * DAY_S))
    assert (state.current.day, state.current.month) == (90 * DAY_S, 8 * 365 * DAY_S)
    assert state.pending is not None
    assert (state.pending.day, state.pending.month) == (DAY_S, 8 * 365 * DAY_S)
    house.built.close_point()
    await house.built.restart(crash=True)
    house.begin()
    assert await house.verbs.policy() == state
    await house.verbs.cancel_policy()
    with pytest.raises(ServiceError) as caught:
        await house.verbs.cancel_policy()
    assert caught.value.code == "not_found"
    await house.verbs.set_policy(PolicyRequest(day=DAY_S))
    for _ in range(8):
        assert house.built.drive.policies.current.day_s == 90 * DAY_S
        clock.advance(0.9 * DAY_S)
        await house.do("retention")
    assert house.built.drive.policies.current == Policy(day_s=DAY_S, month_s=8 * 365 * DAY_S)
    assert (await house.verbs.policy()).pending is None


async def test_a_preview_names_what_would_go_and_nothing_goes(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    await house.keep_states(20, clock)
    before = house.names()
    assert (await house.verbs.preview_policy(PolicyRequest())).going == []
    found = await house.verbs.preview_policy(PolicyRequest(all=600, quarter=0, hour=0))
    assert found.going == before[:10]
    assert found.snapshots == 20
    assert house.names() == before
    with pytest.raises(ServiceError, match="10 minutes"):
        await house.verbs.preview_policy(PolicyRequest(all=0))


async def test_garbage_is_collected_when_asked_for(virtual_time: MockClock, house: Housekept) -> None:
    house.built.retain()
    await house.built.write("a", b"work" * 10_000)
    await house.built.sent()
    await house.built.unlink("a")
    await house.built.cut()
    await trio.sleep(90)  # what was just removed may be the newest version that the store has
    await house.built.cut()
    done = await house.verbs.gc()
    assert (done.doomed, done.deleted, done.waiting, done.trouble) == (1, 0, 1, None)
    assert done.waiting_bytes > 0
    house.built.store.is_offline = True
    assert await house.do("garbage") == ""


async def test_nothing_is_scheduled_that_is_switched_off(virtual_time: MockClock, house: Housekept) -> None:
    house.config = Config(snapshots=SnapshotsConfig(scheduled=False))
    house.begin()
    assert not {"snapshots", "retention"} & house.works.keys()


async def test_a_drive_that_only_reads_makes_no_snapshot_and_gives_none_up(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    for _ in range(3):
        await house.built.write("a", b"work")
        await house.built.snapshot()
    clock.advance(DAY_S / 2)
    await house.built.write("a", b"more work")
    before = house.names()
    house.mount.operations.read_only_reason = "another machine has it"
    assert await house.do("snapshots") == ""
    assert await house.do("retention") == ""
    assert house.names() == before
    house.mount.operations.read_only_reason = None
    assert await house.do("retention") != ""


async def test_local_bytes_are_read_within_the_cycle_and_damage_is_remembered(
    virtual_time: MockClock, house: Housekept
) -> None:
    house.config = Config(cache=CacheConfig(scrub_days=3))
    house.begin()
    for number in range(200):
        await house.built.write(f"{number}", b"%d" % number * 3000)
    await house.built.seal()
    await house.built.cut()
    total = sum(len(b"%d" % number) * 3000 for number in range(200))
    read = [(await scrub_share(house.built.drive, 3)).checked["bytes"] for _ in range(3)]
    assert sum(read) >= total
    assert max(read) < 0.8 * total, "and not all of it at once"
    number = house.built.blocks_of("77")[0]
    flip(house.built.state, house.built.drive.cache.blocks.get(number), 5)
    outcomes = [await house.works["scrub local"]() for _ in range(3)]
    assert {outcome.result for outcome in outcomes if not outcome.is_ok} == {"damaged: 77"}


async def test_a_week_through_the_change_of_the_clocks_in_the_engine(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    """Every ten minutes something changes; what is left is what the rule gives for all that ever were."""
    clock._start_ns = int(datetime(2026, 10, 22, tzinfo=UTC).timestamp()) * 10**9
    house.config = Config(drive=DriveConfig(time_zone="Europe/Berlin"))
    house.begin()
    ever: list[Snapshot] = []
    for number in range(7 * 24 * 6):
        await house.built.write("a", b"%d" % number)
        await house.do("snapshots")
        ever.append(house.built.drive.snapshots.all()[-1])
        clock.advance(600)
        if number % 36 == 0:
            await house.do("retention")
            await house.built.drive.reaper.finish()
    await house.do("retention")
    zone, now_s = ZoneInfo("Europe/Berlin"), clock.now_ns() // 10**9
    gone = {one.name for one in needless(moments_of(ever), Policy(), now_s, zone)}
    assert house.names() == [one.name for one in ever if one.name not in gone]
    assert 0 < len(house.names()) < 400
    night = [name for name in house.names() if name.startswith(("2026-10-25T00", "2026-10-25T01"))]
    assert night == ["2026-10-25T00-50-00Z", "2026-10-25T01-50-00Z"], "two hours that both are 2 to 3 in Berlin"
    for name in night:
        index = [one.name for one in ever].index(name)
        assert await house.built.read_past(name, "a") == b"%d" % index


async def test_a_new_machine_with_a_wrong_clock_costs_no_snapshot(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    await house.keep_states(5, clock)
    before = house.names()
    # As after `recover`, which begins the tables of the machine anew: it has never looked at its clock.
    assert house.built.drive.database.row("SELECT count(*) FROM local_counters WHERE name LIKE 'clock%'") == (0,)
    clock._start_ns += 70 * 365 * DAY_S * 10**9
    await house.built.restart()
    house.begin()
    with pytest.raises(Postponed):
        await house.do("retention")
    assert house.names() == before


async def test_snapshots_made_while_the_clock_was_ahead_go_by_the_policy_once_it_is_right(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    ahead_ns = 70 * 365 * DAY_S * 10**9
    await house.do("retention")
    for minute in range(180):
        if minute in (60, 120):
            clock._start_ns += ahead_ns if minute == 60 else -ahead_ns
        await house.built.write("a", b"%d" % minute)
        await house.do("snapshots")
        clock.advance(60)
    assert len(house.names()) == 180
    clock.advance(2 * HOUR_S + 60)
    assert "went" in await house.do("retention")
    left = house.names()
    assert 12 <= len(left) <= 14, "the last of each quarter"
    assert left == sorted(left), "names stay in order"
    assert len([name for name in left if name.startswith("209")]) >= 8
    assert await house.built.read_past(left[-1], "a") == b"179"


async def kept_for_undo(house: Housekept) -> int:
    await trio.sleep(1200)  # the reaper has looked, whatever it was told before
    found: int = house.built.drive.database.row(
        "SELECT count(*) FROM snapshots WHERE kind = 'actor' AND state = 'kept'"
    )[0]
    return found


async def test_what_is_kept_for_undo_goes_after_two_days_and_not_because_a_clock_leapt(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    await house.do("retention")
    for _ in range(3):
        await house.built.drive.undo_epochs._keep()
        clock.advance(HOUR_S)
    clock._start_ns += 70 * 365 * DAY_S * 10**9
    assert await kept_for_undo(house) == 3
    await house.built.restart()
    assert await kept_for_undo(house) == 3, "nor before somebody has looked at the clock"
    house.begin()
    await house.built.drive.undo_epochs._keep()
    assert await kept_for_undo(house) == 4
    clock._start_ns -= 70 * 365 * DAY_S * 10**9
    await house.built.drive.undo_epochs._keep()
    clock.advance(43 * HOUR_S)
    assert await kept_for_undo(house) == 5
    clock.advance(3 * HOUR_S)
    assert 2 <= await kept_for_undo(house) < 5
    clock.advance(3 * HOUR_S)
    assert await kept_for_undo(house) == 0, "nor does one that lay in the future stay for ever"


async def test_a_clock_that_was_behind_ages_nothing_that_is_kept_for_undo(
    virtual_time: MockClock, house: Housekept, clock: FakeClock
) -> None:
    await house.built.drive.undo_epochs._keep()
    clock._start_ns -= 20 * 365 * DAY_S * 10**9
    clock.advance(60)
    await house.built.drive.undo_epochs._keep()
    clock._start_ns += 20 * 365 * DAY_S * 10**9
    assert await kept_for_undo(house) == 2
    clock.advance(48 * HOUR_S)
    assert await kept_for_undo(house) == 0
