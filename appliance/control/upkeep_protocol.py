"""Messages about what the drive does by itself: schedules, tidying up, and how long snapshots stay."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from appliance.control.messages import Answer, Request

Span = Annotated[int, Field(ge=0, le=100 * 365 * 86_400)]


class Schedule(Answer):
    """Work that nobody asks for. `result`: what its last run did or found, a clause, "" for nothing; not `ok`: it found
    damage. `trouble`: why it waits, though it is due; tried again by itself. `next_due` may be past, when it is at work
    or waits.
    """

    name: str
    last_run: AwareDatetime | None = None
    ok: bool = True
    result: str = ""
    next_due: AwareDatetime
    running: bool = False
    trouble: str | None = None


class UpkeepStatus(Answer):
    """How tidy the store is. Since the start: packs doomed, deleted and packed anew. `waiting`: doomed, and still there
    for their grace. Bytes are those of packs, as of the last survey (once a day). `doubt`: why nothing is given up at
    present because the clock is not believed, a sentence.
    """

    doomed: int = 0
    deleted: int = 0
    repacked: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    stored_bytes: int = 0
    needed_bytes: int = 0
    trouble: str | None = None
    doubt: str | None = None


class Tidied(Answer):
    """What one round has done, in packs; `waiting` are doomed, and go when their grace is over. `trouble`: why it ended
    early, a sentence.
    """

    repacked: int
    doomed: int
    deleted: int
    waiting: int
    waiting_bytes: int
    trouble: str | None = None


class Spans(Answer):
    """How long snapshots stay, in seconds: all of them, and the last of each period of the office's calendar."""

    all: int
    quarter: int
    hour: int
    day: int
    week: int
    month: int


class PolicyState(Answer):
    """The policy that counts; and the shorter one that counts from `takes_effect` on, unless it is called off."""

    current: Spans
    pending: Spans | None = None
    takes_effect: AwareDatetime | None = None


class PolicyRequest(Request):
    """Spans to change, in seconds; one left out stays as it is."""

    all: Span | None = None
    quarter: Span | None = None
    hour: Span | None = None
    day: Span | None = None
    week: Span | None = None
    month: Span | None = None


class PolicyPreview(Answer):
    """Which snapshots a policy would not keep at this moment, oldest first, of so many."""

    policy: Spans
    going: list[str]
    snapshots: int
