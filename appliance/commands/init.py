"""`hybrid-drive init`: make a drive."""

import errno
import os
from contextlib import suppress

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json
from appliance.config import read_config, write_default_config
from appliance.control.protocol import ControlProblem, Problem
from appliance.durable import make_folder_durably, write_durably
from appliance.errors import DiskFull, NoRights
from appliance.lock import holding
from appliance.places import LAYOUT, StatePlaces, is_made
from cachefs.disk import Disk, RealDisk


def init(state: State = None, json: Json = False) -> None:
    """Makes an empty drive in the state directory; refuses to touch one that is there."""
    places = places_of(state)
    if is_made(places):
        message = f"There is a drive in {places.state} already; it was left alone. Name another place with --state."
        raise ControlProblem(Problem(code="exists", message=message))
    make_drive(places)
    if json:
        print_json({"state": str(places.state)})
    else:
        print(f"A drive was made in {places.state}.")
        print(f"Start it with: hybrid-drive serve --state {places.state}")


def make_drive(places: StatePlaces, disk: Disk | None = None, vfs: str | None = None) -> None:
    """Makes the state directory, its configuration and the engine's part, durably. Raises ApplianceError.

    Goes on where one that died had stopped. Files are made by `disk`, the database through SQLite's `vfs`.
    """
    disk = disk or RealDisk()
    try:
        make_folder_durably(disk, places.state)
        for folder, mode in ((places.state, 0o711), (places.run, 0o711), (places.log, 0o700)):
            # Others pass through to the control socket, which has its own rights; they see nothing else.
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
    except PermissionError as error:
        raise NoRights(f"make a drive in {places.state}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(places.state, 0, 2**20) from error
        raise
    before = os.umask(0o077)
    try:
        _fill(places, disk, vfs)
    finally:
        os.umask(before)


def _fill(places: StatePlaces, disk: Disk, vfs: str | None) -> None:
    from appliance.assemble import make_state

    with holding(places):
        write_default_config(places.config, disk)
        read_config(places.config)  # one that was there before may be refused
        with suppress(FileExistsError):  # made by an init that died before its last step: it never served
            make_state(places.state, disk, vfs)
        write_durably(disk, places.layout, f"{LAYOUT}\n")
