"""People come first: work that nobody waits for rests while the loop answers requests.

Sealing and encoding take processors, and the interpreter, from whoever reads and writes. On an idle machine they may
have all of it. When requests follow one another, the loop answers them in turns of up to a millisecond
(`vfs.fuse.request_loop`), so a turn that lasts shows that somebody is at work, without anybody counting anything. Then
each piece of work is followed by a rest of thrice its time: sending goes on, at a quarter of its pace.
"""

import trio

BUSY_TURN_S = 0.0004
RESTS = 3.0
LONGEST_REST_S = 0.1


async def give_way(worked_s: float) -> None:
    """After so much work: let others run, and rest if they are many."""
    began = trio.current_time()
    for _ in range(2):  # the tasks of a turn run in any order: between these two, everybody has run
        await trio.lowlevel.checkpoint()
    if trio.current_time() - began > BUSY_TURN_S:
        await trio.sleep(min(LONGEST_REST_S, RESTS * worked_s))
