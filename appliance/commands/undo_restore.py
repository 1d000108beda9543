"""`hybrid-drive undo-restore ID`: take a restore back."""

from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json
from appliance.commands.restore import print_differences
from appliance.commands.waiting import wait_for
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem, Difference

JobId = Annotated[int, typer.Argument(metavar="ID", help="The restore's number, as `jobs` lists it.")]
Force = Annotated[
    bool, typer.Option("--force", help="Also when the drive changed since; those changes leave the live tree.")
]


def undo_restore(job_id: JobId, force: Force = False, state: State = None, json: Json = False) -> None:
    """Puts back what was there before the restore; lists what changed since and then wants --force."""
    with ControlClient(places_of(state).control_socket) as core:
        try:
            job = wait_for(core, core.undo(job_id, force=force))
        except ControlProblem as refusal:
            if refusal.problem.code == "changed_since" and not json:
                found = refusal.problem.details.get("differences", [])
                print_differences([Difference.model_validate(each) for each in found])
            raise
    if json:
        print_json(job)
    else:
        print(f"Restore {job_id} is undone.")
