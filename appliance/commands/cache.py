"""`hybrid-drive cache stats`."""

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json
from appliance.control.client import ControlClient
from appliance.figures import size_text

app = typer.Typer(help="Look at the local bytes.", no_args_is_help=True)


@app.callback()
def cache() -> None:
    """Keeps `stats` a word of its own, though it is the only one so far."""


@app.command("stats")
def stats(state: State = None, json: Json = False) -> None:
    """Says how many local bytes there are and of which kind."""
    with ControlClient(places_of(state).control_socket) as core:
        now = core.cache_stats()
    if json:
        print_json(now)
        return
    print(f"budget      {size_text(now.budget_bytes)}")
    print(f"held        {size_text(now.held_bytes)} in {now.blocks_open} OPEN and {now.blocks_sealed} SEALED blocks")
    print(f"on disk     {size_text(now.allocated_bytes)} in {now.segments} segments")
    print(f"precious    {size_text(now.precious_bytes)} exist nowhere else")
    print(f"to be freed {size_text(now.free_queue_bytes)} after the next cut")
