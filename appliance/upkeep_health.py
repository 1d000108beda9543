"""What the doctor says about what runs by itself: damage it found, work that is late, a clock that is not believed."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from appliance.config import LOCAL_TIME, Config
from appliance.config_reading import ConfigProblem
from appliance.control.protocol import Advice, Status
from appliance.control.upkeep_protocol import Schedule
from appliance.figures import instant_text
from appliance.upkeep_names import PRUNE, SCRUB_LOCAL, SCRUB_STORE, SNAPSHOT

LATE = timedelta(hours=1)


def about_damage(status: Status, log_file: object) -> Iterator[Advice]:
    """What the last scrubs found and nobody has looked at since."""
    for one in status.schedules:
        if one.ok:
            continue
        found = f"{instant_text(one.last_run)}: {one.result}."
        if one.name == SCRUB_STORE:
            yield Advice(
                severity="broken",
                title="Bytes in the store are lost",
                what=f"{found} What only the store had of them can be read nowhere; everything else works.",
                do=f"{log_file} names the files. Save the same content again where you have it, then see with"
                " `hybrid-drive scrub --store` what is left, and look at the store's disk or provider.",
            )
        elif one.name == SCRUB_LOCAL:
            yield Advice(
                severity="broken",
                title="The last scrub found damage on this machine",
                what=f"{found} Whoever reads it gets an error, and nobody gets wrong bytes.",
                do="`hybrid-drive scrub` names all of it. Save the files anew, or bring them back from a snapshot, and"
                " have the disk looked at.",
            )


def about_upkeep(status: Status, now: datetime) -> Iterator[Advice]:
    """Work that is late, and why."""
    if status.upkeep is not None and status.upkeep.doubt is not None:
        yield Advice(
            severity="warning",
            title="The clock is not believed",
            what=f"It says {instant_text(now)}: {status.upkeep.doubt}. Until then no snapshot is given up, so that a"
            " wrong clock costs none; everything else works.",
            do="If the time is right, do nothing. If not, set the clock (systemd-timesyncd or chrony).",
        )
    for one in status.schedules:
        if one.running or now - one.next_due < LATE or (one.name == PRUNE and status.upkeep and status.upkeep.doubt):
            continue
        yield Advice(
            severity="warning",
            title="Snapshots are late" if one.name == SNAPSHOT else f"Late: {one.name}",
            what=f"Due since {instant_text(one.next_due)}, done last {instant_text(one.last_run)}{_because(one)}.",
            do="It is tried again by itself. If it stays so, remove the cause, or restart the drive.",
        )


def about_config(config: Config, problems: Sequence[ConfigProblem]) -> Iterator[Advice]:
    """What stands in the configuration, or does not."""
    if problems:
        yield Advice(
            severity="broken",
            title="The configuration cannot be used",
            what=f"{problems[0].sentence} The drive would not start with it.",
            do="`hybrid-drive config check` names all that is wrong, with its line.",
        )
    elif not config.drive.time_zone and _is_machine_utc():
        yield Advice(
            severity="note",
            title="No time zone is set",
            what="The drive counts hours and days in UTC: what it keeps as a day's last snapshot is that before"
            " midnight in UTC, and its nights are those of UTC.",
            do='Name the office\'s in config.toml, such as [drive] time_zone = "Europe/Berlin", and restart the drive.'
            ' If the office is at UTC, write "UTC".',
        )


def _because(one: Schedule) -> str:
    return f": {one.trouble}" if one.trouble else ""


def _is_machine_utc() -> bool:
    if not LOCAL_TIME.exists():
        return True
    with LOCAL_TIME.open("rb") as file:
        zone = ZoneInfo.from_file(file)
    return all(zone.utcoffset(datetime(2026, month, 1)) == timedelta(0) for month in (1, 7))
