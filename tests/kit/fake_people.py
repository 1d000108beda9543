"""People of a `FakeService`: users, groups and shares in memory, by rules of no drive."""

import itertools
from typing import Literal, TypeVar

from appliance.control.people_protocol import (
    AccessName,
    Group,
    PasswordRequest,
    RoleName,
    Share,
    ShareMember,
    ShareRemoved,
    User,
    UserRequest,
)
from appliance.control.protocol import ServiceError
from appliance.roles import Acting
from vfs.people import Role

T = TypeVar("T")


class FakePeople:
    """A `PeopleService`. `roles` says what a uid is."""

    def __init__(self) -> None:
        self.roles: dict[int, Role] = {}
        self.known: dict[str, User] = {}
        self.passwords: dict[str, str] = {}
        self.teams: dict[str, Group] = {}
        self.folders: dict[str, Share] = {}
        self._numbers = itertools.count(60_000)

    def role_of(self, uid: int) -> Role | None:
        return self.roles.get(uid)

    async def users(self) -> list[User]:
        return list(self.known.values())

    async def add_user(self, by: Acting, request: UserRequest) -> User:
        if request.name in self.known:
            raise ServiceError("exists", f"There is a user {request.name} already; nothing was changed.")
        self.known[request.name] = User(
            name=request.name, uid=next(self._numbers), full_name=request.full_name, role=request.role, enabled=True,
            has_password=request.password is not None, groups=[], home=f"Homes/{request.name}",
        )  # fmt: skip
        if request.password is not None:
            self.passwords[request.name] = request.password
        return self.known[request.name]

    async def remove_user(self, by: Acting, name: str) -> None:
        del self.known[self._of(self.known, name).name]

    async def set_role(self, by: Acting, name: str, role: RoleName) -> User:
        return self._change(name, role=role)

    async def enable(self, by: Acting, name: str, is_enabled: bool) -> User:
        return self._change(name, enabled=is_enabled)

    async def set_password(self, by: Acting, name: str, request: PasswordRequest) -> User:
        self.passwords[self._of(self.known, name).name] = request.password
        return self._change(name, has_password=True)

    async def groups(self) -> list[Group]:
        return list(self.teams.values())

    async def add_group(self, name: str) -> Group:
        self.teams[name] = Group(name=name, gid=next(self._numbers), members=[])
        return self.teams[name]

    async def remove_group(self, name: str) -> None:
        del self.teams[self._of(self.teams, name).name]

    async def add_member(self, group: str, user: str) -> Group:
        members = sorted({*self._of(self.teams, group).members, self._of(self.known, user).name})
        self.teams[group] = self.teams[group].model_copy(update={"members": members})
        return self.teams[group]

    async def remove_member(self, group: str, user: str) -> Group:
        members = sorted({*self._of(self.teams, group).members} - {user})
        self.teams[group] = self.teams[group].model_copy(update={"members": members})
        return self.teams[group]

    async def shares(self) -> list[Share]:
        return list(self.folders.values())

    async def add_share(self, name: str) -> Share:
        self.folders[name] = Share(name=name, gid=next(self._numbers), members=[], people=0)
        return self.folders[name]

    async def remove_share(self, name: str) -> ShareRemoved:
        del self.folders[self._of(self.folders, name).name]
        return ShareRemoved(name=name, has_left_folder=True)

    async def rename_share(self, name: str, new: str) -> Share:
        self.folders[new] = self._of(self.folders, name).model_copy(update={"name": new})
        del self.folders[name]
        return self.folders[new]

    async def allow(self, name: str, who: str, access: AccessName) -> Share:
        kind: Literal["user", "group"] = "user" if who in self.known else "group"
        others = [member for member in self._of(self.folders, name).members if member.name != who]
        return self._admit(name, [*others, ShareMember(name=who, kind=kind, access=access)])

    async def deny(self, name: str, who: str) -> Share:
        return self._admit(name, [m for m in self._of(self.folders, name).members if m.name != who])

    def _admit(self, name: str, members: list[ShareMember]) -> Share:
        self.folders[name] = self.folders[name].model_copy(update={"members": members})
        return self.folders[name]

    def _change(self, name: str, **change: object) -> User:
        self.known[name] = self._of(self.known, name).model_copy(update=change)
        return self.known[name]

    def _of(self, known: dict[str, T], name: str) -> T:
        if name not in known:
            raise ServiceError("not_found", f"There is no {name}; nothing was changed.")
        return known[name]
