"""`hybrid-drive doctor`: what is wrong, what that means, what to do; also when the core is dead."""

from datetime import UTC, datetime

import typer

from appliance.commands.options import Json, State, mount_of, places_of
from appliance.commands.output import print_json
from appliance.doctor import advise, gather
from appliance.exit_codes import ExitCode


def doctor(state: State = None, json: Json = False) -> None:
    """Looks at the machine, the state directory, the mount and the core. Ends with 12 when something is broken."""
    places = places_of(state)
    found = advise(gather(places, mount_of(None, places), datetime.now(UTC)))
    if json:
        print_json(found)
    else:
        for advice in found:
            print(f"{advice.severity.upper()}: {advice.title}")
            print("  " + advice.what.replace("\n", "\n  "))
            print(f"  -> {advice.do}")
        if not found:
            print("Everything is well.")
    if any(advice.severity == "broken" for advice in found):
        raise typer.Exit(ExitCode.FINDINGS)
