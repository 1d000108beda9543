"""Extended attributes: versioned with the inode, equal sets stored once, held in memory with the inode once asked for.

A set is never changed: an inode that changes an attribute points to another set. smbd keeps Windows' attributes and
access lists here, and most files of a folder have the same.
"""

import blake3
import msgpack

from cachefs.counters import Counters
from cachefs.database import Database
from vfs.errors import AttributeTooLarge, NoAttribute, NotSupported
from vfs.inodes import Inode, Inodes

MAX_VALUE_BYTES = 64 << 10
MAX_SET_BYTES = 256 << 10
_NAMESPACES = (b"user.", b"security.", b"trusted.")
_USED = (
    "SELECT EXISTS (SELECT 1 FROM inodes WHERE xattr_set = ?1) OR EXISTS (SELECT 1 FROM inodes_history"
    " WHERE xattr_set = ?1)"
)


class Xattrs:
    """The extended attributes of live inodes."""

    def __init__(self, database: Database, counters: Counters, inodes: Inodes) -> None:
        self._database = database
        self._counters = counters
        self._inodes = inodes

    def all(self, inode: Inode) -> dict[bytes, bytes]:
        """Every attribute of the inode. Do not change the dict."""
        if inode.xattrs is None:
            inode.xattrs = self.read_set(inode.xattr_set)
        return inode.xattrs

    def read_set(self, xattr_set: int | None) -> dict[bytes, bytes]:
        """The attributes of a stored set."""
        if xattr_set is None:
            return {}
        row = self._database.row("SELECT body FROM xattr_sets WHERE xattr_set = ?", (xattr_set,))
        return dict(msgpack.unpackb(row[0], raw=True)) if row is not None else {}

    def get(self, inode: Inode, name: bytes) -> bytes:
        """One attribute. Raises NoAttribute, NotSupported."""
        if inode.xattr_set is None or (value := self.all(inode).get(name)) is None:
            if not name.startswith(_NAMESPACES):
                raise NotSupported("only user, security and trusted attributes are kept")
            raise NoAttribute("no such attribute")
        return value

    def set(self, inode: Inode, name: bytes, value: bytes, actor_id: int) -> None:
        """Set one attribute. Raises NotSupported, AttributeTooLarge."""
        if not name.startswith(_NAMESPACES):
            raise NotSupported("only user, security and trusted attributes are kept")
        if len(value) > MAX_VALUE_BYTES:
            raise AttributeTooLarge(f"a value of {len(value)} bytes; at most {MAX_VALUE_BYTES}")
        self._replace(inode, {**self.all(inode), name: value}, actor_id)

    def remove(self, inode: Inode, name: bytes, actor_id: int) -> None:
        """Remove one attribute. Raises NoAttribute, NotSupported."""
        self.get(inode, name)
        left = dict(self.all(inode))
        del left[name]
        self._replace(inode, left, actor_id)

    def _replace(self, inode: Inode, attributes: dict[bytes, bytes], actor_id: int) -> None:
        number = None
        if attributes:
            body = msgpack.packb(dict(sorted(attributes.items())), use_bin_type=True)
            if len(body) > MAX_SET_BYTES:
                raise AttributeTooLarge(f"the attributes of one file take {len(body)} bytes; at most {MAX_SET_BYTES}")
            number = self._store(body)
        if inode.xattr_set is not None and inode.xattr_set != number:
            self._inodes.released_sets.add(inode.xattr_set)
        inode.xattr_set = number
        inode.xattrs = attributes
        self._inodes.changed(inode, actor_id)

    def _store(self, body: bytes) -> int:
        digest = blake3.blake3(body).digest()
        row = self._database.row("SELECT xattr_set FROM xattr_sets WHERE digest = ?", (digest,))
        if row is not None:
            return int(row[0])
        number = self._counters.next("xattr_set")
        with self._database.operation:
            self._database.write("INSERT INTO xattr_sets VALUES (?, ?, ?)", (number, digest, body))
        return number

    def flush(self) -> None:
        """Remove sets that nobody has any more. After the inodes were written."""
        released, self._inodes.released_sets = self._inodes.released_sets, set()
        for number in released:
            if not self._database.row(_USED, (number,))[0]:
                self._database.write("DELETE FROM xattr_sets WHERE xattr_set = ?", (number,))
