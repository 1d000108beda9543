"""People go on working while a restore is at work: nothing that they saved meanwhile is lost without a way back."""

import errno
import os
import stat

import pyfuse3
import pytest
from kit.drive_builder import DriveBuilder
from kit.requests import caller, fields

import vfs.copying
from cachefs.errors import StorageFull
from vfs.copying import STRETCH_BYTES
from vfs.extents import WINDOW_BYTES
from vfs.fuse.operations import DriveOperations
from vfs.jobs import Job
from vfs.restore import Restores

CTX = caller()


@pytest.fixture
def restores(running: DriveBuilder) -> Restores:
    async def collect() -> bool:
        return True

    return Restores(running.drive, collect, lambda parent, name: None)


async def begun(restores: Restores, running: DriveBuilder, path: str, at: str, target: str | None = None) -> Job:
    snapshot = running.drive.snapshots.get(at)
    goal = target.encode() if target is not None else None
    return await restores.begin(path.encode(), snapshot, goal, running.caller)


async def test_what_is_saved_while_a_restore_builds_is_in_its_undo_snapshot(
    running: DriveBuilder, restores: Restores
) -> None:
    await running.mkdir("a")
    await running.write("a/doc", b"good")
    at = (await running.snapshot()).name
    await running.write("a/doc", b"bad")
    job = await begun(restores, running, "a", at)
    await running.write("a/late", b"saved while the restore was building")
    await restores.run(job, running.caller)
    done = running.drive.jobs.get(job.number)
    assert done.state == "done"
    assert running.names("a") == ["doc"]
    assert done.undo_snapshot is not None
    assert await running.read_past(done.undo_snapshot, "a/late") == b"saved while the restore was building"
    await restores.run(await restores.begin_undo(job.number, force=False), running.caller)
    assert await running.read("a/late") == b"saved while the restore was building"
    assert await running.read("a/doc") == b"bad"


