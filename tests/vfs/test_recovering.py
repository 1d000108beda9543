"""What comes back from a store alone: all that was flushed; of what was behind, the newest complete version."""

import random
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import apsw
import pytest
import trio
from kit.cloud_drive import KEYS, CloudDrive
from kit.damage import flip, flip_bit
from kit.faulty_store import FaultyStore
from trio.testing import MockClock

from cachefs.checkpointing import remember
from cachefs.database import Database
from cachefs.tier import Cloud
from cloud_tier.errors import CheckpointDamaged, NothingToRecover
from cloud_tier.object_names import CHECKPOINTS, LOG, PARTS, LogName, PackName, parse_name
from cloud_tier.object_store import ObjectStore, Page, list_objects
from vfs.check import check
from vfs.errors import VfsError
from vfs.ids import ROOT
from vfs.recovering import Recovered, bring_back


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    async with CloudDrive(tmp_path / "state") as drive:
        drive.dies_at_exit = True
        yield drive


class Again(CloudDrive):
    """What came back, running on a machine of its own."""

    def __init__(self, state: Path, store: FaultyStore, recovered: Recovered) -> None:
        super().__init__(state)
        self.store, self.recovered = store, recovered
        self.cloud = Cloud(store, lambda: KEYS, 2)

    @property
    def behind(self) -> dict[str, int | None]:
        return {one.path.decode(): one.version_ns for one in self.recovered.behind}


async def recovered(built: CloudDrive, place: Path, **options: Any) -> Again:
    place.mkdir()
    found = await bring_back(place, built.store, KEYS, built.clock.now_ns(), **options)
    return Again(place, built.store, found)


async def names_in(store: FaultyStore, prefix: str) -> list[str]:
    return [info.name async for info in list_objects(store, prefix)]


