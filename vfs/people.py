"""People of the office and their groups: the rows, and the rules of names and numbers.

Promises: a number (uid, gid) is handed out once in a drive's life, also across removals and recoveries, since files
keep the number of whoever made them; users and groups never share a name. Refuses names that a Unix system, a path or
Windows could misread, and those that systems use themselves. Decides nothing about who may ask for a change.

Everything is held in memory, because it is asked at each sign-in and is small; the rows are what counts. Whoever must
know that something changed (rights in memory, files for smbd) asks for it by `on_change`.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from cachefs.counters import Counters
from cachefs.database import Database
from vfs.errors import Exists, InvalidArgument, NotFound

FIRST_NUMBER = 60_000
NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,30}")
NOBODYS = (65_534, 65_535)
"""Numbers that systems keep for "nobody" and for "no number"."""
SHARE_GROUP = "share-"
"""Names that begin so are those of the shares' own groups."""
MOST_LETTERS = 200  # of a full name

_RESERVED = """
root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody nogroup adm tty disk
dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff users input sgx kvm
render crontab ssh sshd messagebus systemd-network systemd-journal systemd-timesync systemd-resolve sambashare
winbindd_priv hybrid-drive administrator administrators guest guests everyone system home homes global printers
"""
RESERVED = frozenset(_RESERVED.split())
"""Names of Debian's own users and groups, and words that Windows and Samba keep for themselves."""


class Role(StrEnum):
    """What somebody may ask the core for. On disk: do not change."""

    OWNER = "owner"
    ADMIN = "admin"
    AUDITOR = "auditor"
    EMPLOYEE = "employee"


class SecretKind(StrEnum):
    """What a secret is. On disk: do not change."""

    ARGON2ID = "argon2id"
    NT = "nt"


class User(NamedTuple):
    """Somebody who works with the drive. His own group has the number `uid` too."""

    uid: int
    name: str
    full_name: str
    role: Role
    is_enabled: bool


class Group(NamedTuple):
    """People under one name."""

    gid: int
    name: str


