"""`hybrid-drive share add | list | remove | rename | allow | deny`."""

from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_answer, print_json, print_table
from appliance.control.people_client import PeopleClient
from appliance.control.people_protocol import AccessName

app = typer.Typer(help="Folders at the root of the drive, and who may read and write in them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The share's name, which is its folder's name.")]
Who = Annotated[str, typer.Argument(metavar="WHO", help="A user or a group.")]


@app.command("add")
def add(name: Name, state: State = None, json: Json = False) -> None:
    """Adds a share and its folder. Nobody but root gets in before somebody is allowed to."""
    with PeopleClient(places_of(state).control_socket) as core:
        made = core.add_share(name)
    print_answer(made, json, f"The share {name} is added; let people in with `hybrid-drive share allow`.")


@app.command("list")
def list_all(state: State = None, json: Json = False) -> None:
    """Lists the shares and their members."""
    with PeopleClient(places_of(state).control_socket) as core:
        known = core.shares()
    if json:
        print_json(known)
        return
    rows = [
        (share.name, *(", ".join(m.name for m in share.members if m.access == access) for access in ("write", "read")))
        for share in known
    ]
    print_table(("name", "may write", "may only read"), rows, nothing="There are no shares yet.")


@app.command("remove")
def remove(name: Name, state: State = None, json: Json = False) -> None:
    """Removes a share. Its folder stays, for root alone, unless it is empty."""
    with PeopleClient(places_of(state).control_socket) as core:
        removed = core.remove_share(name)
    if json:
        print_json(removed)
    elif removed.has_left_folder:
        print(f"The share {name} is removed. Its folder stays, for root alone; a share of that name gets it back.")
    else:
        print(f"The share {name} is removed, and its folder, which was empty.")


@app.command("rename")
def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    state: State = None,
    json: Json = False,
) -> None:
    """Gives a share and its folder another name."""
    with PeopleClient(places_of(state).control_socket) as core:
        renamed = core.rename_share(name, new)
    print_answer(renamed, json, f"The share {name} is called {new} now.")


@app.command("allow")
def allow(
    name: Name,
    who: Who,
    access: Annotated[AccessName, typer.Argument(metavar="read|write", help="Who may write may read.")],
    state: State = None,
    json: Json = False,
) -> None:
    """Lets a user or a group read, or read and write, in a share."""
    with PeopleClient(places_of(state).control_socket) as core:
        share = core.allow(name, who, access)
    print_answer(share, json, f"{who} may {access} in {name}.")


@app.command("deny")
def deny(name: Name, who: Who, state: State = None, json: Json = False) -> None:
    """Takes that back, at once. What somebody may do by another membership stays."""
    with PeopleClient(places_of(state).control_socket) as core:
        share = core.deny(name, who)
    print_answer(share, json, f"{who} is no longer a member of {name}.")
