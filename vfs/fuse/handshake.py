"""The first exchange with the kernel, with one more favour asked for: writes without a question before each.

Where a file system keeps extended attributes, the kernel asks for `security.capability` before every write(2): a round
trip for a write that otherwise only fills a page. It remembers the answer if the file system has promised to take
set-user-id and set-group-id bits away by itself (FUSE_HANDLE_KILLPRIV_V2). The library below pyfuse3 knows no such
promise, so we pass its INIT reply on ourselves: for that one message a socket stands where the FUSE descriptor will be.

What was promised is kept in `FileOperations.write`, `open` and `AttributeOperations.setattr`; `attributes_of` lets the
kernel keep no attributes of a file with such bits, because it is not told when they go.

Messages: struct fuse_in_header, fuse_init_in, fuse_out_header, fuse_init_out of linux/fuse.h.
"""

import os
import socket
import struct

HANDLE_KILLPRIV_V2 = 1 << 28
INIT = 26
MOST_BYTES = (1 << 20) + 8192  # the kernel refuses to be read with less room than its largest request
_IN = struct.Struct("<II32x")  # length, opcode
_IN_FLAGS = struct.Struct("<I")
_IN_FLAGS_AT = 40 + 12
_OUT = struct.Struct("<Ii8x")  # length, error
_OUT_FLAGS_AT = 16 + 12


class Handshake:
    """The INIT exchange on one descriptor: `begin` before the library reads from it, `end` after it has replied."""

    def __init__(self) -> None:
        self._kernel = -1
        self._ours: socket.socket | None = None
        self._is_offered = False

    def begin(self, fd: int) -> None:
        """Take the kernel's question from the descriptor and let the library find it there in a socket. Blocks, but the
        question is there since the mount.
        """
        question = os.read(fd, MOST_BYTES)
        self._is_offered = is_offered(question)
        self._kernel = os.dup(fd)
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.dup2(theirs.fileno(), fd, inheritable=False)
        theirs.close()
        self._ours.send(question)

    def end(self, fd: int) -> None:
        """Give the library's answer to the kernel, with the promise in it, and the descriptor back."""
        assert self._ours is not None
        answer = self._ours.recv(MOST_BYTES)
        os.dup2(self._kernel, fd, inheritable=False)
        os.close(self._kernel)
        self._ours.close()
        os.write(fd, with_promise(answer) if self._is_offered else answer)


def is_offered(question: bytes) -> bool:
    """Whether the kernel would take the promise. False for anything but an INIT request."""
    if len(question) < _IN_FLAGS_AT + 4 or _IN.unpack_from(question)[1] != INIT:
        return False
    return bool(_IN_FLAGS.unpack_from(question, _IN_FLAGS_AT)[0] & HANDLE_KILLPRIV_V2)


def with_promise(answer: bytes) -> bytes:
    """An INIT reply that also promises. A refusal stays as it is."""
    if len(answer) < _OUT_FLAGS_AT + 4 or _OUT.unpack_from(answer)[1] != 0:
        return answer
    changed = bytearray(answer)
    flags = _IN_FLAGS.unpack_from(answer, _OUT_FLAGS_AT)[0]
    _IN_FLAGS.pack_into(changed, _OUT_FLAGS_AT, flags | HANDLE_KILLPRIV_V2)
    return bytes(changed)
