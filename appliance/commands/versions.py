"""`hybrid-drive versions PATH`: the distinct contents a file has had."""

from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json, print_table
from appliance.control.client import ControlClient
from appliance.drive_paths import drive_path
from appliance.figures import instant_text, size_text

Path = Annotated[
    str, typer.Argument(metavar="PATH", help="Relative to the drive's root, or absolute inside the mount.")
]


def versions(path: Path, state: State = None, json: Json = False) -> None:
    """Lists the versions of a file, newest first; `restore PATH --at SNAPSHOT` brings one back."""
    with ControlClient(places_of(state).control_socket) as core:
        known = core.versions(drive_path(path, core.status().mount))
    if json:
        print_json(known)
        return
    rows = [
        (each.snapshot or "live", instant_text(each.modified), size_text(each.size_bytes), each.actor) for each in known
    ]
    print_table(("snapshot", "modified", "size", "by"), rows, nothing="There are no versions of this file.")
