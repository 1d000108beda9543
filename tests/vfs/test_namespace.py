"""Rules of names: who is refused, that a refusal changes nothing, and what a success changes."""

import stat
from collections.abc import Callable

import pytest
from kit.still_drive import StillDrive

from vfs.errors import (
    Exists,
    InvalidArgument,
    IsAFolder,
    NameTooLong,
    NotAFolder,
    NotEmpty,
    NotFound,
    NotPermitted,
    VfsError,
)
from vfs.ids import ROOT
from vfs.inodes import Inode
from vfs.namespace import RENAME_EXCHANGE, RENAME_NOREPLACE

FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
TABLES = ("inodes", "dentries", "inodes_history", "dentries_history", "counters")


def make(still: StillDrive, folder: int, name: bytes, mode: int = FILE) -> Inode:
    return still.drive.namespace.create(folder, name, mode, still.caller)


@pytest.fixture
def planted(still: StillDrive) -> StillDrive:
    """file, other, folder/inside/deep, empty; and a snapshot of them."""
    make(still, ROOT, b"file")
    make(still, ROOT, b"other")
    folder = make(still, ROOT, b"folder", FOLDER)
    make(still, make(still, folder.ino, b"inside", FOLDER).ino, b"deep")
    make(still, ROOT, b"empty", FOLDER)
    still.snap()
    return still


def ino(still: StillDrive, path: str) -> int:
    found: int = still.inode(path).ino
    return found


REFUSALS: list[tuple[str, type[VfsError], Callable[[StillDrive], object]]] = [
    ("make over a name", Exists, lambda s: make(s, ROOT, b"file")),
    ("make in a file", NotAFolder, lambda s: make(s, ino(s, "file"), b"x")),
    ("make a reserved name", NotPermitted, lambda s: make(s, ino(s, "empty"), b".snapshots")),
    ("make a long name", NameTooLong, lambda s: make(s, ROOT, b"x" * 256)),
    ("make ..", InvalidArgument, lambda s: make(s, ROOT, b"..")),
    ("link a folder", NotPermitted, lambda s: s.drive.namespace.link(s.inode("empty"), ROOT, b"x", s.caller)),
    ("link over a name", Exists, lambda s: s.drive.namespace.link(s.inode("file"), ROOT, b"other", s.caller)),
    ("unlink a folder", IsAFolder, lambda s: s.drive.namespace.unlink(ROOT, b"empty", s.caller)),
    ("unlink nothing", NotFound, lambda s: s.drive.namespace.unlink(ROOT, b"nothing", s.caller)),
    ("rmdir a file", NotAFolder, lambda s: s.drive.namespace.rmdir(ROOT, b"file", s.caller)),
    ("rmdir a full folder", NotEmpty, lambda s: s.drive.namespace.rmdir(ROOT, b"folder", s.caller)),
    ("rename nothing", NotFound, lambda s: rename(s, "nothing", "x")),
    ("rename onto a taken name", Exists, lambda s: rename(s, "file", "other", RENAME_NOREPLACE)),
    ("rename onto itself, not replacing", Exists, lambda s: rename(s, "file", "file", RENAME_NOREPLACE)),
    ("rename a file onto a folder", IsAFolder, lambda s: rename(s, "file", "empty")),
    ("rename a folder onto a file", NotAFolder, lambda s: rename(s, "empty", "file")),
    ("rename onto a full folder", NotEmpty, lambda s: rename(s, "empty", "folder")),
    ("rename into itself", InvalidArgument, lambda s: rename(s, "folder", "folder/x")),
    ("rename below itself", InvalidArgument, lambda s: rename(s, "folder", "folder/inside/x")),
    ("rename onto what it lies in", NotEmpty, lambda s: rename(s, "folder/inside", "folder")),
    ("exchange with nothing", NotFound, lambda s: rename(s, "file", "x", RENAME_EXCHANGE)),
    ("exchange with what is inside", InvalidArgument, lambda s: rename(s, "folder", "folder/inside", RENAME_EXCHANGE)),
    ("exchange with what it lies in", InvalidArgument, lambda s: rename(s, "folder/inside", "folder", RENAME_EXCHANGE)),
    ("rename with unknown flags", InvalidArgument, lambda s: rename(s, "file", "x", 4)),
    ("rename to a reserved name", NotPermitted, lambda s: rename(s, "file", ".previous")),
]


def rename(still: StillDrive, old: str, new: str, flags: int = 0) -> Inode | None:
    return still.drive.namespace.rename(*still.place(old), *still.place(new), flags, still.caller)


