"""A drive whose making was cut off by a power loss is made by the next try; one that was made is there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from crash.engine_rounds import QuietDisk
from kit.disk_journal import Survival, freed, put, some, synced
from kit.drive_builder import DriveBuilder
from kit.losing_disk import LosingDisk, crash_points
from kit.sqlite_files import watched
from trio.testing import MockClock

from appliance.commands.init import make_drive
from appliance.config import DEFAULT_TEXT
from appliance.places import StatePlaces, is_made, require_drive
from vfs.check import check

STATE = Path("office/state")
WAYS: tuple[Survival, ...] = (synced, freed, some(1), some(2))


class Crash(NamedTuple):
    """What a power loss left below a root, and whether the drive had been called made by then."""

    folders: list[Path]
    files: dict[Path, bytes]
    was_made: bool


def make(root: Path) -> LosingDisk:
    """Make a drive two folders deep in `root`, and return what the disk was told."""
    root.mkdir()
    disk = LosingDisk(root)
    with watched(f"making {root}", disk) as vfs:
        make_drive(StatePlaces(root / STATE), disk, vfs)
    disk.fact("made")
    return disk


def crashes(disk: LosingDisk) -> Iterator[Crash]:
    """After each call, in each of the ways to lose; what was seen before is left out."""
    seen = set[int]()
    for calls, state, facts in crash_points(disk):
        for survives in WAYS if calls % 7 == 0 or facts else WAYS[:2]:
            crash = Crash(state.found_folders(survives), state.found(survives), bool(facts))
            key = hash((tuple(crash.folders), tuple(sorted(crash.files.items())), crash.was_made))
            if key not in seen:
                seen.add(key)
                yield crash


async def becomes_a_drive(place: Path, crash: Crash) -> bool:
    """Whether what a crash left is a drive, or becomes one as `serve` makes it, and works."""
    places = StatePlaces(place / STATE)
    place.mkdir()
    for path in (*crash.folders, *(file.parent for file in crash.files)):
        (place / path).mkdir(parents=True, exist_ok=True)
    put(crash.files, place)
    if not is_made(places):
        if crash.was_made:
            return False
        make_drive(places, QuietDisk())
    require_drive(places)
    async with DriveBuilder(places.state, disk=QuietDisk()) as built:
        await built.write("first document", b"text")
        built.drive.cuts.log()
        findings, _ = check(built.drive.database, places.state / "segments")
        return not findings and places.config.read_text() == DEFAULT_TEXT


async def test_drive_is_there_or_is_made_by_the_next_try_after_a_power_loss_at_any_call(
    tmp_path: Path, virtual_time: MockClock
) -> None:
    looks = 0
    for looks, crash in enumerate(crashes(make(tmp_path / "run")), 1):
        assert await becomes_a_drive(tmp_path / str(looks), crash)
    assert looks > 50


async def test_making_leaves_a_drive_that_is_there_alone(tmp_path: Path, virtual_time: MockClock) -> None:
    """Only its last step was missing, so the next try must not plant a new tree over it."""
    places = StatePlaces(tmp_path)
    make_drive(places)
    async with DriveBuilder(places.state) as built:
        await built.write("document", b"text")
        await built.cut()
    places.layout.unlink()
    make_drive(places)
    async with DriveBuilder(places.state) as built:
        assert await built.read("document") == b"text"


def files_are_written_plainly(patch: pytest.MonkeyPatch) -> None:
    def plainly(disk: LosingDisk, path: Path, text: str) -> None:
        fd = disk.open(path, create=True)
        disk.pwrite(fd, text.encode(), 0)
        disk.close(fd)

    patch.setattr("appliance.commands.init.write_durably", plainly)


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
        disk = make(tmp_path / "run")
    is_found_out = False
    for number, crash in enumerate(reversed(list(crashes(disk)))):
        try:
            is_found_out = not await becomes_a_drive(tmp_path / str(number), crash)
        except Exception:  # whatever a broken drive says
            is_found_out = True
        if is_found_out:
            break
    assert is_found_out
