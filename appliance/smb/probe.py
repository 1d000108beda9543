"""Whether a server of SMB answers at a port: one NEGOTIATE, as a client that speaks SMB 2.1 sends it.

A connection alone shows nothing: the kernel accepts it for a server that hangs. Layout: MS-SMB2 2.2.1 and 2.2.3.
"""

import contextlib
import socket
import struct
from typing import Literal

_HEADER = struct.pack("<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 0, 0, 0, 1, 0, 0, 0, 0xFEFF, 0, 0, bytes(16))
_NEGOTIATE = struct.pack("<HHHHI16sQH", 36, 1, 1, 0, 0, bytes(16), 0, 0x0210)
_QUESTION = struct.pack(">I", len(_HEADER) + len(_NEGOTIATE)) + _HEADER + _NEGOTIATE


def ask_smb(address: str, port: int, within_s: float) -> Literal["answers", "silent", "absent"]:
    """Whether a server of SMB 2 answers there.

    "absent": nobody listens. "silent": whoever does says nothing in time, or not that.
    """
    try:
        connection = socket.create_connection((address, port), within_s)
    except TimeoutError:
        return "silent"
    except OSError:
        return "absent"
    with connection, contextlib.suppress(OSError):
        connection.sendall(_QUESTION)
        answer = b""
        while len(answer) < 8:
            more = connection.recv(4096)
            if not more:
                return "silent"
            answer += more
        return "answers" if answer[4:8] == b"\xfeSMB" else "silent"
    return "silent"
