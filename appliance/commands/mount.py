"""`hybrid-drive mount`: the core alone, in the foreground."""

import logging
import os
import select
import signal
import threading
from typing import Annotated

import typer

from appliance.commands.options import Json, KitOption, Mount, PassphraseFile, State, mount_of, places_of
from appliance.config_reading import read_config
from appliance.errors import ApplianceError
from appliance.lock import holding
from appliance.logs import TOLD, logging_to
from appliance.mounts import prepare_mount_point
from appliance.places import require_drive

log = logging.getLogger(__name__)

Parent = Annotated[int | None, typer.Option("--die-with-parent", metavar="PID", hidden=True)]


def mount(
    state: State = None,
    mount: Mount = None,
    passphrase_file: PassphraseFile = None,
    kit: KitOption = None,
    die_with_parent: Parent = None,
    json: Json = False,
) -> None:
    """Mounts the drive and serves it until SIGTERM or Ctrl-C. `serve` also brings it back after a crash."""
    if die_with_parent is not None:
        stop_when_parent_ends(die_with_parent)
    places = places_of(state)
    require_drive(places)
    config = read_config(places.config)
    with holding(places), logging_to(places.core_log, config.log.level):
        from appliance.core import run_core
        from appliance.unlocking import brought_by, unlock

        place = prepare_mount_point(mount_of(mount, places), places.state)
        # What the core writes are people's files: nobody else's to read. (The tree's modes are rows and know no umask.)
        os.umask(0o077)
        places.last_mount.write_bytes(os.fsencode(place))
        try:
            keys = unlock(places, brought_by(passphrase_file, kit))
            code = run_core(places.state, place, config, keys)
        except ApplianceError as error:
            log.error("the core ends: %s", error, extra=TOLD)
            raise
        except Exception:
            log.exception("the core met an error that nobody foresaw")
            raise
    if code:
        raise typer.Exit(code)


def stop_when_parent_ends(parent: int) -> None:
    """Sends this process one SIGTERM when the supervisor, process `parent`, ends, however it ends.

    Not PR_SET_PDEATHSIG: a killed parent dies thread by thread, its child is handed from one to the next, and the
    kernel sends the signal each time. A second one, when the core has begun to stop, would end it before its last cut.
    """
    try:
        supervisor = os.pidfd_open(parent)
    except ProcessLookupError:
        raise typer.Exit(0) from None
    if os.getppid() != parent:
        # It ended before the descriptor was there, and the number is somebody else's.
        raise typer.Exit(0)
    threading.Thread(target=_stop_after, args=(supervisor,), daemon=True, name="watch the supervisor").start()


def _stop_after(process: int) -> None:
    select.select([process], [], [])
    os.kill(os.getpid(), signal.SIGTERM)
