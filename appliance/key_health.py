"""What `doctor` sees of a drive's keys and its store, and what it says about them.

Nothing is opened that needs a passphrase, nothing is changed, and nothing secret is said. What is slow to import is
imported where it is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.cloud_errors import sentence_of
from appliance.config_reading import read_config
from appliance.control.protocol import Advice, StoreStatus
from appliance.errors import ApplianceError
from appliance.places import StatePlaces, lacks_keys


@dataclass(frozen=True)
class KeyFacts:
    """What can be seen of the keys without opening them."""

    trouble: str | None = None
    """Why the key file, or the copy of the ring, is of no use."""
    kits: int = 0
    kit_file: Path | None = None
    """A kit that still lies beside the drive."""
    are_lacking: bool = False
    """The drive was made before there were keys."""


def look_at_keys(places: StatePlaces) -> KeyFacts | None:
    """Of a drive that was made; None when this user may not look."""
    if lacks_keys(places):
        return KeyFacts(are_lacking=True)
    from cloud_tier.errors import CloudError
    from cloud_tier.key_file import read_key_file
    from cloud_tier.keyring import KeyRing
    from cloud_tier.wraps import WrapKind

    kit_file = places.kit_file if places.kit_file.exists() else None
    trouble, kits = None, 0
    try:
        ring = KeyRing.decode(places.key_ring.read_bytes())
        kits = sum(wrap.lock.kind is WrapKind.KIT for wrap in ring.rows.wraps)
        if places.key_file.exists():
            ring.open_with_secret(read_key_file(places.key_file))
    except PermissionError:
        return None
    except OSError as error:
        trouble = f"{places.key_ring} cannot be read ({error.strerror})."
    except CloudError as error:
        trouble = sentence_of(error)
    return KeyFacts(trouble, kits, kit_file)


def look_for_store(places: StatePlaces) -> StoreStatus | None:
    """Asks it, for a drive that is not running; None when there is none yet, or this user may not look."""
    import trio

    from appliance.store_link import look_once, store_url
    from cloud_tier.clock import SystemClock

    try:
        config = read_config(places.config)
        return trio.run(look_once, store_url(places, config), places.drive_header.read_bytes(), SystemClock())
    except (OSError, ApplianceError):
        return None


def is_store_beside(places: StatePlaces) -> bool:
    """Whether the disk of the state directory takes the store along when it dies."""
    from appliance.store_link import store_url
    from cloud_tier.store_url import DirUrl

    try:
        url = store_url(places, read_config(places.config))
        return isinstance(url, DirUrl) and url.path.stat().st_dev == places.state.stat().st_dev
    except (OSError, ApplianceError):
        return False


def about_keys(keys: KeyFacts) -> Iterator[Advice]:
    """What is worth saying about them."""
    if keys.are_lacking:
        yield Advice(
            severity="note",
            title="The drive has no store and no keys yet",
            what="It was made before there were any. Its next start makes both, and changes none of its files.",
            do="Start it, then print the recovery kit, which it leaves in the state directory.",
        )
    elif keys.trouble is not None:
        yield Advice(
            severity="broken",
            title="The keys here do not open the drive",
            what=keys.trouble,
            do="Mend that, or start the drive with a passphrase or the kit.",
        )
    elif not keys.kits:
        yield Advice(
            severity="warning",
            title="There is no recovery kit",
            what="When this machine is lost, only a passphrase that somebody remembers brings the drive back.",
            do="Print one: hybrid-drive keys kit",
        )
    if keys.kit_file is not None:
        yield Advice(
            severity="warning",
            title="The recovery kit lies beside the drive",
            what=f"{keys.kit_file} is lost together with this machine, and whoever reads it has the drive.",
            do="Print it, keep the page elsewhere, and delete the file.",
        )


def about_store(store: StoreStatus, is_beside: bool) -> Iterator[Advice]:
    """What is worth saying about it. `is_beside`: it is on the disk of the state directory."""
    if is_beside:
        yield Advice(
            severity="note",
            title="The store is on the same disk as the drive",
            what=f"{store.url} is lost when that disk is.",
            do="Fine for trying things out. For real work make a drive with its store elsewhere: init --store URL",
        )
    if store.state in ("unreachable", "refused"):
        yield Advice(
            severity="broken" if store.state == "refused" else "warning",
            title="The store is not used" if store.state == "refused" else "The store cannot be reached",
            what=f"{store.url}: {store.reason}",
            do="Look at the line, or at the disk if the store is one, and at [store] url in config.toml.",
        )
    elif store.reason is not None:
        yield Advice(
            severity="warning",
            title="The store cannot tell two machines apart",
            what=store.reason,
            do="Use a store that can create objects only if their names are free; most can. Else take care yourself.",
        )
