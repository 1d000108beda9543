"""How far the store has what is saved on the drive: figures, and one plain verdict that needs no other figure.

Three things may be true. *Complete*: no byte waits. *Sending*: some do, and go. *Stuck*: some do, and the last attempt
to send failed. Nothing is asked of the store for it. What the kernel still holds of files that are being written, for
at most 5 s, is not known here; `flush` collects it first.
"""

from datetime import datetime, timedelta
from typing import Literal

from appliance.cloud_errors import code_of
from appliance.control.protocol import CloudStatus
from appliance.figures import duration_text, instant_text, size_text
from appliance.store_link import StoreLink
from cloud_tier.errors import StoreError
from vfs.drive import Drive

CloudState = Literal["complete", "sending", "stuck"]

SET_BACK = "the state directory is older than what the store has from it (the log says more)"


def cloud_status(drive: Drive, link: StoreLink, now: datetime) -> CloudStatus | None:
    """As of `now`; None for a drive that sends nothing."""
    if drive.tier is None or drive.sealing is None or drive.mirror is None:
        return None
    uploads, store = drive.tier.uploader.statistics(), link.statistics()
    catalog, blocks = drive.cache.catalog, drive.cache.blocks
    waiting = catalog.unsent_bytes + blocks.open_bytes
    is_complete = not (waiting or catalog.unsent_blocks or len(drive.sealing.resting)) and drive.mirror.is_complete
    # Of both troubles the uploader's counts: a store that can be read and is full answers every other request.
    trouble = drive.tier.uploader.trouble or store.trouble
    age_s = max(uploads.trouble_age_s, store.trouble_age_s)
    since = None if trouble is None else now - timedelta(seconds=age_s)
    estimate_s = estimated_s(waiting, store.up_bytes_per_s, uploads.plain_bytes, uploads.packed_bytes)
    refused = "the store is not used" if link.is_refused else SET_BACK if drive.mirror.is_set_back else None
    damaged = len(catalog.unreadable) + len(drive.sealing.damaged)
    return CloudStatus(
        state="complete" if is_complete else "sending" if trouble is None and refused is None else "stuck",
        verdict=verdict(
            None if is_complete else waiting,
            estimate_s,
            now,
            trouble=refused or trouble_text(trouble, since),
            damaged=damaged,
        ),
        open_bytes=blocks.open_bytes,
        unsent_bytes=catalog.unsent_bytes,
        unsent_blocks=catalog.unsent_blocks,
        uploading_bytes=uploads.sending_bytes,
        rate_bytes_per_s=store.up_bytes_per_s,
        estimate_s=None if is_complete else estimate_s,
        trouble=None if trouble is None else str(trouble),
        trouble_since=since,
        sent_bytes=uploads.packed_bytes,
        names_behind_s=drive.mirror.shipping.behind_s,
        damaged_blocks=damaged,
    )


def estimated_s(waiting: int, rate_bytes_per_s: float, plain_bytes: int, packed_bytes: int) -> float | None:
    """How long `waiting` bytes of files take at this rate of the line, if they become as small as those sent so far.

    None while nothing moves.
    """
    if not rate_bytes_per_s:
        return None
    return waiting * (packed_bytes / plain_bytes if plain_bytes else 1.0) / rate_bytes_per_s


def trouble_text(trouble: StoreError | None, since: datetime | None) -> str | None:
    """What is wrong with the store since when, as a clause without the reason."""
    if trouble is None:
        return None
    what = "cannot be reached" if code_of(trouble) == "offline" else "does not take what is sent"
    return f"the store {what} since {instant_text(since)}"


def verdict(waiting: int | None, estimate_s: float | None, now: datetime, *, trouble: str | None, damaged: int) -> str:
    """One clause; `waiting` is None when everything is in the store."""
    if waiting is None:
        said = f"everything is in the cloud as of {instant_text(now)}"
    else:
        said = f"{size_text(waiting)} wait" if waiting else "what was saved just now waits"
        if trouble is None and estimate_s is not None:
            said += f", about {duration_text(estimate_s)} at this rate"
    if damaged:
        said += f"; damaged here, and so not sent: {damaged} blocks (`hybrid-drive scrub` names their files)"
    if trouble is not None:
        said = f"{said}; {trouble}" if waiting is None else f"{trouble}; {said}"
    return said
