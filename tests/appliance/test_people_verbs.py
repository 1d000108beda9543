"""The verbs of people over a real engine: what follows from a change, who may make it, and what a refusal leaves."""

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kit.still_drive import StillDrive, run

from appliance.control.people_protocol import PasswordRequest, UserRequest
from appliance.control.protocol import ServiceError
from appliance.people_verbs import PeopleVerbs
from appliance.roles import Acting
from cloud_tier.wraps import Argon2Cost
from vfs.area_folders import AreaFolders
from vfs.people import Role, SecretKind

OWNER, ADMIN = Acting(0, Role.OWNER), Acting(60_500, Role.ADMIN)
CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)
PASSWORD = "violet kettle"


class Office:
    """Verbs over a drive on which nothing happens by itself; `do` runs one to its end."""

    def __init__(self, still: StillDrive, folder: Path, *, is_root: bool = True) -> None:
        self.still = still
        self.folder = folder
        folders = AreaFolders(still.drive, lambda parent, name: None, lambda ino: None)
        self.verbs = PeopleVerbs(
            still.drive, folders, folder, Path("/srv/drive"), is_root=is_root, cost=CHEAP
        )  # fmt: skip

    def do(self, verb: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        return run(verb, *arguments)

    def add(self, name: str, role: str = "employee", password: str | None = None, by: Acting = OWNER) -> Any:
        request = UserRequest.model_validate({"name": name, "role": role, "password": password})
        return self.do(self.verbs.add_user, by, request)

    def refusal(self, verb: Callable[..., Awaitable[Any]], *arguments: Any) -> ServiceError:
        """The refusal of a verb; nothing has changed."""
        before = self.everything()
        with pytest.raises(ServiceError) as caught:
            self.do(verb, *arguments)
        assert self.everything() == before
        assert caught.value.message.endswith(".")
        return caught.value

    def everything(self) -> list[Any]:
        """Rows and what is in memory."""
        people, shares = self.still.drive.people, self.still.drive.shares
        tables = ("users", "people_groups", "members", "shares", "share_members", "secrets", "inodes", "dentries")
        in_memory = [people.users(), people.groups(), [(s, shares.members_of(s)) for s in shares.all()]]
        return [in_memory, *(self.still.rows(table) for table in tables)]


@pytest.fixture
def office(still: StillDrive, tmp_path: Path) -> Office:
    return Office(still, tmp_path / "extrausers")


def test_a_user_has_a_number_a_home_and_a_line_for_the_system(office: Office) -> None:
    made = office.add("anna", password=PASSWORD)
    assert (made.uid, made.home, made.has_password, made.enabled) == (60_000, "Homes/anna", True, True)
    home = office.still.inode("Homes/anna")
    assert (home.uid, stat.S_IMODE(home.mode)) == (60_000, 0o700)
    assert (office.folder / "passwd").read_text().startswith("anna:x:60000:60000:")
    assert not office.add("bert").has_password


def test_what_was_answered_survives_the_death_of_the_core(office: Office) -> None:
    office.add("anna", password=PASSWORD)
    office.do(office.verbs.add_share, "Sales")
    office.do(office.verbs.allow, "Sales", "anna", "write")
    before = office.everything()[1:]
    office.still.die()
    assert Office(office.still, office.folder).everything()[1:] == before


def test_hooks_are_waited_for_after_each_change_when_all_of_it_is_there(office: Office) -> None:
    seen: list[str] = []

    async def hook() -> None:
        seen.append((office.folder / "group").read_text())

    office.verbs.on_changed(hook)
    office.do(office.verbs.start)
    office.add("anna")
    office.do(office.verbs.add_share, "Sales")
    office.do(office.verbs.allow, "Sales", "anna", "read")
    office.refusal(office.verbs.allow, "Nowhere", "anna", "read")
    assert seen == [
        "",
        "anna:x:60000:\n",
        "anna:x:60000:\nshare-60001:x:60001:\n",
        "anna:x:60000:\nshare-60001:x:60001:anna\n",
    ]


def test_somebody_who_is_removed_was_disabled_before(office: Office) -> None:
    office.add("anna")
    states: list[list[bool]] = []

    async def hook() -> None:
        states.append([user.is_enabled for user in office.still.drive.people.users()])

    office.verbs.on_changed(hook)
    office.do(office.verbs.remove_user, OWNER, "anna")
    assert states == [[False], []]
    assert office.still.find("Homes/anna") is not None
    assert office.refusal(office.verbs.add_user, OWNER, UserRequest(name="anna")).code == "exists"


@pytest.mark.parametrize(
    ("name", "code"), [("root", "exists"), ("Anna", "usage"), ("", "usage"), ("a:b", "usage"), ("share-1", "usage")]
)
def test_a_name_that_cannot_be_is_refused(name: str, code: str, office: Office) -> None:
    assert office.refusal(office.verbs.add_user, OWNER, UserRequest(name=name)).code == code
    assert office.refusal(office.verbs.add_group, name).code == code


def test_an_admin_has_no_power_over_owners(office: Office) -> None:
    office.add("chief", "owner", PASSWORD)
    office.add("anna", password=PASSWORD)
    verbs = office.verbs
    attempts: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...]]] = [
        (verbs.add_user, (UserRequest(name="mine", role="owner"),)),
        (verbs.set_role, ("anna", "owner")),
        (verbs.set_role, ("chief", "employee")),
        (verbs.enable, ("chief", False)),
        (verbs.remove_user, ("chief",)),
        (verbs.set_password, ("chief", PasswordRequest(password="another kettle"))),
    ]
    for verb, arguments in attempts:
        assert office.refusal(verb, ADMIN, *arguments).code == "no_rights"
    assert office.do(verbs.set_role, ADMIN, "anna", "admin").role == "admin"
    assert office.do(verbs.set_role, OWNER, "anna", "owner").role == "owner"


