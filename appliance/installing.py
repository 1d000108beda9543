"""The drive as a service of the machine: which files that takes, put there and taken away.

Owns every file outside the state directory that an installed drive has: a unit, the group of those who may ask the
drive how it is, and the command. Promises that `uninstall` takes away exactly what `install` put there, and nothing of
the drive: state, store and mount point stay. Refuses to write over a file of somebody else's.

With a `root` other than / the files are only laid out below it, as a packager or a test wants them; with / the service
manager is told as well, and the drive is started.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.exit_codes import ExitCode

SERVICE = "hybrid-drive.service"
UNIT = Path("etc/systemd/system") / SERVICE
GROUP = Path("etc/sysusers.d/hybrid-drive.conf")
COMMAND = Path("usr/local/bin/hybrid-drive")
MARK = "Written by `hybrid-drive install`"
_LASTING = (
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.REFUSED,
    ExitCode.ALREADY_RUNNING,
    ExitCode.DAMAGED,
    ExitCode.OTHER_VERSION,
    ExitCode.NO_RIGHTS,
    ExitCode.NO_FUSE,
    ExitCode.LOCKED,
)


class NotInstalled(ApplianceError):
    """The service cannot be put in place, or taken away; the message says what is there and what to do."""

    code = "refused"


class NoInstallRights(ApplianceError):
    """Only root changes the machine."""

    code = "no_rights"

    def __init__(self) -> None:
        super().__init__(
            "Services of the machine are root's: run this with sudo, or lay the files out with --root DIR."
        )


@dataclass(frozen=True)
class Installation:
    """Where what lies. `root`: / or a folder that stands for it; `program`: the console script of this installation."""

    root: Path
    state: Path
    mount: Path
    program: Path

    @property
    def is_real(self) -> bool:
        """Whether it is this machine's own."""
        return self.root == Path("/")

    def files(self) -> dict[Path, str]:
        """The texts of the files, by their places below the root."""
        text = files("appliance") / "units"
        lasting = " ".join(str(code.value) for code in _LASTING)
        unit = (text / SERVICE).read_text(encoding="utf-8")
        return {
            UNIT: unit.format(command=self.program, state=self.state, mount=self.mount, lasting=lasting),
            GROUP: (text / "hybrid-drive.sysusers").read_text(encoding="utf-8"),
        }


def program() -> Path:
    """The console script that stands beside the interpreter."""
    return Path(sys.executable).parent / "hybrid-drive"


def install(wanted: Installation, run: Callable[[Sequence[str]], None]) -> list[Path]:
    """Put the files there and start the service; returns them. `run` runs a command of the machine.

    Raises NoInstallRights, NotInstalled.
    """
    if wanted.is_real and os.geteuid() != 0:
        raise NoInstallRights
    for path in (wanted.state, wanted.mount):
        if any(letter.isspace() or letter in "%\"'\\" for letter in str(path)):
            raise NotInstalled(f"{path} has letters that a unit of systemd cannot name; choose another folder.")
    written = [wanted.root / place for place in (*wanted.files(), COMMAND)]
    for path in written:
        if (path.exists() or path.is_symlink()) and not _is_ours(path):
            raise NotInstalled(f"{path} is there and was not written by install; move it away, then try again.")
    for place, text in wanted.files().items():
        path = wanted.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    command = wanted.root / COMMAND
    command.parent.mkdir(parents=True, exist_ok=True)
    command.unlink(missing_ok=True)
    command.symlink_to(wanted.program)
    if wanted.is_real:
        run(["systemd-sysusers", str(wanted.root / GROUP)])
        run(["systemctl", "daemon-reload"])
        run(["systemctl", "enable", "--now", SERVICE])
    return written


def uninstall(root: Path, run: Callable[[Sequence[str]], None]) -> list[Path]:
    """End the service and take its files away; returns those that were there. The drive itself stays.

    Raises NoInstallRights, NotInstalled.
    """
    is_real = root == Path("/")
    if is_real and os.geteuid() != 0:
        raise NoInstallRights
    found = [root / place for place in (UNIT, GROUP, COMMAND) if _is_ours(root / place)]
    if is_real and root / UNIT in found:
        run(["systemctl", "disable", "--now", SERVICE])
    for path in found:
        path.unlink()
    if is_real and found:
        run(["systemctl", "daemon-reload"])
    return found


def run_command(command: Sequence[str]) -> None:
    """Run a command of the machine. Raises NotInstalled with what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotInstalled(
            f"{command[0]} cannot be run ({error.strerror}): a machine with systemd is needed."
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(f"`{' '.join(command)}` failed: {said[-1] if said else f'code {done.returncode}'}.")


def _is_ours(path: Path) -> bool:
    if path.is_symlink():
        return path.readlink().name == COMMAND.name
    try:
        return MARK in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