async def test_what_was_flushed_comes_back_byte_for_byte(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    await built.mkdir("d")
    for number in range(20):
        await built.write(f"d/{number}", noise(number, 500 * number))
    await built.snapshot("one")
    await built.write("d/3", b"changed since")
    await built.unlink("d/4")
    await built.sent()
    async with await recovered(built, tmp_path / "new") as back:
        assert back.recovered.behind == ()
        assert back.recovered.left is None
        assert (back.recovered.files, back.recovered.snapshots) == (19, 1)
        assert sorted(back.names("d")) == sorted(built.names("d"))
        for name in built.names("d"):
            assert back.inode(f"d/{name}").ino == built.inode(f"d/{name}").ino
            assert await back.read(f"d/{name}") == await built.read(f"d/{name}")
        (snapshot,) = back.drive.snapshots.all()
        assert await back.read_past(snapshot.name, "d/3") == noise(3, 1500)
        assert await back.read_past(snapshot.name, "d/4") == noise(4, 2000)
        back.drive.cuts.log()
        assert check(back.drive.database, back.state / "segments")[0] == []
        await back.write("new", b"work goes on")
        await back.sent()
    async with await recovered(back, tmp_path / "third") as third:
        assert await third.read("new") == b"work goes on"
        assert await third.read("d/19") == noise(19, 9500)


async def test_a_checkpoint_larger_than_what_is_copied_at_once_is_whole(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    for number in range(6000):  # rows of 5 MiB, all of them still in the write-ahead log
        built.drive.namespace.create(ROOT, b"%0250d" % number, stat.S_IFREG | 0o644, built.caller)
    await built.cut()
    assert built.drive.mirror is not None
    manifest = await built.drive.mirror.checkpointing.make()
    assert manifest.size_bytes > 4 << 20
    await built.sent()
    async with await recovered(built, tmp_path / "new") as back:
        assert back.drive.database.row("PRAGMA integrity_check") == ("ok",)
        assert len(back.names("")) == len(built.names(""))


async def test_a_copy_that_is_not_sound_becomes_no_checkpoint(
    virtual_time: MockClock, built: CloudDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert built.drive.mirror is not None
    await built.write("a", noise(1, 3000))
    await built.sent()
    checkpointing = built.drive.mirror.checkpointing
    copy, before = checkpointing._copy_database, await names_in(built.store, CHECKPOINTS)

    def as_a_bad_disk_would() -> int:
        position = copy()
        flip_bit(built.state / "checkpoint.db", 3 * 4096 + 100)
        return position

    monkeypatch.setattr(checkpointing, "_copy_database", as_a_bad_disk_would)
    with pytest.raises((CheckpointDamaged, apsw.Error)):
        await checkpointing.make()
    assert await names_in(built.store, CHECKPOINTS) == before


async def test_the_first_checkpoint_of_a_recovered_drive_does_not_send_again_what_the_store_has(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    for number in range(6000):
        built.drive.namespace.create(ROOT, b"%0250d" % number, stat.S_IFREG | 0o644, built.caller)
    await built.cut()
    assert built.drive.mirror is not None
    manifest = await built.drive.mirror.checkpointing.make()
    await built.sent()
    before = await names_in(built.store, PARTS)
    async with await recovered(built, tmp_path / "new") as back:
        await back.sent()
        assert back.drive.mirror is not None
        (newest,) = back.drive.mirror.checkpointing.retained
        new = set(await names_in(built.store, PARTS)) - set(before)
        assert len(new) < len(newest.manifest.parts) == len(manifest.parts)


async def test_a_file_that_was_behind_comes_back_in_its_newest_complete_version(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    await built.write("in place", noise(1, 3000))
    await built.write("replaced", noise(2, 3000))
    await built.write("removed", noise(3, 3000))
    await built.sent()
    only_log(built)
    await built.write("in place", noise(4, 1000), 500)
    await built.write("~tmp", noise(5, 4000))
    await built.rename("~tmp", "replaced")
    await built.unlink("removed")
    await built.write("new", noise(6, 5000))
    await log_sent(built)
    async with await recovered(built, tmp_path / "new") as back:
        assert set(back.behind) == {"in place", "replaced", "new"}
        assert await back.read("in place") == noise(1, 3000)
        assert await back.read("replaced") == noise(2, 3000)
        assert back.behind["in place"] is not None
        assert back.find("removed") is None
        assert back.behind["new"] is None
        assert back.inode("new").size == 5000
        with pytest.raises(VfsError):
            await back.read("new")


async def test_saving_again_and_again_while_nothing_arrives_keeps_the_version_that_did(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    for name in ("by rename", "by truncation", "in place"):
        await built.write(name, noise(1, 3000))
    await built.sent()
    only_log(built)
    for round_ in range(5):
        built.clock.advance(60)
        await trio.sleep(60)
        await built.write("~tmp", noise(10 + round_, 4000))
        await built.rename("~tmp", "by rename")
        await built.write("by truncation", noise(20 + round_, 4000))
        await built.write("in place", noise(30 + round_, 100), 100 * round_)
    await log_sent(built)
    async with await recovered(built, tmp_path / "new") as back:
        assert set(back.behind) == {"by rename", "by truncation", "in place"}
        for name in back.behind:
            assert await back.read(name) == noise(1, 3000)


async def test_as_word_saves_and_as_an_editor_truncates_the_version_that_arrived_stays(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    for name in ("word.docx", "notes.txt"):
        await built.write(name, noise(1, 3000))
    await built.sent()
    built.clock.advance(60)
    only_log(built)
    await built.write("~new", noise(2, 4000))
    await built.rename("word.docx", "~old")
    await built.rename("~new", "word.docx")
    await built.unlink("~old")
    await built.truncate("notes.txt", 0)
    await built.drive.reaper.finish()  # the bytes come seconds later
    await built.write("notes.txt", noise(3, 4000), 0)
    await built.drive.reaper.finish()
    await log_sent(built)
    async with await recovered(built, tmp_path / "new") as back:
        assert set(back.behind) == {"word.docx", "notes.txt"}
        for name in back.behind:
            assert await back.read(name) == noise(1, 3000)


@pytest.mark.parametrize("way", ["copied anew", "linked", "put aside twice"])
async def test_a_file_removed_and_made_anew_under_its_name_comes_back_as_it_was(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, way: str
) -> None:
    await built.write("a", noise(1, 3000))
    await built.sent()
    built.clock.advance(60)
    only_log(built)
    for round_ in range(2):
        await built.write("~new", noise(3 + round_, 4000))
        if way == "copied anew":
            await built.unlink("a")
            await built.write("a", noise(2, 4000))
        elif way == "linked":
            await built.unlink("a")
            await built.link("~new", "a")
        else:
            await built.rename("a", "~old")
            await built.rename("~new", "a")
            await built.unlink("~old")
        if way != "put aside twice":
            await built.unlink("~new")
        built.clock.advance(20)
        await built.drive.reaper.finish()
    built.clock.advance(120)
    await built.drive.reaper.finish()
    await log_sent(built)
    async with await recovered(built, tmp_path / "new") as back:
        assert set(back.behind) == {"a"}
        assert await back.read("a") == noise(1, 3000)


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_snapshot_that_goes_while_a_file_is_behind_leaves_the_version_that_the_store_has(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, is_restarted: bool
) -> None:
    await built.write("a", noise(1, 3000))
    await built.sent()
    snapshot = await built.snapshot()
    only_log(built)
    await built.write("a", noise(2, 3000))
    if is_restarted:
        await built.cut()
        await built.restart(crash=True)
    built.drive.snapshots.delete(snapshot.name)
    await built.drive.reaper.finish()
    assert not built.drive.snapshots.all()
    await log_sent(built)
    async with await recovered(built, tmp_path / "new") as back:
        assert set(back.behind) == {"a"}
        assert await back.read("a") == noise(1, 3000)


@pytest.mark.parametrize("old", [10, 66])
async def test_however_many_old_snapshots_go_the_version_that_the_store_has_stays(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, old: int
) -> None:
    for number in range(old):  # a policy lets them go after a restart, while anything at all is unsent
        await built.write("b", noise(100 + number, 100))
        built.clock.advance(60)
        await built.snapshot()
    await built.sent()
    assert built.cloud is not None
    built.cloud = replace(built.cloud, store=cast(ObjectStore, NoBulk(built.store)))
    await built.write("copy", noise(5, 5 << 20))
    await built.cut()
    await built.restart(crash=True)
    for snapshot in built.drive.snapshots.all():
        built.drive.snapshots.delete(snapshot.name)
    await built.drive.reaper.finish()
    await built.write("a", noise(1, 3000))
    await trio.sleep(60)
    built.clock.advance(60)
    last = await built.snapshot()
    built.clock.advance(60)
    await built.write("a", noise(2, 5 << 20))  # behind for days
    await trio.sleep(60)
    built.clock.advance(7300)
    built.drive.snapshots.delete(last.name)
    await built.drive.reaper.finish()
    await log_sent(built)
    async with await recovered(built, tmp_path / "new") as back:
        assert await back.read("a") == noise(1, 3000)


async def test_a_drive_that_came_back_exactly_at_its_checkpoint_makes_another(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    assert built.drive.mirror is not None
    await built.write("a", noise(1, 3000))
    await built.sent()
    await built.cut()
    manifest = await built.drive.mirror.checkpointing.make()
    async with await recovered(built, tmp_path / "new") as back:
        assert back.recovered.position == manifest.position
        name = max(await names_in(built.store, CHECKPOINTS))
        remember(back.state, name)
        await back.restart()
        await back.write("b", noise(2, 3000))
        await back.sent()
        back.dies_at_exit = True
    async with await recovered(back, tmp_path / "third") as third:
        assert await third.read("b") == noise(2, 3000)
        assert third.recovered.left is None


async def test_one_damaged_object_costs_one_checkpoint_at_most(
    virtual_time: MockClock,
    built: CloudDrive,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cachefs.checkpointing.PART_BYTES", 4096)  # most of them never change
    assert built.drive.mirror is not None
    for number in range(4):
        await built.write(f"{number}", noise(number, 3000))
        await built.sent()
        await built.drive.mirror.checkpointing.make()
    retained = built.drive.mirror.checkpointing.retained
    old, new = ({part.salt for part in one.manifest.parts} for one in retained)
    assert not old & new
    for salt in new:
        (name,) = [name for name in await names_in(built.store, PARTS) if name.endswith(salt.hex())]
        await damage(built.store, name)
    with caplog.at_level("ERROR"):
        async with await recovered(built, tmp_path / "new") as back:
            for number in range(4):
                assert await back.read(f"{number}") == noise(number, 3000)


async def test_after_a_recovery_as_well_one_damaged_object_costs_one_checkpoint_at_most(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachefs.checkpointing.PART_BYTES", 4096)  # most of them never change
    for number in range(4):
        await built.write(f"{number}", noise(number, 3000))
    await built.sent()
    async with await recovered(built, tmp_path / "new") as back:
        assert back.drive.mirror is not None
        checkpointing = back.drive.mirror.checkpointing
        await back.write("new", b"work goes on")
        await back.sent()
        if len(checkpointing.retained) < 2:
            await checkpointing.make()
        old, new = ({part.salt for part in one.manifest.parts} for one in checkpointing.retained)
        assert not old & new


async def test_rows_that_a_full_disk_keeps_in_the_log_of_sqlite_are_not_left_behind(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of SQLite's that finds no room says nothing; nor does the one at the end."""
    await built.write("a", noise(1, 3000))
    await built.sent()
    with monkeypatch.context() as patch:
        patch.setattr(Database, "checkpoint", lambda self: None)
        patch.setattr(Database, "close", Database.leave)
        found = await recovered(built, tmp_path / "new")
    async with found as back:
        assert await back.read("a") == noise(1, 3000)


async def test_what_was_kept_for_the_store_goes_when_the_store_has_what_came_after(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    kept = "SELECT count(*) FROM snapshots WHERE kind = 'cloud' AND state = 'kept'"
    for round_ in range(4):
        built.clock.advance(60)
        await built.write("a", noise(round_, 3000))
        await built.sent()
        built.clock.advance(60)
        await built.write("a", noise(9, 10), 10)
        assert built.drive.database.row(kept)[0] in (1, 2)
        if round_ == 2:
            await built.restart(crash=True)
        await built.sent()
        built.clock.advance(120)
        await trio.sleep(30)
        assert built.drive.database.row(kept) == (0,)
        assert built.drive.cloud_epochs is not None
        assert built.drive.cloud_epochs.behind == {}
    assert built.drive.database.row("SELECT count(*) FROM extents_history") == (0,)
    assert built.drive.database.row("SELECT count(*) FROM snapshots") == (0,)


async def test_a_version_stays_in_the_store_while_what_replaced_it_is_damaged_here(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    """The newest bytes were damaged before they were sent, and the core died: the version before is all there is."""
    await built.write("a", noise(1, 3000))
    await built.sent()
    built.clock.advance(60)
    built.store.is_offline = True
    await built.write("a", noise(2, 3000))
    await built.seal()
    await built.cut()
    number = built.blocks_of("a")[0]
    flip(built.state, built.drive.cache.blocks.get(number), 5)
    await built.restart(crash=True)
    built.store.is_offline = False
    await built.drive.flush()
    built.clock.advance(120)
    await trio.sleep(120)
    assert built.drive.cache.catalog.unreadable == {number}
    kept = "SELECT count(*) FROM snapshots WHERE kind = 'cloud' AND state = 'kept'"
    assert built.drive.database.row(kept) == (1,)
    async with await recovered(built, tmp_path / "new") as back:
        assert "a" in back.behind
        assert await back.read("a") == noise(1, 3000)


async def test_nothing_that_is_lost_is_served_as_zeros_and_saving_it_again_heals_every_version(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    await built.write("other", b"here")
    await built.sent()
    only_log(built)
    await built.write("lost", noise(7, 9000))
    await built.seal()
    snapshot = await built.snapshot()
    await log_sent(built)
    built.store.faults.clear()
    async with await recovered(built, tmp_path / "new") as back:
        with pytest.raises(VfsError):
            await back.read("lost")
        with pytest.raises(VfsError):
            await back.read_past(snapshot.name, "lost")
        await back.write("again", noise(7, 9000))
        await back.seal()
        await back.sent()
        assert await back.read("lost") == noise(7, 9000)
        assert await back.read_past(snapshot.name, "lost") == noise(7, 9000)


async def test_packs_that_the_log_does_not_know_are_found(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    await built.write("a", noise(1, 3000))
    await built.sent()
    await built.write("b", noise(2, 3000))
    await built.seal()
    await built.cut()
    await log_sent(built)
    before = await names_in(built.store, LOG)
    await built.sent()
    await built.store.delete([name for name in await names_in(built.store, LOG) if name not in before])
    async with await recovered(built, tmp_path / "new") as back:
        assert back.recovered.adopted > 0
        assert back.behind == {}
        assert await back.read("b") == noise(2, 3000)


async def test_a_damaged_newest_checkpoint_costs_nothing(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert built.drive.mirror is not None
    await built.write("a", noise(1, 3000))
    await built.sent()
    await built.drive.mirror.checkpointing.make()
    await built.write("b", noise(2, 3000))
    await built.sent()
    newest = max(await names_in(built.store, CHECKPOINTS))
    await damage(built.store, newest)
    with caplog.at_level("ERROR"):
        async with await recovered(built, tmp_path / "new") as back:
            assert await back.read("a") == noise(1, 3000)
            assert await back.read("b") == noise(2, 3000)
            assert back.recovered.left is None


@pytest.mark.parametrize("how", ["missing", "damaged", "swapped"])
async def test_a_broken_log_gives_its_newest_whole_prefix_and_says_so(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, how: str
) -> None:
    for number in range(6):
        await built.write(f"{number}", noise(number, 2000))
        await built.sent()
    names = await names_in(built.store, LOG)
    spoiled, other = names[-3], names[-2]
    match how:
        case "missing":
            await built.store.delete([spoiled])
        case "damaged":
            await damage(built.store, spoiled)
        case "swapped":
            body = await built.store.get(other)
            await built.store.put(other, await built.store.get(spoiled))
            await built.store.put(spoiled, body)
    first = parse_name(spoiled)
    assert isinstance(first, LogName)
    async with await recovered(built, tmp_path / "new") as back:
        assert back.recovered.left is not None
        assert f"entry {first.first - 1}" in back.recovered.left or how == "swapped"
        assert back.recovered.position >= first.first - 1
        assert await back.read("0") == noise(0, 2000)
        for name in back.names():
            assert name in back.behind or await back.read(name) == noise(int(name), 2000)
        back.drive.cuts.log()
        broken = [one for one in check(back.drive.database, back.state / "segments")[0] if one.rule[:2] != "I5"]
        assert [one for one in broken if one.rule != "blocks are held"] == []


async def test_what_is_sent_until_the_claim_comes_back_and_what_comes_later_is_told_of(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    await built.sent()
    await built.write("before", b"1")
    await built.sent()  # behind the checkpoint

    async def work_on() -> None:
        await built.write("meanwhile", b"2")
        await built.sent()

    async def claim(position: int) -> None:
        await built.write("after", b"3")
        await built.sent()

    (place := tmp_path / "new").mkdir()
    store = cast(ObjectStore, GrowsWhenListed(built.store, work_on))
    found = await bring_back(place, store, KEYS, built.clock.now_ns(), claim=claim)
    async with Again(place, built.store, found) as back:
        assert await back.read("before") == b"1"
        assert await back.read("meanwhile") == b"2"
        assert back.find("after") is None
        assert "came too late and do not count" in (back.recovered.left or "")


async def test_an_older_whole_state_can_be_had(virtual_time: MockClock, built: CloudDrive, tmp_path: Path) -> None:
    for number in range(4):
        await built.write(f"{number}", noise(number, 2000))
        await built.sent()
        built.clock.advance(60)
    until_ns = built.clock.now_ns() - 130 * 10**9
    async with await recovered(built, tmp_path / "new", until_ns=until_ns) as back:
        assert back.names() == ["0", "1"]
        assert await back.read("1") == noise(1, 2000)


@pytest.mark.expected_log("was it put back from an older copy")
async def test_a_state_directory_that_was_put_back_is_never_called_complete(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    """As from an image of the machine. All that had been flushed is there for a recovery, whatever is done since."""

    def put_back() -> None:
        shutil.rmtree(built.state)
        shutil.copytree(tmp_path / "image", built.state)

    await built.write("a", noise(1, 3000))
    await built.sent()
    await built.restart(between=lambda: shutil.copytree(built.state, tmp_path / "image"))
    assert built.drive.mirror is not None
    for number in range(10):
        await built.write(f"later {number}", noise(number, 3000))
        await built.sent()
    assert built.drive.mirror.is_complete
    await built.restart(between=put_back)
    for number in range(3):
        await built.write(f"another {number}", noise(number, 3000))
        await built.cut()
        await trio.sleep(60)
    assert built.drive.mirror.is_set_back
    assert not built.drive.mirror.is_complete
    async with await recovered(built, tmp_path / "new") as back:
        assert {"a", "later 9"} <= set(back.names())
        assert await back.read("later 9") == noise(9, 3000)


async def test_a_store_without_a_checkpoint_gives_nothing_and_says_so(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    await built.sent()
    await built.store.delete(await names_in(built.store, CHECKPOINTS))
    with pytest.raises(NothingToRecover, match="0 checkpoints"):
        await recovered(built, tmp_path / "new")


async def test_a_recovery_that_died_is_begun_anew(virtual_time: MockClock, built: CloudDrive, tmp_path: Path) -> None:
    await built.write("a", noise(1, 3000))
    await built.sent()
    place = tmp_path / "new"
    for nth in range(1, 8):
        (place).mkdir(exist_ok=True)
        with trio.CancelScope() as dying:
            gets = 0

            def die(sentence: str, nth: int = nth, dying: trio.CancelScope = dying) -> None:
                nonlocal gets
                gets += 1
                if gets == nth:
                    dying.cancel()

            await bring_back(place, built.store, KEYS, 0, say=die)
    found = await bring_back(place, built.store, KEYS, 0)
    async with Again(place, built.store, found) as back:
        assert await back.read("a") == noise(1, 3000)


def only_log(built: CloudDrive) -> None:
    """From now on no pack arrives, as if the line were too slow for bytes."""
    through = cast(ObjectStore, OnlyLog(built.store))
    assert built.cloud is not None
    built.cloud = replace(built.cloud, store=through)  # after a restart as well
    assert built.drive.tier is not None
    built.drive.tier.uploader._store = through


async def log_sent(built: CloudDrive) -> None:
    """All rows are in the store, whatever became of the bytes."""
    assert built.drive.mirror is not None
    await built.drive.mirror.flush()


async def damage(store: FaultyStore, name: str) -> None:
    body = bytearray(await store.get(name))
    body[len(body) // 2] ^= 1
    await store.put(name, body)


class OnlyLog:
    """A store whose packs never arrive."""

    def __init__(self, store: FaultyStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, name: str, body: bytes, **options: Any) -> None:
        if isinstance(parse_name(name), PackName):
            await trio.sleep_forever()
        await self._store.put(name, body, **options)


class GrowsWhenListed:
    """A store whose log goes on after it was listed for the first time."""

    def __init__(self, store: FaultyStore, work_on: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._work_on: Callable[[], Awaitable[None]] | None = work_on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list_page(self, prefix: str, after: str = "") -> Page:
        page = await self._store.list_page(prefix, after)
        if prefix == LOG and (work_on := self._work_on) is not None:
            self._work_on = None
            await work_on()
        return page


class NoBulk:
    """A line on which a large copy takes days: packs of it never arrive, all else does."""

    def __init__(self, inner: FaultyStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, name: str, body: Any, **options: Any) -> None:
        if len(body) > 1 << 20:
            await trio.sleep_forever()
        await self._inner.put(name, body, **options)
