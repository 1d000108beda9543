"""The configuration: one frozen tree, read once from STATE/config.toml.

Owns the keys, their defaults, their allowed values and the file that `init` writes. Promises that whatever it returns
is usable, and that a refusal is one sentence with the key, the value and what is allowed. Refuses unknown keys: a
typing error must not quietly mean the default.

The tree is plain dataclasses, not pydantic: the sentences are our own, and every command reads it.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from appliance.errors import ConfigInvalid
from cloud_tier.margins import Margins
from cloud_tier.timetable import Limits, Rule, Timetable, parse_rule

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
LOCAL_TIME = Path("/etc/localtime")


@dataclass(frozen=True)
class Budget:
    """How many local bytes the cache may hold: a share of the disk's free space, or a size."""

    share: float | None = None
    size_bytes: int | None = None

    def resolve(self, free_bytes: int) -> int:
        """The budget in bytes on a disk with `free_bytes` free."""
        return self.size_bytes if self.size_bytes is not None else int(free_bytes * (self.share or 0.0))


@dataclass(frozen=True)
class DriveConfig:
    size_bytes: int = 10 * 2**40
    """What statfs reports as total."""
    time_zone: str = ""
    """The office's, as IANA names it; "" is the machine's."""

    @property
    def zone(self) -> ZoneInfo:
        """The office's clock."""
        if self.time_zone or not LOCAL_TIME.exists():
            return ZoneInfo(self.time_zone or "UTC")
        with LOCAL_TIME.open("rb") as file:
            return ZoneInfo.from_file(file, "localtime")


@dataclass(frozen=True)
class StoreConfig:
    """Where the drive's bytes go, and how fast (bytes per second, None: as fast as it goes)."""

    url: str = ""
    """As `cloud_tier.store_url` reads it; "" is the folder `store` in the state directory."""
    up: int | None = None
    down: int | None = None
    rules: tuple[Rule, ...] = ()
    """The first that fits counts; else `up` and `down` do."""
    grace_h: float = 24.0
    """How long what nobody needs stays there."""
    least_live: float = 0.5
    """A pack of which less than this share is needed is packed anew."""
    scrub_days: float = 90.0
    """In which everything in the store is read again; 0: never."""

    @property
    def margins(self) -> Margins:
        return Margins(grace_s=self.grace_h * 3600, least_live=self.least_live, scrub_days=self.scrub_days)

    def timetable(self, zone: ZoneInfo) -> Timetable:
        return Timetable(zone, self.rules, Limits(self.up, self.down))


@dataclass(frozen=True)
class CacheConfig:
    budget: Budget = Budget(share=0.8)


@dataclass(frozen=True)
class CutsConfig:
    """When a cut is due, whichever comes first."""

    period_s: float = 5.0
    max_rows: int = 20_000
    max_dirty_bytes: int = 256 * 2**20


@dataclass(frozen=True)
class SealConfig:
    """When written bytes are made ready for the store, in seconds; what each means is the table of `vfs.resting`."""

    quiet_s: float = 3.0
    old_s: float = 20.0
    cooled_s: float = 3600.0


@dataclass(frozen=True)
class MountConfig:
    polling: bool = True
    """Whether the core looks out for the next request for a moment before it sleeps (`vfs.fuse.request_loop`)."""


@dataclass(frozen=True)
class SmbConfig:
    """Whether the drive is shared with Windows and macOS, and where smbd listens."""

    enabled: bool = False
    port: int = 445
    bind: str = ""
    """Addresses or interfaces, separated by spaces; "" is all."""


@dataclass(frozen=True)
class LogConfig:
    level: str = "info"


