"""A client that speaks SMB2 itself, as Explorer does for its tab Previous Versions: the list, and opening in the past.

Over `smbprotocol`; what that has no words for (the snapshot FSCTL, the TWrp create context) is packed here. Sources:
MS-SMB2 2.2.13.2.7 (SMB2_CREATE_TIMEWARP_TOKEN), MS-SMB2 2.2.32.2 (SRV_SNAPSHOT_ARRAY).
"""

import contextlib
import logging
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from smbprotocol.connection import Connection
from smbprotocol.create_contexts import CreateContextName, SMB2CreateContextRequest, SMB2CreateTimewarpToken
from smbprotocol.exceptions import NoMoreFiles
from smbprotocol.file_info import FileInformationClass, FileRenameInformation
from smbprotocol.ioctl import CtlCode, IOCTLFlags, SMB2IOCTLRequest, SMB2IOCTLResponse
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FileAttributes,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    ShareAccess,
    SMB2QueryInfoRequest,
    SMB2QueryInfoResponse,
    SMB2SetInfoRequest,
)
from smbprotocol.security_descriptor import AccessAllowedAce, AclPacket, SDControl, SIDPacket, SMB2CreateSDBuffer
from smbprotocol.session import Session
from smbprotocol.structure import Structure
from smbprotocol.tree import TreeConnect

# Of each connection that a server ends; some tests end servers.
logging.getLogger("smbprotocol.transport").setLevel(logging.ERROR)
ANSWER_WITHIN_S = 4
ROOM_FOR_MORE = 1024  # bytes; a snapshot takes 50
READ = FilePipePrinterAccessMask.GENERIC_READ
WRITE = FilePipePrinterAccessMask.GENERIC_READ | FilePipePrinterAccessMask.GENERIC_WRITE
ANY_SHARE = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE


