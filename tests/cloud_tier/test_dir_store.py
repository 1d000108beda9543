"""The store in a folder: durable when it says so, and never in the wrong folder."""

import errno
import os
from pathlib import Path

import pytest
import trio

from cloud_tier.dir_store import DRAFTS, MARK, open_dir_store
from cloud_tier.errors import (
    ObjectExists,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)
from cloud_tier.object_store import Page


class Syncs:
    """Stands in for `os.fsync`: writes down what was synced, and which names were there at that moment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: list[tuple[str, frozenset[str]]] = []

    def __call__(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        names = frozenset(str(each.relative_to(self.root)) for each in self.root.rglob("*"))
        kind = "draft" if path.parent.name == DRAFTS else str(path.relative_to(self.root))
        self.seen.append((kind, names))
        os.fsync(fd)


@pytest.mark.parametrize("if_absent", [False, True])
async def test_bytes_are_synced_before_the_name_and_then_every_folder_on_the_way(
    tmp_path: Path, if_absent: bool
) -> None:
    await open_dir_store(tmp_path / "store", create=True)
    syncs = Syncs(tmp_path / "store")
    store = await open_dir_store(tmp_path / "store", sync=syncs)
    await store.put("packs/1/ab", b"body", if_absent=if_absent)
    assert [kind for kind, _ in syncs.seen] == [".", "packs", "draft", "packs/1"]
    assert "packs" in syncs.seen[0][1], "the folder's name is synced once it is there"
    assert "packs/1" in syncs.seen[1][1]
    assert "packs/1/ab" not in syncs.seen[2][1], "no name before the bytes are safe"
    assert "packs/1/ab" in syncs.seen[3][1]
    syncs.seen.clear()
    await store.put("packs/1/cd", b"body", if_absent=if_absent)
    assert [kind for kind, _ in syncs.seen] == ["draft", "packs/1"]
    syncs.seen.clear()
    await store.delete(["packs/1/ab", "packs/1/cd"])
    assert [(kind, len(names & {"packs/1/ab", "packs/1/cd"})) for kind, names in syncs.seen] == [("packs/1", 0)]


async def test_put_whose_sync_fails_leaves_nothing(tmp_path: Path) -> None:
    await open_dir_store(tmp_path / "store", create=True)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "planned")

    store = await open_dir_store(tmp_path / "store", sync=broken)
    with pytest.raises(StoreUnavailable):
        await store.put("a", b"body")
    assert await store.list_page("") == Page([], True)
    assert list((tmp_path / "store" / DRAFTS).iterdir()) == []


async def test_drafts_of_a_crash_are_removed_at_open_and_those_being_written_are_not(tmp_path: Path) -> None:
    store = await open_dir_store(tmp_path / "store", create=True)
    (tmp_path / "store" / DRAFTS / "left-by-a-crash").write_bytes(b"half")
    begun, go_on = trio.Event(), trio.Event()

    async def pace(size_bytes: int) -> None:
        begun.set()
        await go_on.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.put("a", b"body", pace=pace))
        await begun.wait()
        assert await store.list_page("") == Page([], True)
        again = await open_dir_store(tmp_path / "store")
        assert len(list((tmp_path / "store" / DRAFTS).iterdir())) == 1
        go_on.set()
    assert await again.get("a") == b"body"


async def test_unplugged_disk_is_noticed_by_every_call_and_nothing_is_written_into_its_place(tmp_path: Path) -> None:
    store = await open_dir_store(tmp_path / "disk", create=True)
    await store.put("a", b"body")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    for stands_empty in (False, True):
        if stands_empty:
            (tmp_path / "disk").mkdir()
        with pytest.raises(StoreUnavailable):
            await store.put("b", b"body")
        with pytest.raises(StoreUnavailable):
            await store.get("a")
        with pytest.raises(StoreUnavailable):
            await store.size("a")
        with pytest.raises(StoreUnavailable):
            await store.delete(["a"])
        with pytest.raises(StoreUnavailable):
            await store.list_page("")
        with pytest.raises(StoreUnavailable):
            await open_dir_store(tmp_path / "disk")
    assert list((tmp_path / "disk").iterdir()) == []
    (tmp_path / "disk").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    assert await store.get("a") == b"body", "plugged in again, it goes on"


async def test_another_disk_in_the_same_place_is_refused(tmp_path: Path) -> None:
    store = await open_dir_store(tmp_path / "disk", create=True)
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    await open_dir_store(tmp_path / "disk", create=True)
    with pytest.raises(StoreMisconfigured, match="another store"):
        await store.put("a", b"body")


async def test_no_store_is_made_among_other_things(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mother.txt").touch()
    with pytest.raises(StoreMisconfigured, match="not empty"):
        await open_dir_store(tmp_path / "letters", create=True)
    assert not (tmp_path / "letters" / MARK).exists()


async def test_foreign_files_and_links_are_left_alone(tmp_path: Path) -> None:
    store = await open_dir_store(tmp_path / "store", create=True)
    await store.put("a", b"body")
    (tmp_path / "store" / "Thumbs.db").touch()
    (tmp_path / "store" / "link").symlink_to("/etc")
    (tmp_path / "store" / "folder").mkdir()
    page = await store.list_page("")
    assert [info.name for info in page.objects] == ["a"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EROFS, StoreDenied),
        (errno.EACCES, StoreDenied),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
    ],
)
async def test_what_the_disk_says_becomes_an_error_of_the_store(
    tmp_path: Path, code: int, kind: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_dir_store(tmp_path / "store", create=True)

    def refuse(fd: int, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(StoreError) as caught:
        await store.put("a", b"body")
    assert type(caught.value) is kind


async def test_disk_without_hard_links_says_that_it_cannot_create_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_dir_store(tmp_path / "store", create=True)

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreMisconfigured, match="hard links"):
        await store.put("a", b"body", if_absent=True)
    await store.put("a", b"body")
    with pytest.raises(StoreMisconfigured):
        await store.put("a", b"other", if_absent=True)


async def test_create_only_after_a_plain_put_is_refused(tmp_path: Path) -> None:
    store = await open_dir_store(tmp_path / "store", create=True)
    await store.put("a", b"body")
    with pytest.raises(ObjectExists):
        await store.put("a", b"other", if_absent=True)
