"""The INIT exchange: the promise goes into the library's answer, nothing else changes, and the descriptor is whole."""

import os
import socket
import struct

import pytest

from vfs.fuse.handshake import HANDLE_KILLPRIV_V2, Handshake, is_offered, with_promise

OTHER_FLAGS = 0x00F3_FFFB


def question(flags: int, opcode: int = 26) -> bytes:
    head = struct.pack("<IIQQIIIHH", 104, opcode, 7, 0, 0, 0, 0, 0, 0)
    return head + struct.pack("<IIIII", 7, 45, 65536, flags, 0) + bytes(44)


def answer(flags: int, error: int = 0) -> bytes:
    body = struct.pack("<IIIIHHIIHHI", 7, 45, 65536, flags, 64, 48, 1 << 20, 1, 256, 0, 0) + bytes(28)
    return struct.pack("<IiQ", 16 + len(body), error, 7) + body


def test_promise_is_one_more_flag_and_nothing_else() -> None:
    assert with_promise(answer(OTHER_FLAGS)) == answer(OTHER_FLAGS | HANDLE_KILLPRIV_V2)


@pytest.mark.parametrize("refusal", [answer(OTHER_FLAGS, error=-71), answer(OTHER_FLAGS)[:16], b""])
def test_refusal_stays_as_it_is(refusal: bytes) -> None:
    assert with_promise(refusal) == refusal


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (question(OTHER_FLAGS | HANDLE_KILLPRIV_V2), True),
        (question(OTHER_FLAGS), False),
        (question(HANDLE_KILLPRIV_V2, opcode=1), False),
        (question(HANDLE_KILLPRIV_V2)[:40], False),
        (b"", False),
    ],
)
def test_only_an_init_that_offers_it_is_an_offer(message: bytes, expected: bool) -> None:
    assert is_offered(message) is expected


@pytest.mark.parametrize("offered", [0, HANDLE_KILLPRIV_V2])
def test_both_sides_get_their_message_and_the_descriptor_is_the_kernels_again(offered: int) -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = len(os.listdir("/proc/self/fd"))
    handshake = Handshake()
    kernel.send(question(OTHER_FLAGS | offered))
    handshake.begin(ours.fileno())
    assert os.read(ours.fileno(), 1 << 16) == question(OTHER_FLAGS | offered)
    os.write(ours.fileno(), answer(OTHER_FLAGS))
    handshake.end(ours.fileno())
    assert kernel.recv(1 << 16) == answer(OTHER_FLAGS | offered)
    kernel.send(b"first request")
    assert os.read(ours.fileno(), 100) == b"first request"
    assert len(os.listdir("/proc/self/fd")) == before
    kernel.close()
    ours.close()
