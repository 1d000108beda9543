"""A request that is not answered in good time is made a second time, beside the first; whichever answers first counts.

Somebody waits for the bytes of a cold file in front of a screen, and a connection on which nothing comes any more looks
for half a minute like one on which something is about to come. (The idea and its name: J. Dean and L. A. Barroso, "The
Tail at Scale", 2013.) Good time is generous: on a slow line a second request would take from the first.
"""

import trio

from cloud_tier.errors import StoreError
from cloud_tier.object_store import ObjectStore

LATE_S = 5.0
"""After so long, and as long as the bytes need at `SLOW_BYTES_PER_S`, an answer is late."""
SLOW_BYTES_PER_S = 256 << 10


async def get_hedged(store: ObjectStore, name: str, start: int, length: int) -> bytes:
    """A range of an object. Raises StoreError when no request for it is left that might be answered."""
    answers: list[bytes] = []
    errors: list[StoreError] = []
    under_way = 0
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            nonlocal under_way
            under_way += 1
            try:
                answers.append(await store.get(name, start, length))
            except StoreError as error:
                errors.append(error)
            under_way -= 1
            if answers or not under_way:
                nursery.cancel_scope.cancel()

        nursery.start_soon(ask)
        await trio.sleep(LATE_S + length / SLOW_BYTES_PER_S)
        nursery.start_soon(ask)
    if not answers:
        raise errors[0]
    return answers[0]
