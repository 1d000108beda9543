"""Shares and homes as parts of the tree: which folder lies where, what crosses no border, and names without twins."""

import stat
from collections.abc import Callable

import pytest
from kit.still_drive import StillDrive

from vfs.actors import Caller
from vfs.area_folders import AreaFolders
from vfs.areas import Areas
from vfs.errors import Exists, NoAccess, NotPermitted, OtherArea
from vfs.ids import ATTIC, ROOT, SNAPSHOTS_VIEW, in_view
from vfs.namespace import RENAME_EXCHANGE
from vfs.people import Role
from vfs.shares import Access

FILE, FOLDER = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700


class Office:
    """The shares Sales and Plans, the users anna and bert with homes."""

    def __init__(self, still: StillDrive) -> None:
        self.still = still
        self.told: list[tuple[int, bytes]] = []
        self.folders = AreaFolders(still.drive, lambda *name: self.told.append(name), lambda ino: None)
        for name in ("anna", "bert"):
            still.drive.people.add_user(name, "", Role.EMPLOYEE)
        for share in ("Sales", "Plans"):
            still.drive.shares.open(share)
            still.drive.shares.allow(share, "anna", Access.WRITE)
        self.folders.settle()

    @property
    def areas(self) -> Areas:
        return self.still.drive.areas

    def who(self, name: str) -> Caller:
        uid = self.still.drive.people.user(name).uid
        return Caller(uid, uid, self.still.drive.actors.local(uid))

    def make(self, path: str, mode: int = FILE, who: str = "anna") -> int:
        return self.still.drive.namespace.create(*self.still.place(path), mode, self.who(who)).ino

    def rename(self, old: str, new: str, flags: int = 0, who: Caller | None = None) -> None:
        places = (*self.still.place(old), *self.still.place(new))
        self.still.drive.namespace.rename(*places, flags, who or self.who("anna"))

    def gid(self, share: str) -> int:
        return self.still.drive.shares.get(share).gid


@pytest.fixture
def office(still: StillDrive) -> Office:
    return Office(still)


def test_folders_have_the_owners_and_modes_that_keep_strangers_out(office: Office) -> None:
    anna = office.who("anna").uid
    for path, found in (
        ("Sales", (0, office.gid("Sales"), 0o2770)),
        ("Homes", (0, 0, 0o711)),
        ("Homes/anna", (anna, anna, 0o700)),
    ):
        inode = office.still.inode(path)
        assert (inode.uid, inode.gid, stat.S_IMODE(inode.mode)) == found, path
    for path in ("Sales", "Homes/anna"):
        assert office.still.inode(f"{path}/Previous Versions").target == b".snapshots"


def test_what_is_made_in_a_share_belongs_to_its_group_which_may_change_it(office: Office) -> None:
    office.make("Sales/sub", FOLDER)
    office.still.inode("Sales/sub").mode &= ~stat.S_ISGID
    office.make("Sales/sub/deep", FOLDER)
    office.make("Sales/sub/deep/file")
    for path, mode in (("Sales/sub/deep", 0o2770), ("Sales/sub/deep/file", 0o660)):
        inode = office.still.inode(path)
        assert (inode.gid, stat.S_IMODE(inode.mode)) == (office.gid("Sales"), mode)
    own = office.still.drive.inodes.get(office.make("Homes/anna/file"))
    assert (own.gid, stat.S_IMODE(own.mode)) == (office.who("anna").gid, 0o600)


@pytest.mark.parametrize("place", ["Sales", "Sales/sub", "Homes/anna"])
def test_names_that_differ_only_by_case_are_refused(place: str, office: Office) -> None:
    office.make("Sales/sub", FOLDER)
    file = office.still.drive.inodes.get(office.make(f"{place}/Report"))
    office.make(f"{place}/other")
    namespace, (folder, _) = office.still.drive.namespace, office.still.place(f"{place}/x")
    attempts: list[Callable[[], object]] = [
        lambda: office.make(f"{place}/REPORT"),
        lambda: office.make(f"{place}/rePort", FOLDER),
        lambda: namespace.create(folder, b"report", stat.S_IFLNK | 0o777, office.who("anna"), target=b"x"),
        lambda: namespace.link(file, folder, b"report", office.who("anna")),
        lambda: office.rename(f"{place}/other", f"{place}/report"),
    ]
    for attempt in attempts:
        with pytest.raises(Exists):
            attempt()
    office.rename(f"{place}/Report", f"{place}/REPORT")
    assert office.still.find(f"{place}/REPORT") is file


