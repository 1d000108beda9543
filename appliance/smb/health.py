"""What of this machine can keep smbd from serving: facts, and what a person is told about them.

The same facts make `doctor`'s advice and the reason that `status` shows while the door is down.
"""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.config import SmbConfig
from appliance.config_reading import read_config
from appliance.control.protocol import Advice, DoorStatus
from appliance.door_book import read_doors
from appliance.errors import ApplianceError
from appliance.places import StatePlaces
from appliance.smb.launcher import PATH
from appliance.smb.namespace import EXTRA_USERS

LEAST = (4, 20)
"""Before it, smbd cannot open a file in a past state of a folder that was deleted since (Samba bug 15544)."""
MODULES = ("shadow_copy2", "streams_xattr", "glusterfs_fuse")
_WITHIN_S = 10.0
_INSTALL = (
    "Debian 13: apt install samba samba-vfs-modules samba-vfs-glusterfs libnss-extrausers. Debian 12: the same from "
    "bookworm-backports, with apt install -t bookworm-backports. Leave the system's own smbd off: "
    "systemctl disable --now smbd nmbd"
)


@dataclass(frozen=True)
class SmbFacts:
    """What was seen. `version` is (0, 0) where smbd does not tell it."""

    is_wanted: bool
    port: int
    has_smbd: bool = True
    version: tuple[int, int] = LEAST
    missing_modules: tuple[str, ...] = ()
    has_names: bool = True
    is_port_free: bool = True
    log_file: Path = Path()
    door: DoorStatus | None = None
    """As the supervisor sees it; None where none runs."""


def look_at_smb(places: StatePlaces, config: SmbConfig, door: DoorStatus | None = None) -> SmbFacts:
    """Looks at programs, modules and the port; starts nothing but `smbd --version` and `smbd -b`."""
    smbd = shutil.which("smbd", path=PATH)
    if not config.enabled or smbd is None:
        return SmbFacts(config.enabled, config.port, has_smbd=smbd is not None, log_file=places.smbd_log, door=door)
    found = re.search(r"(\d+)\.(\d+)", _said(smbd, "--version"))
    folder = re.search(r"MODULESDIR: (\S+)", _said(smbd, "-b"))
    modules = Path(folder[1]) / "vfs" if folder else Path()
    return SmbFacts(
        True,
        config.port,
        version=(int(found[1]), int(found[2])) if found else (0, 0),
        missing_modules=tuple(name for name in MODULES if not (modules / f"{name}.so").exists()) if folder else (),
        has_names=EXTRA_USERS.exists(),
        is_port_free=_is_free(config),
        log_file=places.smbd_log,
        door=door,
    )


def look_for_smb(places: StatePlaces) -> SmbFacts | None:
    """For a drive that may run or not; None when its configuration cannot be read."""
    try:
        config = read_config(places.config).smb
    except ApplianceError:
        return None
    return look_at_smb(places, config, next((door for door in read_doors(places.doors) if door.name == "smb"), None))


def _said(*command: str) -> str:
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout


def _is_free(config: SmbConfig) -> bool:
    first = config.bind.split()[0] if config.bind else ""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((first if re.fullmatch(r"[\d.]+", first) else "", config.port))
        except OSError:
            return False
    return True


def about_smb(facts: SmbFacts) -> Iterator[Advice]:
    """What is worth saying, the weightiest first; nothing about a door that nobody wants."""
    if not facts.is_wanted:
        return
    shared = "The drive works, but Windows and macOS cannot reach it."
    if not facts.has_smbd:
        yield Advice(severity="broken", title="smbd is not installed", what=shared, do=f"Install it. {_INSTALL}")
        return
    if facts.version < LEAST:
        yield Advice(
            severity="warning",
            title="smbd is too old",
            what=f"It is {facts.version[0]}.{facts.version[1]}. Below {LEAST[0]}.{LEAST[1]}, Explorer cannot open"
            " previous versions of files in a folder that was deleted since; the folder `Previous Versions` can.",
            do=f"Install a newer one. {_INSTALL}",
        )
    if facts.missing_modules:
        yield Advice(
            severity="broken",
            title="Modules of smbd are missing",
            what=f"{', '.join(facts.missing_modules)} cannot be loaded, so every share is refused. {shared}",
            do=f"Install them. {_INSTALL}",
        )
    if not facts.has_names:
        yield Advice(
            severity="broken",
            title="libnss-extrausers is not installed",
            what=f"smbd does not know the drive's people without it. {shared}",
            do=f"Install it. {_INSTALL}",
        )
    if facts.door is not None and facts.door.state == "serving":
        return
    if not facts.is_port_free:
        yield Advice(
            severity="broken",
            title=f"Port {facts.port} is taken",
            what=f"Another program listens there, most likely the system's own smbd. {shared}",
            do="Stop it: systemctl disable --now smbd nmbd; `ss -ltnp` shows who listens.",
        )
    elif facts.door is not None and facts.door.state in ("down", "off"):
        yield Advice(
            severity="broken",
            title="smbd is down",
            what=f"{facts.door.reason or 'It gave no reason.'} {shared}",
            do=f"It is started again every few seconds. Read {facts.log_file}.",
        )


def why_down(facts: SmbFacts, code: int) -> str:
    """One sentence about a door that ended with `code`."""
    for advice in about_smb(facts):
        if advice.severity == "broken":
            return f"{advice.title}. {advice.do}"
    how = f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
    return f"smbd {how}; {facts.log_file} says more."