class Share:
    """One share that a user has opened."""

    def __init__(self, tree: TreeConnect) -> None:
        self.tree = tree

    def open(
        self,
        path: str,
        access: int = READ,
        disposition: int = CreateDisposition.FILE_OPEN,
        *,
        at: str | None = None,
        options: int = 0,
        sharing: int = ANY_SHARE,
        contexts: Sequence[SMB2CreateContextRequest] = (),
    ) -> Open:
        """Opens `path` (with backslashes), now or as it was at the snapshot `at`. Raises smbprotocol's errors."""
        handle = Open(self.tree, path)
        asked = list(contexts)
        if at is not None:
            token = SMB2CreateTimewarpToken()
            token["timestamp"] = datetime.strptime(at, "@GMT-%Y.%m.%d-%H.%M.%S").replace(tzinfo=UTC)
            asked.append(context(CreateContextName.SMB2_CREATE_TIMEWARP_TOKEN, token))
        handle.create(
            ImpersonationLevel.Impersonation,
            access,
            FileAttributes.FILE_ATTRIBUTE_NORMAL if not options & CreateOptions.FILE_DIRECTORY_FILE else 0,
            sharing,
            disposition,
            options,
            create_contexts=asked or None,
        )
        return handle

    def begin_open(self, path: str, access: int = READ, sharing: int = ANY_SHARE) -> Callable[[], Open]:
        """Asks to open, for which somebody else may have to give way first; what is returned awaits it."""
        handle, session = Open(self.tree, path), self.tree.session
        asked, received = handle.create(
            ImpersonationLevel.Impersonation, access, 0, sharing, CreateDisposition.FILE_OPEN, 0, send=False
        )
        sent = session.connection.send(asked, session.session_id, self.tree.tree_connect_id)

        def await_opened() -> Open:
            received(sent)
            return handle

        return await_opened

    def read(self, path: str, *, at: str | None = None) -> bytes:
        """All of a file, now or then."""
        handle = self.open(path, at=at)
        try:
            size, most = handle.end_of_file, self.tree.session.connection.max_read_size
            return b"".join(handle.read(start, min(most, size - start)) for start in range(0, size, most))
        finally:
            handle.close(False)

    def write(self, path: str, data: bytes) -> None:
        """Make `path` hold `data`, and flush it."""
        handle = self.open(path, WRITE, CreateDisposition.FILE_OVERWRITE_IF)
        try:
            handle.write(data)
            handle.flush()
        finally:
            handle.close(False)

    def make_folder(self, path: str) -> None:
        """Make a folder, if it is not there."""
        made = self.open(path, READ, CreateDisposition.FILE_OPEN_IF, options=CreateOptions.FILE_DIRECTORY_FILE)
        made.close(False)

    def names(self, path: str, *, at: str | None = None) -> set[str]:
        """The names in a folder, now or then, without `.` and `..`."""
        handle = self.open(
            path, FilePipePrinterAccessMask.GENERIC_READ, at=at, options=CreateOptions.FILE_DIRECTORY_FILE
        )
        try:
            names: set[str] = set()
            with contextlib.suppress(NoMoreFiles):
                while True:  # an answer holds as many as fit into it
                    found = handle.query_directory("*", FileInformationClass.FILE_NAMES_INFORMATION)
                    names |= {each["file_name"].get_value().decode("utf-16-le") for each in found}
            return names - {".", ".."}
        finally:
            handle.close(False)

    def snapshots(self, path: str = "") -> list[str]:
        """What Explorer lists for a file or folder: tokens, as the server orders them. Raises smbprotocol's errors."""
        handle = self.open(
            path, FilePipePrinterAccessMask.FILE_READ_DATA | FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES
        )
        try:
            answer = self.ioctl(handle, CtlCode.FSCTL_SRV_ENUMERATE_SNAPSHOTS, b"", 16)
            _, _, size = struct.unpack_from("<III", answer)
            room = 12 + size + ROOM_FOR_MORE  # there may be one more by now
            answer = self.ioctl(handle, CtlCode.FSCTL_SRV_ENUMERATE_SNAPSHOTS, b"", room)
            held = struct.unpack_from("<III", answer)[1]
            tokens = answer[12:].decode("utf-16-le").split("\0")
            return tokens[:held]
        finally:
            handle.close(False)

    def copy_back(self, path: str, at: str, target: str) -> None:
        """What Restore does: the server copies the bytes of then into `target`."""
        source, copy = self.open(path, at=at), self.open(target, WRITE, CreateDisposition.FILE_OVERWRITE_IF)
        try:
            size = source.end_of_file
            key = self.ioctl(source, CtlCode.FSCTL_SRV_REQUEST_RESUME_KEY, b"", 32)[:24]
            chunk = struct.pack("<QQII", 0, 0, size, 0)
            self.ioctl(copy, CtlCode.FSCTL_SRV_COPYCHUNK, key + struct.pack("<II", 1, 0) + chunk, 12)
        finally:
            source.close(False)
            copy.close(False)

    def remove(self, path: str, *, at: str | None = None) -> None:
        """Delete a file or an empty folder."""
        delete = FilePipePrinterAccessMask.DELETE
        self.open(path, delete, at=at, options=CreateOptions.FILE_DELETE_ON_CLOSE).close(False)

    def rename(self, path: str, target: str, *, at: str | None = None) -> None:
        """Give another name; what had it is replaced."""
        handle = self.open(path, FilePipePrinterAccessMask.DELETE | READ, at=at)
        try:
            wanted = FileRenameInformation()
            wanted["replace_if_exists"] = True
            wanted["file_name"] = target
            self.set(handle, FileInformationClass.FILE_RENAME_INFORMATION, wanted.pack())
        finally:
            handle.close(False)

    def times(self, path: str, *, at: str | None = None) -> tuple[int, ...]:
        """When it was created, written and changed, in 100 ns since 1601."""
        handle = self.open(path, FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES, at=at)
        try:
            created, _, written, changed = struct.unpack_from(
                "<QQQQ", self.query(handle, 1, FileInformationClass.FILE_BASIC_INFORMATION)
            )
            return created, written, changed
        finally:
            handle.close(False)

    def rights(self, path: str, *, at: str | None = None) -> bytes:
        """Its owner, group and access list, as Windows packs them."""
        handle = self.open(path, FilePipePrinterAccessMask.READ_CONTROL, at=at)
        try:
            return self.query(handle, 3, 0, additional=7)
        finally:
            handle.close(False)

    def make_private(self, path: str) -> None:
        """Make a file with an access list that lets everybody read it and nobody do more."""
        entry, entries, rights = AccessAllowedAce(), AclPacket(), SMB2CreateSDBuffer()
        everybody = SIDPacket()
        everybody.from_string("S-1-1-0")
        entry["mask"], entry["sid"] = 0x00120089, everybody  # FILE_GENERIC_READ
        entries["aces"] = [entry]
        rights["control"].set_flag(SDControl.SELF_RELATIVE)
        rights.set_dacl(entries)
        self.open(
            path,
            WRITE,
            CreateDisposition.FILE_CREATE,
            contexts=[context(CreateContextName.SMB2_CREATE_SD_BUFFER, rights)],
        ).close(False)

    def stamp(self, path: str, times: tuple[int, int, int, int], attributes: int) -> None:
        """Set created, accessed, written and changed, in 100 ns since 1601, and the attributes; 0 leaves as it is."""
        handle = self.open(path, FilePipePrinterAccessMask.FILE_WRITE_ATTRIBUTES)
        try:
            self.set(handle, FileInformationClass.FILE_BASIC_INFORMATION, struct.pack("<QQQQII", *times, attributes, 0))
        finally:
            handle.close(False)

    def basics(self, path: str, *, at: str | None = None) -> tuple[int, ...]:
        """Created, accessed, written, changed, attributes."""
        handle = self.open(path, FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES, at=at)
        try:
            return struct.unpack_from("<QQQQI", self.query(handle, 1, FileInformationClass.FILE_BASIC_INFORMATION))
        finally:
            handle.close(False)

    def streams(self, path: str) -> dict[str, int]:
        """The alternate streams of a file and their sizes."""
        handle = self.open(path, FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES)
        try:
            found, data, start = {}, self.query(handle, 1, FileInformationClass.FILE_STREAM_INFORMATION), 0
            while data:
                following, length, size, _ = struct.unpack_from("<IIQQ", data, start)
                found[data[start + 24 : start + 24 + length].decode("utf-16-le")] = size
                if not following:
                    break
                start += following
            return found
        finally:
            handle.close(False)

    def space(self) -> tuple[int, int]:
        """Total and free, in bytes, as Explorer asks."""
        handle = self.open("", FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES)
        try:
            total, free, sectors, sector = struct.unpack("<QQII", self.query(handle, 2, 3)[:24])
            return total * sectors * sector, free * sectors * sector
        finally:
            handle.close(False)

    def query(self, handle: Open, kind: int, information: int, additional: int = 0) -> bytes:
        request = SMB2QueryInfoRequest()
        request["info_type"] = kind
        request["file_info_class"] = information
        request["output_buffer_length"] = 65_536
        request["additional_information"] = additional
        request["file_id"] = handle.file_id
        response = SMB2QueryInfoResponse()
        response.unpack(self._asked(request))
        return bytes(response["buffer"].get_value())

    def set(self, handle: Open, information: int, data: bytes) -> None:
        request = SMB2SetInfoRequest()
        request["info_type"] = 1
        request["file_info_class"] = information
        request["file_id"] = handle.file_id
        request["buffer"] = data
        self._asked(request)

    def _asked(self, request: Structure) -> bytes:
        session, tree = self.tree.session, self.tree
        sent = session.connection.send(request, sid=session.session_id, tid=tree.tree_connect_id)
        return bytes(session.connection.receive(sent, timeout=ANSWER_WITHIN_S)["data"].get_value())

    def ioctl(self, handle: Open, code: int, data: bytes, room: int) -> bytes:
        """One FSCTL on an open file."""
        request = SMB2IOCTLRequest()
        request["ctl_code"] = code
        request["file_id"] = handle.file_id
        request["max_output_response"] = room
        request["flags"] = IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL
        request["buffer"] = data
        response = SMB2IOCTLResponse()
        response.unpack(self._asked(request))
        return bytes(response["buffer"].get_value())


def context(name: bytes, body: Structure) -> SMB2CreateContextRequest:
    """One more thing to say with an open."""
    made = SMB2CreateContextRequest()
    made["buffer_name"] = name
    made["buffer_data"] = body
    return made


@contextmanager
def connected(port: int, share: str, user: str, password: str, machine: uuid.UUID | None = None) -> Iterator[Share]:
    """A session of its own on loopback. Raises smbprotocol's errors for whoever is not let in."""
    connection = Connection(machine or uuid.uuid4(), "127.0.0.1", port)
    connection.connect(timeout=20)
    try:
        session = Session(connection, user, password, require_encryption=False)
        session.connect()
        tree = TreeConnect(session, rf"\\127.0.0.1\{share}")
        tree.connect()
        yield Share(tree)
    finally:
        connection.disconnect(False)
