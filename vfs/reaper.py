"""Work nobody waits for, in steps of a few milliseconds: given-up contents, deleted snapshots, detached trees.

Each step is one operation behind an open gate, followed by a checkpoint, so requests come first. All of it is recorded
in the database: after a crash the reaper goes on where it was.
"""

import logging
from collections.abc import Callable

import trio

from cachefs.cut import Cuts

log = logging.getLogger(__name__)

IDLE_S = 1.0


class Reaper:
    """Runs `steps` round and round while any of them says there is more to do."""

    def __init__(self, cuts: Cuts, steps: list[Callable[[], bool]]) -> None:
        self._cuts = cuts
        self._steps = steps

    async def run(self) -> None:
        """For ever."""
        while True:
            if not await self.round():
                await trio.sleep(IDLE_S)

    async def round(self) -> bool:
        """One step of each kind of work. True while there is more to do."""
        more = False
        for step in self._steps:
            await self._cuts.gate.wait_open()
            more |= step()
            self._cuts.bound_pending()
            await trio.lowlevel.checkpoint()
        return more

    async def finish(self) -> None:
        """Run until nothing is left to do."""
        while await self.round():
            pass
