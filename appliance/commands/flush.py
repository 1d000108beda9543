"""`hybrid-drive flush`: wait until the cloud has what was saved until now."""

import sys
from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json
from appliance.commands.waiting import Patience, speed_text, wait_for_task
from appliance.control.client import ControlClient
from appliance.figures import instant_text

Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="S", min=0.0, help="Stop waiting after so many seconds.")
]


def flush(timeout: Timeout = None, state: State = None, json: Json = False) -> None:
    """Waits until everything that was saved until now is in the cloud. Ctrl-C ends the waiting, not the work."""
    with ControlClient(places_of(state).control_socket) as core:
        task = wait_for_task(core, core.flush(), Patience(timeout, is_silent=json))
    if json:
        print_json(task)
        return
    print(f"Everything that was saved until {instant_text(task.created)} is in the cloud.{speed_text(task, 'sent')}")
    if task.warning:
        print(f"But: {task.warning}", file=sys.stderr)
