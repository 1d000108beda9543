"""`hybrid-drive keys list | add-passphrase | revoke | rotate | kit`: who can open the drive.

Each asks the core when the drive runs, and else does the same over the drive's own files and its store, under the lock.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from appliance.commands.options import Json, KitOption, PassphraseFile, State, given_passphrase, path_option, places_of
from appliance.commands.output import print_json, print_table
from appliance.config_reading import read_config
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem, KeyState, Problem, ServiceError
from appliance.errors import AlreadyRunning
from appliance.figures import instant_text
from appliance.lock import holding
from appliance.passphrases import ask_new, require_strong
from appliance.places import StatePlaces, require_drive

if TYPE_CHECKING:
    from appliance.key_verbs import KeyVerbs

T = TypeVar("T")
app = typer.Typer(help="See and change who can open the drive.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="N", help="The number that `keys list` shows.")]
OldPassphraseFile = Annotated[
    Path | None,
    path_option("--old-passphrase-file", "F", "What opens a stopped drive that has no key file."),
]
Name = Annotated[str, typer.Option("--name", help="What `keys list` calls it, such as whose it is.")]
File = Annotated[
    Path | None,
    path_option(
        "--file", "F", "Write the kit there instead of printing it; as a page for a browser if it ends in .html."
    ),
]


@app.command("list")
def list_all(
    passphrase_file: PassphraseFile = None, kit: KitOption = None, state: State = None, json: Json = False
) -> None:
    """Lists passphrases, kits and key files that open the drive."""
    _ask_and_show(state, passphrase_file, kit, json, ControlClient.keys, lambda verbs: verbs.state())


@app.command("add-passphrase")
def add_passphrase(
    name: Name = "passphrase",
    passphrase_file: PassphraseFile = None,
    old_passphrase_file: OldPassphraseFile = None,
    kit: KitOption = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Lets one more passphrase open the drive; asked for at the terminal if it is not given."""
    require_drive(places_of(state))
    fresh = require_strong(given_passphrase(passphrase_file) or ask_new())
    _ask_and_show(
        state,
        old_passphrase_file,
        kit,
        json,
        lambda core: core.add_passphrase(fresh, name),
        lambda verbs: verbs.add_passphrase(fresh, name),
    )


@app.command("revoke")
def revoke(
    number: Number,
    passphrase_file: PassphraseFile = None,
    kit: KitOption = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Lets a passphrase, kit or key file open nothing that is written from now on. The key file here is made anew."""
    _ask_and_show(
        state,
        passphrase_file,
        kit,
        json,
        lambda core: core.revoke_key(number),
        lambda verbs: verbs.revoke(number),
    )


@app.command("rotate")
def rotate(
    passphrase_file: PassphraseFile = None, kit: KitOption = None, state: State = None, json: Json = False
) -> None:
    """Seals what is written from now on under a new key. Every passphrase and every printed kit stays good."""
    _ask_and_show(state, passphrase_file, kit, json, ControlClient.rotate_keys, lambda verbs: verbs.rotate())


@app.command("kit")
def new_kit(
    file: File = None,
    passphrase_file: PassphraseFile = None,
    kit: KitOption = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Makes one more recovery kit and prints it; those before stay good until they are revoked."""
    places = places_of(state)
    require_drive(places)
    from appliance.kits import kit_to
    from cloud_tier.kit import parse_kit

    place = Path.cwd() / file if file is not None else None
    write = kit_to(place) if place is not None else None  # refuses before there is a kit
    page = _ask(places, passphrase_file, kit, ControlClient.new_kit, lambda verbs: verbs.new_kit())
    if write is not None:
        write(parse_kit(page.text))
    if json:
        print_json({"number": page.number, "file": str(place)} if place else {"number": page.number, "text": page.text})
        return
    print(f"The kit is in {place}: print it and delete the file." if place else page.text)
    print(f"This is wrap {page.number}. Kits from before stay good until `hybrid-drive keys revoke` ends them.")


def _ask(
    places: StatePlaces,
    passphrase_file: Path | None,
    kit: Path | None,
    running: Callable[[ControlClient], T],
    stopped: "Callable[[KeyVerbs], Awaitable[T]]",
) -> T:
    require_drive(places)
    try:
        with holding(places):
            return _stopped(places, passphrase_file, kit, stopped)
    except AlreadyRunning:
        with ControlClient(places.control_socket) as core:
            return running(core)


def _stopped(
    places: StatePlaces, passphrase_file: Path | None, kit: Path | None, verb: "Callable[[KeyVerbs], Awaitable[T]]"
) -> T:
    import trio

    from appliance.key_verbs import KeyVerbs
    from appliance.making import PATIENCE
    from appliance.store_link import store_url
    from appliance.unlocking import brought_by, unlock
    from cloud_tier.clock import SystemClock
    from cloud_tier.store_url import store_at

    config = read_config(places.config)
    keys = unlock(places, brought_by(passphrase_file, kit))
    url, clock = store_url(places, config), SystemClock()

    async def ask() -> T:
        store = store_at(url, clock, policy=PATIENCE).store
        try:
            return await verb(KeyVerbs(keys, store, url, clock))
        finally:
            await store.aclose()

    try:
        return trio.run(ask)
    except ServiceError as error:
        problem = Problem(code=error.code, message=error.message, details=error.details)
        raise ControlProblem(problem) from error


def _ask_and_show(
    state: Path | None,
    passphrase_file: Path | None,
    kit: Path | None,
    json: bool,
    running: Callable[[ControlClient], KeyState],
    stopped: "Callable[[KeyVerbs], Awaitable[KeyState]]",
) -> None:
    known = _ask(places_of(state), passphrase_file, kit, running, stopped)
    if json:
        print_json(known)
        return
    rows = [(str(wrap.number), wrap.kind, wrap.name, instant_text(wrap.made)) for wrap in known.wraps]
    print_table(("number", "kind", "name", "made"), rows, nothing="Nothing opens this drive.")
    print(f"Drive {known.drive}, key generation {known.generation}, ring {known.ring}, {known.revoked} revoked.")
