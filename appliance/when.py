"""WHEN: how a person names a state of the past, and which snapshot that is. Pure.

A WHEN is a snapshot's name, an ISO time, an age such as `2h`, or a label (the newest snapshot that has it). A time or
an age means the newest snapshot that is not later. A time without a zone is UTC, as the names of the snapshots are; a
date alone is its midnight. A name wins over a time, so that what `snapshot list` prints can always be pasted.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from appliance.control.protocol import Snapshot

_AGE = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAME_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2})-(\d{2})-(\d{2}Z)")


class Unresolved(Exception):
    """WHEN names no snapshot: `usage` when it is none of the three forms, `not_found` when nothing is that old."""

    def __init__(self, code: Literal["usage", "not_found"], message: str) -> None:
        super().__init__(message)
        self.code: Literal["usage", "not_found"] = code


def resolve_when(when: str, snapshots: Iterable[Snapshot], now: datetime) -> Snapshot:
    """The snapshot that `when` means at the instant `now` (aware). Raises Unresolved with a sentence."""
    known = list(snapshots)
    for snapshot in known:
        if snapshot.name == when:
            return snapshot
    instant = parse_instant(when, now)
    labelled = [snapshot for snapshot in known if snapshot.label is not None and snapshot.label == when]
    if instant is None and labelled:
        return max(labelled, key=lambda snapshot: snapshot.epoch)
    if instant is None:
        raise Unresolved(
            "usage",
            f"{when!r} is no snapshot's name or label, no ISO time such as 2026-03-01T14:30 and no age such as "
            "30m, 2h or 7d; nothing was changed. `hybrid-drive snapshot list` shows the names.",
        )
    # Names carry whole seconds while `created` may carry a fraction: a time to the second includes that second.
    latest = instant.replace(microsecond=999_999) if instant.microsecond == 0 else instant
    past = [snapshot for snapshot in known if snapshot.created <= latest]
    if not past:
        raise Unresolved(
            "not_found",
            f"No snapshot is as old as {when}; nothing was changed. `hybrid-drive snapshot list` shows what there is.",
        )
    return max(past, key=lambda snapshot: (snapshot.created, snapshot.epoch))


def parse_instant(when: str, now: datetime) -> datetime | None:
    """The instant that an age or an ISO time means, or None when `when` is neither."""
    age = _AGE.fullmatch(when.strip().lower())
    if age is not None:
        try:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    text = when.strip()
    dashed = _NAME_TIME.fullmatch(text)
    if dashed is not None:
        text = f"{dashed[1]}:{dashed[2]}:{dashed[3]}"
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
