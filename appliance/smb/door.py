"""smbd as a child of the supervisor: how it is started, asked, freed, and why it is down.

It runs beside the core: it is started when the core serves its mount, and ended with all its sessions before the core
is, or when the core has died. Old sessions hold the mount that is gone and would be refused everything for ever; ended,
a client signs in again by itself.
"""

import logging
import os
import sys
from collections.abc import Awaitable, Callable

from appliance.config import SmbConfig
from appliance.control.protocol import DoorName
from appliance.door_book import DoorBook
from appliance.places import StatePlaces
from appliance.smb.config_text import SmbPlaces
from appliance.smb.health import look_at_smb, why_down
from appliance.smb.namespace import end_inhabitants
from appliance.smb.probe import ask_smb
from appliance.supervisor import Answer, Child, Patience, keep_alive

log = logging.getLogger(__name__)

NAME: DoorName = "smb"
PATIENCE = Patience(stop_s=5.0)
_WAITS = "The drive itself is not there; SMB follows as soon as it is."
_ANSWER_WITHIN_S = 10.0


def smb_door(places: StatePlaces, config: SmbConfig, book: DoorBook) -> Callable[[], Awaitable[None]] | None:
    """What runs beside the core: smbd, until cancelled; None where the drive is not shared."""
    if not config.enabled:
        book.enter(NAME, "off")
        return None
    if os.geteuid() != 0:
        book.enter(NAME, "off", "SMB needs root, which the drive was not started by.")
        return None
    book.enter(NAME, "starting", _WAITS)
    child = _child(places, config, book)

    def say_serving(starts: int) -> None:
        log.info("smbd serves at port %d, start %d", config.port, starts)

    async def run() -> None:
        try:
            await keep_alive(child, PATIENCE, say_serving)
        finally:
            book.enter(NAME, "starting", _WAITS)

    return run


def _child(places: StatePlaces, config: SmbConfig, book: DoorBook) -> Child:
    address = config.bind.split()[0].partition("/")[0] if config.bind else "127.0.0.1"

    def ask() -> Answer:
        return ask_smb(address, config.port, _ANSWER_WITHIN_S)

    def free() -> None:
        ended = end_inhabitants(places.extra_users)
        if ended:
            log.info("%d processes of smbd were left, and ended", ended)

    return Child(
        name="smbd",
        command=[
            *(sys.executable, "-m", "appliance.smb.launcher"),
            *(str(SmbPlaces(places.samba, places.smbd_log).config), str(places.extra_users), str(os.getpid())),
        ],
        ask=ask,
        free=free,
        tell=book.teller(NAME, lambda code: why_down(look_at_smb(places, config), code)),
        is_ever_refused=False,
    )
