"""`hybrid-drive policy show | set | preview | cancel`: how long snapshots stay."""

from typing import Annotated, Any

import typer

from appliance.commands.options import Json, State, places_of
from appliance.commands.output import print_json, print_table
from appliance.control.client import ControlClient
from appliance.control.upkeep_protocol import PolicyRequest, PolicyState
from appliance.errors import SpanRefused
from appliance.figures import instant_text

app = typer.Typer(help="How long snapshots stay.", no_args_is_help=True)

_WORDS = {
    "all": "all of them",
    "quarter": "the last of each quarter of an hour",
    "hour": "the last of each hour",
    "day": "the last of each day",
    "week": "the last of each week",
    "month": "the last of each month",
}


def _span(period: str) -> Any:
    words = f"How long {_WORDS[period]} stay: 90m, 2h, 14d, 4w, 7y or 0."
    return typer.Option(f"--{period}", metavar="SPAN", help=words, show_default=False)


All = Annotated[str | None, _span("all")]
Quarter = Annotated[str | None, _span("quarter")]
Hour = Annotated[str | None, _span("hour")]
Day = Annotated[str | None, _span("day")]
Week = Annotated[str | None, _span("week")]
Month = Annotated[str | None, _span("month")]


@app.command("show")
def show(state: State = None, json: Json = False) -> None:
    """Shows how long snapshots stay, and what is to come."""
    with ControlClient(places_of(state).control_socket) as core:
        _print(core.policy(), json)


@app.command("set")
def set_spans(
    all: All = None,
    quarter: Quarter = None,
    hour: Hour = None,
    day: Day = None,
    week: Week = None,
    month: Month = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Changes spans: longer ones count at once, shorter ones after 7 days."""
    request = _request(all=all, quarter=quarter, hour=hour, day=day, week=week, month=month)
    with ControlClient(places_of(state).control_socket) as core:
        _print(core.set_policy(request), json)


@app.command("preview")
def preview(
    all: All = None,
    quarter: Quarter = None,
    hour: Hour = None,
    day: Day = None,
    week: Week = None,
    month: Month = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Lists the snapshots that such a policy, or the one to come, would not keep at this moment."""
    request = _request(all=all, quarter=quarter, hour=hour, day=day, week=week, month=month)
    with ControlClient(places_of(state).control_socket) as core:
        found = core.preview_policy(request)
    if json:
        print_json(found)
        return
    for name in found.going:
        print(name)
    print(f"{len(found.going)} of {found.snapshots} snapshots would go.")


@app.command("cancel")
def cancel(state: State = None, json: Json = False) -> None:
    """Calls a shorter policy off that does not count yet."""
    with ControlClient(places_of(state).control_socket) as core:
        _print(core.cancel_policy(), json)


def _request(**given: str | None) -> PolicyRequest:
    from vfs.errors import InvalidArgument
    from vfs.retention import MOST_S, parse_span

    spans = {}
    for period, text in given.items():
        if text is not None:
            try:
                spans[period] = parse_span(text)
            except InvalidArgument as error:
                raise SpanRefused(f"--{period}: {error}; nothing was changed.") from error
            if spans[period] > MOST_S:
                raise SpanRefused(f"--{period}: a span is 100 years at most; nothing was changed.")
    return PolicyRequest.model_validate(spans)


def _print(policy: PolicyState, json: bool) -> None:
    if json:
        print_json(policy)
        return
    from vfs.retention import span_text

    current = policy.current.model_dump()
    pending = policy.pending.model_dump() if policy.pending is not None else current
    rows = [
        (words, span_text(current[period]), span_text(pending[period]) if pending[period] != current[period] else "")
        for period, words in _WORDS.items()
    ]
    print_table(("snapshots", "stay", "to come"), rows, nothing="")
    if policy.pending is not None:
        print(f"The shorter spans count from {instant_text(policy.takes_effect)} on; `policy cancel` calls them off.")