class People:
    """The tables of users, groups, members, secrets and settings."""

    def __init__(self, database: Database, counters: Counters) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._database = database
        self._counters = counters
        self._users: dict[int, User] = {}
        self._groups: dict[int, Group] = {}
        self._members: dict[int, set[int]] = {}
        self._settings: dict[str, str] = {}

    def load(self) -> None:
        """Read the tables."""
        self._counters.raise_to("person", FIRST_NUMBER - 1)
        rows = self._database.rows
        self._users = {
            uid: User(uid, name, full_name, Role(role), bool(is_enabled))
            for uid, name, full_name, role, is_enabled in rows(
                "SELECT uid, name, full_name, role, is_enabled FROM users"
            )
        }
        self._groups = {gid: Group(gid, name) for gid, name in rows("SELECT gid, name FROM people_groups")}
        self._members = {gid: set() for gid in self._groups}
        for gid, uid in rows("SELECT gid, uid FROM members"):
            self._members[gid].add(uid)
        self._settings = dict(rows("SELECT name, value FROM settings"))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change, when its rows are written. Settings are none."""
        self._listeners.append(listener)

    def next_number(self) -> int:
        """A uid or gid that nobody ever had."""
        while (number := self._counters.next("person")) in NOBODYS:
            continue
        return number

    # --- asking ---

    def users(self) -> list[User]:
        """Everybody, by name."""
        return sorted(self._users.values(), key=lambda user: user.name)

    def groups(self) -> list[Group]:
        """All groups, by name."""
        return sorted(self._groups.values(), key=lambda group: group.name)

    def by_uid(self, uid: int) -> User | None:
        """The user of that number, if there is one."""
        return self._users.get(uid)

    def by_number(self, number: int) -> User | Group | None:
        """The user or group of that number, if there is one."""
        return self._users.get(number) or self._groups.get(number)

    def user(self, name: str) -> User:
        """The user of that name. Raises NotFound."""
        for user in self._users.values():
            if user.name == name:
                return user
        raise NotFound(f"there is no user {name}")

    def group(self, name: str) -> Group:
        """The group of that name. Raises NotFound."""
        for group in self._groups.values():
            if group.name == name:
                return group
        raise NotFound(f"there is no group {name}")

    def named(self, name: str) -> User | Group:
        """The user or group of that name. Raises NotFound."""
        found = self._called(name)
        if found is None:
            raise NotFound(f"there is no user or group {name}")
        return found

    def _called(self, name: str) -> User | Group | None:
        everybody: list[User | Group] = [*self._users.values(), *self._groups.values()]
        return next((known for known in everybody if known.name == name), None)

    def members_of(self, gid: int) -> list[User]:
        """Who is in a group, by name."""
        return sorted((self._users[uid] for uid in self._members.get(gid, ())), key=lambda user: user.name)

    def groups_of(self, uid: int) -> list[Group]:
        """The groups somebody is in, by name."""
        return [group for group in self.groups() if uid in self._members[group.gid]]

    # --- users ---

    def check_new_name(self, name: str) -> None:
        """Raise InvalidArgument or Exists if nobody can get that name."""
        if not NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name!r} cannot be a name: it takes 1 to 31 of a to z, 0 to 9 and _ . -, the first a letter or _"
            )
        if name in RESERVED or name.startswith(SHARE_GROUP):
            raise InvalidArgument(f"the name {name} is used by the system; choose another one")
        if self._called(name) is not None:
            raise Exists(f"there is a user or group {name} already")

    def add_user(self, name: str, full_name: str, role: Role) -> User:
        """A new user, enabled and without a password. Raises InvalidArgument, Exists."""
        self.check_new_name(name)
        _check_full_name(full_name)
        user = User(self.next_number(), name, full_name, role, True)
        self._write("INSERT INTO users VALUES (?, ?, ?, ?, ?)", (user.uid, name, full_name, role.value, 1))
        self._users[user.uid] = user
        self._tell()
        return user

    def change_user(self, name: str, *, role: Role | None = None, is_enabled: bool | None = None) -> User:
        """Set what is named. Raises NotFound."""
        user = self.user(name)
        user = user._replace(
            role=user.role if role is None else role, is_enabled=user.is_enabled if is_enabled is None else is_enabled
        )
        values = (user.role.value, int(user.is_enabled), user.uid)
        self._write("UPDATE users SET role = ?, is_enabled = ? WHERE uid = ?", values)
        self._users[user.uid] = user
        self._tell()
        return user

    def remove_user(self, name: str) -> User:
        """Remove somebody with his secrets and memberships; what he made stays, under his number. Raises NotFound."""
        user = self.user(name)
        with self._database.operation:
            self._database.write("DELETE FROM members WHERE uid = ?", (user.uid,))
            self._database.write("DELETE FROM share_members WHERE member = ?", (user.uid,))
            self._database.write("DELETE FROM secrets WHERE uid = ?", (user.uid,))
            self._database.write("DELETE FROM users WHERE uid = ?", (user.uid,))
        del self._users[user.uid]
        for members in self._members.values():
            members.discard(user.uid)
        self._tell()
        return user

    # --- groups ---

    def add_group(self, name: str) -> Group:
        """A new group, empty. Raises InvalidArgument, Exists."""
        self.check_new_name(name)
        group = Group(self.next_number(), name)
        self._write("INSERT INTO people_groups VALUES (?, ?)", (*group,))
        self._groups[group.gid], self._members[group.gid] = group, set()
        self._tell()
        return group

    def remove_group(self, name: str) -> Group:
        """Remove a group; its members lose what they may do by it. Raises NotFound."""
        group = self.group(name)
        with self._database.operation:
            self._database.write("DELETE FROM members WHERE gid = ?", (group.gid,))
            self._database.write("DELETE FROM share_members WHERE member = ?", (group.gid,))
            self._database.write("DELETE FROM people_groups WHERE gid = ?", (group.gid,))
        del self._groups[group.gid], self._members[group.gid]
        self._tell()
        return group

    def add_member(self, group: str, user: str) -> None:
        """Put somebody into a group; twice is no error. Raises NotFound."""
        gid, uid = self.group(group).gid, self.user(user).uid
        self._write("INSERT OR REPLACE INTO members VALUES (?, ?)", (gid, uid))
        self._members[gid].add(uid)
        self._tell()

    def remove_member(self, group: str, user: str) -> None:
        """Take somebody out of a group. Raises NotFound, also when he is not in it."""
        gid, uid = self.group(group).gid, self.user(user).uid
        if uid not in self._members[gid]:
            raise NotFound(f"{user} is not in the group {group}")
        self._write("DELETE FROM members WHERE gid = ? AND uid = ?", (gid, uid))
        self._members[gid].discard(uid)
        self._tell()

    # --- secrets and settings ---

    def set_secrets(self, uid: int, secrets: dict[SecretKind, str]) -> None:
        """Replace all secrets of somebody."""
        with self._database.operation:
            self._database.write("DELETE FROM secrets WHERE uid = ?", (uid,))
            for kind, body in secrets.items():
                self._database.write("INSERT INTO secrets VALUES (?, ?, ?)", (uid, kind.value, body))
        self._tell()

    def secret(self, uid: int, kind: SecretKind) -> str | None:
        """One secret of somebody. Never to be shown, logged or sent."""
        row = self._database.row("SELECT body FROM secrets WHERE uid = ? AND kind = ?", (uid, kind.value))
        return str(row[0]) if row is not None else None

    def setting(self, name: str) -> str | None:
        """A value of the drive that no other table has."""
        return self._settings.get(name)

    def set_setting(self, name: str, value: str) -> None:
        """Keep a value; it is there again after a recovery."""
        self._write("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
        self._settings[name] = value

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        with self._database.operation:
            self._database.write(sql, values)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _check_full_name(full_name: str) -> None:
    # It becomes a field of a line in the format of passwd(5), whose fields end at colons and whose parts at commas.
    if len(full_name) > MOST_LETTERS or any(letter in ":,\\" or not letter.isprintable() for letter in full_name):
        raise InvalidArgument(f"a full name has at most {MOST_LETTERS} letters, and no colon, comma or backslash")
