"""The options that commands share, and what their absence means."""

from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.passphrases import from_environment, from_file
from appliance.places import StatePlaces, default_mount, default_state


def path_option(flag: str, metavar: str, help: str) -> Any:
    """An option that names a path. Whether the user may read it is answered by what opens it, with a sentence and a
    code of its own.
    """
    return typer.Option(flag, metavar=metavar, help=help, readable=False, show_default=False)


State = Annotated[
    Path | None,
    path_option(
        "--state",
        "DIR",
        "State directory. Default: $HYBRID_DRIVE_STATE, else ./.drive in a clone, else /var/lib/hybrid-drive.",
    ),
]
Mount = Annotated[
    Path | None,
    path_option("--mount", "DIR", "Where to mount. Default: ./drive beside a clone's ./.drive, else /srv/drive."),
]
PassphraseFile = Annotated[
    Path | None,
    path_option("--passphrase-file", "F", "Take the passphrase from this file. Default: $HYBRID_DRIVE_PASSPHRASE."),
]
AskPassphrase = Annotated[bool, typer.Option("--ask-passphrase", help="Ask for a passphrase at the terminal.")]
KitOption = Annotated[
    Path | None,
    path_option("--kit", "F", "Open the drive with the recovery kit in this file instead of the key file."),
]
NoKeyFile = Annotated[
    bool, typer.Option("--no-keyfile", help="Keep no key here: every start waits for a passphrase or a kit.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; errors too, on stderr.")]


def places_of(state: Path | None) -> StatePlaces:
    """The places of the named state directory, or of the default one; absolute."""
    cwd = Path.cwd()
    return StatePlaces(cwd / state if state is not None else default_state(cwd))


def given_passphrase(file: Path | None) -> str | None:
    """The passphrase in the named file, or the one in the environment. Raises PassphraseRefused."""
    return from_file(Path.cwd() / file) if file is not None else from_environment()


def mount_of(mount: Path | None, places: StatePlaces) -> Path:
    """The named mount point, or the default one; absolute."""
    return Path.cwd() / mount if mount is not None else default_mount(places.state)
