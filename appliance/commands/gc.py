"""`hybrid-drive gc`: tidy the store up now, instead of within the hour and the night."""

import sys

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json
from appliance.control.client import ControlClient
from appliance.figures import size_text


def gc(state: State = None, json: Json = False) -> None:
    """Packs anew what is small or sparse, dooms what nobody needs, and deletes what was doomed long enough ago."""
    with ControlClient(places_of(state).control_socket) as core:
        done = core.gc()
    if json:
        print_json(done)
        return
    print(f"{done.repacked} packs were packed anew, {done.doomed} doomed, {done.deleted} deleted.")
    if done.waiting:
        print(f"{done.waiting} doomed packs ({size_text(done.waiting_bytes)}) wait for their grace.")
    if done.trouble is not None:
        print(f"It ended early: {done.trouble}", file=sys.stderr)
