"""The values of the configuration: what is allowed, in words, and the parsers that hold it.

Each parser takes what TOML gives and raises ValueError for what is not allowed; the words beside it complete "it must
be …". Sizes are powers of two only, so that nobody has to guess.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cloud_tier.timetable import Limits, Rule, parse_rule

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "PIB": 2**50}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
SIZE_RULE = 'a size such as 1048576, "64 MiB" or "10 TiB"'
RATE_RULE = '"" for no limit, or bytes per second of at least 16 KiB, such as "2 MiB"'
RULES_RULE = (
    'a list such as [{when = "mon-fri 8-18", up = "1 MiB", down = "4 MiB"}]: days, hours from 0 to 24, '
    "and bytes per second of at least 16 KiB; a direction left out has no limit"
)
URL_RULE = (
    '"" for the folder STATE/store, or file:///FOLDER, or s3://BUCKET/PREFIX?endpoint=…&region=…, without credentials'
)
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Budget:
    """How many local bytes the cache may hold: a share of the disk's free space, or a size."""

    share: float | None = None
    size_bytes: int | None = None

    def resolve(self, free_bytes: int) -> int:
        """The budget in bytes on a disk with `free_bytes` free."""
        return self.size_bytes if self.size_bytes is not None else int(free_bytes * (self.share or 0.0))


def parse_size(value: object) -> int:
    """Bytes from 1048576 or "64 MiB" (powers of two only, so that nobody has to guess). Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(SIZE_RULE)
    return int(float(match[1]) * _UNITS[match[2].upper()])


def positive_size(value: object) -> int:
    """A size that is one."""
    size = parse_size(value)
    if not 0 < size <= 2**62:
        raise ValueError(SIZE_RULE)
    return size


def budget(value: object) -> Budget:
    """A share or a size of at least 64 MiB."""
    if isinstance(value, str) and value.strip().endswith("%"):
        part = float(value.strip()[:-1]) / 100
        if not 0 < part <= 1:
            raise ValueError
        return Budget(share=part)
    size = positive_size(value)
    if size < 64 * 2**20:
        raise ValueError
    return Budget(size_bytes=size)


def seconds(least: float, most: float) -> Callable[[object], float]:
    """Parser of a number in these bounds."""

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError
        return float(value)

    return parse


def share(value: object) -> float:
    """From "10%" to "80%"."""
    part = float(value.strip().removesuffix("%")) / 100 if isinstance(value, str) and "%" in value else 0.0
    if not 0.1 <= part <= 0.8:
        raise ValueError
    return part


def rows(value: object) -> int:
    """A number of rows."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ValueError
    return value


def switch(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def level(value: object) -> str:
    """One of LEVELS."""
    if value not in LEVELS:
        raise ValueError
    return str(value)


def zone(value: object) -> str:
    """A name that the machine knows, or ""."""
    if not isinstance(value, str):
        raise ValueError
    try:
        ZoneInfo(value or "UTC")
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError from error
    return value


def store_url(value: object) -> str:
    """An address that `cloud_tier.store_url` understands, or ""."""
    if not isinstance(value, str):
        raise ValueError
    if value:
        # Here, because most commands can do without trio.
        from cloud_tier.errors import StoreMisconfigured
        from cloud_tier.store_url import parse_store_url

        try:
            parse_store_url(value)
        except StoreMisconfigured as error:
            raise ValueError from error
    return value


def rate(value: object) -> int | None:
    """Bytes per second; None is no limit."""
    return Limits(None if value == "" else parse_size(value)).up


def rules(value: object) -> tuple[Rule, ...]:
    """Limits by the hour."""
    if not isinstance(value, list):
        raise ValueError
    found = []
    for each in value:
        if not isinstance(each, dict) or not {"when"} <= each.keys() <= {"when", "up", "down"}:
            raise ValueError
        if not isinstance(each["when"], str):
            raise ValueError
        found.append(parse_rule(each["when"], Limits(rate(each.get("up", "")), rate(each.get("down", "")))))
    return tuple(found)


def hour(value: object) -> int:
    """A full hour of the day."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 23:
        raise ValueError
    return value


def port(value: object) -> int:
    """Of TCP."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError
    return value


def addresses(value: object) -> str:
    """Addresses or interfaces, separated by spaces."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z.:/_ -]*", value):
        raise ValueError
    return value.strip()