def test_names_that_differ_only_by_case_stand_side_by_side_elsewhere(office: Office) -> None:
    for name in (b"a", b"A"):
        office.still.drive.namespace.create(ROOT, name, FILE, office.who("anna"))


def test_a_saved_document_may_replace_its_own_name(office: Office) -> None:
    office.make("Sales/Report")
    office.make("Sales/tmp")
    office.rename("Sales/tmp", "Sales/Report")
    assert office.still.names("Sales") == ["Previous Versions", "Report"]


@pytest.mark.parametrize("target", ["Plans/x", "Homes/anna/x", "x"])
def test_nothing_crosses_a_border_but_for_root(target: str, office: Office) -> None:
    office.make("Sales/sub", FOLDER)
    deep = office.make("Sales/sub/deep", FOLDER)
    file = office.still.drive.inodes.get(office.make("Sales/file"))
    with pytest.raises(OtherArea):
        office.rename("Sales/file", target)
    with pytest.raises(OtherArea):
        office.rename("Sales/sub", target)
    with pytest.raises(OtherArea):
        office.still.drive.namespace.link(file, *office.still.place(target), office.who("anna"))
    assert office.areas.of(deep) == office.areas.of(office.still.inode("Sales").ino)
    office.rename("Sales/sub", target, who=Caller(0, 0, 0))
    assert office.areas.of(deep) == office.areas.of(office.still.place(target)[0])


def test_exchange_crosses_no_border_either(office: Office) -> None:
    office.make("Sales/a")
    office.make("Plans/b")
    with pytest.raises(OtherArea):
        office.rename("Sales/a", "Plans/b", RENAME_EXCHANGE)


def test_a_folder_follows_when_root_moves_what_it_lies_in(office: Office) -> None:
    office.make("Sales/sub", FOLDER)
    deep = office.make("Sales/sub/deep", FOLDER)
    assert office.areas.share_of(deep) == office.gid("Sales")
    office.rename("Sales/sub", "Plans/sub", who=Caller(0, 0, 0))
    assert office.areas.share_of(deep) == office.gid("Plans")
    office.rename("Plans/sub", "Homes/bert/sub", who=Caller(0, 0, 0))
    assert office.areas.of(deep) == (office.still.inode("Homes/bert").ino, None)


def test_readers_may_look_and_change_nothing_at_any_depth(office: Office) -> None:
    office.make("Sales/sub", FOLDER)
    deep = office.make("Sales/sub/deep", FOLDER)
    file = office.make("Sales/sub/deep/file")
    office.still.drive.shares.allow("Sales", "bert", Access.READ)
    bert, top = office.who("bert").uid, office.still.inode("Sales").ino
    for ino in (top, deep, file):
        office.areas.require(bert, ino, Access.READ)
        office.areas.require(office.who("anna").uid, ino, Access.WRITE)
        with pytest.raises(NoAccess):
            office.areas.require(bert, ino, Access.WRITE)
    office.still.drive.shares.deny("Sales", "bert")
    with pytest.raises(NoAccess):
        office.areas.require(bert, file, Access.READ)


def test_a_reader_changes_what_is_his_elsewhere(office: Office) -> None:
    office.still.drive.shares.allow("Sales", "bert", Access.READ)
    office.still.drive.shares.allow("Plans", "bert", Access.WRITE)
    bert = office.who("bert").uid
    for ino in (office.make("Homes/bert/file", who="bert"), office.make("Plans/file"), ROOT):
        office.areas.require(bert, ino, Access.WRITE)


def test_a_hard_link_needs_the_right_in_every_share_that_holds_it(office: Office) -> None:
    file = office.still.drive.inodes.get(office.make("Plans/file"))
    office.still.drive.namespace.link(file, *office.still.place("Sales/file"), Caller(0, 0, 0))
    office.still.drive.shares.allow("Plans", "bert", Access.WRITE)
    office.still.drive.shares.allow("Sales", "bert", Access.READ)
    with pytest.raises(NoAccess):
        office.areas.require(office.who("bert").uid, file.ino, Access.WRITE)


