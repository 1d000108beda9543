"""`hybrid-drive init`: make a drive."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.commands.options import (
    AskPassphrase,
    Json,
    NoKeyFile,
    PassphraseFile,
    State,
    given_passphrase,
    path_option,
    places_of,
)
from appliance.commands.output import print_json
from appliance.control.protocol import ControlProblem, Problem
from appliance.errors import PassphraseRefused
from appliance.passphrases import VARIABLE, ask_new, require_strong
from appliance.places import is_made

Store = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where the drive's bytes go, encrypted: file:///FOLDER or s3://BUCKET/PREFIX?endpoint=…&region=…. "
        "Default: the folder STATE/store.",
        show_default=False,
    ),
]
KitFile = Annotated[
    Path | None,
    path_option(
        "--kit-file",
        "F",
        "Write the recovery kit there instead of printing it; as a page for a browser if it ends in .html.",
    ),
]


def init(
    state: State = None,
    store: Store = "",
    passphrase_file: PassphraseFile = None,
    ask_passphrase: AskPassphrase = False,
    no_keyfile: NoKeyFile = False,
    kit_file: KitFile = None,
    json: Json = False,
) -> None:
    """Makes an empty drive, its store and its keys, and prints the recovery kit; refuses where there is a drive.

    With --json the kit goes to STATE/recovery-kit.txt unless --kit-file names another place.
    """
    places = places_of(state)
    if is_made(places):
        message = f"There is a drive in {places.state} already; it was left alone. Name another place with --state."
        raise ControlProblem(Problem(code="exists", message=message))
    passphrase = given_passphrase(passphrase_file)
    if passphrase is None and ask_passphrase:
        passphrase = ask_new()
    if passphrase is not None:
        require_strong(passphrase)
    elif no_keyfile:
        raise PassphraseRefused(
            "Without a key file the drive opens with a passphrase only, and none was given: use --passphrase-file, "
            f"${VARIABLE} or --ask-passphrase. Nothing was made."
        )
    import trio

    from appliance.kits import kit_to, print_kit
    from appliance.making import Wishes, make_drive

    if json and kit_file is None:
        kit_file = places.kit_file
        places.state.mkdir(parents=True, exist_ok=True)
    place = Path.cwd() / kit_file if kit_file is not None else None
    wishes = Wishes(
        give_kit=kit_to(place) if place is not None else print_kit,
        store_url=store,
        passphrase=passphrase,
        key_file=not no_keyfile,
    )
    trio.run(make_drive, places, wishes)
    if json:
        print_json({"state": str(places.state), "kit_file": str(place)})
        return
    print(f"A drive was made in {places.state}.")
    if place is not None:
        print(f"Its recovery kit is in {place}: print it, keep it away from this machine, and delete the file.")
    else:
        print("Above is its recovery kit: print it, and keep it away from this machine. It is not shown again.")
    print(f"Start it with: hybrid-drive serve --state {places.state}")
