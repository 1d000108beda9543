"""People as a Unix system reads them: files in the formats of passwd(5), group(5) and shadow(5).

They are for libnss-extrausers, and lie in the state directory: smbd and the gateway see them where that library looks,
in a mount namespace of their own, so nothing of the machine is changed. Made anew, whole, at each start of the core and
each change; never read back. Nobody can sign in by them: passwords are asked for by the doors.

    group          number          members
    NAME           uid of a user   himself, as the group he begins with
    NAME           gid of a group  who is in it
    share-GID      gid of a share  everybody who may read or write there
"""

import os
from collections.abc import Iterable
from pathlib import Path

from vfs.people import SHARE_GROUP, People
from vfs.shares import HOMES, Shares

MODES = {"passwd": 0o644, "group": 0o644, "shadow": 0o640}
NO_SHELL = "/usr/sbin/nologin"


def render(people: People, shares: Shares, mount: Path) -> dict[str, str]:
    """The three files by name. `mount`: where homes are found."""
    users = people.users()
    names = {user.uid: user.name for user in users if user.is_enabled}
    groups = [f"{user.name}:x:{user.uid}:" for user in users]
    groups += [
        _group(group.name, group.gid, [user.uid for user in people.members_of(group.gid)], names)
        for group in people.groups()
    ]
    groups += [_group(share_group(share.gid), share.gid, shares.people_of(share), names) for share in shares.all()]
    homes = mount / HOMES
    above = str(homes) if ":" not in str(homes) and str(homes).isprintable() else "/nonexistent"
    return {
        "passwd": _lines(
            f"{user.name}:x:{user.uid}:{user.uid}:{user.full_name}:{above}/{user.name}:{NO_SHELL}" for user in users
        ),
        "group": _lines(groups),
        "shadow": _lines(f"{user.name}:!:20000:0:99999:7:::" for user in users),
    }


def _group(name: str, gid: int, uids: Iterable[int], names: dict[int, str]) -> str:
    return f"{name}:x:{gid}:{','.join(sorted(names[uid] for uid in uids if uid in names))}"


def share_group(gid: int) -> str:
    """The name of a share's own group. Names of users and groups never begin so."""
    return f"{SHARE_GROUP}{gid}"


def write(folder: Path, files: dict[str, str]) -> None:
    """Replace the files, each at once; who reads meanwhile sees the old or the new one. Raises OSError."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name, text in files.items():
        draft = folder / f".{name}.new"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODES[name])
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, MODES[name])
            file.write(text)
        draft.rename(folder / name)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