@dataclass(frozen=True)
class Config:
    drive: DriveConfig = field(default_factory=DriveConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    cuts: CutsConfig = field(default_factory=CutsConfig)
    seal: SealConfig = field(default_factory=SealConfig)
    mount: MountConfig = field(default_factory=MountConfig)
    smb: SmbConfig = field(default_factory=SmbConfig)
    log: LogConfig = field(default_factory=LogConfig)


DEFAULT_TEXT = """\
# Hybrid Drive. Every key may be left out; the values here are the defaults. Read when the drive starts.

[drive]
size = "10 TiB"             # what programs see as the drive's size
time_zone = ""              # the office's, such as "Europe/Berlin"; "" is the machine's

[store]
url = ""                    # file:///FOLDER, or s3://BUCKET/PREFIX?endpoint=…; "" is the folder STATE/store
up = ""                     # most bytes sent per second, such as "2 MiB"; "" is no limit
down = ""                   # most bytes fetched per second
rules = []                  # other limits by the hour: [{when = "mon-fri 8-18", up = "1 MiB", down = "4 MiB"}]
grace_h = 24.0              # how many hours what nobody needs any more stays there, at least
least_live = "50%"          # a pack of which less is needed is packed anew
scrub_days = 90.0           # in so many days all of it is read again, to find damage; 0 is never

[cache]
budget = "80%"              # local bytes: a share of the disk's free space at init, or a size

[cuts]                      # when changes become durable, whichever comes first
period_s = 5.0              # seconds
max_rows = 20000            # changed rows
max_dirty_bytes = "256 MiB" # written bytes

[seal]                      # when changes are made ready for the store, in seconds
quiet_s = 3.0               # after the last write to a file
old_s = 20.0                # after its first unsent write, however busy it is
cooled_s = 3600.0           # after the last write to a file that was changed again and again: it is put in order

[mount]
polling = true              # look out for the next request for a moment before sleeping; false on battery

[smb]
enabled = false             # share the drive with Windows and macOS; needs root and smbd
port = 445                  # Windows knows no other
bind = ""                   # addresses or interfaces to listen at, such as "192.168.1.2"; "" is all

[log]
level = "info"              # debug, info, warning or error
"""


def read_config(path: Path) -> Config:
    """The configuration in `path`; a missing file means all defaults. Raises ConfigInvalid with one sentence."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} cannot be read: {error}.") from error
    try:
        return parse_config(text)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{path}: {error}") from error


def parse_config(text: str) -> Config:
    """The configuration in a TOML text. Raises ConfigInvalid."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"this is not TOML: {error}.") from error
    config = Config()
    for table, keys in tables.items():
        if table not in _KEYS:
            raise ConfigInvalid(f"[{table}] is not known; the tables are {_listed(_KEYS)}.")
        if not isinstance(keys, Mapping):
            raise ConfigInvalid(f"{table} must be a table, written [{table}].")
        part = getattr(config, table)
        for key, value in keys.items():
            if key not in _KEYS[table]:
                raise ConfigInvalid(f"[{table}] {key} is not known; its keys are {_listed(_KEYS[table])}.")
            attribute, allowed, parse = _KEYS[table][key]
            try:
                part = replace(part, **{attribute: parse(value)})
            except ValueError as error:
                raise ConfigInvalid(f"[{table}] {key} = {value!r} is not allowed; it must be {allowed}.") from error
        config = replace(config, **{table: part})
    return config


def default_text(store_url: str = "") -> str:
    """What `init` writes for a store at this address."""
    line = f"url = {json.dumps(store_url, ensure_ascii=False):22}"  # a TOML string escapes as a JSON string does
    return DEFAULT_TEXT.replace('url = ""                    ', line, 1)


def parse_size(value: object) -> int:
    """Bytes from 1048576 or "64 MiB" (powers of two only, so that nobody has to guess). Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(SIZE_RULE)
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _positive_size(value: object) -> int:
    size = parse_size(value)
    if not 0 < size <= 2**62:
        raise ValueError(SIZE_RULE)
    return size


def _budget(value: object) -> Budget:
    if isinstance(value, str) and value.strip().endswith("%"):
        share = float(value.strip()[:-1]) / 100
        if not 0 < share <= 1:
            raise ValueError
        return Budget(share=share)
    size = _positive_size(value)
    if size < 64 * 2**20:
        raise ValueError
    return Budget(size_bytes=size)


def _seconds(least: float, most: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError
        return float(value)

    return parse


_period = _seconds(0.1, 60)


def _share(value: object) -> float:
    share = float(value.strip().removesuffix("%")) / 100 if isinstance(value, str) and "%" in value else 0.0
    if not 0.1 <= share <= 0.8:
        raise ValueError
    return share


def _rows(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ValueError
    return value


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError
    return value


def _addresses(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z.:/_ -]*", value):
        raise ValueError
    return value.strip()


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _level(value: object) -> str:
    if value not in LEVELS:
        raise ValueError
    return str(value)


def _zone(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    try:
        ZoneInfo(value or "UTC")
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError from error
    return value


def _store_url(value: object) -> str:
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


def _rate(value: object) -> int | None:
    return Limits(None if value == "" else parse_size(value)).up


def _rules(value: object) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        raise ValueError
    rules = []
    for each in value:
        if not isinstance(each, dict) or not {"when"} <= each.keys() <= {"when", "up", "down"}:
            raise ValueError
        if not isinstance(each["when"], str):
            raise ValueError
        rules.append(parse_rule(each["when"], Limits(_rate(each.get("up", "")), _rate(each.get("down", "")))))
    return tuple(rules)


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names)


# table → key → (attribute, what is allowed, parser that raises ValueError)
_KEYS: Mapping[str, Mapping[str, tuple[str, str, Callable[[object], Any]]]] = {
    "drive": {
        "size": ("size_bytes", SIZE_RULE, _positive_size),
        "time_zone": ("time_zone", '"" for the machine\'s, or a name such as "Europe/Berlin"', _zone),
    },
    "store": {
        "url": ("url", URL_RULE, _store_url),
        "up": ("up", RATE_RULE, _rate),
        "down": ("down", RATE_RULE, _rate),
        "rules": ("rules", RULES_RULE, _rules),
        "grace_h": ("grace_h", "a number of hours from 1 to 8760", _seconds(1, 8760)),
        "least_live": ("least_live", 'a share from "10%" to "80%"', _share),
        "scrub_days": ("scrub_days", "a number of days up to 3650, or 0", _seconds(0, 3650)),
    },
    "cache": {"budget": ("budget", 'a share such as "80%" (up to 100%) or a size of at least "64 MiB"', _budget)},
    "cuts": {
        "period_s": ("period_s", "a number of seconds from 0.1 to 60", _period),
        "max_rows": ("max_rows", "a whole number from 1 to 1000000", _rows),
        "max_dirty_bytes": ("max_dirty_bytes", SIZE_RULE, _positive_size),
    },
    "seal": {
        "quiet_s": ("quiet_s", "a number of seconds from 0.1 to 60", _period),
        "old_s": ("old_s", "a number of seconds from 1 to 600", _seconds(1, 600)),
        "cooled_s": ("cooled_s", "a number of seconds from 60 to 604800", _seconds(60, 604_800)),
    },
    "mount": {"polling": ("polling", "true or false", _switch)},
    "smb": {
        "enabled": ("enabled", "true or false", _switch),
        "port": ("port", "a port from 1 to 65535", _port),
        "bind": ("bind", '"" for all, or addresses or interfaces separated by spaces', _addresses),
    },
    "log": {"level": ("level", "debug, info, warning or error", _level)},
}
