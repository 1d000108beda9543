"""`hybrid-drive serve`: make the drive on the first run, then keep all its processes alive until told to stop."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from appliance.commands.options import (
    Json,
    KitOption,
    Mount,
    PassphraseFile,
    State,
    given_passphrase,
    mount_of,
    places_of,
)
from appliance.commands.output import print_json
from appliance.config import Config
from appliance.config_reading import read_config
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem
from appliance.errors import AlreadyRunning
from appliance.leftovers import clear_away
from appliance.lock import is_held, read_pid
from appliance.logs import logging_to
from appliance.mounts import free_callers, prepare_mount_point, remove_mount
from appliance.passphrases import VARIABLE, ask, from_environment, require_strong
from appliance.places import StatePlaces, is_made, lacks_keys, require_drive

if TYPE_CHECKING:
    from appliance.supervisor import Answer

# Each question to the core waits this long; three silences in a row mean that it hangs.
_ANSWER_WITHIN_S = 30.0
_MEANINGS: dict[str, "Answer"] = {"not_running": "absent", "unanswered": "silent"}
log = logging.getLogger(__name__)


def serve(
    state: State = None,
    mount: Mount = None,
    passphrase_file: PassphraseFile = None,
    kit: KitOption = None,
    json: Json = False,
) -> None:
    """Runs the drive in the foreground and brings it back after a crash. The first run makes it. Ctrl-C stops it."""
    places = places_of(state)
    place = mount_of(mount, places)
    if is_held(places):
        # Before anything is cleaned up: what is there belongs to the one that runs.
        raise AlreadyRunning(places.state, read_pid(places))
    if not is_made(places):
        _make(places, given_passphrase(passphrase_file))
        if not json:
            print(f"A new drive was made in {places.state}.", flush=True)
    require_drive(places)
    config = read_config(places.config)
    prepare_mount_point(place, places.state)  # only a mount that a dead core left may be there; later, our own child's
    opening = _opening(places, passphrase_file, kit)
    with logging_to(places.supervisor_log, config.log.level):
        code = _supervise(places, place, config, opening, json)
    if code:
        raise typer.Exit(code)


def _make(places: StatePlaces, passphrase: str | None) -> None:
    """As `init` without arguments does, but for the kit, which goes to a file."""
    import trio

    from appliance.kits import kit_to
    from appliance.making import Wishes, make_drive

    if passphrase is not None:
        require_strong(passphrase)
    places.state.mkdir(parents=True, exist_ok=True)
    trio.run(make_drive, places, Wishes(give_kit=kit_to(places.kit_file), passphrase=passphrase))


def _opening(places: StatePlaces, passphrase_file: Path | None, kit: Path | None) -> list[str]:
    """What the core is told to open the drive with; a passphrase that somebody types here goes by the environment."""
    if passphrase_file is not None:
        return ["--passphrase-file", str(Path.cwd() / passphrase_file)]
    if kit is not None:
        return ["--kit", str(Path.cwd() / kit)]
    if not places.key_file.exists() and not lacks_keys(places) and from_environment() is None:
        typed = ask("Passphrase of the drive")
        if typed is not None:
            os.environ[VARIABLE] = typed
    return []


def _supervise(places: StatePlaces, place: Path, config: Config, opening: list[str], json: bool) -> int:
    import trio

    from appliance.door_book import DoorBook
    from appliance.notify import Notify
    from appliance.smb.door import smb_door
    from appliance.supervisor import Child, ChildRefused, Patience, keep_alive
    from cloud_tier.clock import SystemClock

    core = Child(
        name="core",
        command=[
            *(sys.executable, "-m", "appliance", "mount", "--die-with-parent", str(os.getpid())),
            *("--state", str(places.state), "--mount", str(place), *opening),
        ],
        ask=_asker(places),
        free=_freer(places, place),
        clear=_clearer(place),
    )

    book = DoorBook(places.doors, SystemClock())
    door = smb_door(places, config.smb, book)
    notify = Notify()

    def on_serving(starts: int) -> None:
        notify.ready(f"The drive serves at {place}." if starts == 1 else f"The drive is back at {place}.")
        _say_serving(places, place, json, starts)

    async def until_told() -> int:
        # Under nohup SIGHUP is ignored, and stays so.
        stops = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        heard = [each for each in stops if signal.getsignal(each) is not signal.SIG_IGN]
        with trio.open_signal_receiver(*heard) as signals:
            async with trio.open_nursery() as nursery:

                async def stop_when_told() -> None:
                    async for number in signals:
                        log.info("told to stop by %s", signal.Signals(number).name)
                        notify.stopping()
                        nursery.cancel_scope.cancel()

                nursery.start_soon(stop_when_told)
                nursery.start_soon(notify.keep_watch)
                try:
                    await keep_alive(core, Patience(), on_serving, door)
                except ChildRefused as refused:
                    nursery.cancel_scope.cancel()
                    return refused.code
        return 0

    try:
        return trio.run(until_told)
    finally:
        book.close()


def _asker(places: StatePlaces) -> Callable[[], "Answer"]:
    def ask() -> "Answer":
        try:
            with ControlClient(places.control_socket, timeout_s=_ANSWER_WITHIN_S, patience_s=0) as core:
                return "absent" if core.status().state == "starting" else "answers"
        except ControlProblem as problem:
            # Whatever is answered, also a refusal, shows that the loop turns; only silence is a hang.
            return _MEANINGS.get(problem.problem.code, "answers")

    return ask


def _freer(places: StatePlaces, place: Path) -> Callable[[], None]:
    def free() -> None:
        # The mount itself stays until the next core replaces it (`prepare_mount_point` says why).
        free_callers(place)
        if not is_held(places):
            for leftover in (places.control_socket, places.core_pid):
                with suppress(OSError):
                    leftover.unlink()
            clear_away(places)

    return free


def _clearer(place: Path) -> Callable[[], None]:
    def clear() -> None:
        try:
            if remove_mount(place):
                log.warning("a mount that the core left at %s was taken away", place)
        except OSError:
            log.exception("the mount at %s cannot be taken away", place)

    return clear


def _say_serving(places: StatePlaces, place: Path, json: bool, starts: int) -> None:
    if starts > 1:
        log.warning("the drive is back at %s", place)
        return
    if json:
        print_json({"mount": str(place), "state": str(places.state)})
        sys.stdout.flush()
        return
    print(f"The drive is mounted at {place}: save files there.")
    print(
        f"Keep a state: hybrid-drive snapshot create --state {places.state}; old ones are in {place}/Previous Versions"
    )
    print(f"Health: hybrid-drive status --state {places.state}; log: {places.core_log}. Ctrl-C stops the drive.")
    if os.geteuid() != 0:
        print("It runs without root: it is a drive of this one user, who owns every file on it.")
    if places.kit_file.exists():
        print(f"Print {places.kit_file}, keep the page away from this machine, and delete the file:")
        print("with it and the store the drive comes back when this machine is lost, and whoever has both reads it.")
    sys.stdout.flush()
