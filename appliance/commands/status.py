"""`hybrid-drive status`: one honest look at the running drive."""

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json
from appliance.control.client import ControlClient
from appliance.control.upkeep_protocol import Schedule, UpkeepStatus
from appliance.figures import instant_text, size_text


def status(state: State = None, json: Json = False) -> None:
    """Says whether the drive serves, what it holds, how its cache is, and what of it the cloud has."""
    with ControlClient(places_of(state).control_socket) as core:
        now = core.status()
    if json:
        print_json(now)
        return
    cache = now.cache
    word = {"serving": "serving", "read_only": "READ-ONLY", "starting": "starting"}[now.state]
    print(f"The drive is {word} at {now.mount}" + (f": {now.reason}" if now.reason else "."))
    print(f"  files      {now.files}, {now.snapshots} snapshots, {size_text(now.free_bytes)} free")
    print(f"  durable    last cut {instant_text(now.last_cut)}, {now.uncommitted_rows} changed rows since")
    print(f"  cache      {size_text(cache.allocated_bytes)} of {size_text(cache.budget_bytes)}", end="")
    print(f", {size_text(cache.precious_bytes)} of it exist nowhere else")
    if now.store is not None:
        words = {"unknown": "not asked yet", "unreachable": "OUT OF REACH", "refused": "REFUSED"}
        word = words.get(now.store.state, now.store.state)
        print(f"  store      {now.store.url}, {word}" + (f": {now.store.reason}" if now.store.reason else ""))
    if now.cloud is not None:
        print(f"  cloud      {now.cloud.verdict}")
        if now.cloud.state == "sending" and now.cloud.uploading_bytes:
            print(f"  uploading  {size_text(now.cloud.uploading_bytes)}, {size_text(now.cloud.rate_bytes_per_s)}/s")
        if now.cloud.trouble is not None and (now.store is None or now.store.reason is None):
            print(f"  trouble    {now.cloud.trouble}")
    for door in now.doors:
        if door.state != "off" or door.reason:
            word = door.state if door.state == "serving" else door.state.upper()
            again = f", started again {door.restarts} times" if door.restarts else ""
            print(f"  {door.name:<10} {word} since {instant_text(door.since)}{again}", end="")
            print(f": {door.reason}" if door.reason else "")
    if now.upkeep is not None:
        _print_upkeep(now.upkeep)
    for one in now.schedules:
        _print_schedule(one)
    if cache.damaged_pages:
        print(f"  DAMAGED    {cache.damaged_pages} pages of 4 KiB; the core's log names their files")
    print(f"  jobs       {now.jobs_running} running")
    print(f"  running    since {instant_text(now.started)}, version {now.version}")


def _print_upkeep(upkeep: UpkeepStatus) -> None:
    if upkeep.stored_bytes:
        needed = size_text(upkeep.needed_bytes)
        print(f"  upkeep     {size_text(upkeep.stored_bytes)} of packs, {needed} of it needed", end="")
        print(f"; {size_text(upkeep.waiting_bytes)} wait for their grace" if upkeep.waiting else "")
    if upkeep.doubt is not None:
        print(f"  CLOCK      {upkeep.doubt}; until then no snapshot is given up")


def _print_schedule(one: Schedule) -> None:
    said = f": {one.result}" if one.result else ""
    word = "" if one.ok else "DAMAGE "
    then = f"waits: {one.trouble}" if one.trouble else f"next {instant_text(one.next_due)}"
    then = "at work" if one.running else then
    print(f"  {one.name:<12} {word}last {instant_text(one.last_run)}{said}; {then}")
