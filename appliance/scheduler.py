"""Doing what is due: one task for each kind of work, when its rule says (`appliance.schedules`).

A task for each, because a scrub of hours must not hold up the next snapshot; what would get into each other's way has
turns of its own below. When a run has ended, it is written down: where it did or found something, at once; where there
was nothing to do, once a day, so that a drive at rest stays at rest. Work that cannot be done at present says why
(`Postponed`) and is tried again soon; that is no run.

Nobody sleeps longer than a minute: the wall clock, by which work is due, may be set.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

import trio

from appliance.control.upkeep_protocol import Schedule
from appliance.schedules import Rule, next_due
from cachefs.cut import Cuts
from cachefs.database import Database
from cachefs.errors import StorageBroken
from cloud_tier.clock import Clock

log = logging.getLogger(__name__)

LOOK_S = 60.0
AGAIN_S = 900.0
WRITTEN_S = 86_400


class Outcome(NamedTuple):
    """What a run did or found, a clause; nothing if there was nothing to do. Not `is_ok`: it found damage."""

    result: str = ""
    is_ok: bool = True


class Postponed(Exception):
    """The work cannot be done at present. The text says why, a clause."""


@dataclass(frozen=True)
class Work:
    """One kind of work. `do` may raise Postponed."""

    name: str
    rule: Rule
    do: Callable[[], Awaitable[Outcome]]


@dataclass
class _State:
    ran_ns: int | None = None
    outcome: Outcome = Outcome()  # noqa: RUF009  (frozen)
    written_ns: int = 0
    is_running: bool = False
    trouble: str | None = None
    again_s: float = float("-inf")  # by the monotonic clock: not before this


class Scheduler:
    """Runs `works`. `load` before `run`."""

    def __init__(self, database: Database, cuts: Cuts, clock: Clock, zone: tzinfo, works: Sequence[Work]) -> None:
        self._database = database
        self._cuts = cuts
        self._clock = clock
        self._zone = zone
        self._works = {work.name: work for work in works}
        self._states = {work.name: _State() for work in works}
        self._started = _instant(clock.now_ns())

    def load(self) -> None:
        """Read when each was done last."""
        for job, ran_ns, is_ok, result in self._database.rows("SELECT job, ran_ns, is_ok, result FROM schedules"):
            if job in self._states:
                self._states[job] = _State(ran_ns, Outcome(result, bool(is_ok)), ran_ns)

    async def run(self) -> None:
        """For ever. Raises what no work should raise, such as StorageBroken."""
        async with trio.open_nursery() as nursery:
            for work in self._works.values():
                nursery.start_soon(self._keep, work)

    async def _keep(self, work: Work) -> None:
        while True:
            await trio.sleep(min(LOOK_S, max(0.0, self._left_s(work))))
            if self._left_s(work) <= 0:
                await self.run_now(work.name)

    def _left_s(self, work: Work) -> float:
        left_s = (self._due(work) - self._now()).total_seconds()
        return max(left_s, self._states[work.name].again_s - self._clock.monotonic_s())

    async def run_now(self, name: str) -> None:
        """Do it once, due or not."""
        work, state = self._works[name], self._states[name]
        state.is_running = True
        try:
            outcome = await work.do()
        except Postponed as error:
            if str(error) != state.trouble:
                log.info("%s: later, because %s", name, error)
            self._postpone(state, str(error))
            return
        except StorageBroken:
            raise
        except Exception as error:  # a defect here must not end the drive
            log.exception("%s was not done", name)
            self._postpone(state, f"something nobody foresaw happened ({type(error).__name__}); the log has more")
            return
        finally:
            state.is_running = False
        state.trouble = None
        state.ran_ns, state.outcome = self._clock.now_ns(), outcome
        if outcome.result or abs(state.ran_ns - state.written_ns) > WRITTEN_S * 10**9:
            await self._write_down(name, state)

    def _postpone(self, state: _State, why: str) -> None:
        state.trouble, state.again_s = why, self._clock.monotonic_s() + AGAIN_S

    async def _write_down(self, name: str, state: _State) -> None:
        await self._cuts.gate.wait_open()
        self._database.write(
            "INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?)",
            (name, state.ran_ns, int(state.outcome.is_ok), state.outcome.result),
        )
        assert state.ran_ns is not None
        state.written_ns = state.ran_ns

    def _now(self) -> datetime:
        return _instant(self._clock.now_ns())

    def _due(self, work: Work) -> datetime:
        ran_ns = self._states[work.name].ran_ns
        since = self._started if ran_ns is None else _instant(ran_ns)  # of a first run nothing was missed
        return next_due(work.rule, since, self._now(), self._zone)

    def shown(self) -> list[Schedule]:
        """Each kind of work, as the interface shows it."""
        return [
            Schedule(
                name=work.name,
                last_run=None if state.ran_ns is None else _instant(state.ran_ns),
                ok=state.outcome.is_ok,
                result=state.outcome.result,
                next_due=self._due(work),
                running=state.is_running,
                trouble=state.trouble,
            )
            for work in self._works.values()
            for state in (self._states[work.name],)
        ]


def _instant(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)
