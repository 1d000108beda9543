"""The drive's retention policy: a setting in the database, so that it is the same after a recovery.

What gets longer counts at once. What gets shorter counts after a week and can be called off until then: snapshots that
go are gone, and whoever shortens the policy may not be who he says. Until then the longer span of each counts.
"""

import json
from typing import Any

from cachefs.database import Database
from vfs.errors import NotFound
from vfs.retention import DAY_S, Policy

NAME = "retention"  # in `settings`: do not change
NOTICE_S = 7 * DAY_S


class Policies:
    """The policy that counts, and the shorter one that is to come."""

    def __init__(self, database: Database) -> None:
        self.current = Policy()
        self.pending: Policy | None = None
        self.takes_effect_s = 0
        """When `pending` becomes `current`: seconds since 1970."""
        self._database = database

    def load(self) -> None:
        """Read what was set."""
        row = self._database.row("SELECT value FROM settings WHERE name = ?", (NAME,))
        if row is not None:
            said: dict[str, Any] = json.loads(row[0])
            self.current = Policy.of(said["current"])
            self.pending = Policy.of(said["pending"]) if said["pending"] else None
            self.takes_effect_s = said["takes_effect_s"]

    def at(self, now_s: int) -> Policy:
        """The policy that counts at that time, by a clock that is believed."""
        if self.pending is not None and now_s >= self.takes_effect_s:
            self._keep(self.pending, None, 0)
        return self.current

    def set(self, policy: Policy, now_s: int) -> None:
        """Let this one count: what it makes longer now, what it makes shorter in a week."""
        longest = policy.longest(self.at(now_s))
        self._keep(longest, None if longest == policy else policy, now_s + NOTICE_S)

    def cancel(self) -> None:
        """Call the shorter policy off. Raises NotFound."""
        if self.pending is None:
            raise NotFound("no shorter policy is to come")
        self._keep(self.current, None, 0)

    def _keep(self, current: Policy, pending: Policy | None, takes_effect_s: int) -> None:
        at_s = takes_effect_s if pending is not None else 0
        value = {"current": current.spans, "pending": pending and pending.spans, "takes_effect_s": at_s}
        self._database.write("INSERT OR REPLACE INTO settings VALUES (?, ?)", (NAME, json.dumps(value)))
        self.current, self.pending, self.takes_effect_s = current, pending, at_s
