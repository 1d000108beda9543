"""What a name may be. Pure.

Names are bytes, as on every POSIX system; 1 to 255 of them, without slash and NUL. Two names are reserved because they
are doors into the past; they are found by looking them up and can never be made.
"""

import zlib

from vfs.errors import InvalidArgument, NameTooLong, NotPermitted
from vfs.ids import ROOT

MAX_NAME_BYTES = 255
SNAPSHOTS = b".snapshots"
PREVIOUS = b".previous"


def check_new_name(parent: int, name: bytes) -> None:
    """Raise NameTooLong, NotPermitted or InvalidArgument if no entry of that name may be made or removed there."""
    if len(name) > MAX_NAME_BYTES:
        raise NameTooLong(f"a name of {len(name)} bytes; at most {MAX_NAME_BYTES} are possible")
    if name == SNAPSHOTS or (name == PREVIOUS and parent == ROOT):
        raise NotPermitted("the name is reserved for the past of the drive")
    # The kernel never asks for a slash or a NUL; a path that came through a control call may hold the latter.
    if name in (b".", b"..", b"") or b"/" in name or b"\0" in name:
        raise InvalidArgument("the name is not one of an entry")


def fold(name: bytes) -> int:
    """31-bit hash of the upper-cased name; equal for names that differ only by case.

    Characters are upper-cased one to one, as Samba's and NTFS's tables do, never by `casefold`, for which `straße` is
    `strasse` (T25c). Bytes that are not UTF-8 stay as they are. The hash only proposes: names are compared afterwards.
    """
    return zlib.crc32(upper(name)) & 0x7FFFFFFF


def upper(name: bytes) -> bytes:
    """The name with every character in its one-character upper case."""
    if name.isascii():
        return name.upper()
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return name
    return "".join(_upper_one(character) for character in text).encode()


def _upper_one(character: str) -> str:
    raised = character.upper()
    return raised if len(raised) == 1 else character
