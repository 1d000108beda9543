"""Sizes, durations and instants as people read them: the same words in commands, verdicts and logs. Pure."""

from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"))
_FEW = 2  # of a span, from which on it is the unit: "100 minutes", then "2 hours"


def size_text(size_bytes: float) -> str:
    """`1.5 GiB`; three significant digits at most."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    digits = 0 if unit == 0 or size >= 100 else 1
    return f"{size:.{digits}f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """`3 hours`; how long something takes, roughly, and never less than `a minute`."""
    for length, name in _SPANS:
        if seconds >= _FEW * length:
            return f"{seconds / length:.0f} {name}s"
    return "a minute"


def instant_text(instant: datetime | None) -> str:
    """An instant as the names of snapshots have it, in UTC, readable."""
    return "never" if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
