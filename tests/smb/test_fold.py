"""Names that Samba takes for one are one for the drive: else smbd would be told that a name is free which is not."""

import ctypes
from pathlib import Path

from vfs.names import upper


def test_whatever_samba_raises_the_drive_raises_to_the_same() -> None:
    (path,) = Path("/usr/lib").glob("*/libsamba-util.so.0")
    library = ctypes.CDLL(str(path))
    library.toupper_m.restype = ctypes.c_uint32
    library.toupper_m.argtypes = [ctypes.c_uint32]
    raised = {code: library.toupper_m(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000}
    pairs = [(chr(code), chr(other)) for code, other in raised.items() if code != other]
    assert len(pairs) > 600
    assert [(one, other) for one, other in pairs if upper(one.encode()) != upper(other.encode())] == []
