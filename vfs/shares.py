"""Shares and who may do what in them: rows, and the rights that follow from them, in memory.

A share is a folder at the root. Its members are users and groups, each to read or to write; whoever is both may write.
All of them are in the share's own group, so the kernel keeps everybody else out at the folder. Readers and writers do
not differ for the kernel (owner, group and others are no place for a third class, and an access list would cost a
request for each inode), so the core tells them apart: `is_watched` says at whom it must look.

Refuses names of shares that are no name of a folder to Windows.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from cachefs.database import Database
from vfs.errors import Exists, InvalidArgument, NotFound
from vfs.names import upper
from vfs.people import FIRST_NUMBER, RESERVED, Group, People, User

HOMES = "Homes"
MOST_LETTERS = 80  # as Windows has it
_UNFIT = set('\\/:*?"<>|[]+;,=%')


class Access(IntEnum):
    """What somebody may do in a share; the greater includes the lesser."""

    READ = 1
    WRITE = 2

    @property
    def word(self) -> str:
        """As it is said and stored. On disk: do not change."""
        return self.name.lower()


class Share(NamedTuple):
    """A share. `gid`: of its own group, and of everything in it."""

    gid: int
    name: str
    is_open: bool


class Shares:
    """The tables of shares and their members."""

    def __init__(self, database: Database, people: People) -> None:
        self._writers: set[int] = set()  # who may write in every share
        self._listeners: list[Callable[[], None]] = []
        self._database = database
        self._people = people
        self._shares: dict[int, Share] = {}
        self._members: dict[int, dict[int, Access]] = {}  # as given: users and groups
        self._rights: dict[int, dict[int, Access]] = {}  # as they follow: enabled users
        people.on_change(self._resolve)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change of shares and of people."""
        self._listeners.append(listener)

    def load(self) -> None:
        """Read the tables. After those of people."""
        rows = self._database.rows
        self._shares = {
            gid: Share(gid, name, bool(is_open)) for gid, name, is_open in rows("SELECT gid, name, is_open FROM shares")
        }
        self._members = {gid: {} for gid in self._shares}
        for share, member, access in rows("SELECT share, member, access FROM share_members"):
            self._members[share][member] = Access[access.upper()]
        self._resolve()

    # --- asking ---

    def all(self) -> list[Share]:
        """The shares there are, by name."""
        return sorted((share for share in self._shares.values() if share.is_open), key=lambda share: share.name)

    def get(self, name: str) -> Share:
        """The share of that name. Raises NotFound."""
        share = self._called(name)
        if share is None or not share.is_open:
            raise NotFound(f"there is no share {name}")
        return share

    def closed(self, name: str) -> Share | None:
        """The share of exactly that name that was removed, if there was one."""
        share = self._called(name)
        return share if share is not None and not share.is_open and share.name == name else None

    def is_share(self, gid: int) -> bool:
        """Whether the number is that of a share, also of one that was removed."""
        return gid in self._shares

    def of_folder(self, name: bytes) -> Share | None:
        """The share whose folder at the root has exactly that name."""
        for share in self._shares.values():
            if share.is_open and share.name.encode() == name:
                return share
        return None

    def members_of(self, share: Share) -> list[tuple[User | Group, Access]]:
        """The members as they were given, by name."""
        found = [(self._people.by_number(number), access) for number, access in self._members[share.gid].items()]
        return sorted(((who, access) for who, access in found if who is not None), key=lambda one: one[0].name)

    def access(self, share: int, uid: int) -> Access | None:
        """What somebody may do in the share of that gid, by all he is a member of."""
        return self._rights.get(share, {}).get(uid)

    def is_watched(self, uid: int) -> bool:
        """Whether somebody must be looked at before he changes something: everybody of this drive, but for those who
        may write in every share. Also who was removed: his programs may still be in a share's group.
        """
        return uid >= FIRST_NUMBER and uid not in self._writers

    def people_of(self, share: Share) -> dict[int, Access]:
        """Everybody who may do something in the share, by uid. Those who are disabled may not."""
        return dict(self._rights.get(share.gid, {}))

    # --- changing ---

    def check_new_name(self, name: str) -> None:
        """Raise InvalidArgument or Exists if no share can get that name."""
        is_fit = 0 < len(name) <= MOST_LETTERS and name.isprintable() and not _UNFIT & set(name)
        if not is_fit or name.startswith(".") or name != name.strip() or name.endswith((".", "$")):
            raise InvalidArgument(
                f"{name!r} cannot be a share's name: it takes 1 to {MOST_LETTERS} letters without any of"
                f" {' '.join(sorted(_UNFIT))}, no . at either end, no $ at the end and no space around it"
            )
        if name.lower() in RESERVED | {HOMES.lower(), "home", "previous versions", "ipc", "lost+found"}:
            raise InvalidArgument(f"the name {name} is used by the system; choose another one")
        before = self._called(name)
        if before is not None and before.is_open:
            raise Exists(f"there is a share {before.name} already")

    def check_rename(self, name: str, new: str) -> None:
        """Raise NotFound, InvalidArgument or Exists if the share cannot get that name. It may change its case."""
        before = self._called(new)
        if before is None or before.gid != self.get(name).gid:
            self.check_new_name(new)

    def open(self, name: str) -> Share:
        """A new share without members; one that was removed before comes back with its number. The folder is not made.

        Raises InvalidArgument, Exists.
        """
        self.check_new_name(name)
        before = self._called(name)
        share = Share(before.gid if before is not None else self._people.next_number(), name, True)
        self._store(share)
        self._resolve()
        return share

    def close(self, name: str) -> Share:
        """Remove a share, and who was in it. Raises NotFound."""
        share = self.get(name)._replace(is_open=False)
        with self._database.operation:
            self._database.write("DELETE FROM share_members WHERE share = ?", (share.gid,))
            self._store(share)
        self._members[share.gid] = {}
        self._resolve()
        return share

    def rename(self, name: str, new: str) -> Share:
        """Give a share another name. Raises NotFound, InvalidArgument, Exists."""
        share = self.get(name)._replace(name=new)
        self.check_rename(name, new)
        before = self._called(new)
        with self._database.operation:
            if before is not None and not before.is_open:
                self._database.write("DELETE FROM shares WHERE gid = ?", (before.gid,))
                del self._shares[before.gid], self._members[before.gid]
            self._store(share)
        self._resolve()
        return share

    def allow(self, name: str, who: str, access: Access) -> None:
        """Let a user or group read or write in a share. Raises NotFound."""
        share, member = self.get(name), _number(self._people.named(who))
        with self._database.operation:
            row = (share.gid, member, access.word)
            self._database.write("INSERT OR REPLACE INTO share_members VALUES (?, ?, ?)", row)
        self._members[share.gid][member] = access
        self._resolve()

    def deny(self, name: str, who: str) -> None:
        """Take what `allow` gave. Raises NotFound, also for whoever is no member himself."""
        share, member = self.get(name), _number(self._people.named(who))
        if member not in self._members[share.gid]:
            raise NotFound(f"{who} is not a member of the share {name} itself")
        with self._database.operation:
            self._database.write("DELETE FROM share_members WHERE share = ? AND member = ?", (share.gid, member))
        del self._members[share.gid][member]
        self._resolve()

    def _called(self, name: str) -> Share | None:
        raised = upper(name.encode())
        return next((share for share in self._shares.values() if upper(share.name.encode()) == raised), None)

    def _store(self, share: Share) -> None:
        with self._database.operation:
            self._database.write("INSERT OR REPLACE INTO shares VALUES (?, ?, ?)", (*share,))
        self._shares[share.gid] = share
        self._members.setdefault(share.gid, {})

    def _resolve(self) -> None:
        """What follows from the rows now; then tell."""
        for gid in self._members:  # people and groups that are gone have left the rows already
            self._members[gid] = {
                number: access for number, access in self._members[gid].items() if self._people.by_number(number)
            }
        self._rights = {share.gid: self._follow(share) for share in self.all()}
        everywhere = [{uid for uid in rights if rights[uid] is Access.WRITE} for rights in self._rights.values()]
        self._writers = set.intersection(*everywhere) if everywhere else set()
        for listener in self._listeners:
            listener()

    def _follow(self, share: Share) -> dict[int, Access]:
        rights: dict[int, Access] = {}
        for number, access in self._members[share.gid].items():
            who = self._people.by_number(number)
            users = [who] if isinstance(who, User) else self._people.members_of(number)
            for user in users:
                if user.is_enabled:
                    rights[user.uid] = max(access, rights.get(user.uid, access))
        return rights


def _number(who: User | Group) -> int:
    return who.uid if isinstance(who, User) else who.gid
