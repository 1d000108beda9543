"""Where a drive keeps its things: names inside the state directory, and the defaults for both directories.

Owns the layout above the engine (config, socket, lock, pid, log). Pure but for the environment it is asked about. The
defaults follow one rule, so that a clone works without arguments and an installed appliance without a clone: what is
named wins, then `$HYBRID_DRIVE_STATE`, then `./.drive` inside a clone, then the system's place.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import NoRights, OtherVersion, StateMissing

LAYOUT = 2
"""On disk: do not change what a number means."""
LAYOUT_WITHOUT_KEYS = 1
"""Of drives made before there were stores; the next start gives them one (`appliance.making`)."""
STATE_VARIABLE = "HYBRID_DRIVE_STATE"
SYSTEM_STATE = Path("/var/lib/hybrid-drive")
SYSTEM_MOUNT = Path("/srv/drive")
CLONE_STATE = ".drive"
CLONE_MOUNT = "drive"


@dataclass(frozen=True)
class StatePlaces:
    """The names inside one state directory. Nothing here is created by asking for it."""

    state: Path

    @property
    def config(self) -> Path:
        return self.state / "config.toml"

    @property
    def layout(self) -> Path:
        """The number of this layout, as text. `init` writes it last: without it there is no drive, or half of one."""
        return self.state / "layout"

    @property
    def key_file(self) -> Path:
        """What opens the drive at a start that nobody attends. `--no-keyfile`: not there."""
        return self.state / "key"

    @property
    def key_ring(self) -> Path:
        """The newest key ring that this machine has seen, as it lies in the store."""
        return self.state / "key-ring"

    @property
    def drive_header(self) -> Path:
        """The header of the drive, as it lies in the store."""
        return self.state / "drive-header"

    @property
    def lease(self) -> Path:
        """This machine's claim to the store, as it lies there."""
        return self.state / "lease"

    @property
    def lease_lost(self) -> Path:
        """Who has taken the drive over from this machine, if somebody has: name, time, number of the claim."""
        return self.state / "lease.lost"

    @property
    def kit_file(self) -> Path:
        """Where the recovery kit is left when nobody watches; to be printed and taken away."""
        return self.state / "recovery-kit.txt"

    @property
    def recovered(self) -> Path:
        """JSON: what `recover` brought back, and which files were behind. Of a drive that was made here: not there."""
        return self.state / "recovered.json"

    @property
    def store(self) -> Path:
        """The store of a drive whose configuration names none."""
        return self.state / "store"

    @property
    def run(self) -> Path:
        """Things that mean something only while a process lives: socket, lock, pids."""
        return self.state / "run"

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def core_lock(self) -> Path:
        return self.run / "core.lock"

    @property
    def core_pid(self) -> Path:
        return self.run / "core.pid"

    @property
    def doors(self) -> Path:
        """JSON: how the doors live, as the supervisor last saw them; see `appliance.door_book`."""
        return self.run / "doors.json"

    @property
    def samba(self) -> Path:
        """All of smbd's files; made anew by each core."""
        return self.run / "samba"

    @property
    def extra_users(self) -> Path:
        """passwd, group and shadow of the drive's people, for libnss-extrausers."""
        return self.run / "extrausers"

    @property
    def log(self) -> Path:
        return self.state / "log"

    @property
    def core_log(self) -> Path:
        return self.log / "core.log"

    @property
    def supervisor_log(self) -> Path:
        return self.log / "supervisor.log"

    @property
    def smbd_log(self) -> Path:
        return self.log / "smbd.log"

    @property
    def command_log(self) -> Path:
        """Where a command's unexpected error leaves its traceback."""
        return self.log / "command.log"

    @property
    def audit_log(self) -> Path:
        """JSON lines: who changed what through the control interface; see `appliance.audit`."""
        return self.log / "audit.log"

    @property
    def last_mount(self) -> Path:
        """Text: where this drive was mounted last, so that `doctor` can look there when the core is dead."""
        return self.state / "last-mount"


def is_made(places: StatePlaces) -> bool:
    """Whether a drive was made there to the end."""
    return places.layout.exists()


def require_drive(places: StatePlaces) -> None:
    """Raises StateMissing when no drive was made there, OtherVersion when its layout is not ours."""
    try:
        found = places.layout.read_text().strip()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StateMissing(places.state) from error
    except PermissionError as error:
        raise NoRights(f"look into the state directory {places.state}") from error
    if found not in (str(LAYOUT), str(LAYOUT_WITHOUT_KEYS)):
        raise OtherVersion(places.state, found, LAYOUT)


def lacks_keys(places: StatePlaces) -> bool:
    """Whether the drive there was made before there were stores and keys."""
    try:
        return places.layout.read_text().strip() == str(LAYOUT_WITHOUT_KEYS)
    except OSError:
        return False


def is_clone(directory: Path) -> bool:
    """Whether `directory` is a checkout of this project: it has our pyproject.toml."""
    try:
        text = (directory / "pyproject.toml").read_text()
        return bool(tomllib.loads(text).get("project", {}).get("name") == "hybrid-drive")
    except (OSError, ValueError):
        return False


def default_state(cwd: Path) -> Path:
    """The state directory when none is named; always absolute."""
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return cwd / named
    return cwd / CLONE_STATE if is_clone(cwd) else SYSTEM_STATE


def default_mount(state: Path) -> Path:
    """The mount point when none is named: beside a clone's `.drive`, else the system's place."""
    if state.name == CLONE_STATE and is_clone(state.parent):
        return state.parent / CLONE_MOUNT
    return SYSTEM_MOUNT
