"""`hybrid-drive serve`: make the drive on the first run, then keep all its processes alive until told to stop."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from appliance.commands.init import make_drive
from appliance.commands.options import Json, Mount, State, mount_of, places_of
from appliance.commands.output import print_json
from appliance.config import read_config
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem
from appliance.errors import AlreadyRunning
from appliance.lock import is_held, read_pid
from appliance.logs import logging_to
from appliance.mounts import clean_stale, remove_mount
from appliance.places import StatePlaces, is_made, require_drive

if TYPE_CHECKING:
    from appliance.supervisor import Answer

# Each question to the core waits this long; three silences in a row mean that it hangs.
_ANSWER_WITHIN_S = 30.0
_MEANINGS: dict[str, "Answer"] = {"not_running": "absent", "unanswered": "silent"}
log = logging.getLogger(__name__)


def serve(state: State = None, mount: Mount = None, json: Json = False) -> None:
    """Runs the drive in the foreground and brings it back after a crash. The first run makes it. Ctrl-C stops it."""
    places = places_of(state)
    place = mount_of(mount, places)
    if is_held(places):
        # Before anything is cleaned up: what is there belongs to the one that runs.
        raise AlreadyRunning(places.state, read_pid(places))
    if not is_made(places):
        make_drive(places)
        if not json:
            print(f"A new drive was made in {places.state}.", flush=True)
    require_drive(places)
    config = read_config(places.config)
    # Only a mount that a dead core left may be cleaned away here; those after it are our own child's.
    clean_stale(place)
    with logging_to(places.supervisor_log, config.log.level):
        code = _supervise(places, place, json)
    if code:
        raise typer.Exit(code)


def _supervise(places: StatePlaces, place: Path, json: bool) -> int:
    import trio

    from appliance.supervisor import Child, ChildRefused, Patience, keep_alive

    core = Child(
        name="core",
        command=[
            *(sys.executable, "-m", "appliance", "mount", "--die-with-parent", str(os.getpid())),
            *("--state", str(places.state), "--mount", str(place)),
        ],
        ask=_asker(places),
        free=_freer(places, place),
    )

    async def until_told() -> int:
        # Under nohup SIGHUP is ignored, and stays so.
        stops = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        heard = [each for each in stops if signal.getsignal(each) is not signal.SIG_IGN]
        with trio.open_signal_receiver(*heard) as signals:
            async with trio.open_nursery() as nursery:

                async def stop_when_told() -> None:
                    async for number in signals:
                        log.info("told to stop by %s", signal.Signals(number).name)
                        nursery.cancel_scope.cancel()

                nursery.start_soon(stop_when_told)
                try:
                    await keep_alive(core, Patience(), partial(_say_serving, places, place, json))
                except ChildRefused as refused:
                    nursery.cancel_scope.cancel()
                    return refused.code
        return 0

    return trio.run(until_told)


def _asker(places: StatePlaces) -> Callable[[], "Answer"]:
    def ask() -> "Answer":
        try:
            with ControlClient(places.control_socket, timeout_s=_ANSWER_WITHIN_S) as core:
                return "absent" if core.status().state == "starting" else "answers"
        except ControlProblem as problem:
            # Whatever is answered, also a refusal, shows that the loop turns; only silence is a hang.
            return _MEANINGS.get(problem.problem.code, "answers")

    return ask


def _freer(places: StatePlaces, place: Path) -> Callable[[], None]:
    def free() -> None:
        try:
            if remove_mount(place):
                log.warning("a mount that the core left at %s was taken away", place)
        except OSError:
            log.exception("the mount at %s cannot be taken away", place)
        if not is_held(places):
            for leftover in (places.control_socket, places.core_pid):
                with suppress(OSError):
                    leftover.unlink()

    return free


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
    sys.stdout.flush()
    if os.geteuid() != 0:
        print("It runs without root: it is a drive of this one user, who owns every file on it.", flush=True)
