"""`hybrid-drive group add | list | remove | member add | member remove`."""

from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_answer, print_json, print_table
from appliance.control.people_client import PeopleClient

app = typer.Typer(help="Users under one name, to be members of shares together.", no_args_is_help=True)
member = typer.Typer(help="Who is in a group.", no_args_is_help=True)
app.add_typer(member, name="member")

Name = Annotated[str, typer.Argument(metavar="GROUP", help="The group's name.")]
User = Annotated[str, typer.Argument(metavar="USER", help="The user's name.")]


@app.command("add")
def add(name: Name, state: State = None, json: Json = False) -> None:
    """Adds a group, empty."""
    with PeopleClient(places_of(state).control_socket) as core:
        made = core.add_group(name)
    print_answer(made, json, f"The group {name} is added.")


@app.command("list")
def list_all(state: State = None, json: Json = False) -> None:
    """Lists the groups and who is in them."""
    with PeopleClient(places_of(state).control_socket) as core:
        known = core.groups()
    if json:
        print_json(known)
        return
    rows = [(group.name, str(group.gid), ", ".join(group.members)) for group in known]
    print_table(("name", "gid", "members"), rows, nothing="There are no groups yet.")


@app.command("remove")
def remove(name: Name, state: State = None, json: Json = False) -> None:
    """Removes a group; its members lose what they might do by it."""
    with PeopleClient(places_of(state).control_socket) as core:
        core.remove_group(name)
    print_answer({"removed": name}, json, f"The group {name} is removed.")


@member.command("add")
def add_member(name: Name, user: User, state: State = None, json: Json = False) -> None:
    """Puts a user into a group."""
    with PeopleClient(places_of(state).control_socket) as core:
        group = core.add_member(name, user)
    print_answer(group, json, f"{user} is in the group {name}.")


@member.command("remove")
def remove_member(name: Name, user: User, state: State = None, json: Json = False) -> None:
    """Takes a user out of a group."""
    with PeopleClient(places_of(state).control_socket) as core:
        group = core.remove_member(name, user)
    print_answer(group, json, f"{user} is no longer in the group {name}.")
