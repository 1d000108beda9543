"""`hybrid-drive snapshot create | list | delete | hold | release`."""

import sys
from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json, print_table
from appliance.control.client import ControlClient
from appliance.figures import instant_text

app = typer.Typer(help="Keep, list and give up states of the whole drive.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The snapshot's name, as `snapshot list` prints it.")]
Label = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Words to append to the name.", show_default=False)]


@app.command("create")
def create(label: Label = None, state: State = None, json: Json = False) -> None:
    """Keeps the drive as it is now; prints the snapshot's name, which is its folder's name under `.snapshots`."""
    with ControlClient(places_of(state).control_socket) as core:
        made = core.create_snapshot(label)
    if json:
        print_json(made)
    else:
        print(made.name)
        if made.warning:
            print(made.warning, file=sys.stderr)


@app.command("list")
def list_all(state: State = None, json: Json = False) -> None:
    """Lists the snapshots, oldest first."""
    with ControlClient(places_of(state).control_socket) as core:
        known = core.list_snapshots()
    if json:
        print_json(known)
        return
    rows = [(each.name, instant_text(each.created), "held" if each.held else "") for each in known]
    print_table(("name", "made", ""), rows, nothing="There are no snapshots yet.")


@app.command("delete")
def delete(name: Name, state: State = None, json: Json = False) -> None:
    """Gives a snapshot up for ever; a held one is refused."""
    with ControlClient(places_of(state).control_socket) as core:
        core.delete_snapshot(name)
    if json:
        print_json({"deleted": name})
    else:
        print(f"{name} is deleted.")


@app.command("hold")
def hold(name: Name, state: State = None, json: Json = False) -> None:
    """Promises that neither a schedule nor `delete` takes the snapshot away."""
    _set_held(name, True, state, json)


@app.command("release")
def release(name: Name, state: State = None, json: Json = False) -> None:
    """Takes the promise of `hold` back."""
    _set_held(name, False, state, json)


def _set_held(name: str, held: bool, state: State, json: bool) -> None:
    with ControlClient(places_of(state).control_socket) as core:
        snapshot = core.hold(name, held)
    if json:
        print_json(snapshot)
    else:
        print(f"{name} is {'held' if snapshot.held else 'no longer held'}.")
