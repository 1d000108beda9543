"""smb.conf and the file of passwords as text. Pure.

The settings were proven one by one against smbd 4.17 and 4.22 over this file system; those that are Samba's defaults
are left out. What matters most:

- `glusterfs_fuse` asks the file system, by one virtual attribute, for the stored name that equals another but for case
  (`vfs.fuse.xattrs`). Without it smbd reads the whole folder for each file it makes.
- `.previous` holds at most 500 past states under bare UTC times, relative to the *mount*, wherever the share lies.
- Windows is shown owner, group and mode as an access list, and keeps none of its own. With `acl_xattr` a client could
  make a file with a list that locks the share's members out, and no member could rename or remove what another made.
  The share's own list lets nobody change any (`SHARE_ACCESS`): rights come from shares alone, the kernel has the last
  word.
- What happens on the mount, to folders and files that smbd's clients look at, they learn by inotify (Samba's default).
- The core is told who stands behind a session before it serves (`root preexec`); where no core answers, and so
  perhaps no drive is mounted, nothing is served.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.smb.sharing import Sharing, SmbShare, SmbUser, fits_smb, volume_number

SHARE_ACCESS = "S-1-1-0:ALLOWED/0/CHANGE"
"""Everybody who comes in may change files, and not who owns them or who may: no WRITE_DAC, no WRITE_OWNER."""
HOME = "home"
_SOCKET_OPTIONS = "TCP_NODELAY TCP_KEEPIDLE=30 TCP_KEEPINTVL=10 TCP_KEEPCNT=6"
_MODULES = "shadow_copy2 streams_xattr glusterfs_fuse"


@dataclass(frozen=True)
class SmbPlaces:
    """Where smbd keeps its things, all below `root`; nothing is created by asking for it."""

    root: Path
    log_file: Path

    @property
    def config(self) -> Path:
        return self.root / "smb.conf"

    @property
    def passwords(self) -> Path:
        return self.root / "smbpasswd"

    @property
    def sid(self) -> Path:
        """Text: the machine's SID, for the launcher to set."""
        return self.root / "sid"

    @property
    def folders(self) -> dict[str, Path]:
        """smbd's own directories, by the option that names each."""
        names = {
            "private dir": "private",
            "lock directory": "lock",
            "state directory": "state",
            "cache directory": "cache",
            "pid directory": "pid",
            "ncalrpc dir": "ncalrpc",
        }
        return {option: self.root / name for option, name in names.items()}


@dataclass(frozen=True)
class Door:
    """How the door is set up: where the drive is mounted, where smbd listens, what tells the core of a session, and the
    SID that the drive is known by.

    `bind`: addresses or interfaces, separated by spaces; "" is all.
    """

    mount: Path
    port: int
    bind: str
    register: str
    sid: str


def smb_conf(sharing: Sharing, door: Door, places: SmbPlaces) -> str:
    """The whole of smb.conf. Shares whose names SMB cannot carry are left out. Raises ValueError for a path with `%`
    or a line break, which the file cannot hold.
    """
    for path in (door.mount, places.root, places.log_file):
        if "%" in str(path) or not str(path).isprintable():
            raise ValueError(f"smb.conf cannot hold the path {path}")
    lines = ["[global]", *_indented(_global(door, places))]
    for share in sorted(sharing.shares, key=lambda share: share.name):
        if fits_smb(share.name):
            lines += ["", f"[{share.name}]", *_indented(_share(share, door))]
    everybody = [user.name for user in sharing.users if user.is_enabled]
    if everybody:
        lines += ["", f"[{HOME}]", *_indented(_home(sharing.homes, everybody, door))]
    return "\n".join(lines) + "\n"


def _global(door: Door, places: SmbPlaces) -> Iterable[str]:
    yield from (
        "server role = standalone server",
        "server string = Hybrid Drive",
        "server min protocol = SMB2_10",
        "server multi channel support = no",
        f"smb ports = {door.port}",
        f"passdb backend = smbpasswd:{places.passwords}",
        "map to guest = never",
        "restrict anonymous = 2",
        "access based share enum = yes",
        "usershare max shares = 0",
        "disable netbios = yes",
        "load printers = no",
        "printing = bsd",
        "printcap name = /dev/null",
        "disable spoolss = yes",
        "unix extensions = no",
        # What the core restores, and whoever writes on the mount, breaks no lease: a listing kept back would be old.
        "smb3 directory leases = no",
        # Notebooks fall asleep with documents open. Linux would ask after two hours whether they are still there.
        f"socket options = {_SOCKET_OPTIONS}",
        "logging = file",
        f"log file = {places.log_file}",
        "max log size = 8192",
    )
    if door.bind:
        yield f"interfaces = {door.bind}"
        yield "bind interfaces only = yes"
    for option, folder in places.folders.items():
        yield f"{option} = {folder}"


def _share(share: SmbShare, door: Door) -> Iterable[str]:
    yield f"path = {door.mount / share.name}"
    yield "read only = yes"
    yield f"valid users = {_names(share.writers | share.readers)}"
    yield f"write list = {_names(share.writers)}"
    yield from _common(door, share.name)


def _home(folder: str, everybody: list[str], door: Door) -> Iterable[str]:
    yield f"path = {door.mount / folder}/%u"
    yield "read only = no"
    yield f"valid users = {_names(everybody)}"
    yield from _common(door, HOME)


def _common(door: Door, name: str) -> Iterable[str]:
    yield from (
        f"volume serial number = {volume_number(door.sid, name):#010x}",
        f"root preexec = {door.register}",
        "root preexec close = yes",
        # A folder keeps its name while anybody has a file open below it: his program would save into nowhere.
        "strict rename = yes",
        f"vfs objects = {_MODULES}",
        "shadow:snapdir = .previous",
        "shadow:format = %Y-%m-%dT%H-%M-%SZ",
        "shadow:localtime = no",
        "shadow:sort = desc",
        # What is made in a share is 0660 or 2770 as the share is, and in a home its owner's alone; what DOS knew of a
        # file is in an attribute.
        "inherit permissions = yes",
        "map archive = no",
        # Nobody but smbd locks files here, and a durable handle wants all three.
        "posix locking = no",
        "kernel oplocks = no",
        "kernel share modes = no",
    )


def _names(names: Iterable[str]) -> str:
    # Nobody is a list with a name that no user can have: an empty list would be everybody.
    return " ".join(sorted(names)) or "-"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def smbpasswd(users: Iterable[SmbUser]) -> str:
    """The passwords as smbpasswd(5) has them: name, uid, no LM hash, NT hash, flags, time of the last change."""
    return "".join(
        f"{user.name}:{user.uid}:{'X' * 32}:{user.nt_hash.hex().upper() if user.nt_hash else 'X' * 32}:"
        f"[{'U' if user.is_enabled and user.nt_hash else 'DU':<11}]:LCT-00000001:\n"
        for user in sorted(users, key=lambda user: user.name)
    )
