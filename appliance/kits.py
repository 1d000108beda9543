"""Where a recovery kit goes: to the terminal, or into a file for its owner alone.

A kit in a file beside the drive burns with it; whoever is told of the file is told to print it and take it away.
"""

from collections.abc import Callable
from pathlib import Path

from appliance.durable import write_durably
from appliance.errors import ApplianceError
from cachefs.disk import Disk, RealDisk
from cloud_tier.errors import KitDamaged
from cloud_tier.kit import Kit, parse_kit


class KitFileRefused(ApplianceError):
    """The kit cannot be left there."""

    code = "refused"


def kit_to(path: Path, disk: Disk | None = None) -> Callable[[Kit], None]:
    """What writes a kit to `path`, mode 0600: the page as a browser prints it if the name ends in .html, else text.

    Raises KitFileRefused at once when the file cannot be made, or holds something that is no kit.
    """
    check_kit_file(path)

    def write(made: Kit) -> None:
        text = made.html() if path.suffix == ".html" else made.text()
        try:
            write_durably(disk or RealDisk(), path, text)
        except OSError as error:
            raise KitFileRefused(f"The recovery kit cannot be written to {path}: {error.strerror}.") from error

    return write


def check_kit_file(path: Path) -> None:
    """Raises KitFileRefused when a kit must not be written there."""
    if not path.parent.is_dir():
        raise KitFileRefused(f"There is no folder {path.parent} for the recovery kit; nothing was changed.")
    if path.exists():
        try:
            parse_kit(path.read_text(encoding="utf-8", errors="replace"))
        except (KitDamaged, OSError) as error:
            raise KitFileRefused(
                f"{path} is there and is no recovery kit; it was left alone, and nothing was changed."
            ) from error


def print_kit(made: Kit) -> None:
    """The page on stdout."""
    print(made.text(), flush=True)