async def test_long_file_is_restored_in_steps_and_whole(
    running: DriveBuilder, restores: Restores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps others come to their turn: a file of a million extents would keep them waiting for seconds."""
    places = [0, 4096, STRETCH_BYTES - 1, 3 * STRETCH_BYTES, WINDOW_BYTES - 1, 5 * WINDOW_BYTES + 7]
    for number, place in enumerate(places):
        await running.write("long", b"%d!" % number, place)
    before = await running.read("long")
    at = (await running.snapshot()).name
    await running.truncate("long", 5000)
    await running.write("long", b"bad", 3 * STRETCH_BYTES + 100)
    monkeypatch.setattr(vfs.copying, "STEP_S", 1e-6)
    steps = []
    bound_pending = running.drive.cuts.bound_pending
    monkeypatch.setattr(running.drive.cuts, "bound_pending", lambda: (steps.append(1), bound_pending()))
    await restores.run(await begun(restores, running, "long", at), running.caller)
    assert await running.read("long") == before
    assert len(steps) >= 5


async def test_of_two_restores_each_undo_leads_to_the_moment_before_its_own(
    running: DriveBuilder, restores: Restores
) -> None:
    await running.mkdir("a")
    await running.write("a/doc", b"first")
    first = (await running.snapshot()).name
    await running.write("a/doc", b"second")
    second = (await running.snapshot()).name
    await running.write("a/doc", b"third")
    jobs = [await begun(restores, running, "a", first), await begun(restores, running, "a", second)]
    for job in jobs:
        await restores.run(job, running.caller)
    assert await running.read("a/doc") == b"second"
    await restores.run(await restores.begin_undo(jobs[1].number, force=False), running.caller)
    assert await running.read("a/doc") == b"first"
    await restores.run(await restores.begin_undo(jobs[0].number, force=False), running.caller)
    assert await running.read("a/doc") == b"third"


async def test_restore_never_replaces_what_appeared_at_its_target(running: DriveBuilder, restores: Restores) -> None:
    await running.write("doc", b"good")
    at = (await running.snapshot()).name
    job = await begun(restores, running, "doc", at, "copy")
    await running.write("copy", b"made by somebody else meanwhile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vfs.restore.log.warning", lambda *_: None)
        await restores.run(job, running.caller)
    assert running.drive.jobs.get(job.number).state == "failed"
    assert await running.read("copy") == b"made by somebody else meanwhile"


async def test_restore_that_failed_leaves_no_held_snapshot(running: DriveBuilder, restores: Restores) -> None:
    await running.mkdir("a")
    await running.write("a/doc", b"good")
    at = (await running.snapshot()).name
    job = await begun(restores, running, "a/doc", at)
    await running.unlink("a/doc")
    await running.rmdir("a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vfs.restore.log.warning", lambda *_: None)
        await restores.run(job, running.caller)
    assert running.drive.jobs.get(job.number).state == "failed"
    assert [one.name for one in running.drive.snapshots.all()] == [at]


@pytest.mark.parametrize("way", ["create", "mkdir", "rename", "link", "open", "truncate"])
async def test_work_that_goes_to_a_replaced_folder_is_refused_not_lost(
    way: str, running: DriveBuilder, restores: Restores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a program whose working directory it is, or by a path that the kernel has not looked up anew yet.

    The answer is ESTALE, upon which the kernel looks a path up again and finds the new folder.
    """
    await running.mkdir("a")
    await running.mkdir("a/inner")
    await running.write("a/inner/doc", b"good")
    await running.write("mine", b"precious")
    at = (await running.snapshot()).name
    replaced, doc = running.inode("a/inner"), running.inode("a/inner/doc")
    for inode in (replaced, doc):
        running.drive.inodes.looked_up(inode.ino)
    monkeypatch.setattr("vfs.attic.NAMES_PER_STEP", 0)  # the reaper comes later
    await restores.run(await begun(restores, running, "a", at), running.caller)
    operations = DriveOperations(running.drive)
    size_only, attributes = fields("size"), pyfuse3.EntryAttributes()
    calls = {
        "create": lambda: operations.create(replaced.ino, b"new", stat.S_IFREG | 0o644, os.O_RDWR, CTX),
        "mkdir": lambda: operations.mkdir(replaced.ino, b"new", 0o755, CTX),
        "rename": lambda: operations.rename(1, b"mine", replaced.ino, b"mine", 0, CTX),
        "link": lambda: operations.link(running.inode("mine").ino, replaced.ino, b"mine", CTX),
        "open": lambda: operations.open(doc.ino, os.O_RDWR, CTX),
        "truncate": lambda: operations.setattr(doc.ino, attributes, size_only, None, CTX),
    }
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await calls[way]()
    assert refused.value.errno == errno.ESTALE
    assert await running.read("mine") == b"precious"


async def test_folder_moved_out_of_the_attic_is_left_alone(
    running: DriveBuilder, restores: Restores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program whose working directory was replaced may still move what lies in it back into the live tree."""
    await running.mkdir("a")
    await running.mkdir("a/inner")
    at = (await running.snapshot()).name
    for number in range(6):
        await running.write(f"a/inner/{number}", b"work")
    replaced = running.inode("a")
    running.drive.inodes.looked_up(replaced.ino)
    monkeypatch.setattr("vfs.attic.NAMES_PER_STEP", 0)
    await restores.run(await begun(restores, running, "a", at), running.caller)
    monkeypatch.setattr("vfs.attic.NAMES_PER_STEP", 3)
    running.drive.attic.reap_step()
    running.drive.namespace.rename(replaced.ino, b"inner", 1, b"rescued", 0, running.caller)
    left = running.names("rescued")
    assert left
    await running.drive.reaper.finish()
    assert running.names("rescued") == left


async def test_restore_stops_before_the_disk_is_full(
    running: DriveBuilder, restores: Restores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite on a full disk would end the core, and after each start the next restore would end it again."""
    await running.mkdir("a")
    await running.write("a/doc", b"good")
    at = (await running.snapshot()).name
    await running.write("a/doc", b"bad")
    job = await begun(restores, running, "a", at)

    def refuse(*, is_removal: bool = False) -> None:
        raise StorageFull("the last reserve")

    monkeypatch.setattr(running.drive.cache.budget, "admit_rows", refuse)
    monkeypatch.setattr("vfs.restore.log.warning", lambda *_: None)
    await restores.run(job, running.caller)
    assert running.drive.jobs.get(job.number).state == "failed"
    assert await running.read("a/doc") == b"bad"
