"""Time stamps: exact as set, and moved by exactly the operations that must move them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mount.calls import UTIME_NOW, UTIME_OMIT, pass_tick, set_times_raw, write_file

SECOND = 1_000_000_000


def moved(path: Path, act: Callable[[], object]) -> set[str]:
    """Which of path's mtime and ctime `act` moves forward (a step back fails)."""
    before = path.lstat()
    pass_tick(max(before.st_mtime_ns, before.st_ctime_ns))
    act()
    after = path.lstat()
    assert after.st_mtime_ns >= before.st_mtime_ns
    assert after.st_ctime_ns >= before.st_ctime_ns
    stamps = {"mtime": (before.st_mtime_ns, after.st_mtime_ns), "ctime": (before.st_ctime_ns, after.st_ctime_ns)}
    return {name for name, (old, new) in stamps.items() if new > old}


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


@pytest.mark.parametrize(
    "moment_s",
    [0, 1, 1_700_000_000, 2**31 - 1, 2**31 + 5, 2**32 + 7, 2**33 + 9],
    ids=["1970", "1970+1s", "2023", "2038", "2038+", "2106+", "2242+"],
)
def test_times_are_kept_to_the_nanosecond(folder: Path, moment_s: int) -> None:
    for path in (write_file(folder / "file"), folder):
        accessed, modified = moment_s * SECOND + 123_456_789, moment_s * SECOND + 987_654_321
        os.utime(path, ns=(accessed, modified))
        assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (accessed, modified)


def test_times_before_1970_are_kept(folder: Path) -> None:
    file = write_file(folder / "file")
    os.utime(file, ns=(-5 * SECOND + 1, -7 * SECOND + 2))
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (-5 * SECOND + 1, -7 * SECOND + 2)


@pytest.mark.parametrize(("moment_s", "kept_s"), [(2**34, 2**63 // SECOND), (-(2**34), -(2**63) // SECOND)])
def test_a_time_that_no_row_can_hold_becomes_the_last_that_fits(folder: Path, moment_s: int, kept_s: int) -> None:
    """A camera's clock must not keep the next commit, and with it everybody's bytes, from the disk."""
    file = write_file(folder / "file")
    os.utime(file, (moment_s, moment_s))
    with (folder / "another").open("wb") as another:
        another.write(b"1")
        os.fsync(another.fileno())
    assert file.stat().st_atime_ns // SECOND == kept_s  # mtime is the kernel's until it forgets the file


def test_times_of_a_symlink_are_its_own(folder: Path) -> None:
    file = write_file(folder / "file")
    os.utime(file, ns=(5, 6))
    (folder / "link").symlink_to("file")
    os.utime(folder / "link", ns=(7, 8), follow_symlinks=False)
    assert (file.stat().st_mtime_ns, (folder / "link").lstat().st_mtime_ns) == (6, 8)


def test_omitted_time_stays_and_now_is_now(folder: Path) -> None:
    file = write_file(folder / "file")
    os.utime(file, ns=(11, 22))
    set_times_raw(file, UTIME_OMIT, UTIME_NOW)
    assert file.stat().st_atime_ns == 11
    assert file.stat().st_mtime_ns > 1_600_000_000 * SECOND
    set_times_raw(file, UTIME_NOW, UTIME_OMIT)
    assert file.stat().st_atime_ns > 1_600_000_000 * SECOND


def test_times_set_after_a_write_stay_after_close_and_fsync(folder: Path) -> None:
    with (folder / "file").open("wb") as file:
        file.write(b"x" * 10_000)
        file.flush()
        os.utime(file.fileno(), ns=(33, 44))
        os.fsync(file.fileno())
    assert (folder / "file").stat().st_mtime_ns == 44


def test_setting_times_moves_ctime(folder: Path) -> None:
    file = write_file(folder / "file")
    before = file.stat().st_ctime_ns
    pass_tick(before)
    os.utime(file, ns=(1, 1))
    assert file.stat().st_ctime_ns > before


def test_data_changes_move_mtime_and_ctime(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    acts: dict[str, Callable[[], object]] = {
        "append": lambda: append(file, b"more"),
        "shrink": lambda: os.truncate(file, 3),
        "grow": lambda: os.truncate(file, 300),
        "O_TRUNC": lambda: os.close(os.open(file, os.O_WRONLY | os.O_TRUNC)),
    }
    for name, act in acts.items():
        assert moved(file, act) == {"mtime", "ctime"}, name


def test_attribute_changes_move_ctime_alone(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    acts: dict[str, Callable[[], object]] = {
        "chmod": lambda: os.chmod(file, 0o600),
        "chown": lambda: os.chown(file, 5, 6),
        "setxattr": lambda: os.setxattr(file, "user.note", b"x"),
        "removexattr": lambda: os.removexattr(file, "user.note"),
        "link": lambda: os.link(file, folder / "second"),
        "unlink of another name": lambda: os.unlink(folder / "second"),
        "rename": lambda: (os.rename(file, folder / "moved"), os.rename(folder / "moved", file)),
    }
    for name, act in acts.items():
        assert moved(file, act) == {"ctime"}, name


def test_reading_moves_neither_mtime_nor_ctime(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    assert moved(file, file.read_bytes) == set()
    assert moved(folder, lambda: os.listdir(folder)) == set()
    assert moved(file, lambda: append(file, b"")) == set()


def test_directory_times_follow_its_names(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    acts: dict[str, Callable[[], object]] = {
        "create": lambda: write_file(inner / "file"),
        "mkdir": lambda: os.mkdir(inner / "directory"),
        "symlink": lambda: os.symlink("x", inner / "symlink"),
        "mkfifo": lambda: os.mkfifo(inner / "fifo"),
        "link": lambda: os.link(inner / "file", inner / "link"),
        "rename within": lambda: os.rename(inner / "link", inner / "renamed"),
        "rename over": lambda: os.rename(inner / "symlink", inner / "renamed"),
        "rename out": lambda: os.rename(inner / "fifo", folder / "fifo"),
        "rename in": lambda: os.rename(folder / "fifo", inner / "fifo"),
        "unlink": lambda: os.unlink(inner / "file"),
        "rmdir": lambda: os.rmdir(inner / "directory"),
    }
    for name, act in acts.items():
        assert moved(inner, act) == {"mtime", "ctime"}, name


def test_directory_times_ignore_what_happens_inside_its_files(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    assert moved(folder, lambda: append(file, b"more")) == set()
    assert moved(folder, lambda: os.chmod(file, 0o600)) == set()


def test_failed_operation_moves_nothing(folder: Path) -> None:
    (folder / "full" / "inner").mkdir(parents=True)

    def fail() -> None:
        for attempt in (lambda: os.rmdir(folder / "full"), lambda: os.mkdir(folder / "full")):
            try:
                attempt()
            except OSError:
                continue
            raise AssertionError("must be refused")

    assert moved(folder, fail) == set()


def test_new_file_is_stamped_now(folder: Path) -> None:
    earlier = folder.stat().st_mtime_ns
    made = write_file(folder / "file").stat()
    for stamp in (made.st_atime_ns, made.st_mtime_ns, made.st_ctime_ns):
        assert earlier <= stamp <= earlier + 60 * SECOND
