"""A drive whose making was cut off by a power loss is made by the next try; one that was made is there.

The store survives a power loss of the machine: after each crash it holds what had been put by then. Its objects are
written into the disk's journal as facts, so the two have one history.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from crash.engine_rounds import QuietDisk
from kit.disk_journal import Survival, freed, put, some, synced
from kit.drive_builder import DriveBuilder
from kit.losing_disk import LosingDisk, crash_points
from kit.sqlite_files import watched
from trio.testing import MockClock

from appliance.config_text import DEFAULT_TEXT
from appliance.keys import Brought, Keys
from appliance.making import Wishes, make_drive
from appliance.places import StatePlaces, is_made, require_drive
from cloud_tier.clock import Clock
from cloud_tier.kit import Kit
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import Buffer, ObjectStore, Pace
from cloud_tier.store_url import StoreUrl
from cloud_tier.wraps import Argon2Cost
from vfs.check import check

STATE = Path("office/state")
WAYS: tuple[Survival, ...] = (synced, freed, some(1), some(2))
PASSPHRASE = "four words by chance"
MADE = "made"


class WatchedStore(MemoryStore):
    """Tells the disk's journal what it got."""

    def __init__(self, disk: LosingDisk | None = None) -> None:
        super().__init__()
        self._disk = disk

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await super().put(name, body, if_absent=if_absent, pace=pace)
        if self._disk is not None and not name.startswith("probe/"):
            self._disk.fact((name, bytes(body)))


class Crash(NamedTuple):
    """What a power loss left below a root and in the store, and whether the drive had been called made by then."""

    folders: list[Path]
    files: dict[Path, bytes]
    objects: dict[str, bytes]
    kits: list[Kit]
    was_made: bool


def wishes(kits: list[Kit], *, key_file: bool = True) -> Wishes:
    cost = Argon2Cost(64, 1, 1)
    return Wishes(give_kit=kits.append, passphrase=PASSPHRASE, cost=cost, key_file=key_file)


def in_store(store: ObjectStore) -> Any:
    """What opens `store`, whatever the address."""

    @asynccontextmanager
    async def opening(_url: StoreUrl, _clock: Clock) -> AsyncIterator[ObjectStore]:
        yield store

    return opening


async def make(root: Path, *, key_file: bool = True) -> LosingDisk:
    """Make a drive two folders deep in `root`, and return what the disk was told."""
    root.mkdir()
    disk = LosingDisk(root)
    kits: list[Kit] = []
    wanted = replace(wishes(kits, key_file=key_file), give_kit=disk.fact)
    with watched(f"making {root}", disk) as vfs:
        await make_drive(StatePlaces(root / STATE), wanted, disk=disk, vfs=vfs, opening=in_store(WatchedStore(disk)))
    disk.fact(MADE)
    return disk


def crashes(disk: LosingDisk) -> Iterator[Crash]:
    """After each call, in each of the ways to lose; what was seen before is left out."""
    seen = set[int]()
    for calls, state, facts in crash_points(disk):
        objects: dict[str, bytes] = dict(fact for fact in facts if isinstance(fact, tuple))
        kits = [fact for fact in facts if isinstance(fact, Kit)]
        for survives in WAYS if calls % 7 == 0 or MADE in facts else WAYS[:2]:
            crash = Crash(state.found_folders(survives), state.found(survives), objects, kits, MADE in facts)
            key = hash((tuple(crash.folders), tuple(sorted(crash.files.items())), len(facts)))
            if key not in seen:
                seen.add(key)
                yield crash


async def becomes_a_drive(place: Path, crash: Crash, *, key_file: bool = True) -> bool:
    """Whether what a crash left is a drive, or becomes one as `serve` makes it, and works; and its kit opens it."""
    places = StatePlaces(place / STATE)
    place.mkdir()
    for path in (*crash.folders, *(file.parent for file in crash.files)):
        (place / path).mkdir(parents=True, exist_ok=True)
    put(crash.files, place)
    if places.key_file.exists():
        places.key_file.chmod(0o600)
    store, kits = WatchedStore(), list(crash.kits)
    store.objects = dict(crash.objects)
    if not is_made(places):
        if crash.was_made:
            return False
        await make_drive(places, wishes(kits, key_file=key_file), disk=QuietDisk(), opening=in_store(store))
    require_drive(places)
    keys = Keys.open(places, Brought(passphrase=None if key_file else PASSPHRASE))
    await keys.follow(store)
    assert keys.ring.open_with_secret(kits[-1].secret) == keys.held
    assert [wrap.name for wrap in keys.wraps()].count("recovery kit") == 1
    async with DriveBuilder(places.state, disk=QuietDisk(), names=keys.names) as built:
        await built.write("first document", b"text")
        built.drive.cuts.log()
        findings, _ = check(built.drive.database, places.state / "segments")
        return not findings and places.config.read_text() == DEFAULT_TEXT


async def test_drive_is_there_or_is_made_by_the_next_try_after_a_power_loss_at_any_call(
    tmp_path: Path, virtual_time: MockClock
) -> None:
    looks = 0
    for looks, crash in enumerate(crashes(await make(tmp_path / "run")), 1):
        assert await becomes_a_drive(tmp_path / str(looks), crash)
    assert looks > 50


async def test_drive_without_a_key_file_is_made_by_the_next_try_with_the_same_passphrase(
    tmp_path: Path, virtual_time: MockClock
) -> None:
    looks = 0
    for looks, crash in enumerate(crashes(await make(tmp_path / "run", key_file=False)), 1):
        assert await becomes_a_drive(tmp_path / str(looks), crash, key_file=False)
    assert looks > 50


async def test_making_leaves_a_drive_that_is_there_alone(tmp_path: Path, virtual_time: MockClock) -> None:
    """Only its last step was missing, so the next try must not plant a new tree over it."""
    places, store = StatePlaces(tmp_path), WatchedStore()
    await make_drive(places, wishes([]), opening=in_store(store))
    async with DriveBuilder(places.state) as built:
        await built.write("document", b"text")
        await built.cut()
    places.layout.unlink()
    await make_drive(places, wishes([]), opening=in_store(store))
    async with DriveBuilder(places.state) as built:
        assert await built.read("document") == b"text"


def files_are_written_plainly(patch: pytest.MonkeyPatch) -> None:
    def plainly(disk: LosingDisk, path: Path, text: str | bytes) -> None:
        fd = disk.open(path, create=True)
        disk.pwrite(fd, text.encode() if isinstance(text, str) else text, 0)
        disk.close(fd)

    patch.setattr("appliance.making.write_durably", plainly)


def directories_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LosingDisk, "sync_directory", lambda self, path: None)


def files_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LosingDisk, "sync_ended", lambda self, path, covered: None)


@pytest.mark.parametrize("sabotage", [files_are_written_plainly, directories_are_not_synced, files_are_not_synced])
async def test_careless_making_is_found_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    virtual_time: MockClock,
    sabotage: Callable[[pytest.MonkeyPatch], Any],
) -> None:
    with monkeypatch.context() as patch:
        sabotage(patch)
        disk = await make(tmp_path / "run")
    is_found_out = False
    for number, crash in enumerate(reversed(list(crashes(disk)))):
        try:
            is_found_out = not await becomes_a_drive(tmp_path / str(number), crash)
        except Exception:  # whatever a broken drive says
            is_found_out = True
        if is_found_out:
            break
    assert is_found_out
