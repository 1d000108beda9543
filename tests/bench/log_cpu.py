"""What the metadata log costs of the processor: its share of all that a drive does for small files.

In process and without a kernel, so that the rest is the engine alone: on a mount the log's share is smaller. Counted is
the time of the threads in which cuts become entries, and entries objects (`Outbox.gather`, `Shipping._seal` and what
they call); what the engine's cuts cost anyway is not the log's.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from bench.recover_built import at_work
from bench.scale_built import FILE

from appliance.making import Wishes, make_drive
from appliance.places import StatePlaces
from cachefs.outbox import Outbox
from cachefs.shipping import Shipping
from vfs.ids import ROOT

_OF_THE_LOG = ((Outbox, "gather"), (Outbox, "sent"), (Outbox, "forget"), (Shipping, "_seal"))


def log_share(home: Path, files: int, size_bytes: int) -> float:
    """The share of the processor time that goes into the log, for so many new files, 0 to 1."""
    places = StatePlaces(home / "log-cpu")
    trio.run(make_drive, places, Wishes(give_kit=lambda kit: None))
    return trio.run(_work, places, files, size_bytes)


async def _work(places: StatePlaces, files: int, size_bytes: int) -> float:
    async with at_work(places.state, places.store) as (builder, mirror):
        drive, caller = builder.drive, builder.caller
        await drive.flush()
        with _counted() as spent:
            began = time.process_time()
            for number in range(files):
                if number % 100 == 0:
                    folder = builder.folder(ROOT, f"{number // 100}")
                    await trio.sleep(0.01)  # whoever sends gets its turn, as on a mount
                inode = drive.namespace.create(folder, b"%07d" % number, FILE, caller)
                await drive.files.write(inode, 0, number.to_bytes(4, "little") * (size_bytes // 4), caller.actor_id)
            await drive.flush()
            await mirror.shipping.flush(drive.cuts.durable)
            total = time.process_time() - began
        return sum(spent) / total


@contextmanager
def _counted() -> Iterator[list[float]]:
    """While it lasts, the processor time of the log's functions is collected."""
    spent: list[float] = []
    before = [(owner, name, getattr(owner, name)) for owner, name in _OF_THE_LOG]
    for owner, name, function in before:
        setattr(owner, name, _timed(function, spent))
    try:
        yield spent
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*arguments)
        finally:
            spent.append(time.thread_time() - began)

    return timed
