"""`hybrid-drive recover`: bring the whole drive back on a new machine."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from appliance.commands.options import Json, KitOption, NoKeyFile, PassphraseFile, State, places_of
from appliance.commands.output import print_json, printable
from appliance.control.protocol import ControlProblem, Problem
from appliance.figures import instant_text, size_text
from appliance.places import is_made
from appliance.when import parse_instant

Store = Annotated[
    str,
    typer.Option(
        "--store", metavar="URL", help="Where the drive's bytes are. Default: what the kit says.", show_default=False
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="Bring back the newest whole state that is not younger: 2026-03-01T12:00Z, or an age such as 2h.",
        show_default=False,
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over", help="The machine that has the drive is lost, or to be replaced: from now on it may only read."
    ),
]

_MOST_LISTED = 20


def recover(
    state: State = None,
    store: Store = "",
    kit: KitOption = None,
    passphrase_file: PassphraseFile = None,
    take_over: TakeOver = False,
    as_of: AsOf = None,
    no_keyfile: NoKeyFile = False,
    json: Json = False,
) -> None:
    """Brings a drive back from its store, with the recovery kit or a passphrase; refuses where there is a drive.

    Names and snapshots are there at once, bytes come when they are read.
    """
    places = places_of(state)
    if is_made(places):
        message = f"There is a drive in {places.state} already; it was left alone. Name another place with --state."
        raise ControlProblem(Problem(code="exists", message=message))
    until_ns = _until(as_of)
    import trio

    from appliance.recovering import Wanted, store_of_kit
    from appliance.recovering import recover as bring_back
    from appliance.unlocking import brought_by
    from cloud_tier.clock import SystemClock

    brought = brought_by(passphrase_file, kit)
    url = store or store_of_kit(brought)
    with _shown(is_silent=json) as say:
        found = trio.run(
            bring_back, places, Wanted(url, brought, until_ns, not no_keyfile, take_over, say), SystemClock()
        )
    as_of_text = instant_text(datetime.fromtimestamp(found.as_of_ns / 1e9, UTC))
    if json:
        behind = [
            {"path": os.fsdecode(one.path), "missing_bytes": one.missing_bytes, "version": _version(one.version_ns)}
            for one in found.behind
        ]
        print_json(
            {"state": str(places.state), "as_of": as_of_text, "files": found.files, "snapshots": found.snapshots}
            | {"behind": behind, "left": found.left}
        )
        return
    print(f"The drive is back in {places.state}, as it was at {as_of_text}:")
    print(f"{found.files} files, {found.snapshots} snapshots. Bytes come from the store when they are read.")
    if found.left:
        print(f"Not everything could be read: {found.left}.", file=sys.stderr)
    if found.behind:
        print(f"{len(found.behind)} files had bytes that were not in the store yet:")
        for one in found.behind[:_MOST_LISTED]:
            now = (
                f"holds the version of {_version(one.version_ns)}"
                if one.version_ns is not None
                else f"{size_text(one.missing_bytes)} of {size_text(one.size_bytes)} are lost"
            )
            print(f"  {printable(os.fsdecode(one.path))}: {now}")
        if len(found.behind) > _MOST_LISTED:
            print(f"  and {len(found.behind) - _MOST_LISTED} more; all of them are in {places.recovered}")
    print(f"Start it with: hybrid-drive serve --state {places.state}")


def _version(instant_ns: int | None) -> str | None:
    return None if instant_ns is None else instant_text(datetime.fromtimestamp(instant_ns / 1e9, UTC))


def _until(as_of: str | None) -> int | None:
    if as_of is None:
        return None
    instant = parse_instant(as_of, datetime.now(UTC))
    if instant is None:
        message = f"{as_of} is no time; write it as 2026-03-01T12:00Z, or as an age such as 2h. Nothing was made."
        raise ControlProblem(Problem(code="usage", message=message))
    return int(instant.timestamp() * 1e9)


@contextmanager
def _shown(*, is_silent: bool) -> Iterator[Callable[[str], None]]:
    if is_silent or not sys.stderr.isatty():
        yield lambda sentence: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("opening the store") as line:
        yield lambda sentence: line.update(escape(sentence))
