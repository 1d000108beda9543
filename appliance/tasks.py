"""Tasks: long work of the core that nobody needs to find again after a restart, unlike a job.

A task goes on when whoever asked for it has gone. Its figures are asked for when somebody looks, and stay as they were
at the end; the last `KEPT` are remembered, as long as the core lives.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from appliance.control.protocol import Problem, ServiceError, Task, TaskKind

log = logging.getLogger(__name__)

KEPT = 100


class Figures(NamedTuple):
    """How far a task is. `trouble`: why it does not get on at present, a sentence."""

    done_bytes: int
    total_bytes: int
    trouble: str | None = None


@dataclass
class Work:
    """One task, as the core sees it. Whoever does it may set `look` and `warning`."""

    id: int
    kind: TaskKind
    path: str | None
    created: datetime
    look: Callable[[], Figures] = lambda: Figures(0, 0)
    warning: str | None = None
    error: Problem | None = None
    finished: datetime | None = None

    def shown(self) -> Task:
        """The task as the interface shows it."""
        figures = self.look()
        state = "running" if self.finished is None else "done" if self.error is None else "failed"
        return Task.model_validate(
            {
                "id": self.id,
                "kind": self.kind,
                "state": state,
                "path": self.path,
                "done_bytes": figures.done_bytes,
                "total_bytes": figures.total_bytes,
                "trouble": figures.trouble if state == "running" else None,
                "warning": self.warning,
                "error": self.error,
                "created": self.created,
                "finished": self.finished,
            }
        )


class Tasks:
    """All tasks of this life of the core."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[int, Work] = {}
        self._last = 0

    def begin(self, kind: TaskKind, path: str | None = None) -> Work:
        """A new task; `carry` does it."""
        self._last += 1
        work = self._known[self._last] = Work(self._last, kind, path, self._now())
        ended = [one.id for one in self._known.values() if one.finished is not None]
        for number in ended[: max(0, len(ended) - KEPT)]:
            del self._known[number]
        return work

    def get(self, number: int) -> Work:
        """Raises ServiceError `not_found`."""
        if number not in self._known:
            raise ServiceError(
                "not_found", f"There is no task {number}: the core was started anew, or it ended long ago."
            )
        return self._known[number]

    async def carry(self, work: Work, do: Callable[[], Awaitable[None]]) -> None:
        """Do it, and remember how it ended."""
        try:
            await do()
        except ServiceError as error:
            work.error = Problem(code=error.code, message=error.message, details=error.details)
        except Exception as error:
            log.exception("task %d (%s) was not done", work.id, work.kind)
            kind = type(error).__name__
            message = f"Something happened that nobody foresaw ({kind}); the core's log has the details."
            work.error = Problem(code="unexpected", message=message)
        work.finished = self._now()
        figures = work.look()
        work.look = lambda: figures
