"""`hybrid-drive jobs`: what the core does or did in steps."""

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json, print_table
from appliance.control.client import ControlClient
from appliance.figures import instant_text


def jobs(state: State = None, json: Json = False) -> None:
    """Lists restores and undos, newest first."""
    with ControlClient(places_of(state).control_socket) as core:
        known = core.jobs()
    if json:
        print_json(known)
        return
    rows = [
        (
            str(job.id),
            job.kind,
            job.state,
            f"{job.done}/{job.total}",
            instant_text(job.created),
            job.path or ".",
            job.at,
        )
        for job in known
    ]
    headings = ("id", "kind", "state", "steps", "begun", "path", "from")
    print_table(headings, rows, nothing="There were no jobs yet.")