def test_everybody_changes_his_own_password_if_he_knows_the_old_one(office: Office) -> None:
    anna = Acting(office.add("anna", password=PASSWORD).uid, Role.EMPLOYEE)
    office.add("bert", password=PASSWORD)
    change, new = office.verbs.set_password, "another kettle"
    for name, request in (
        ("bert", PasswordRequest(password=new, old=PASSWORD)),
        ("anna", PasswordRequest(password=new)),
        ("anna", PasswordRequest(password=new, old="wrong kettle")),
    ):
        assert office.refusal(change, anna, name, request).code == "no_rights"
    office.do(change, anna, "anna", PasswordRequest(password=new, old=PASSWORD))
    assert office.do(office.verbs.is_password, "anna", new)
    assert not office.do(office.verbs.is_password, "anna", PASSWORD)


def test_a_password_is_right_for_an_enabled_user_only(office: Office) -> None:
    office.add("anna", password=PASSWORD)
    assert not office.do(office.verbs.is_password, "nobody", PASSWORD)
    office.do(office.verbs.enable, OWNER, "anna", False)
    assert not office.do(office.verbs.is_password, "anna", PASSWORD)
    office.do(office.verbs.enable, OWNER, "anna", True)
    assert office.do(office.verbs.is_password, "anna", PASSWORD)


def test_a_weak_password_is_refused_and_not_repeated(office: Office) -> None:
    refused = office.refusal(office.verbs.add_user, OWNER, UserRequest(name="anna", password="short"))
    assert refused.code == "usage"
    assert "short" not in refused.message


def test_both_secrets_are_kept_and_a_new_password_replaces_both(office: Office) -> None:
    uid = office.add("anna", password=PASSWORD).uid
    secret = office.still.drive.people.secret
    before = {kind: secret(uid, kind) for kind in SecretKind}
    office.do(office.verbs.set_password, OWNER, "anna", PasswordRequest(password="another kettle"))
    after = {kind: secret(uid, kind) for kind in SecretKind}
    assert None not in after.values()
    assert not set(before.values()) & set(after.values())


def test_groups_and_shares_are_shown_with_who_is_in_them(office: Office) -> None:
    for name in ("anna", "bert"):
        office.add(name)
    office.do(office.verbs.add_group, "team")
    assert office.do(office.verbs.add_member, "team", "anna").members == ["anna"]
    office.do(office.verbs.add_share, "Sales")
    office.do(office.verbs.allow, "Sales", "team", "write")
    shown = office.do(office.verbs.allow, "Sales", "bert", "read")
    assert [(m.name, m.kind, m.access) for m in shown.members] == [
        ("bert", "user", "read"),
        ("team", "group", "write"),
    ]
    assert shown.people == 2
    assert office.do(office.verbs.deny, "Sales", "team").people == 1
    office.do(office.verbs.remove_group, "team")
    assert [user.groups for user in office.do(office.verbs.users)] == [[], []]


def test_a_share_is_not_made_over_what_stands_there(office: Office) -> None:
    office.still.do(office.still.mkdir, "Letters")
    assert office.refusal(office.verbs.add_share, "letters").code == "exists"
    office.do(office.verbs.add_share, "Sales")
    assert office.refusal(office.verbs.rename_share, "Sales", "Letters").code == "exists"
    assert office.do(office.verbs.rename_share, "Sales", "SALES").name == "SALES"
    assert not office.do(office.verbs.remove_share, "SALES").has_left_folder


def test_a_change_that_breaks_in_the_middle_leaves_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise OSError("broken")

    before = office.everything()
    monkeypatch.setattr(AreaFolders, "make_home", broken)
    with pytest.raises(OSError, match="broken"):
        office.add("anna")
    assert office.everything() == before


def test_a_drive_of_an_ordinary_user_is_his_alone(still: StillDrive, tmp_path: Path) -> None:
    office = Office(still, tmp_path / "extrausers", is_root=False)
    assert office.refusal(office.verbs.add_group, "team").code == "refused"
    office.do(office.verbs.start)
    assert not office.folder.exists()
    assert still.find("Homes") is None
    assert os.listdir(tmp_path) == ["state"]
