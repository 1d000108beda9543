"""Opening a drive's keys for a command: what was brought, and keys for a drive that was made before there were any."""

import logging
from pathlib import Path

import trio

from appliance.cloud_errors import cloud_told
from appliance.keys import Brought, Keys
from appliance.kits import kit_to
from appliance.making import Wishes, give_keys
from appliance.passphrases import ask, from_environment, from_file
from appliance.places import StatePlaces, lacks_keys

log = logging.getLogger(__name__)


def brought_by(passphrase_file: Path | None, kit: Path | None) -> Brought:
    """What a command line brings: a file named there counts before the key file, the environment and a prompt after."""
    return Brought(
        passphrase=from_file(Path.cwd() / passphrase_file) if passphrase_file is not None else None,
        kit=Path.cwd() / kit if kit is not None else None,
        otherwise=lambda: from_environment() or ask("Passphrase of the drive"),
    )


def unlock(places: StatePlaces, brought: Brought) -> Keys:
    """The opened keys. The caller holds the lock. Raises ApplianceError.

    A drive of layout 1 gets a store and keys first (`appliance.making`).
    """
    if lacks_keys(places):
        trio.run(give_keys, places, Wishes(give_kit=kit_to(places.kit_file)))
        log.warning(
            "the drive has a store and keys now; its recovery kit is in %s: print it, keep it away from this machine, "
            "and delete the file",
            places.kit_file,
        )
    with cloud_told():
        return Keys.open(places, brought)
