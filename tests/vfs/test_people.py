"""People, groups and shares: who is refused, which numbers are handed out, and what follows from memberships."""

from collections.abc import Callable

import pytest
from kit.still_drive import StillDrive

from vfs.errors import Exists, InvalidArgument, NotFound, VfsError
from vfs.people import FIRST_NUMBER, People, Role, SecretKind
from vfs.shares import Access, Shares

TABLES = ("users", "people_groups", "members", "shares", "share_members", "secrets", "settings")


@pytest.fixture
def people(still: StillDrive) -> People:
    return still.drive.people


@pytest.fixture
def shares(still: StillDrive, people: People) -> Shares:
    """anna and bert, both in team; carla; the share Sales without members."""
    for name in ("anna", "bert", "carla"):
        people.add_user(name, name.title(), Role.EMPLOYEE)
    people.add_group("team")
    for name in ("anna", "bert"):
        people.add_member("team", name)
    still.drive.shares.open("Sales")
    return still.drive.shares


def uid(shares: Shares, name: str) -> int:
    return shares._people.user(name).uid


REFUSALS: list[tuple[str, type[VfsError], Callable[[People, Shares], object]]] = [
    ("a name in capitals", InvalidArgument, lambda p, s: p.add_user("Anna", "", Role.EMPLOYEE)),
    ("a name with a colon", InvalidArgument, lambda p, s: p.add_user("a:b", "", Role.EMPLOYEE)),
    ("a name of 32 letters", InvalidArgument, lambda p, s: p.add_user("a" * 32, "", Role.EMPLOYEE)),
    ("a name with a line end", InvalidArgument, lambda p, s: p.add_user("anne\n", "", Role.EMPLOYEE)),
    ("a name of the system", InvalidArgument, lambda p, s: p.add_user("root", "", Role.EMPLOYEE)),
    ("a name of a share's group", InvalidArgument, lambda p, s: p.add_group("share-60001")),
    ("a full name with a line end", InvalidArgument, lambda p, s: p.add_user("anne", "A\nroot::0", Role.EMPLOYEE)),
    ("a user's name for a group", Exists, lambda p, s: p.add_group("anna")),
    ("a group's name for a user", Exists, lambda p, s: p.add_user("team", "", Role.EMPLOYEE)),
    ("a member that is nobody", NotFound, lambda p, s: p.add_member("team", "nobody")),
    ("a member who is none", NotFound, lambda p, s: p.remove_member("team", "carla")),
    ("a share's name that Windows cannot show", InvalidArgument, lambda p, s: s.open("a:b")),
    ("a share's name that is a path", InvalidArgument, lambda p, s: s.open("a/b")),
    ("a share's name that hides", InvalidArgument, lambda p, s: s.open(".sales")),
    ("a share called as the homes", InvalidArgument, lambda p, s: s.open("HOMES")),
    ("a share's name in another case", Exists, lambda p, s: s.open("SALES")),
    ("another name that is taken", Exists, lambda p, s: s.open("B") and s.rename("B", "sales")),
    ("rights for nobody", NotFound, lambda p, s: s.allow("Sales", "nobody", Access.READ)),
    ("rights in no share", NotFound, lambda p, s: s.allow("Nowhere", "anna", Access.READ)),
    ("taking what was not given", NotFound, lambda p, s: s.deny("Sales", "anna")),
]


@pytest.mark.parametrize(("error", "attempt"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_it_is_refused(
    error: type[VfsError], attempt: Callable[[People, Shares], object], people: People, shares: Shares
) -> None:
    with pytest.raises(error):
        attempt(people, shares)


def test_numbers_are_never_handed_out_again(still: StillDrive) -> None:
    first = still.drive.people.add_user("anna", "", Role.OWNER)
    assert first.uid >= FIRST_NUMBER
    still.drive.people.remove_user("anna")
    still.rest()
    second = still.drive.people.add_user("anna", "", Role.OWNER)
    still.die()  # without a close point: what came since was never promised
    assert second.uid > first.uid
    assert still.drive.people.add_group("team").gid > first.uid


def test_all_of_it_is_there_after_the_core_died(still: StillDrive, shares: Shares) -> None:
    shares.allow("Sales", "team", Access.WRITE)
    still.drive.people.set_secrets(uid(shares, "anna"), {SecretKind.NT: "00" * 16})
    still.drive.people.set_setting("sid", "S-1-5-21-1-2-3")
    rows = {table: still.rows(table) for table in TABLES}
    still.die()
    assert {table: still.rows(table) for table in TABLES} == rows
    anna = still.drive.people.user("anna")
    assert still.drive.shares.access(still.drive.shares.get("Sales").gid, anna.uid) is Access.WRITE
    assert still.drive.people.secret(anna.uid, SecretKind.NT) == "00" * 16
    assert still.drive.people.setting("sid") == "S-1-5-21-1-2-3"


def test_whoever_is_a_member_twice_has_the_greater_right(shares: Shares) -> None:
    sales = shares.get("Sales").gid
    shares.allow("Sales", "team", Access.WRITE)
    shares.allow("Sales", "anna", Access.READ)
    shares.allow("Sales", "carla", Access.READ)
    assert [shares.access(sales, uid(shares, name)) for name in ("anna", "bert", "carla")] == [2, 2, 1]
    shares.deny("Sales", "team")
    assert [shares.access(sales, uid(shares, name)) for name in ("anna", "bert", "carla")] == [1, None, 1]


def test_everybody_is_watched_but_who_may_write_in_every_share(shares: Shares, people: People) -> None:
    shares.allow("Sales", "team", Access.WRITE)
    assert not shares.is_watched(uid(shares, "bert"))
    assert shares.is_watched(uid(shares, "carla"))
    bert = uid(shares, "bert")
    people.remove_user("bert")
    assert shares.is_watched(bert), "his programs may still be in the group"
    assert not shares.is_watched(0)
    assert not shares.is_watched(1000), "not of this drive: the kernel has kept him out"


def test_somebody_disabled_has_no_rights(shares: Shares, people: People) -> None:
    shares.allow("Sales", "anna", Access.WRITE)
    people.change_user("anna", is_enabled=False)
    assert shares.people_of(shares.get("Sales")) == {}
    people.change_user("anna", is_enabled=True)
    assert shares.people_of(shares.get("Sales")) == {uid(shares, "anna"): Access.WRITE}


def test_a_share_that_was_removed_comes_back_with_its_number_and_nobody_in_it(shares: Shares) -> None:
    shares.allow("Sales", "anna", Access.WRITE)
    number = shares.close("Sales").gid
    with pytest.raises(NotFound):
        shares.get("Sales")
    assert shares.open("Sales").gid == number
    assert shares.people_of(shares.get("Sales")) == {}


def test_a_removed_user_leaves_no_row(still: StillDrive, shares: Shares, people: People) -> None:
    shares.allow("Sales", "carla", Access.READ)
    people.add_member("team", "carla")
    carla = people.user("carla").uid
    people.set_secrets(carla, {SecretKind.NT: "00" * 16})
    people.remove_user("carla")
    for table, column in (("users", "uid"), ("members", "uid"), ("share_members", "member"), ("secrets", "uid")):
        assert still.drive.database.rows(f"SELECT * FROM {table} WHERE {column} = ?", (carla,)) == []
    assert shares.members_of(shares.get("Sales")) == []
