"""`hybrid-drive user add | list | password | role | enable | disable | remove`."""

from pathlib import Path
from typing import Annotated

import typer

from appliance import passphrases
from appliance.commands.options import Json, State, path_option, places_of
from appliance.commands.output import print_answer, print_json, print_table
from appliance.control.people_client import PeopleClient
from appliance.control.people_protocol import RoleName, User, UserRequest
from appliance.errors import PassphraseRefused

app = typer.Typer(help="The people who work with the drive.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with: a to z, 0 to 9 and _ . -")]
FullName = Annotated[str, typer.Option("--full-name", metavar="TEXT", help="What people call the user.")]
Role = Annotated[RoleName, typer.Option("--role", help="What the user may ask of the drive as a whole.")]
PasswordFile = Annotated[
    Path | None, path_option("--password-file", "F", "Take the password from this file. Default: ask at a terminal.")
]


@app.command("add")
def add(
    name: Name,
    full_name: FullName = "",
    role: Role = "employee",
    password_file: PasswordFile = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Adds a user, with a home folder. Without a password the user cannot sign in yet."""
    password = passphrases.from_file(Path.cwd() / password_file) if password_file is not None else None
    request = UserRequest(name=name, full_name=full_name, role=role, password=password)
    with PeopleClient(places_of(state).control_socket) as core:
        made = core.add_user(request)
    if password is None:
        print_answer(
            made, json, f"{name} is added and has no password yet; set one with `hybrid-drive user password {name}`."
        )
    else:
        print_answer(made, json, f"{name} is added.")


@app.command("list")
def list_all(state: State = None, json: Json = False) -> None:
    """Lists the users by name."""
    with PeopleClient(places_of(state).control_socket) as core:
        known = core.users()
    if json:
        print_json(known)
        return
    rows = [
        (user.name, user.full_name, user.role, str(user.uid), ", ".join(user.groups), _note(user)) for user in known
    ]
    print_table(("name", "full name", "role", "uid", "groups", ""), rows, nothing="There are no users yet.")


@app.command("password")
def password(name: Name, password_file: PasswordFile = None, state: State = None, json: Json = False) -> None:
    """Sets a user's password, also for SMB. Sessions that were begun with the old one end."""
    new = passphrases.from_file(Path.cwd() / password_file) if password_file is not None else _ask_new()
    with PeopleClient(places_of(state).control_socket) as core:
        changed = core.set_password(name, new)
    print_answer(changed, json, f"{name} has a new password.")


@app.command("role")
def role(
    name: Name,
    role: Annotated[RoleName, typer.Argument(metavar="ROLE", help="owner, admin, auditor or employee.")],
    state: State = None,
    json: Json = False,
) -> None:
    """Gives a user another role."""
    with PeopleClient(places_of(state).control_socket) as core:
        changed = core.set_role(name, role)
    print_answer(changed, json, f"{name} is {changed.role} now.")


@app.command("enable")
def enable(name: Name, state: State = None, json: Json = False) -> None:
    """Lets a user sign in again who was disabled."""
    with PeopleClient(places_of(state).control_socket) as core:
        changed = core.enable(name, True)
    print_answer(changed, json, f"{name} may sign in.")


@app.command("disable")
def disable(name: Name, state: State = None, json: Json = False) -> None:
    """Keeps a user out, at once; files, memberships and password stay."""
    with PeopleClient(places_of(state).control_socket) as core:
        changed = core.enable(name, False)
    print_answer(changed, json, f"{name} may no longer sign in.")


@app.command("remove")
def remove(name: Name, state: State = None, json: Json = False) -> None:
    """Removes a user. Home and files stay as they are; nobody gets the user's number again."""
    with PeopleClient(places_of(state).control_socket) as core:
        core.remove_user(name)
    print_answer({"removed": name}, json, f"{name} is removed. Everything the user made is where it was.")


def _note(user: User) -> str:
    if not user.enabled:
        return "disabled"
    return "" if user.has_password else "no password"


def _ask_new() -> str:
    typed = passphrases.ask("New password")
    if typed is None:
        raise PassphraseRefused("No password was given, and there is no terminal to ask at; use --password-file.")
    if passphrases.ask("Once more") != typed:
        raise PassphraseRefused("The two passwords differ; nothing was changed.")
    return typed
