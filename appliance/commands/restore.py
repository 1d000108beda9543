"""`hybrid-drive restore PATH --at WHEN`: bring a file, a folder or the whole drive back."""

from typing import Annotated

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json, printable
from appliance.commands.waiting import wait_for
from appliance.control.client import ControlClient
from appliance.control.protocol import Difference, RestorePlan
from appliance.drive_paths import drive_path

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}

Path = Annotated[
    str, typer.Argument(metavar="PATH", help="Relative to the drive's root (. is all of it), or absolute in the mount.")
]
When = Annotated[
    str, typer.Option("--at", metavar="WHEN", help="A snapshot's name, an ISO time, or an age: 30m, 2h, 7d.")
]
Target = Annotated[str | None, typer.Option("--to", metavar="PATH", help="Put it there instead; must not exist.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list what would change.")]


def restore(
    path: Path, at: When, to: Target = None, dry_run: DryRun = False, state: State = None, json: Json = False
) -> None:
    """Brings PATH back as it was. The state before is kept, so that `undo-restore` can take it back."""
    with ControlClient(places_of(state).control_socket) as core:
        mount = core.status().mount
        source = drive_path(path, mount)
        target = None if to is None else drive_path(to, mount)
        if dry_run:
            plan = core.plan_restore(source, at, target)
            print_json(plan) if json else _print_plan(plan)
            return
        job = wait_for(core, core.start_restore(source, at, target))
    if json:
        print_json(job)
    else:
        place = "" if target is None else f" at {printable(target)}"
        print(f"{printable(job.path) or 'The whole drive'} is back{place} as it was in {job.at}.")
        print(f"To take that back: hybrid-drive undo-restore {job.id}")


def print_differences(differences: list[Difference]) -> None:
    """One line per difference: + comes, - goes, ~ changes."""
    for each in differences:
        print(f"{_SIGNS[each.change]} {printable(each.path)}{'/' if each.kind == 'folder' else ''}")


def _print_plan(plan: RestorePlan) -> None:
    print_differences(plan.differences)
    hidden = plan.added + plan.removed + plan.changed - len(plan.differences)
    if hidden > 0:
        print(f"... and {hidden} more")
    print(
        f"From {plan.snapshot}: {plan.added} would come, {plan.removed} go, {plan.changed} change. Nothing was changed."
    )
