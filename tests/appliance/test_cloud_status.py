"""What `status` says of the cloud: whether all is there, how long the rest takes, what is wrong and since when."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from kit.drive_builder import SMALL_CUTS, DriveBuilder
from kit.drive_keys import drive_keys
from kit.faulty_store import FaultyStore
from trio.testing import MockClock

from appliance.cloud_status import cloud_status, estimated_s, trouble_text, verdict
from appliance.control.protocol import CloudStatus
from appliance.figures import duration_text
from appliance.keys import Keys
from appliance.leasing import Leasing
from appliance.places import StatePlaces
from appliance.store_link import StoreLink
from cachefs.tier import Cloud
from cloud_tier.clock import LoopClock
from cloud_tier.errors import StoreFull, StoreUnavailable
from cloud_tier.measuring import Measuring
from cloud_tier.memory_store import MemoryStore
from cloud_tier.retrying import Retrying, RetryPolicy
from cloud_tier.store_url import DirUrl, OpenStore
from vfs.seal_pass import Names

KEYS = drive_keys()
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def faulty() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
def link(faulty: FaultyStore, tmp_path: Path) -> StoreLink:
    measured = Measuring(faulty, LoopClock())
    retried = Retrying(measured, RetryPolicy(deadline_s=0.0))
    keys = cast("Keys", SimpleNamespace(held=KEYS))
    leasing = Leasing(StatePlaces(tmp_path), keys, LoopClock())
    return StoreLink(DirUrl(Path("/the/store")), OpenStore(retried, retried, measured, retried), keys, leasing)


@pytest.fixture
async def built(tmp_path: Path, link: StoreLink, virtual_time: MockClock) -> AsyncIterator[DriveBuilder]:
    names = Names(KEYS.block_key, SMALL_CUTS.chunker)
    async with DriveBuilder(tmp_path / "state", names=names, cloud=Cloud(link.store, lambda: KEYS)) as built:
        yield built


def look(built: DriveBuilder, link: StoreLink) -> CloudStatus:
    found = cloud_status(built.drive, link, NOON)
    assert found is not None
    return found


async def test_what_was_saved_waits_until_the_store_has_it(
    virtual_time: MockClock, built: DriveBuilder, link: StoreLink
) -> None:
    assert look(built, link).verdict == "what was saved just now waits"  # the names of an empty drive
    await built.drive.flush()
    assert look(built, link).verdict == "everything is in the cloud as of 2026-03-01 12:00:00 UTC"
    await built.write("a", bytes(range(250)) * 40)
    now = look(built, link)
    assert (now.state, now.verdict[:29]) == ("sending", "what was saved just now waits")
    built.close_point()
    now = look(built, link)
    assert (now.state, now.open_bytes, now.verdict[:12]) == ("sending", 10_000, "9.8 KiB wait")
    await built.seal()
    now = look(built, link)
    assert (now.open_bytes, now.unsent_bytes) == (0, 10_000)
    await built.drive.flush()
    now = look(built, link)
    assert (now.state, now.unsent_bytes, now.unsent_blocks, now.uploading_bytes) == ("complete", 0, 0, 0)
    assert now.sent_bytes > 0
    assert now.rate_bytes_per_s >= now.sent_bytes / 10
    assert (now.trouble, now.estimate_s) == (None, None)


@pytest.mark.expected_log("cloud_tier.uploader: The cloud store cannot be reached")
async def test_a_store_that_is_away_is_named_with_the_time_since_when(
    virtual_time: MockClock, built: DriveBuilder, link: StoreLink, faulty: FaultyStore
) -> None:
    faulty.is_offline = True
    await built.write("a", bytes(10_000))
    await trio.sleep(10)
    since = look(built, link).trouble_since
    assert since is not None
    await trio.sleep(60)
    now = look(built, link)
    assert now.state == "stuck"
    assert "planned to be offline" in (now.trouble or "")
    assert now.trouble_since is not None
    assert (since - now.trouble_since).total_seconds() == pytest.approx(60)
    assert now.verdict.startswith("the store cannot be reached since 2026-03-01 11:58:5")
    assert now.verdict.endswith("UTC; 9.8 KiB wait")
    faulty.heal()
    await built.drive.flush()
    assert look(built, link).verdict == "everything is in the cloud as of 2026-03-01 12:00:00 UTC"


@pytest.mark.expected_log("cloud_tier.uploader: The cloud store is full")
async def test_a_store_that_can_be_read_and_is_full_is_still_trouble(
    virtual_time: MockClock, built: DriveBuilder, link: StoreLink, faulty: FaultyStore
) -> None:
    faulty.plan("put", error=StoreFull("no room"), times=100)
    await built.write("a", bytes(10_000))
    await trio.sleep(10)
    await link.store.list_page("")
    now = look(built, link)
    assert now.state == "stuck"
    assert now.verdict.startswith("the store does not take what is sent since 2026-03-01 11:59:5")
    faulty.faults.clear()
    await built.drive.flush()


async def test_a_drive_without_a_store_has_no_cloud(tmp_path: Path, link: StoreLink, virtual_time: MockClock) -> None:
    async with DriveBuilder(tmp_path / "state") as built:
        assert cloud_status(built.drive, link, NOON) is None


def test_the_estimate_counts_what_compression_saves() -> None:
    assert estimated_s(1000, 0.0, 0, 0) is None
    assert estimated_s(1000, 10.0, 0, 0) == 100
    assert estimated_s(1000, 10.0, 500, 250) == 50


def test_the_verdict_is_one_clause() -> None:
    mib = 1 << 20
    assert verdict(300 * mib, 700.0, NOON, trouble=None, damaged=0) == "300 MiB wait, about 12 minutes at this rate"
    assert verdict(300 * mib, None, NOON, trouble=None, damaged=0) == "300 MiB wait"
    away = trouble_text(StoreUnavailable("x"), NOON)
    assert verdict(mib, 700.0, NOON, trouble=away, damaged=0) == (
        "the store cannot be reached since 2026-03-01 12:00:00 UTC; 1.0 MiB wait"
    )
    assert verdict(None, None, NOON, trouble=away, damaged=0) == (
        "everything is in the cloud as of 2026-03-01 12:00:00 UTC;"
        " the store cannot be reached since 2026-03-01 12:00:00 UTC"
    )
    assert "not sent: 2 blocks" in verdict(None, None, NOON, trouble=None, damaged=2)


def test_a_duration_has_one_unit() -> None:
    assert [duration_text(seconds) for seconds in (0.2, 119, 120, 7199, 7200, 172_799, 172_800)] == [
        "a minute",
        "a minute",
        "2 minutes",
        "120 minutes",
        "2 hours",
        "48 hours",
        "2 days",
    ]
