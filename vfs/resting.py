"""Which files have come to rest: pure, time is a parameter.

A file is named by its content, a block that only history leads to by its number below zero. One is due when nobody has
written to it for `quiet_s`; or when its first write since it was last taken is `old_s` ago, however busy it is.
"""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True)
class RestPolicy:
    """When something is due, in seconds."""

    quiet_s: float = 3.0
    old_s: float = 20.0


class Resting:
    """What was written and is not sealed yet."""

    def __init__(self, policy: RestPolicy = RestPolicy()) -> None:
        self._policy = policy
        self._last: OrderedDict[int, float] = OrderedDict()  # the longest quiet first
        self._first: dict[int, float] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._last)

    def written(self, one: int, now: float) -> None:
        """Somebody has written to it."""
        self._last[one] = now
        self._last.move_to_end(one)
        if one not in self._first:
            self._first[one] = now

    def found(self, one: int) -> None:
        """It holds something unsealed that is at rest."""
        if one not in self._last:
            self._last[one] = self._first[one] = float("-inf")
            self._last.move_to_end(one, last=False)

    def gone(self, one: int) -> None:
        """Nothing is left to seal there."""
        if self._last.pop(one, None) is not None:
            del self._first[one]

    def take_due(self, now: float, most: int) -> list[int]:
        """Up to `most` that are due, those that rest first; they are forgotten until something is said of them."""
        due: list[int] = []
        for times, age in ((self._last, self._policy.quiet_s), (self._first, self._policy.old_s)):
            for one, moment in times.items():
                if len(due) == most or moment + age > now:
                    break
                due.append(one)
            for one in due:
                self.gone(one)
        return due

    def due_at(self, moment: float) -> float:
        """When all that is announced at `moment` is due, be it at rest or not."""
        return moment + max(self._policy.quiet_s, self._policy.old_s)

    def next_due(self, now: float) -> float:
        """When to look again, if nothing more is written. In time that has passed when something is due already."""
        soon = [now + self._policy.quiet_s]
        for times, age in ((self._last, self._policy.quiet_s), (self._first, self._policy.old_s)):
            if times:
                soon.append(next(iter(times.values())) + age)
        return min(soon)
