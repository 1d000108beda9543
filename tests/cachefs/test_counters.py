"""Counters: a number that was given is never given again, whatever dies."""

from pathlib import Path

import pytest
from kit.bare_cache import bare_cache, said, say
from kit.disk_journal import synced
from kit.losing_disk import LosingDisk, follow_boots
from kit.sqlite_files import watched


async def test_numbers_start_at_one_and_rise(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        assert [cache.counters.next("thing") for _ in range(3)] == [1, 2, 3]
        assert cache.counters.last("thing") == 3
        assert cache.counters.last("never used") == 0


async def test_counter_never_goes_back(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        cache.counters.raise_to("second", 10)
        cache.counters.raise_to("second", 5)
        assert cache.counters.last("second") == 10


async def test_tally_counts_up_and_down(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        cache.counters.add("files", 3)
        cache.counters.add("files", -1)
        cache.cuts.log()
    async with bare_cache(tmp_path) as cache:
        assert cache.counters.last("files") == 2


async def test_number_in_a_row_that_survives_is_not_given_again(tmp_path: Path) -> None:
    """The counter is in the same batch as the row that uses its number (T7)."""
    async with bare_cache(tmp_path) as cache:
        say(cache, "uses", cache.counters.next("thing"))
        cache.cuts.log()
        say(cache, "lost", cache.counters.next("thing"))
    async with bare_cache(tmp_path) as cache:
        assert said(cache) == {"uses": 1}
        assert cache.counters.next("thing") == 2


async def test_number_of_a_synced_row_is_not_given_again_after_a_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bare_cache(tmp_path, is_running=False):
        pass
    disk = LosingDisk(tmp_path)
    follow_boots(monkeypatch, disk)
    with watched("counters", disk) as vfs:
        async with bare_cache(tmp_path, disk=disk, vfs=vfs) as cache:
            say(cache, "synced", cache.counters.next("thing"))
            await cache.cuts.wait_synced()
            say(cache, "lost", cache.counters.next("thing"))
            cache.cuts.log()
        disk.power_loss(synced)
        async with bare_cache(tmp_path, disk=disk, vfs=vfs) as cache:
            assert said(cache) == {"synced": 1}
            assert cache.counters.next("thing") == 2


async def test_counters_are_ordinary_rows(tmp_path: Path) -> None:
    """SQLite keeps AUTOINCREMENT in a table that no changeset carries (T7)."""
    async with bare_cache(tmp_path) as cache:
        schema = " ".join(sql for (sql,) in cache.database.rows("SELECT sql FROM sqlite_schema WHERE sql NOT NULL"))
        assert "AUTOINCREMENT" not in schema.upper()
        cache.counters.next("thing")
        cache.cuts.log()
        assert cache.database.rows("SELECT value FROM counters WHERE name = 'thing'") == [(1,)]
        assert cache.database.rows("SELECT value FROM local_counters WHERE name = 'thing'") == []
