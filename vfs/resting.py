"""When what was written is sealed: pure, time is a parameter.

    what                                          when it is due                    how it is cut
    a file without sealed parts: new, replaced    no write for `quiet_s`, or the    by content, over all of it
                                                  first one `old_s` ago
    a file with sealed parts, changed for the     the same                          what was written, as it lies; more
    first time in `cooled_s`                                                        than the least block by content
    a *hot* one: with sealed parts, and changed   the first write `old_s` ago       the same
    before within `cooled_s`
    a hot one that has *cooled*                   no write for `cooled_s`, once     what is ragged, by content, from
                                                                                    local bytes, where it saves more
                                                                                    than it sends (`recut_plan`)
    blocks that only history leads to             when a sweep finds them           as they lie

So a database that is never quiet sends each page it changes once in `old_s`, and neither its neighbours nor a pack for
every pause of its work; and what an hour of that leaves behind is put in order when nobody changes it any more.

A file is named by its content, a block that only history leads to by its number below zero.
"""

from collections import OrderedDict
from dataclasses import dataclass

MOST_HOT = 50_000  # remembered; those that are quiet longest are left to a later survey


@dataclass(frozen=True)
class RestPolicy:
    """When something is due, in seconds."""

    quiet_s: float = 3.0
    old_s: float = 20.0
    cooled_s: float = 3600.0


class Cooling:
    """Hot files, and for how long nobody has written to them."""

    def __init__(self, cooled_s: float) -> None:
        self._cooled_s = cooled_s
        self._last: OrderedDict[int, float] = OrderedDict()  # the longest quiet first

    def __contains__(self, one: int) -> bool:
        return one in self._last

    def written(self, one: int, now: float) -> None:
        """It is hot, from now on for `cooled_s` at least."""
        self._last[one] = now
        self._last.move_to_end(one)
        if len(self._last) > MOST_HOT:
            self._last.popitem(last=False)

    def take_due(self, now: float) -> int | None:
        """One that has cooled, which is forgotten; None when there is none."""
        for one, moment in self._last.items():
            if moment + self._cooled_s <= now:
                del self._last[one]
                return one
            break
        return None

    def next_due(self, now: float) -> float:
        """When to look again, if nothing more is written."""
        return next(iter(self._last.values()), now) + self._cooled_s


@dataclass
class _Round:
    """A file of very many extents is looked through in pages, from its start to its end."""

    begin: int = 0
    is_written: bool = False  # since the round began: behind it, too, for all one knows


class Resting:
    """What was written and is not sealed yet."""

    def __init__(self, policy: RestPolicy = RestPolicy()) -> None:
        self.cooling = Cooling(policy.cooled_s)
        self._rounds: dict[int, _Round] = {}
        self._policy = policy
        self._last: OrderedDict[int, float] = OrderedDict()  # those that are not hot; the longest quiet first
        self._first: OrderedDict[int, float] = OrderedDict()  # all; the oldest first

    def __len__(self) -> int:
        return len(self._first)

    def __contains__(self, one: int) -> bool:
        return one in self._first

    def written(self, one: int, now: float) -> None:
        """Somebody has written to it."""
        if one in self.cooling:
            self.cooling.written(one, now)
        else:
            self._last[one] = now
            self._last.move_to_end(one)
        if one not in self._first:
            self._first[one] = now
        if self._rounds and one in self._rounds:
            self._rounds[one].is_written = True

    def page(self, one: int) -> int:
        """Where in the file to look for what is unsealed; what is before that was looked at."""
        return self._rounds[one].begin if one in self._rounds else 0

    def look_on(self, one: int, begin: int) -> None:
        """All before `begin` was looked at, and there is more."""
        self._rounds.setdefault(one, _Round()).begin = begin
        self._rest(one)

    def looked_through(self, one: int) -> None:
        """Its end was looked at: that was all, unless somebody has written to it meanwhile."""
        ended = self._rounds.pop(one, None)
        if ended is not None and ended.is_written:
            self.found(one)

    def again(self, one: int) -> None:
        """What was taken of it could not be sealed, and is looked for from its start."""
        self._rounds.pop(one, None)
        self._rest(one)

    def found(self, one: int) -> None:
        """It holds something unsealed that is at rest."""
        if one not in self._first:
            self._rest(one)

    def _rest(self, one: int) -> None:
        self._last[one] = self._first[one] = float("-inf")
        self._last.move_to_end(one, last=False)
        self._first.move_to_end(one, last=False)

    def gone(self, one: int) -> None:
        """Nothing is left to seal there."""
        if self._first.pop(one, None) is not None:
            self._last.pop(one, None)

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