@pytest.mark.parametrize("path", ["Sales", "Homes", "Homes/anna"])
def test_folders_that_commands_care_for_stay_where_they_are(path: str, office: Office) -> None:
    with pytest.raises(NotPermitted):
        office.areas.refuse_fixed(*office.still.place(path))
    office.make("Sales/Homes", FOLDER)
    office.areas.refuse_fixed(*office.still.place("Sales/Homes"))


def test_a_share_given_up_is_left_to_root_and_comes_back_as_it_was(office: Office) -> None:
    office.make("Sales/file")
    share = office.still.drive.shares.close("Sales")
    assert not office.folders.close_share(share)
    folder = office.still.inode("Sales")
    assert (folder.uid, stat.S_IMODE(folder.mode)) == (0, 0o700)
    assert office.areas.of(folder.ino) is None
    office.folders.refuse_taken("Sales")
    office.folders.make_share(office.still.drive.shares.open("Sales"))
    assert office.still.inode("Sales/file").gid == office.gid("Sales") == office.still.inode("Sales").gid


def test_an_empty_share_given_up_is_gone(office: Office) -> None:
    assert office.folders.close_share(office.still.drive.shares.close("Sales"))
    assert office.still.find("Sales") is None


def test_a_folder_that_was_never_a_share_is_not_taken_over(office: Office) -> None:
    office.still.drive.namespace.create(ROOT, b"Letters", FOLDER, Caller(0, 0, 0))
    for name in ("Letters", "LETTERS"):
        with pytest.raises(Exists):
            office.folders.refuse_taken(name)


def test_a_renamed_share_keeps_its_folder(office: Office) -> None:
    file = office.make("Sales/file")
    office.still.drive.shares.rename("Sales", "SALES")
    office.folders.rename_share("Sales", "SALES")
    assert office.still.inode("SALES/file").ino == file
    assert office.areas.share_of(file) == office.gid("SALES")


def test_folders_are_put_right_after_a_restore(office: Office) -> None:
    office.still.inode("Sales").mode = stat.S_IFDIR | 0o777
    office.still.drive.attic.hang_up(ROOT, b"Homes")
    office.folders.settle()
    test_folders_have_the_owners_and_modes_that_keep_strangers_out(office)
    assert office.areas.of(ATTIC) is None


def test_the_past_of_a_share_is_in_the_share_also_after_a_restore_of_it(office: Office) -> None:
    office.make("Sales/file")
    first = office.still.snap()
    door = in_view(SNAPSHOTS_VIEW, office.still.inode("Sales").ino)
    assert office.still.drive.doors.is_anchor(office.still.inode("Sales").ino)
    assert office.still.drive.doors.lookup(door, first.name.encode()) & 0xFFFFFFFFFF == office.still.inode("Sales").ino
    old = office.still.inode("Sales").ino
    office.still.drive.attic.hang_up(ROOT, b"Sales")
    office.folders.settle()
    new = office.still.inode("Sales").ino
    assert new != old
    door = in_view(SNAPSHOTS_VIEW, new)
    assert office.still.drive.doors.lookup(door, first.name.encode()) & 0xFFFFFFFFFF == old


def test_a_right_that_was_taken_stays_taken_when_the_core_dies(office: Office) -> None:
    file, shares = office.make("Sales/file"), office.still.drive.shares
    shares.allow("Sales", "bert", Access.WRITE)
    shares.deny("Sales", "bert")
    bert = office.who("bert").uid
    office.still.drive.cuts.log()
    office.still.die()
    with pytest.raises(NoAccess):
        office.areas.require(bert, file, Access.READ)
    with pytest.raises(NoAccess):
        office.areas.require_past(bert, office.gid("Sales"))


def test_a_file_that_root_moves_into_a_share_follows_its_rights(office: Office) -> None:
    root = Caller(0, 0, office.still.drive.actors.local(0))
    file = office.still.drive.namespace.create(ROOT, b"note", FILE, root).ino
    office.still.drive.shares.allow("Sales", "bert", Access.READ)
    bert = office.who("bert").uid
    office.areas.require(bert, file, Access.WRITE)  # at the root the kernel decides
    office.rename("note", "Sales/note", who=root)
    with pytest.raises(NoAccess):
        office.areas.require(bert, file, Access.WRITE)
