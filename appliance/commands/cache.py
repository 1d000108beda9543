"""`hybrid-drive cache stats | drop | pin | unpin | warm`: which bytes lie on this machine."""

import sys
from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json, printable
from appliance.commands.waiting import Patience, speed_text, wait_for_task
from appliance.control.client import ControlClient
from appliance.control.protocol import CacheStats
from appliance.drive_paths import drive_path
from appliance.figures import size_text

app = typer.Typer(help="See and choose which bytes lie on this machine.", no_args_is_help=True)

Path = Annotated[
    str, typer.Argument(metavar="PATH", help="Relative to the drive's root (. is all of it), or absolute in the mount.")
]
MaybePath = Annotated[
    str | None, typer.Argument(metavar="[PATH]", help="Only what lies there, as it is now. Default: everything.")
]


@app.command("stats")
def stats(state: State = None, json: Json = False) -> None:
    """Says how many local bytes there are and of which kind."""
    with ControlClient(places_of(state).control_socket) as core:
        now, pins = core.cache_stats(), core.pins()
    if json:
        print_json({**now.model_dump(mode="json"), "pinned_paths": pins.paths})
        return
    print(f"budget      {size_text(now.budget_bytes)}")
    print(f"held        {size_text(now.held_bytes)}")
    print(f"on disk     {size_text(now.allocated_bytes)} in {now.segments} segments")
    print(f"precious    {size_text(now.precious_bytes)} exist nowhere else yet")
    print(f"unsent      {size_text(now.unsent_bytes)} of files wait to be sent")
    print(f"evictable   {size_text(now.evictable_bytes)}")
    print(f"pinned      {size_text(now.pinned_bytes)}")
    for path in pins.paths:
        print(f"            {printable(path) or '.'}")
    print(f"to be freed {size_text(now.free_queue_bytes)} after the next cut")
    print(f"fetched     {size_text(now.fetched_bytes)} since the start{hits_text(now)}")


def hits_text(stats: CacheStats) -> str:
    """How many reads found their bytes here."""
    return f", {1 - stats.misses / stats.reads:.1%} of the reads waited for none" if stats.reads else ""


@app.command("drop")
def drop(path: MaybePath = None, state: State = None, json: Json = False) -> None:
    """Gives local copies up of what the cloud has; they come back when they are read."""
    with ControlClient(places_of(state).control_socket) as core:
        done = core.drop(None if path is None else drive_path(path, core.status().mount))
    if json:
        print_json(done)
        return
    print(f"{size_text(done.dropped_bytes)} were given up.")
    if done.unsent_bytes:
        print(f"{size_text(done.unsent_bytes)} stay, because the cloud does not have them yet.")
    if done.pinned_bytes:
        print(f"{size_text(done.pinned_bytes)} stay, because they are pinned.")


@app.command("pin")
def pin(path: Path, state: State = None, json: Json = False) -> None:
    """Keeps PATH on this machine, and all that comes into it: it is not evicted."""
    with ControlClient(places_of(state).control_socket) as core:
        done = core.pin(drive_path(path, core.status().mount))
    if json:
        print_json(done)
        return
    name = printable(done.path) or "."
    print(f"{name} is pinned: {size_text(done.size_bytes)}.")
    if done.missing_bytes:
        print(f"{size_text(done.missing_bytes)} of it are not here; `hybrid-drive cache warm {name}` brings them.")
    if done.beyond_bytes:
        print(
            f"{size_text(done.beyond_bytes)} of all that is pinned do not fit into the half of the cache that pins may"
            " take, and may be evicted as before.",
            file=sys.stderr,
        )


@app.command("unpin")
def unpin(path: Path, state: State = None, json: Json = False) -> None:
    """Lets PATH go when room is needed."""
    with ControlClient(places_of(state).control_socket) as core:
        left = core.unpin(drive_path(path, core.status().mount))
    if json:
        print_json(left)
    else:
        print(f"{printable(path)} is not pinned any more.")


@app.command("warm")
def warm(path: Path, state: State = None, json: Json = False) -> None:
    """Fetches what of PATH is not on this machine. Ctrl-C ends the waiting, not the work."""
    with ControlClient(places_of(state).control_socket) as core:
        begun = core.warm(drive_path(path, core.status().mount))
        task = wait_for_task(core, begun, Patience(None, is_silent=json))
    if json:
        print_json(task)
        return
    print(f"{printable(task.path or '') or 'The whole drive'} is here.{speed_text(task, 'fetched')}")
    if task.warning:
        print(f"But: {task.warning}", file=sys.stderr)
