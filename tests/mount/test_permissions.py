"""Who may do what: owner, group, others, root; checked by processes that have no other rights."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mount.calls import UTIME_NOW, refused, set_times_raw, write_file
from mount.people import ALICE, BOB, STAFF, as_user, member


def owned(path: Path, mode: int, uid: int = ALICE, gid: int = ALICE) -> Path:
    """A file of `uid` with exactly this mode."""
    write_file(path, b"content")
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


def reads(path: Path) -> Callable[[], int]:
    return lambda: os.close(os.open(path, os.O_RDONLY)) or 0


def writes(path: Path) -> Callable[[], int]:
    return lambda: os.close(os.open(path, os.O_WRONLY)) or 0


def test_each_class_gets_its_own_bits(folder: Path) -> None:
    file = owned(folder / "file", 0o640, gid=STAFF)
    as_user(ALICE, writes(file))
    as_user(BOB, reads(file), groups=[STAFF])
    with refused(errno.EACCES):
        as_user(BOB, writes(file), groups=[STAFF])
    with refused(errno.EACCES):
        as_user(BOB, reads(file))


def test_owner_class_hides_wider_group_and_other_bits(folder: Path) -> None:
    file = owned(folder / "file", 0o077)
    with refused(errno.EACCES):
        as_user(ALICE, reads(file))
    group = owned(folder / "group", 0o707, uid=0, gid=STAFF)
    with refused(errno.EACCES):
        member(reads(group))
    as_user(BOB, writes(group))


def test_root_reads_and_writes_everything_but_runs_nothing_without_x(folder: Path) -> None:
    file = owned(folder / "file", 0o000)
    reads(file)()
    writes(file)()
    with refused(errno.EACCES):
        os.execv(file, ["file"])


def test_script_on_the_drive_runs_for_those_with_x(folder: Path) -> None:
    script = write_file(folder / "script", b"#!/bin/sh\nexit 7\n", 0o755)
    assert os.spawnv(os.P_WAIT, script, ["script"]) == 7


def test_directory_needs_x_to_pass_and_r_to_list(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    write_file(inner / "file", b"content")
    inner.chmod(0o711)
    assert as_user(BOB, lambda: (inner / "file").read_bytes()) == b"content"
    with refused(errno.EACCES):
        as_user(BOB, lambda: os.listdir(inner))
    inner.chmod(0o744)
    assert as_user(BOB, lambda: os.listdir(inner)) == ["file"]
    with refused(errno.EACCES):
        as_user(BOB, lambda: os.stat(inner / "file"))


@pytest.mark.parametrize("mode", [0o755, 0o776], ids=["no-w", "no-x"])
def test_names_change_only_with_w_and_x_on_the_directory(folder: Path, mode: int) -> None:
    inner = folder / "inner"
    inner.mkdir()
    owned(inner / "file", 0o666, uid=BOB)
    inner.chmod(mode)
    attempts: list[Callable[[], object]] = [
        lambda: os.open(inner / "new", os.O_CREAT | os.O_WRONLY),
        lambda: os.mkdir(inner / "new"),
        lambda: os.symlink("x", inner / "new"),
        lambda: os.mkfifo(inner / "new"),
        lambda: os.link(inner / "file", inner / "new"),
        lambda: os.unlink(inner / "file"),
        lambda: os.rename(inner / "file", inner / "new"),
    ]
    for attempt in attempts:
        with refused(errno.EACCES):
            as_user(BOB, lambda attempt=attempt: bool(attempt()))  # type: ignore[misc]


def test_new_things_belong_to_their_maker_and_obey_the_umask(folder: Path) -> None:
    folder.chmod(0o777)

    def make() -> None:
        os.umask(0o027)
        os.close(os.open(folder / "file", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(folder / "directory", 0o777)
        os.symlink("x", folder / "link")
        os.mkfifo(folder / "fifo", 0o666)

    member(make, primary=STAFF)
    for name, mode in (("file", 0o640), ("directory", 0o750), ("fifo", 0o640), ("link", 0o777)):
        made = (folder / name).lstat()
        assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (ALICE, STAFF, mode), name


def test_effective_user_counts_for_calls_and_real_user_for_access(folder: Path) -> None:
    file = owned(folder / "file", 0o600)

    def as_effective_alice() -> bool:
        os.setgroups([])
        os.setresuid(BOB, ALICE, 0)
        reads(file)()
        return os.access(file, os.R_OK)

    assert as_user(0, as_effective_alice, gid=0) is False


def test_only_owner_or_root_changes_the_mode(folder: Path) -> None:
    file = owned(folder / "file", 0o666)
    with refused(errno.EPERM):
        as_user(BOB, lambda: os.chmod(file, 0o777))
    as_user(ALICE, lambda: os.chmod(file, 0o600))
    assert file.stat().st_mode & 0o7777 == 0o600


def test_only_root_gives_a_file_away(folder: Path) -> None:
    file = owned(folder / "file", 0o666)
    with refused(errno.EPERM):
        as_user(ALICE, lambda: os.chown(file, BOB, -1))
    with refused(errno.EPERM):
        as_user(BOB, lambda: os.chown(file, BOB, -1))
    os.chown(file, BOB, STAFF)
    assert (file.stat().st_uid, file.stat().st_gid) == (BOB, STAFF)


def test_owner_moves_a_file_only_to_a_group_of_his(folder: Path) -> None:
    file = owned(folder / "file", 0o644)
    member(lambda: os.chown(file, -1, STAFF))
    assert file.stat().st_gid == STAFF
    with refused(errno.EPERM):
        member(lambda: os.chown(file, -1, BOB))


def test_chown_of_a_symlink_leaves_its_target(folder: Path) -> None:
    file = owned(folder / "file", 0o644)
    (folder / "link").symlink_to("file")
    os.lchown(folder / "link", BOB, BOB)
    assert ((folder / "link").lstat().st_uid, file.stat().st_uid) == (BOB, ALICE)


def test_exact_times_need_ownership_and_now_needs_only_write(folder: Path) -> None:
    file = owned(folder / "file", 0o666)
    with refused(errno.EPERM):
        as_user(BOB, lambda: os.utime(file, ns=(1, 1)))
    as_user(BOB, lambda: set_times_raw(file, UTIME_NOW, UTIME_NOW))
    file.chmod(0o644)
    with refused(errno.EACCES):
        as_user(BOB, lambda: set_times_raw(file, UTIME_NOW, UTIME_NOW))
    as_user(ALICE, lambda: os.utime(file, ns=(1, 1)))


def test_truncate_by_path_needs_write(folder: Path) -> None:
    file = owned(folder / "file", 0o644)
    with refused(errno.EACCES):
        as_user(BOB, lambda: os.truncate(file, 0))
    assert file.read_bytes() == b"content"


def test_open_handle_outlives_lost_rights(folder: Path) -> None:
    file = owned(folder / "file", 0o644)

    def read_after_losing_rights() -> bytes:
        handle = os.open(file, os.O_RDONLY)
        os.chmod(file, 0o000)
        with refused(errno.EACCES):
            os.open(file, os.O_RDONLY)
        return os.read(handle, 100)

    assert as_user(ALICE, read_after_losing_rights) == b"content"