@pytest.mark.parametrize(("error", "call"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_refusal_changes_nothing(
    error: type[VfsError], call: Callable[[StillDrive], object], planted: StillDrive
) -> None:
    before = [planted.rows(table) for table in TABLES]
    planted.clock.advance(1)
    with pytest.raises(error):
        call(planted)
    assert [planted.rows(table) for table in TABLES] == before


def test_a_removed_folder_takes_no_names(planted: StillDrive) -> None:
    folder = planted.inode("empty")
    planted.drive.inodes.looked_up(folder.ino)
    planted.drive.namespace.rmdir(ROOT, b"empty", planted.caller)
    with pytest.raises(NotFound):
        make(planted, folder.ino, b"x")
    with pytest.raises(NotFound):
        planted.drive.namespace.rename(ROOT, b"file", folder.ino, b"x", 0, planted.caller)


def test_a_removed_file_gets_no_new_name(planted: StillDrive) -> None:
    inode = planted.inode("file")
    planted.drive.inodes.opened(inode)
    planted.drive.namespace.unlink(ROOT, b"file", planted.caller)
    with pytest.raises(NotFound):
        planted.drive.namespace.link(inode, ROOT, b"again", planted.caller)


def test_link_counts_follow_names_and_subfolders(planted: StillDrive) -> None:
    file, folder, inside = (planted.inode(path) for path in ("file", "folder", "folder/inside"))
    planted.drive.namespace.link(file, folder.ino, b"second", planted.caller)
    assert (file.nlink, folder.nlink, inside.nlink) == (2, 3, 2)
    rename(planted, "folder/inside", "empty/inside")
    assert (folder.nlink, planted.inode("empty").nlink) == (2, 3)
    rename(planted, "empty/inside", "file2")
    assert (planted.inode("empty").nlink, planted.inode("").nlink) == (2, 5)
    planted.drive.namespace.unlink(ROOT, b"file", planted.caller)
    assert file.nlink == 1


def test_exchange_of_a_file_and_a_folder_moves_the_link_count(planted: StillDrive) -> None:
    root, folder = planted.inode(""), planted.inode("folder")
    before = root.nlink, folder.nlink
    rename(planted, "file", "folder/inside", RENAME_EXCHANGE)
    assert (root.nlink, folder.nlink) == (before[0] + 1, before[1] - 1)
    assert planted.inode("file").is_folder
    assert planted.find("file/deep") is not None


def test_setgid_folder_hands_down_its_group(still: StillDrive) -> None:
    shared = make(still, ROOT, b"shared", FOLDER | stat.S_ISGID)
    shared.gid = 77
    still.drive.inodes.touch(shared)
    file, folder = make(still, shared.ino, b"file"), make(still, shared.ino, b"folder", FOLDER)
    assert (file.gid, file.mode & stat.S_ISGID) == (77, 0)
    assert (folder.gid, folder.mode & stat.S_ISGID) == (77, stat.S_ISGID)


@pytest.mark.parametrize("flags", [0, RENAME_NOREPLACE])
def test_a_name_renamed_in_its_folder_stays_at_its_place(flags: int, planted: StillDrive) -> None:
    before = planted.names()
    rename(planted, "file", "renamed", flags)
    assert planted.names() == [name.replace("file", "renamed") for name in before]


def test_a_replaced_name_keeps_its_place(planted: StillDrive) -> None:
    rename(planted, "empty", "later")
    make(planted, ROOT, b"last")
    before = planted.names()
    rename(planted, "last", "file")
    assert planted.names() == before[:-1]


def test_a_cookie_is_never_handed_out_again(still: StillDrive) -> None:
    used: set[int] = set()
    for turn in range(5):
        make(still, ROOT, b"a")
        cookie = still.drive.database.row("SELECT cookie FROM dentries WHERE parent = 1 AND name = ?", (b"a",))[0]
        assert cookie not in used
        used.add(cookie)
        still.drive.namespace.unlink(ROOT, b"a", still.caller)
        if turn % 2:
            still.rest()


def test_two_names_of_one_file_stay_when_one_is_renamed_onto_the_other(planted: StillDrive) -> None:
    planted.drive.namespace.link(planted.inode("file"), ROOT, b"twin", planted.caller)
    before = planted.rows("dentries")
    assert rename(planted, "file", "twin") is None
    assert planted.rows("dentries") == before


def test_replacing_a_file_removes_it(planted: StillDrive) -> None:
    gone: Inode = planted.inode("other")
    assert rename(planted, "file", "other") is gone
    with pytest.raises(NotFound):
        planted.drive.inodes.get(gone.ino)


def test_operations_find_their_folder_however_many_inodes_come_and_go(
    still: StillDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading the file used to forget the folder that the same call was about to change."""
    folder = make(still, ROOT, b"folder", FOLDER).ino
    for number in range(60):
        make(still, folder, b"%d" % number)
    other = make(still, ROOT, b"other", FOLDER).ino
    still.rest()
    monkeypatch.setattr("vfs.inodes.CACHED_INODES", 20)
    for number in range(60):
        still.drive.namespace.rename(folder, b"%d" % number, other, b"%d" % number, 0, still.caller)
        still.drive.namespace.rename(other, b"%d" % number, folder, b"%d" % number, 0, still.caller)
        still.drive.inodes.flush()
    next_cookies = [still.drive.inodes.get(ino).next_cookie for ino in (folder, other)]
    assert next_cookies == [3 + 60 + 60, 3 + 60]


@pytest.mark.parametrize("asked", [b"REPORT.docx", b"report.DOCX", b"Report.docx"])
def test_an_entry_is_found_ignoring_case(asked: bytes, still: StillDrive) -> None:
    make(still, ROOT, b"Report.docx")
    assert still.drive.namespace.stored_name(ROOT, asked) == b"Report.docx"


def test_a_name_that_is_there_exactly_comes_before_those_that_differ_by_case(still: StillDrive) -> None:
    for name in (b"A", b"a"):
        make(still, ROOT, name)
    assert [still.drive.namespace.stored_name(ROOT, name) for name in (b"A", b"a")] == [b"A", b"a"]


def test_names_of_one_hash_are_told_apart(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfs.namespace.fold", lambda name: 7)
    make(still, ROOT, b"one")
    assert still.drive.namespace.stored_name(ROOT, b"two") is None
    assert still.drive.namespace.stored_name(ROOT, b"ONE") == b"one"
