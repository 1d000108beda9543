"""`hybrid-drive scrub`: read every local byte and compare it with its sum, or all of the store with its seals."""

from typing import Annotated

import typer

from appliance.commands.fsck import end_with
from appliance.commands.options import Json, State, places_of
from appliance.control.client import ControlClient
from appliance.control.protocol import CheckReport
from appliance.errors import AlreadyRunning
from appliance.lock import holding
from appliance.places import StatePlaces, require_drive

Sample = Annotated[
    float, typer.Option("--sample", metavar="P", min=0.001, max=100.0, help="Read P percent only, chosen by chance.")
]


Store = Annotated[
    bool, typer.Option("--store", help="Read what lies in the store instead, and heal it from what is here.")
]


def scrub(sample: Sample = 100.0, store: Store = False, state: State = None, json: Json = False) -> None:
    """Reads the bytes of all files and snapshots, running or not, and names what is damaged. Ends with 12 if any is."""
    places = places_of(state)
    require_drive(places)
    end_with(_scrub_store(places) if store else _scrub(places, sample), json)


def _scrub_store(places: StatePlaces) -> CheckReport:
    with ControlClient(places.control_socket) as core:
        return core.scrub_store()


def _scrub(places: StatePlaces, percent: float) -> CheckReport:
    try:
        with holding(places):
            from appliance.assemble import scrub_state

            return scrub_state(places.state, percent)
    except AlreadyRunning:
        with ControlClient(places.control_socket) as core:
            return core.scrub(percent)
