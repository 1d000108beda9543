"""Clients that keep things back: ranges locked, caches leased, handles that outlive a line; and what the server says.

What `smbprotocol` has no words for is packed here. Its receiver takes a message that nobody asked for as the end of the
world, so the one number that such messages have is entered as a request that is never answered for good. Sources:
MS-SMB2 2.2.13.2.8 (leases), 2.2.13.2.11 and 2.2.13.2.12 (durable handles), 2.2.23 to 2.2.25 (breaks), 2.2.26 (locks).
"""

import queue
import struct
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smb.wire import ANSWER_WITHIN_S, ANY_SHARE, WRITE, Share, context
from smbprotocol.connection import Connection, Request
from smbprotocol.create_contexts import (
    SMB2CreateDurableHandleReconnectV2,
    SMB2CreateDurableHandleRequestV2,
    SMB2CreateRequestLease,
)
from smbprotocol.header import Commands, SMB2HeaderRequest
from smbprotocol.open import (
    CreateDisposition,
    FileAttributes,
    ImpersonationLevel,
    Open,
    SMB2LockElement,
    SMB2LockRequest,
)
from smbprotocol.structure import BytesField, Structure
from smbprotocol.tree import TreeConnect

UNASKED = 0xFFFFFFFFFFFFFFFF
SHARED, EXCLUSIVE, UNLOCK, AT_ONCE = 1, 2, 4, 16
READ_CACHE, HANDLE_CACHE, WRITE_CACHE = 1, 2, 4
ALL_CACHES = READ_CACHE | HANDLE_CACHE | WRITE_CACHE
BATCH, LEASED = 9, 0xFF


def begin_lock(handle: Open, offset: int, length: int, flags: int) -> Callable[[], None]:
    """Ask for a range; what is returned waits for the answer. Without AT_ONCE the server answers when it is free."""
    element, request = SMB2LockElement(), SMB2LockRequest()
    element["offset"], element["length"], element["flags"] = offset, length, flags
    request["file_id"], request["locks"] = handle.file_id, [element]
    tree = handle.tree_connect
    sent = handle.connection.send(request, sid=tree.session.session_id, tid=tree.tree_connect_id)
    return lambda: handle.connection.receive(sent, timeout=ANSWER_WITHIN_S) and None


def lock(handle: Open, offset: int, length: int, flags: int) -> None:
    """Lock or unlock a range. Raises LockNotGranted, RangeNotLocked."""
    begin_lock(handle, offset, length, flags)()


@dataclass(frozen=True)
class Break:
    """The server takes a cache back: of whom (a lease's key or a file's id), and what is left."""

    whose: bytes
    left: int


class _Unasked(Request):  # type: ignore[misc]
    """Where messages that nobody asked for arrive."""

    def __init__(self, connection: Connection) -> None:
        self.heard: queue.Queue[Break] = queue.Queue()
        super().__init__(SMB2HeaderRequest(), Structure, connection, 0)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "response" and value is not None:
            self.heard.put(_read_break(value["data"].get_value()))


def _read_break(data: bytes) -> Break:
    if len(data) >= 44:
        return Break(data[8:24], struct.unpack_from("<I", data, 28)[0])
    return Break(data[8:24], data[2])


class _Acknowledgement(Structure):  # type: ignore[misc]
    COMMAND = Commands.SMB2_OPLOCK_BREAK

    def __init__(self) -> None:
        self.fields = OrderedDict([("body", BytesField())])
        super().__init__()


class Keeper:
    """A client that keeps the caches it is given until the server wants them back."""

    def __init__(self, share: Share) -> None:
        self._tree: TreeConnect = share.tree
        connection = self._tree.session.connection
        self._unasked = _Unasked(connection)
        connection.outstanding_requests[UNASKED] = self._unasked

    def open(
        self,
        path: str,
        *,
        caches: int = ALL_CACHES,
        access: int = WRITE,
        sharing: int = ANY_SHARE,
        options: int = 0,
        durable: Structure | None = None,
        key: bytes | None = None,
    ) -> tuple[Open, bytes, int]:
        """Opens with a lease; returns the handle, the lease's key, and the caches that were granted."""
        lease = SMB2CreateRequestLease()
        key = key or uuid.uuid4().bytes
        lease["lease_key"], lease["lease_state"], lease["lease_duration"], lease["lease_flags"] = key, caches, 0, 0
        handle = Open(self._tree, path)
        answers = handle.create(
            ImpersonationLevel.Impersonation,
            access,
            FileAttributes.FILE_ATTRIBUTE_NORMAL if not options else 0,
            sharing,
            CreateDisposition.FILE_OPEN_IF,
            options,
            create_contexts=[context(each.NAME, each) for each in (lease, durable) if each is not None],
            oplock_level=LEASED,
        )
        granted = [
            each["lease_state"].get_value() for each in answers or () if "lease_state" in getattr(each, "fields", ())
        ]
        return handle, key, int(granted[0]) if granted else 0

    def heard(self, within_s: float = 10.0) -> Break:
        """The next cache that is taken back. Raises queue.Empty."""
        return self._unasked.heard.get(timeout=within_s)

    def hears_nothing(self) -> bool:
        """Whether nothing has been taken back so far."""
        return self._unasked.heard.empty()

    def give_back(self, taken: Break) -> None:
        """Say that what was kept back is written."""
        answer = _Acknowledgement()
        answer["body"] = struct.pack("<HHI16sIQ", 36, 0, 0, taken.whose, taken.left, 0)
        connection = self._tree.session.connection
        sent = connection.send(answer, sid=self._tree.session.session_id, tid=self._tree.tree_connect_id)
        connection.receive(sent, timeout=ANSWER_WITHIN_S)


def durable(number: uuid.UUID) -> Structure:
    """The wish that a handle outlives its line by a minute."""
    wish = SMB2CreateDurableHandleRequestV2()
    wish["timeout"], wish["flags"], wish["create_guid"] = 60_000, 0, number
    return wish


def again(handle: Open, number: uuid.UUID) -> Structure:
    """The claim to a handle whose line was cut."""
    claim = SMB2CreateDurableHandleReconnectV2()
    claim["file_id"], claim["create_guid"], claim["flags"] = handle.file_id, number, 0
    return claim
