"""Writing: what is kept is never touched, what nobody else sees is written in place, what is refused leaves order."""

import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.still_drive import StillDrive, UnsyncedDisk

import vfs.contents
from cachefs.cut import UNWRITTEN_ROWS
from vfs.errors import DataLost, FileTooLarge, InvalidArgument, NoSpace
from vfs.extents import WINDOW_BYTES
from vfs.files import MAX_FILE_BYTES
from vfs.inodes import Inode


class RefusingDisk(UnsyncedDisk):  # type: ignore[misc]
    """Refuses the writes whose number is in `refused`, counted from 1, to segments only."""

    def __init__(self) -> None:
        self.refused: set[int] = set()
        self.error = errno.ENOSPC
        self.is_counting = False
        self.writes = 0

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        if self.is_counting:
            self.writes += 1
            if self.writes in self.refused:
                raise OSError(self.error, "refused")
        super().pwrite(fd, data, offset)


@pytest.fixture
def refusing(tmp_path: Path, fresh_state: Path) -> StillDrive:
    """A drive whose `disk` can be told to refuse."""
    return StillDrive.opened(tmp_path / "refusing", fresh_state, disk=RefusingDisk())


def refuse(still: StillDrive, *numbers: int, error: int = errno.ENOSPC) -> RefusingDisk:
    disk = still.disk
    assert isinstance(disk, RefusingDisk)
    disk.refused, disk.error, disk.writes, disk.is_counting = set(numbers), error, 0, True
    return disk


