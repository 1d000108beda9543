"""Giving freed ranges back to the disk, once the cut that freed them is durable (I11)."""

import logging

import trio

from cachefs.database import Database
from cachefs.gate import Gate
from cachefs.segments import Segments

log = logging.getLogger(__name__)


class Reclaiming:
    """Punches what the free queue gives, in threads, and removes its rows behind the gate."""

    def __init__(self, database: Database, segments: Segments, gate: Gate, threads: trio.CapacityLimiter) -> None:
        self._database = database
        self._segments = segments
        self._gate = gate
        self._threads = threads
        self._is_refused = False

    async def run_once(self) -> None:
        """Punch all that may be. What the disk refuses stays in the queue, for the next time."""
        while freed := self._segments.free_queue.take_reclaimable():
            try:
                await trio.to_thread.run_sync(self._segments.punch, freed, limiter=self._threads)
            except OSError as error:
                self._segments.free_queue.put_back(freed)
                if not self._is_refused:
                    log.warning("freed bytes could not be given back to the disk, and will be later: %s", error)
                self._is_refused = True
                return
            except BaseException:
                self._segments.free_queue.put_back(freed)
                raise
            self._is_refused = False
            await self._gate.wait_open()
            with self._database.operation:
                self._segments.forget(freed)
