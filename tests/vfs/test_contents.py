"""Contents: given up at once whatever their size, cut off to the byte, and gone when the last kept epoch lets go."""

import itertools

import pytest
from kit.still_drive import StillDrive

import vfs.contents
from vfs.contents import SMALL_CONTENT
from vfs.extents import WINDOW_BYTES

LARGE = 3 * SMALL_CONTENT


def scattered(still: StillDrive, path: str, count: int) -> None:
    """A file of `count` extents with holes between them, written out."""
    for number in range(count):
        still.do(still.write, path, bytes([1 + number % 255]) * 100, 8192 * number)
    still.drive.cuts.log()
    assert len(still.rows("extents")) == count


@pytest.mark.parametrize("count", [1, SMALL_CONTENT, SMALL_CONTENT + 1, LARGE])
@pytest.mark.parametrize("by", ["unlink", "truncate"])
def test_a_content_nobody_keeps_goes_with_its_blocks(by: str, count: int, still: StillDrive) -> None:
    scattered(still, "a", count)
    still.do(*((still.unlink, "a") if by == "unlink" else (still.truncate, "a", 0)))
    still.reap()
    assert all(still.rows(table) == [] for table in ("extents", "gone_contents", "blocks", "residency"))


def test_giving_up_a_large_content_is_one_row(still: StillDrive) -> None:
    scattered(still, "a", LARGE)
    still.do(still.truncate, "a", 0)
    assert len(still.rows("gone_contents")) == 1
    assert len(still.rows("extents")) == LARGE


def test_a_large_content_is_sifted_in_steps(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vfs.contents, "STEP_ROWS", 10)
    scattered(still, "a", LARGE)
    still.do(still.unlink, "a")
    left = [LARGE]
    while still.drive.contents.sift_step():
        left.append(len(still.rows("extents")))
        still.assert_sound()
    assert all(0 <= before - after <= 10 for before, after in itertools.pairwise(left))
    assert left[-1] == 0


def test_sifting_spares_what_a_kept_epoch_sees(still: StillDrive) -> None:
    scattered(still, "a", LARGE)
    snapshot = still.snap()
    for number in range(LARGE, 2 * LARGE):
        still.do(still.write, "a", b"new", 8192 * number)
    still.drive.cuts.log()
    still.do(still.unlink, "a")
    still.reap()
    assert len(still.rows("extents")) == LARGE
    still.drive.snapshots.delete(snapshot.name)
    still.reap()
    assert still.rows("extents") == []


@pytest.mark.parametrize("is_written_out", [True, False])
@pytest.mark.parametrize("size", [0, 1, 99, 100, 8191, 8192, 8242])
def test_truncate_to_and_fro_leaves_zeros(size: int, is_written_out: bool, still: StillDrive) -> None:
    whole = b"".join(bytes([1 + number]) * 100 + bytes(8092) for number in range(3))
    for number in range(3):
        still.do(still.write, "a", bytes([1 + number]) * 100, 8192 * number)
    if is_written_out:
        still.drive.cuts.log()
    still.do(still.truncate, "a", size)
    still.do(still.truncate, "a", len(whole))
    assert still.do(still.read, "a") == whole[:size].ljust(len(whole), b"\0")
    still.rest()
    assert still.do(still.read, "a") == whole[:size].ljust(len(whole), b"\0")


def test_truncate_forgets_every_window_beyond(still: StillDrive) -> None:
    for window in range(3):
        still.do(still.write, "a", b"x" * 10, window * WINDOW_BYTES + 5)
    inode = still.inode("a")
    assert inode.mapped == 30
    still.do(still.truncate, "a", WINDOW_BYTES + 7)
    assert inode.mapped == 12
    still.do(still.truncate, "a", 3 * WINDOW_BYTES)
    assert still.drive.contents.pieces(inode.content, 0, inode.size) == [
        (5, 10, 1, 0),
        (WINDOW_BYTES + 5, 2, 2, 0),
    ]


def test_windows_are_forgotten_beyond_their_budget(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vfs.contents, "WINDOWS_BYTES", 0)
    for path in "abc":
        still.do(still.write, path, path.encode() * 10)
    still.drive.cuts.log()
    for turn in range(3):
        for path in "abc":
            still.do(still.write, path, b"%d" % turn, turn)
            assert still.do(still.read, path) == b"012"[: turn + 1] + path.encode() * (9 - turn)


def test_a_content_given_up_before_it_was_written_out_leaves_nothing(still: StillDrive) -> None:
    for number in range(LARGE):
        still.do(still.write, "a", b"x", 8192 * number)
    still.do(still.truncate, "a", 0)
    assert (still.rows("extents"), still.rows("gone_contents"), still.rows("blocks")) == ([], [], [])
    assert sum(length for *_, length in still.rows("free_queue")) >= LARGE * 4096
