"""`hybrid-drive fsck`: run every invariant."""

from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json, printable
from appliance.control.client import ControlClient
from appliance.control.protocol import CheckReport, ControlProblem, Problem
from appliance.errors import AlreadyRunning
from appliance.exit_codes import ExitCode
from appliance.lock import holding
from appliance.places import StatePlaces, require_drive

Repair = Annotated[
    bool, typer.Option("--repair", help="Put right what can be put right; only while the drive is stopped.")
]


def fsck(repair: Repair = False, state: State = None, json: Json = False) -> None:
    """Checks the drive, running or not. Ends with 12 when something is left that is not sound."""
    places = places_of(state)
    require_drive(places)
    end_with(_check(places, repair), json)


def _check(places: StatePlaces, repair: bool) -> CheckReport:
    try:
        with holding(places):
            from appliance.assemble import check_state

            return check_state(places.state, repair)
    except AlreadyRunning as running:
        if repair:
            message = f"{running} A repair needs the drive stopped; `fsck` without --repair checks it while it runs."
            raise ControlProblem(Problem(code="already_running", message=message)) from running
    with ControlClient(places.control_socket) as core:
        return core.check()


def end_with(report: CheckReport, json: bool) -> None:
    """Print a report of this command, or of `scrub`. Raises typer.Exit when something is left that is not sound."""
    if json:
        print_json(report)
    else:
        _print(report)
    if any(not finding.repaired for finding in report.findings):
        raise typer.Exit(ExitCode.FINDINGS)


def _print(report: CheckReport) -> None:
    for finding in report.findings:
        place = "" if finding.path is None else f" {printable(finding.path)}:"
        print(f"{finding.invariant}:{place} {finding.message}{' (repaired)' if finding.repaired else ''}")
    looked_at = ", ".join(f"{count} {what}" for what, count in report.checked.items())
    left = sum(not finding.repaired for finding in report.findings)
    print(f"Checked {looked_at}: {f'{left} findings' if left else 'sound'}.")
