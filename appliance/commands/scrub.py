"""`hybrid-drive scrub`: read every local byte and compare it with its sum."""

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


def scrub(sample: Sample = 100.0, state: State = None, json: Json = False) -> None:
    """Reads the bytes of all files and snapshots, running or not, and names what is damaged. Ends with 12 if any is."""
    places = places_of(state)
    require_drive(places)
    end_with(_scrub(places, sample), json)


def _scrub(places: StatePlaces, percent: float) -> CheckReport:
    try:
        with holding(places):
            from appliance.assemble import scrub_state

            return scrub_state(places.state, percent)
    except AlreadyRunning:
        with ControlClient(places.control_socket) as core:
            return core.scrub(percent)
