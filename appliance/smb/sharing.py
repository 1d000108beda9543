"""What smbd is to know: who may sign in, what is shared with whom, and by which SID this machine is known.

Plain and frozen, without a database behind it, so that what smbd's files say is a pure function of it. Nothing here is
ever logged: an NT hash is as good as the password.
"""

from dataclasses import dataclass, field

from blake3 import blake3

_FORBIDDEN = frozenset('%<>*?|/\\+=;:",[]')  # what Samba takes in no share's name, and what its file would misread
RESERVED = frozenset({"global", "homes", "printers", "ipc$", "admin$", "print$", "home"})
"""Names that mean something else to Samba, and `home`, which is each user's own."""


@dataclass(frozen=True)
class SmbUser:
    """One who has an account. `nt_hash`: MD4 of the password in UTF-16LE, 16 bytes; None: no password yet."""

    name: str
    uid: int
    nt_hash: bytes | None = field(repr=False)
    is_enabled: bool = True


@dataclass(frozen=True)
class SmbShare:
    """A top-level folder and the names of those who may use it. Who may write may read."""

    name: str
    writers: frozenset[str]
    readers: frozenset[str]


@dataclass(frozen=True)
class Sharing:
    """All of it. `homes` is the folder of the home folders, below the drive's root."""

    users: tuple[SmbUser, ...] = ()
    shares: tuple[SmbShare, ...] = ()
    homes: str = "Homes"


def fits_smb(name: str) -> bool:
    """Whether a share can have this name for Windows: up to 80 characters that Samba and its file take."""
    return (
        0 < len(name) <= 80
        and name == name.strip()
        and name.lower() not in RESERVED
        and name.isprintable()
        and not _FORBIDDEN & set(name)
    )


def machine_sid(drive_id: bytes) -> str:
    """The SID of the machine that serves this drive.

    From the drive's own number, which survives `recover`: access lists hold SIDs of users, and those begin with the
    machine's. So a new machine that takes the drive over is the old one to them.
    """
    digest = blake3(b"hybrid-drive machine sid" + drive_id).digest(12)
    return "S-1-5-21-" + "-".join(str(int.from_bytes(digest[at : at + 4], "big")) for at in (0, 4, 8))


def volume_number(sid: str, share: str) -> int:
    """The serial number of the volume that Windows takes a share for, 31 bits: Samba reads it signed.

    From the machine's SID, as which the drive survives `recover`: Samba's own would change with the machine's name.
    """
    digest = blake3(f"{sid} volume {share}".encode()).digest(4)
    return int.from_bytes(digest, "big") & 0x7FFFFFFF
