"""People come first: work that nobody waits for rests while requests are answered.

Sealing and encoding take processors, and the interpreter, from whoever reads and writes. On an idle machine they may
have all of it. While requests follow one another, or the loop's turns are long, each piece of work is followed by a
rest of thrice its time: sending goes on, at a quarter of its pace. Whoever takes requests counts them here. Turns are
long because of this work itself, too: it leaves room for a first request, which nobody has counted yet.
"""

import math

import trio

BUSY_PER_S = 100.0
"""Requests. Who clicks through folders makes fewer; who copies, searches or builds makes thousands."""
BUSY_TURN_S = 0.0004
LOOK_S, LONGEST_LOOK_S = 0.01, 0.1  # requests are counted over
RESTS = 3.0
LONGEST_REST_S = 0.1


class Requests:
    """Of this process, since its start."""

    def __init__(self) -> None:
        self.count = 0


requests = Requests()


class Meter:
    """Whether requests follow one another. For any thread, which may see what was so a moment ago."""

    def __init__(self) -> None:
        self._count, self._looked_s = requests.count, -math.inf
        self._is_busy = False

    def is_busy(self, now_s: float) -> bool:
        """Since it was asked before, by the same clock; asked again at once, it says the same."""
        passed_s = now_s - self._looked_s
        if passed_s >= LOOK_S:
            self._is_busy = requests.count - self._count > BUSY_PER_S * min(passed_s, LONGEST_LOOK_S)
            self._count, self._looked_s = requests.count, now_s
        return self._is_busy


class GivingWay:
    """Of one worker, who calls it after each piece of work."""

    def __init__(self) -> None:
        self._meter = Meter()

    async def __call__(self, worked_s: float) -> None:
        """After so much work: let others run, and rest if they are many."""
        began = trio.current_time()
        for _ in range(2):  # the tasks of a turn run in any order: between these two, everybody has run
            await trio.lowlevel.checkpoint()
        is_long = trio.current_time() - began > BUSY_TURN_S
        if self._meter.is_busy(trio.current_time()) or is_long:
            await trio.sleep(min(LONGEST_REST_S, RESTS * worked_s))
