"""The key file: how an appliance opens its drive at a start that nobody attends.

It holds a wrap secret of its own (`WrapKind.MACHINE`), not the drive's keys: they come from the key ring, of which the
state directory has a copy. So the file is written once, outlives every rotation, and no crash can leave it older than
the ring; a stolen machine is revoked like a lost kit. Whoever can read the file has the drive, so it is refused unless
only its owner can. Whoever makes it writes it durably, for its owner alone.
"""

import os
import re
import stat
from hashlib import sha256
from pathlib import Path

from cloud_tier.errors import KeyFileRefused

MOST_BYTES = 4096

_TEXT = "hybrid-drive key file 1\nsecret {secret}\ncheck {check}\n"
_PATTERN = re.compile(r"hybrid-drive key file (\d+)\nsecret ([0-9a-f]{64})\ncheck ([0-9a-f]{8})\n")


def key_file_text(secret: bytes) -> str:
    """What the file holds for this wrap secret."""
    return _TEXT.format(secret=secret.hex(), check=_check(secret))


def read_key_file(path: Path) -> bytes:
    """The wrap secret. Raises KeyFileRefused."""
    try:
        text = _read(path)
    except OSError as error:
        raise KeyFileRefused(f"{path} cannot be read ({error.strerror}); a passphrase is needed") from error
    found = _PATTERN.fullmatch(text)
    if found and found[1] != "1":
        raise KeyFileRefused(f"{path} is a key file of version {found[1]}; this program knows 1")
    if not found or _check(bytes.fromhex(found[2])) != found[3]:
        raise KeyFileRefused(f"{path} is damaged or no key file; a passphrase or the kit opens the drive")
    return bytes.fromhex(found[2])


def _read(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode) or mode & 0o077 or status.st_uid not in (0, os.geteuid()):
            raise KeyFileRefused(
                f"{path} is not for its owner alone (mode {mode:03o}, owner {status.st_uid}): who could read it "
                f"may have the keys: revoke it. If nobody did, `chmod 600` it and give it to the drive's user"
            )
        return os.read(fd, MOST_BYTES).decode("ascii", "replace")
    finally:
        os.close(fd)


def _check(secret: bytes) -> str:
    return sha256(b"hybrid-drive key file " + secret).hexdigest()[:8]
