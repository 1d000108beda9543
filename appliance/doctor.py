"""What is wrong with this drive, in words of a person: facts gathered once, then judged by pure functions.

`gather` asks the machine and the core, and works as well when the core is dead; each question has a deadline, so that a
hung mount or core is a fact and not a hang of the doctor. `advise` turns facts into advice, the weightiest first; each
piece says what is wrong, what that means and what to do. Nothing is changed by looking.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from appliance.config import Config
from appliance.config_reading import ConfigProblem, find_problems
from appliance.control.client import ControlClient
from appliance.control.protocol import Advice, ControlProblem, Problem, Status, StoreStatus
from appliance.errors import ApplianceError
from appliance.figures import instant_text, size_text
from appliance.key_health import KeyFacts, about_keys, about_store, is_store_beside, look_at_keys, look_for_store
from appliance.lock import is_held, read_pid
from appliance.logs import serious_lines
from appliance.mounts import Answer, find_mount, probe
from appliance.places import StatePlaces, is_made
from appliance.smb.health import SmbFacts, about_smb, look_for_smb
from appliance.upkeep_health import about_config, about_damage, about_upkeep

_ANSWER_WITHIN_S = 5.0
_OLD_CUT = timedelta(minutes=2)
_CLOCK_SLACK = timedelta(minutes=1)
_OLDEST_KERNEL = (5, 10)
_LEAST_FREE_BYTES = 2**30
_SHOWN_LINES = 5
_WEIGHT = {"broken": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Facts:
    """What `gather` saw. None means that it could not be seen."""

    now: datetime
    state: Path
    mount: Path | None
    is_made: bool
    may_write: bool
    is_held: bool
    pid: int | None
    status: Status | None
    problem: Problem | None
    mount_answer: Answer | None
    """None: nothing is mounted there."""
    fuse: Literal["usable", "missing", "denied"]
    has_mount_helper: bool
    kernel: str
    free_bytes: int
    disk_bytes: int
    newest_file: datetime | None
    """When the newest file of the state was written, by its own clock."""
    keys: KeyFacts | None
    store: StoreStatus | None
    is_store_beside: bool
    """Whether the store is on the disk of the state directory."""
    smb: SmbFacts | None
    config: Config
    config_problems: tuple[ConfigProblem, ...]
    log_file: Path
    log_lines: tuple[str, ...]
    """What is serious: of the core since it started, of the supervisor in the last day."""


def gather(places: StatePlaces, mount: Path, now: datetime) -> Facts:
    """Looks at the machine and asks the core. `mount` counts when neither the core nor its last run tells a place."""
    status, problem = _ask(places)
    place = Path(status.mount) if status is not None else _last_mount(places, mount)
    disk = shutil.disk_usage(_nearest(places.state))
    since = now - timedelta(days=1) if status is None else status.started
    began = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    yesterday = (now - timedelta(days=1)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    held = False
    try:
        held = is_held(places)
    except ApplianceError as error:
        problem = problem or Problem(code=error.code, message=error.message)
    keys = look_at_keys(places) if is_made(places) else None
    config, config_problems = find_problems(places.config)
    return Facts(
        now=now,
        state=places.state,
        mount=place,
        is_made=is_made(places),
        may_write=os.access(_nearest(places.state), os.R_OK | os.W_OK | os.X_OK),
        is_held=held,
        pid=read_pid(places),
        status=status,
        problem=problem,
        mount_answer=_probe(place),
        fuse=_fuse(),
        has_mount_helper=os.geteuid() == 0 or shutil.which("fusermount3") is not None,
        kernel=platform.release(),
        free_bytes=disk.free,
        disk_bytes=disk.total,
        newest_file=_newest_file(places),
        keys=keys,
        store=look_for_store(places) if status is None else status.store,
        is_store_beside=is_store_beside(places),
        smb=look_for_smb(places),
        config=config,
        config_problems=tuple(config_problems),
        log_file=places.core_log,
        log_lines=(*serious_lines(places.supervisor_log, yesterday), *serious_lines(places.core_log, began)),
    )


def advise(facts: Facts) -> list[Advice]:
    """All that is worth saying about `facts`, the weightiest first; [] when everything is well."""
    found = [advice for check in _CHECKS for advice in check(facts)]
    return sorted(found, key=lambda advice: _WEIGHT[advice.severity])


def _about_damage(facts: Facts) -> Iterator[Advice]:
    status = facts.status
    if status is None:
        return
    cache = status.cache
    if cache.damaged_pages:
        yield Advice(
            severity="broken",
            title="Stored bytes were damaged",
            what=f"{cache.damaged_pages} pages of 4 KiB are not what was written; whoever reads them gets an error,"
            " and nobody gets wrong bytes. Everything else works.",
            do=f"{facts.log_file} names the files; `hybrid-drive scrub` looks for more. Save them anew, or bring them"
            " back from a backup, and have the disk looked at.",
        )
    yield from about_damage(status, facts.log_file)
    if status.uncommitted_rows and (status.last_cut is None or facts.now - status.last_cut > _OLD_CUT):
        yield Advice(
            severity="warning",
            title="Changes are not becoming durable",
            what=f"The last cut was {instant_text(status.last_cut)}; a power loss now loses what was saved since.",
            do="Look for a slow or full disk under the state directory.",
        )


def _about_core(facts: Facts) -> Iterator[Advice]:
    if not facts.is_made:
        yield Advice(
            severity="broken",
            title="No drive here",
            what=f"{facts.state} holds no drive, or one whose making was interrupted.",
            do=f"Name its place with --state, or make one: hybrid-drive init --state {facts.state}",
        )
    elif not facts.is_held and facts.status is None:
        yield Advice(
            severity="broken",
            title="The drive is not running",
            what="No process serves it; what was saved is safe in the state directory.",
            do=f"Start it: hybrid-drive serve --state {facts.state}. If it ends again, {facts.log_file} says why.",
        )
    elif facts.status is None:
        said = facts.problem.message if facts.problem is not None else "It gave no answer."
        yield Advice(
            severity="broken",
            title="The core does not answer",
            what=f"Process {facts.pid or 'unknown'} holds the drive, but: {said}",
            do="Under `hybrid-drive serve` a hung core is ended and started again within two minutes; "
            "started otherwise, stop that process and start `serve`.",
        )


def _about_status(facts: Facts) -> Iterator[Advice]:
    status = facts.status
    if status is None:
        return
    if status.state == "read_only":
        yield Advice(
            severity="broken",
            title="The drive is read-only",
            what=f"{status.reason or 'The core gave no reason'}. Reading works, nothing can be saved.",
            do=f"Remove the cause, then restart the drive; details are in {facts.log_file}.",
        )
    if status.state == "starting":
        yield Advice(
            severity="note",
            title="The drive is starting",
            what=status.reason or "It puts itself in order after its last end.",
            do="Wait; ask again in a minute.",
        )
    cache = status.cache
    if cache.allocated_bytes > cache.budget_bytes:
        yield Advice(
            severity="warning",
            title="The cache is over its budget",
            what=f"It takes {size_text(cache.allocated_bytes)} of {size_text(cache.budget_bytes)}.",
            do="Raise [cache] budget in config.toml, or free what nobody needs.",
        )


def _about_mount(facts: Facts) -> Iterator[Advice]:
    if facts.mount_answer == "dead":
        yield Advice(
            severity="broken",
            title="A dead mount is left",
            what=f"Programs that use {facts.mount} get errors, because its core is gone.",
            do=f"Start the drive, which clears it away, or do it now: umount -l {facts.mount}",
        )
    elif facts.mount_answer == "hung":
        yield Advice(
            severity="broken",
            title="The mount does not answer",
            what=f"Programs that use {facts.mount} wait.",
            do="`hybrid-drive serve` frees them within two minutes; without it, stop the core.",
        )
    elif facts.mount_answer is None and facts.status is not None and facts.status.state != "starting":
        yield Advice(
            severity="broken",
            title="The core runs but nothing is mounted",
            what=f"Nobody can reach the drive at {facts.mount}; somebody may have unmounted it.",
            do="Restart the drive.",
        )


def _about_machine(facts: Facts) -> Iterator[Advice]:
    if facts.fuse != "usable":
        missing = facts.fuse == "missing"
        yield Advice(
            severity="broken",
            title="FUSE cannot be used",
            what="/dev/fuse is missing." if missing else "This user may not open /dev/fuse.",
            do="modprobe fuse, or give the container the device."
            if missing
            else "Run as root, or give the user rights.",
        )
    if not facts.has_mount_helper:
        yield Advice(
            severity="broken",
            title="fusermount3 is missing",
            what="Without it a user other than root can mount nothing.",
            do="Install the package fuse3.",
        )
    if _kernel_number(facts.kernel) < _OLDEST_KERNEL:
        yield Advice(
            severity="warning",
            title="The kernel is old",
            what=f"Linux {facts.kernel} was never tested with Hybrid Drive.",
            do=f"Update to Linux {'.'.join(map(str, _OLDEST_KERNEL))} or later.",
        )


def _about_state(facts: Facts) -> Iterator[Advice]:
    if not facts.may_write:
        yield Advice(
            severity="broken" if facts.status is None else "note",
            title="This user may not use the state directory",
            what=f"{facts.state} belongs to somebody else.",
            do="Run as root, or as the user who runs the drive.",
        )
    if facts.free_bytes < max(_LEAST_FREE_BYTES, facts.disk_bytes // 20):
        yield Advice(
            severity="warning",
            title="The disk under the drive is nearly full",
            what=f"{size_text(facts.free_bytes)} of {size_text(facts.disk_bytes)} are free.",
            do="Free space there; when it is used up, nothing can be saved.",
        )
    if facts.newest_file is not None and facts.newest_file > facts.now + _CLOCK_SLACK:
        yield Advice(
            severity="warning",
            title="The clock went backwards",
            what=f"It says {instant_text(facts.now)}, but the drive was written at {instant_text(facts.newest_file)}.",
            do="Set the clock (systemd-timesyncd or chrony); snapshots are named and kept by it.",
        )
    if facts.log_lines:
        yield Advice(
            severity="note",
            title=f"{len(facts.log_lines)} warnings or errors in the logs",
            what="\n".join(facts.log_lines[-_SHOWN_LINES:]),
            do=f"Read {facts.log_file} and its neighbours.",
        )


def _about_config(facts: Facts) -> Iterator[Advice]:
    if facts.is_made:
        yield from about_config(facts.config, facts.config_problems)


def _about_upkeep(facts: Facts) -> Iterator[Advice]:
    if facts.status is not None:
        yield from about_upkeep(facts.status, facts.now)


def _about_keys(facts: Facts) -> Iterator[Advice]:
    if facts.keys is not None:
        yield from about_keys(facts.keys)


def _about_store(facts: Facts) -> Iterator[Advice]:
    if facts.store is not None:
        yield from about_store(facts.store, facts.is_store_beside)


def _about_smb(facts: Facts) -> Iterator[Advice]:
    if facts.smb is not None:
        yield from about_smb(facts.smb)


# Of one severity, what comes first here is said first: bytes in danger, then the way back to them, then everything that
# keeps people from working, then what can wait.
_CHECKS: tuple[Callable[[Facts], Iterator[Advice]], ...] = (
    _about_damage,
    _about_keys,
    _about_core,
    _about_status,
    _about_mount,
    _about_store,
    _about_state,
    _about_config,
    _about_machine,
    _about_smb,
    _about_upkeep,
)


def _ask(places: StatePlaces) -> tuple[Status | None, Problem | None]:
    try:
        with ControlClient(places.control_socket, timeout_s=_ANSWER_WITHIN_S, patience_s=0) as core:
            return core.status(), None
    except ControlProblem as error:
        return None, error.problem


def _last_mount(places: StatePlaces, otherwise: Path) -> Path:
    try:
        return Path(os.fsdecode(places.last_mount.read_bytes()))
    except OSError:
        return otherwise


def _probe(place: Path) -> Answer | None:
    entry = find_mount(place)
    return probe(entry.mount_point) if entry is not None and entry.is_fuse else None


def _fuse() -> Literal["usable", "missing", "denied"]:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return "denied"
    except OSError:
        return "missing"
    return "usable"


def _nearest(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _newest_file(places: StatePlaces) -> datetime | None:
    try:
        newest = max(each.stat().st_mtime for each in places.state.iterdir())
    except (OSError, ValueError):
        return None
    return datetime.fromtimestamp(newest, UTC)


def _kernel_number(release: str) -> tuple[int, int]:
    parts = release.split(".")
    try:
        return int(parts[0]), int("".join(char for char in parts[1] if char.isdigit()))
    except (IndexError, ValueError):
        return _OLDEST_KERNEL
