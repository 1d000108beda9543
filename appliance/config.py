"""The configuration: one frozen tree with its defaults, read once at the start (`appliance.config_reading`).

The tree is plain dataclasses, not pydantic: docs/decisions/0037-configuration.md has the figures.
"""

from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from appliance.config_values import Budget
from cloud_tier.margins import Margins
from cloud_tier.timetable import Limits, Rule, Timetable

LOCAL_TIME = Path("/etc/localtime")


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
    budget: Budget = field(default_factory=lambda: Budget(share=0.8))
    scrub_days: float = 30.0
    """In which all local bytes are read again; 0: never."""


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
class SnapshotsConfig:
    scheduled: bool = True
    """Whether this machine makes snapshots by itself, and gives them up. By which policy stands in the database."""


@dataclass(frozen=True)
class UpkeepConfig:
    night: int = 3
    """The hour of the office's day in which long work begins."""


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
    snapshots: SnapshotsConfig = field(default_factory=SnapshotsConfig)
    upkeep: UpkeepConfig = field(default_factory=UpkeepConfig)
    log: LogConfig = field(default_factory=LogConfig)
