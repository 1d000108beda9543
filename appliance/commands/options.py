"""The options that commands share, and what their absence means."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.passphrases import from_environment, from_file
from appliance.places import StatePlaces, default_mount, default_state

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="State directory. Default: $HYBRID_DRIVE_STATE, else ./.drive in a clone, else /var/lib/hybrid-drive.",
        show_default=False,
        readable=False,  # whether the user may is answered by what opens it, with a sentence and a code of its own
    ),
]
Mount = Annotated[
    Path | None,
    typer.Option(
        "--mount",
        metavar="DIR",
        help="Where to mount. Default: ./drive beside a clone's ./.drive, else /srv/drive.",
        show_default=False,
        readable=False,  # whether the user may is answered by what opens it, with a sentence and a code of its own
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="F",
        help="Take the passphrase from this file. Default: $HYBRID_DRIVE_PASSPHRASE.",
        readable=False,
        show_default=False,
    ),
]
AskPassphrase = Annotated[bool, typer.Option("--ask-passphrase", help="Ask for a passphrase at the terminal.")]
KitOption = Annotated[
    Path | None,
    typer.Option(
        "--kit",
        metavar="F",
        help="Open the drive with the recovery kit in this file instead of the key file.",
        readable=False,
        show_default=False,
    ),
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
