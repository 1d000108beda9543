"""The words of the control interface about people: users, groups, shares. See `protocol` for what holds of all words.

Passwords travel in requests only. No answer has a field for one, or for what is kept of it.
"""

from typing import Annotated, Literal

from pydantic import Field

from appliance.control.protocol import _Answer, _Request

RoleName = Literal["owner", "admin", "auditor", "employee"]
AccessName = Literal["read", "write"]
Password = Annotated[str, Field(max_length=1024)]


class User(_Answer):
    """Somebody who works with the drive. `uid` is never anybody else's; `home`: his folder, from the drive's root."""

    name: str
    uid: int
    full_name: str
    role: RoleName
    enabled: bool
    has_password: bool
    groups: list[str]
    home: str


class UserRequest(_Request):
    """A new user, with a home. Without a password he cannot sign in yet."""

    name: str
    full_name: str = ""
    role: RoleName = "employee"
    password: Password | None = None


class RoleRequest(_Request):
    """Another role."""

    role: RoleName


class PasswordRequest(_Request):
    """A new password. `old`: the one until now, needed by whoever is no admin."""

    password: Password
    old: Password | None = None


class Group(_Answer):
    """People under one name."""

    name: str
    gid: int
    members: list[str]


class NameRequest(_Request):
    """A name, of what is made or renamed."""

    name: str


class ShareMember(_Answer):
    """A user or group that may read, or read and write, in a share."""

    name: str
    kind: Literal["user", "group"]
    access: AccessName


class Share(_Answer):
    """A folder at the root with members. `people`: how many users may do something there, also by groups."""

    name: str
    gid: int
    members: list[ShareMember]
    people: int


class AccessRequest(_Request):
    """What a member of a share may do."""

    access: AccessName


class ShareRemoved(_Answer):
    """What became of a share: its folder stays for root alone when something was in it."""

    name: str
    has_left_folder: bool
