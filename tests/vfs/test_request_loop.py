"""Waiting for the kernel's next request: others get their turns, an idle drive sleeps, nobody takes another's turn."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vfs.fuse.awake import AwakeProcessors
from vfs.fuse.request_loop import LEAST_SPIN_S, MOST_SPIN_S, TURN_S, ReadTurn, Waiting

STEP_S = 0.00001


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def time_goes_on(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each look at the clock takes 10 microseconds."""
    now = [1000.0]

    def look() -> float:
        now[0] += STEP_S
        return now[0]

    monkeypatch.setattr("vfs.fuse.request_loop.time.perf_counter", look)
    return now


async def test_requests_that_never_end_starve_nobody(pipe: tuple[int, int], time_goes_on: list[float]) -> None:
    os.write(pipe[1], b"x")  # nobody reads it: there is always a request
    waiting, turns, began = Waiting(is_polling=True), 0, time_goes_on[0]

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(2000):
            await waiting.wait_readable(pipe[0])
        nursery.cancel_scope.cancel()
    assert turns >= (time_goes_on[0] - began) / TURN_S / 2


async def test_request_that_is_there_costs_no_turn(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    os.write(pipe[1], b"x")
    waiting = Waiting(is_polling=True)
    await waiting.wait_readable(pipe[0])

    async def never(fd: int) -> None:
        raise AssertionError("went to sleep")

    monkeypatch.setattr(trio.lowlevel, "wait_readable", never)
    await waiting.wait_readable(pipe[0])


@pytest.mark.parametrize("is_polling", [True, False])
async def test_idle_drive_sleeps_until_a_request_comes(pipe: tuple[int, int], is_polling: bool) -> None:
    waiting = Waiting(is_polling)
    came = trio.Event()

    async def serve() -> None:
        await waiting.wait_readable(pipe[0])
        came.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await wait_all_tasks_blocked()  # blocked: it does not run
        assert not came.is_set()
        os.write(pipe[1], b"x")
        await came.wait()


async def test_polling_grows_while_it_would_have_paid_and_ends_when_it_does_not(
    pipe: tuple[int, int], time_goes_on: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = [STEP_S] * 10 + [1.0] * 10
    waiting = Waiting(is_polling=True)

    async def slept(fd: int) -> None:
        time_goes_on[0] += pauses.pop(0)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", slept)
    spins = []
    while pauses:
        await waiting.wait_readable(pipe[0])
        spins.append(waiting._spin_s)
    assert spins[0] == LEAST_SPIN_S
    assert spins[9] == MOST_SPIN_S
    assert spins[-1] == 0.0


async def test_end_of_the_session_ends_the_waiting(pipe: tuple[int, int]) -> None:
    waiting = Waiting(is_polling=True)

    async def serve() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await waiting.wait_readable(pipe[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await wait_all_tasks_blocked()
        waiting.notify_closing(pipe[0])


async def test_turn_goes_on_to_the_next_once_its_holder_awaits_something() -> None:
    turn, log = ReadTurn(), list[str]()

    async def serve(name: str) -> None:
        for _ in range(3):
            async with turn:
                log.append(name)
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, "a")
        nursery.start_soon(serve, "b")
    assert log in (list("aaabbb"), list("bbbaaa"))


async def test_one_at_a_time_has_the_turn() -> None:
    turn, inside, served = ReadTurn(), 0, 0

    async def serve() -> None:
        nonlocal inside, served
        for _ in range(20):
            async with turn:
                inside += 1
                await trio.lowlevel.checkpoint()
                assert inside == 1
                inside -= 1
                served += 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(serve)
    assert served == 100


async def test_first_steps_are_taken_once_and_in_order(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"x")
    steps: list[tuple[str, int]] = []
    waiting = Waiting(True, [lambda fd: steps.append(("begin", fd)), lambda fd: steps.append(("end", fd))])
    for _ in range(4):
        await waiting.wait_readable(pipe[0])
    assert steps == [("begin", pipe[0]), ("end", pipe[0])]


class Wish:
    """Stands in for the kernel's file: whether somebody holds it open, and how often it was asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def is_held(self) -> bool:
        return any(os.path.realpath(f"/proc/self/fd/{fd}") == str(self.path) for fd in os.listdir("/proc/self/fd"))


@pytest.fixture
def wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wish:
    monkeypatch.setattr("vfs.fuse.awake.WISH", tmp_path / "wish")
    return Wish(tmp_path / "wish")


async def test_processors_stay_awake_during_work_and_sleep_soon_after(
    pipe: tuple[int, int], wish: Wish, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Waiting(is_polling=True)
    monkeypatch.setattr("vfs.fuse.request_loop.SOON_S", 1.0)  # each of these requests comes soon
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(waiting.wait_readable, pipe[0])
            await wait_all_tasks_blocked()
            os.write(pipe[1], b"x")
            await wait_all_tasks_blocked()
            os.read(pipe[0], 1)
        assert wish.is_held()
        assert wish.path.read_bytes() == bytes(4)
        nursery.start_soon(waiting.wait_readable, pipe[0])
        with trio.fail_after(10):
            while wish.is_held():
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def test_machine_that_refuses_the_wish_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfs.fuse.awake.WISH", tmp_path / "none")
    processors, held = AwakeProcessors(), list[bool]()
    for _ in range(2):
        processors.hold()
        held.append(processors.is_held)
        (tmp_path / "none").touch()
    assert held == [False, False]
