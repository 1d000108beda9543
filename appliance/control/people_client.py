"""The caller's end for users, groups and shares: a `ControlClient` with their verbs besides."""

from appliance.control.client import ControlClient, _segment
from appliance.control.people_protocol import (
    AccessName,
    AccessRequest,
    Group,
    NameRequest,
    PasswordRequest,
    RoleName,
    RoleRequest,
    Share,
    ShareRemoved,
    User,
    UserRequest,
)


class PeopleClient(ControlClient):
    """Every failure is a `ControlProblem`, as of all questions."""

    def users(self) -> list[User]:
        return self._many(User, "/v1/users")

    def add_user(self, request: UserRequest) -> User:
        return self._one(User, "POST", "/v1/users", request)

    def remove_user(self, name: str) -> None:
        self._ask("DELETE", f"/v1/users/{_segment(name)}")

    def set_password(self, name: str, password: str, old: str | None = None) -> User:
        request = PasswordRequest(password=password, old=old)
        return self._one(User, "POST", f"/v1/users/{_segment(name)}/password", request)

    def set_role(self, name: str, role: RoleName) -> User:
        return self._one(User, "POST", f"/v1/users/{_segment(name)}/role", RoleRequest(role=role))

    def enable(self, name: str, is_enabled: bool) -> User:
        return self._one(User, "POST", f"/v1/users/{_segment(name)}/{'enable' if is_enabled else 'disable'}")

    def groups(self) -> list[Group]:
        return self._many(Group, "/v1/groups")

    def add_group(self, name: str) -> Group:
        return self._one(Group, "POST", "/v1/groups", NameRequest(name=name))

    def remove_group(self, name: str) -> None:
        self._ask("DELETE", f"/v1/groups/{_segment(name)}")

    def add_member(self, group: str, user: str) -> Group:
        return self._one(Group, "PUT", f"/v1/groups/{_segment(group)}/members/{_segment(user)}")

    def remove_member(self, group: str, user: str) -> Group:
        return self._one(Group, "DELETE", f"/v1/groups/{_segment(group)}/members/{_segment(user)}")

    def shares(self) -> list[Share]:
        return self._many(Share, "/v1/shares")

    def add_share(self, name: str) -> Share:
        return self._one(Share, "POST", "/v1/shares", NameRequest(name=name))

    def remove_share(self, name: str) -> ShareRemoved:
        return self._one(ShareRemoved, "DELETE", f"/v1/shares/{_segment(name)}")

    def rename_share(self, name: str, new: str) -> Share:
        return self._one(Share, "POST", f"/v1/shares/{_segment(name)}/rename", NameRequest(name=new))

    def allow(self, name: str, who: str, access: AccessName) -> Share:
        url = f"/v1/shares/{_segment(name)}/members/{_segment(who)}"
        return self._one(Share, "PUT", url, AccessRequest(access=access))

    def deny(self, name: str, who: str) -> Share:
        return self._one(Share, "DELETE", f"/v1/shares/{_segment(name)}/members/{_segment(who)}")
