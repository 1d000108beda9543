"""`hybrid-drive mount`: the core alone, in the foreground."""

import ctypes
import logging
import os
import signal
from typing import Annotated

import typer

from appliance.commands.options import Json, Mount, State, mount_of, places_of
from appliance.config import read_config
from appliance.errors import ApplianceError
from appliance.lock import holding
from appliance.logs import logging_to
from appliance.mounts import prepare_mount_point
from appliance.places import require_drive

_PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)

Parent = Annotated[int | None, typer.Option("--die-with-parent", metavar="PID", hidden=True)]


def mount(state: State = None, mount: Mount = None, die_with_parent: Parent = None, json: Json = False) -> None:
    """Mounts the drive and serves it until SIGTERM or Ctrl-C. `serve` also brings it back after a crash."""
    if die_with_parent is not None:
        stop_when_parent_ends(die_with_parent)
    places = places_of(state)
    require_drive(places)
    config = read_config(places.config)
    with holding(places), logging_to(places.core_log, config.log.level):
        from appliance.core import run_core

        place = prepare_mount_point(mount_of(mount, places), places.state)
        # What the core writes are people's files: nobody else's to read. (The tree's modes are rows and know no umask.)
        os.umask(0o077)
        places.last_mount.write_bytes(os.fsencode(place))
        try:
            code = run_core(places.state, place, config)
        except ApplianceError as error:
            log.error("the core ends: %s", error)
            raise
        except Exception:
            log.exception("the core met an error that nobody foresaw")
            raise
    if code:
        raise typer.Exit(code)


def stop_when_parent_ends(parent: int) -> None:
    """Asks the kernel to send SIGTERM when the supervisor, process `parent`, dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before the kernel knew; there will be no signal.
        raise typer.Exit(0)
