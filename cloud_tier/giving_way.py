"""People come first: work that nobody waits for rests while requests are answered.

Sealing and encoding take processors, and the interpreter, from whoever reads and writes. On an idle machine they may
have all of it. While requests follow one another, each piece of work is followed by a rest of thrice its time: sending
goes on, at a quarter of its pace. Whoever takes requests counts them here; how long the loop's turns last would tell
the same, were it not that the work itself makes them longer.
"""

import trio

BUSY_PER_S = 100.0
"""Requests. Who clicks through folders makes fewer; who copies, searches or builds makes thousands."""
RESTS = 3.0
LONGEST_REST_S = 0.1


class Requests:
    """Of this process, since its start."""

    def __init__(self) -> None:
        self.count = 0


requests = Requests()


class GivingWay:
    """Of one worker, who calls it after each piece of work."""

    def __init__(self) -> None:
        self._seen = requests.count
        self._seen_s: float | None = None

    async def __call__(self, worked_s: float) -> None:
        """After so much work: let others run, and rest if they are many."""
        for _ in range(2):  # the tasks of a turn run in any order: between these two, everybody has run
            await trio.lowlevel.checkpoint()
        if self._is_busy(trio.current_time()):
            await trio.sleep(min(LONGEST_REST_S, RESTS * worked_s))

    def _is_busy(self, now_s: float) -> bool:
        """Since the call before."""
        asked, passed_s = requests.count - self._seen, now_s - (self._seen_s if self._seen_s is not None else now_s)
        self._seen, self._seen_s = requests.count, now_s
        return asked > BUSY_PER_S * passed_s