@pytest.mark.parametrize(("error", "raised"), [(errno.ENOSPC, NoSpace), (errno.EIO, DataLost)])
@pytest.mark.parametrize("length", [2000, 200_000])
def test_a_write_refused_in_the_middle_leaves_what_was_written(
    length: int, error: int, raised: type[Exception], refusing: StillDrive
) -> None:
    """It crosses a window, so it takes two steps; the second is refused. The inode agrees with its extents."""
    start = WINDOW_BYTES - length // 2
    refusing.do(refusing.write, "a", b"")
    refuse(refusing, 2, error=error)
    with pytest.raises(raised):
        refusing.do(refusing.write, "a", b"x" * length, start)
    refuse(refusing)
    inode = refusing.inode("a")
    assert (inode.size, inode.mapped) == (WINDOW_BYTES, length // 2)
    refusing.assert_sound()
    refusing.die()
    assert refusing.inode("a").size == WINDOW_BYTES
    refusing.do(refusing.truncate, "a", WINDOW_BYTES + 10)
    tail = refusing.do(refusing.drive.files.read, refusing.inode("a"), WINDOW_BYTES - 5, 100)
    assert bytes(tail) == b"xxxxx" + bytes(10)
    refusing.assert_sound()


def test_a_refused_first_write_leaves_no_block(refusing: StillDrive) -> None:
    refusing.do(refusing.write, "a", b"")
    refuse(refusing, 1)
    with pytest.raises(NoSpace):
        refusing.do(refusing.write, "a", b"x" * 100)
    refuse(refusing)
    assert (refusing.inode("a").size, refusing.rows("blocks")) == (0, [])
    refusing.do(refusing.write, "a", b"y" * 100)
    assert refusing.do(refusing.read, "a") == b"y" * 100
    refusing.assert_sound()


def blocks_of(still: StillDrive, path: str) -> list[int]:
    inode = still.inode(path)
    return [piece.block for piece in still.drive.contents.pieces(inode.content, 0, inode.size)]


def test_what_nobody_else_sees_is_overwritten_in_place(still: StillDrive) -> None:
    still.do(still.write, "a", b"x" * 100)
    before = blocks_of(still, "a")
    still.do(still.write, "a", b"y" * 10, 20)
    assert blocks_of(still, "a") == before
    assert still.do(still.read, "a") == b"x" * 20 + b"y" * 10 + b"x" * 70


def test_what_a_snapshot_sees_is_never_written(still: StillDrive) -> None:
    still.do(still.write, "a", b"x" * 100)
    old = blocks_of(still, "a")[0]
    still.snap()
    still.do(still.write, "a", b"y" * 10, 20)
    still.do(still.write, "a", b"z" * 10, 100)
    new = blocks_of(still, "a")
    assert new.count(old) == 2
    assert len(new) == 4


def test_what_is_overwritten_here_and_there_is_gathered(still: StillDrive) -> None:
    """After a snapshot nine pages of a file share two blocks; after the next one nothing is written to these."""
    page = 4096
    still.do(still.write, "a", b"x" * 40 * page)
    old = blocks_of(still, "a")[0]
    still.snap()
    for number in range(9):
        still.do(still.write, "a", bytes([number]) * page, (4 * number + 1) * page)
    gathered = set(blocks_of(still, "a")) - {old}
    assert len(gathered) == 2
    assert still.do(still.read, "a")[: 6 * page] == b"x" * page + bytes(page) + b"x" * 3 * page + b"\1" * page
    still.snap()
    for place in (1, 2, 7):
        still.do(still.write, "a", b"new", place * page)
    assert len(set(blocks_of(still, "a")) - gathered - {old}) == 1
    still.drive.cuts.log()
    lengths = dict(still.drive.database.rows("SELECT block, length FROM blocks"))
    assert sorted(lengths[block] for block in gathered) == [page, 8 * page]
    still.assert_sound()


def test_a_gathering_block_that_was_given_up_is_not_written_again(still: StillDrive) -> None:
    still.do(still.write, "a", b"x" * 20_000)
    still.snap()
    still.do(still.write, "a", b"1", 0)
    still.do(still.write, "a", b"2", 8192)
    still.do(still.truncate, "a", 0)
    still.do(still.write, "b", b"other" * 1000)
    still.snap()
    still.do(still.write, "a", b"y" * 20_000)
    still.do(still.write, "a", b"3", 4096)
    assert still.do(still.read, "b") == b"other" * 1000
    still.assert_sound()


def test_appending_fills_the_block_behind(still: StillDrive) -> None:
    still.do(still.write, "a", b"x" * 10)
    for number in range(1, 20):
        still.do(still.write, "a", bytes([number]) * 10, 10 * number)
    assert len(set(blocks_of(still, "a"))) <= 2


def test_writing_nothing_changes_nothing(still: StillDrive) -> None:
    still.do(still.write, "a", b"x")
    before = still.rows("inodes")
    still.do(still.drive.files.write, still.inode("a"), 10, b"", 0)
    assert still.rows("inodes") == before


def test_a_file_has_a_largest_size(still: StillDrive) -> None:
    still.do(still.write, "a", b"x")
    for call in [(still.write, "a", b"x", MAX_FILE_BYTES), (still.truncate, "a", MAX_FILE_BYTES + 1)]:
        with pytest.raises(FileTooLarge):
            still.do(*call)
    with pytest.raises(InvalidArgument):
        still.do(still.truncate, "a", -1)
    still.do(still.write, "a", b"y", MAX_FILE_BYTES - 1)
    assert bytes(still.do(still.drive.files.read, still.inode("a"), MAX_FILE_BYTES - 2, 10)) == b"\0y"


def test_a_full_budget_refuses_before_anything_changed(still: StillDrive) -> None:
    still.limit_bytes = 1 << 20
    still.rest()
    still.do(still.write, "a", b"x")
    before = still.rows("inodes")
    with pytest.raises(NoSpace):
        still.do(still.write, "a", bytes(2 << 20), 1)
    assert still.rows("inodes") == before


writes = st.tuples(
    st.one_of(st.integers(0, 300), st.integers(WINDOW_BYTES - 200, WINDOW_BYTES + 100)), st.integers(1, 250)
)


@settings(max_examples=25, deadline=None)
@given(plan=st.lists(st.tuples(writes, st.booleans()), max_size=20))
def test_reads_at_any_offset_give_the_last_bytes_written(
    plan: list, tmp_path_factory: pytest.TempPathFactory, fresh_state: Path
) -> None:
    still = StillDrive.opened(tmp_path_factory.mktemp("drive") / "state", fresh_state)
    still.do(still.write, "a", b"")
    near, far = bytearray(600), bytearray(600)  # the file's start, and the bytes around the first line
    for number, ((offset, length), is_kept) in enumerate(plan):
        data = bytes([1 + number]) * length
        still.do(still.write, "a", data, offset)
        part, low = (near, 0) if offset < 600 else (far, WINDOW_BYTES - 300)
        part[offset - low : offset - low + length] = data
        if is_kept:
            still.snap()
    still.do(still.truncate, "a", WINDOW_BYTES + 300)
    inode = still.inode("a")
    if inode.size:
        assert bytes(still.do(still.drive.files.read, inode, 0, 600)) == near[:600]
        assert bytes(still.do(still.drive.files.read, inode, WINDOW_BYTES - 300, 700)) == far[:600].ljust(600, b"\0")
    still.assert_sound()
    still.abandon()


def scattered(still: StillDrive, name: str, extents: int) -> Inode:
    """A file of so many extents with holes between them."""
    for number in range(extents):
        still.do(still.write, name, b"x", 10_000 * number)
    still.drive.cuts.log()
    return still.inode(name)


def test_rows_of_many_writes_do_not_pile_up(still: StillDrive) -> None:
    """No turn of the loop has to write all of them."""
    most = 0
    for number in range(2 * UNWRITTEN_ROWS):
        still.do(still.write, "a", b"x", 10_000 * number)
        most = max(most, still.drive.contents.unwritten())
    assert 10 < most <= UNWRITTEN_ROWS


def test_a_file_of_many_extents_gets_shorter_in_steps(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others come between: no step takes more than a few extents away, and what is left is right after each."""
    monkeypatch.setattr(vfs.contents, "STEP_ROWS", 3)
    inode = scattered(still, "a", 20)
    sizes = []
    contents = still.drive.contents
    cut_off = contents.cut_off

    def watched(content: int, size: int) -> int:
        before = len(contents.pieces(content, 0, inode.size))
        lost = cut_off(content, size)
        assert before - len(contents.pieces(content, 0, inode.size)) <= 4
        sizes.append(size)
        return lost

    monkeypatch.setattr(contents, "cut_off", watched)
    still.do(still.truncate, "a", 20_001)
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 4
    assert (inode.size, inode.mapped, sizes[-1]) == (20_001, 3, 20_001)
    assert still.do(still.read, "a") == (b"x" + bytes(9999)) * 2 + b"x"


def test_giving_up_a_large_file_looks_at_few_extents_a_step(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a snapshot shows all of them, so that none is removed."""
    monkeypatch.setattr(vfs.contents, "STEP_ROWS", 5)
    scattered(still, "a", 60)
    snapshot = still.snap()
    still.do(still.unlink, "a")
    asked = []
    rows = still.drive.database.rows

    def watched(sql: str, parameters: tuple[object, ...] = ()) -> list[object]:
        found = rows(sql, parameters)
        asked.append((sql, len(found)))
        return found

    monkeypatch.setattr(still.drive.database, "rows", watched)
    steps = 0
    while still.drive.contents.sift_step():
        steps += 1
    assert steps >= 60 // 5
    assert all("start > ?" in sql and count <= 5 for sql, count in asked)
    still.drive.snapshots.delete(snapshot.name)
    still.reap()
    assert rows("SELECT * FROM extents") == []


def test_a_file_that_was_emptied_gathers_in_blocks_of_its_own(still: StillDrive) -> None:
    """A block belongs to one content; that of the bytes that were given up still has extents until it is sifted."""
    for name in ("a", "source"):
        still.do(still.write, name, bytes(160 << 10))
    still.snap()
    for page in range(0, 36, 2):  # more extents than are given up at once
        still.do(still.write, "a", b"x" * 4096, page << 12)
    still.drive.cuts.log()
    still.do(still.truncate, "a", 0)
    still.clone("source", "a")
    still.do(still.write, "a", b"y" * 4096, 5 << 12)
    still.drive.cuts.log()
    still.do(still.unlink, "a")
    still.reap()
    assert still.do(still.read, "source") == bytes(160 << 10)
