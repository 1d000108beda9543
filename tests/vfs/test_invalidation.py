"""Who says that something is done has told the kernel before."""

import threading
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vfs.fuse.invalidation import Invalidations


class SlowKernel:
    """Takes a notification when it is allowed to."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, bytes]] = []
        self.may_go_on = threading.Event()

    def invalidate_entry(self, parent: int, name: bytes) -> None:
        self.may_go_on.wait(30)
        self.taken.append((parent, name))
        raise FileNotFoundError  # what the kernel says of a name that it does not know


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowKernel]:
    kernel = SlowKernel()
    monkeypatch.setattr("pyfuse3.invalidate_entry", kernel.invalidate_entry)
    yield kernel
    kernel.may_go_on.set()


async def test_settled_waits_until_the_kernel_was_told_what_came_before(kernel: SlowKernel) -> None:
    invalidations, told = Invalidations(), list[list[tuple[int, bytes]]]()
    invalidations.start()
    invalidations.entry(1, b"one")
    invalidations.entry(1, b"two")

    async def wait() -> None:
        assert await invalidations.settled()
        told.append(list(kernel.taken))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert told == []
        kernel.may_go_on.set()
    assert told == [[(1, b"one"), (1, b"two")]]
    invalidations.stop()


async def test_kernel_that_does_not_answer_is_not_waited_for_for_ever(
    kernel: SlowKernel, autojump_clock: MockClock
) -> None:
    invalidations = Invalidations()
    invalidations.start()
    invalidations.entry(1, b"one")
    assert not await invalidations.settled(5)
    invalidations.stop()
