"""The gate: while it is closed nobody stands inside, and nobody waits in vain."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from cachefs.gate import Gate


async def test_open_gate_is_no_checkpoint() -> None:
    gate = Gate()
    with trio.CancelScope() as scope:
        scope.cancel()
        await gate.wait_open()
    assert not scope.cancelled_caught


async def test_close_waits_for_whoever_is_inside(autojump_clock: MockClock) -> None:
    gate, order = Gate(), list[str]()

    async def operation() -> None:
        with gate.inside():
            await trio.sleep(1)
            order.append("left")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(operation)
        await wait_all_tasks_blocked()
        await gate.close()
        order.append("closed")
    assert order == ["left", "closed"]


async def test_operation_waits_for_the_gate_to_open(autojump_clock: MockClock) -> None:
    gate, order = Gate(), list[str]()

    async def operation() -> None:
        await gate.wait_open()
        order.append("operation")

    await gate.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operation)
        await trio.sleep(1)
        order.append("opens")
        gate.open()
    assert order == ["opens", "operation"]


async def test_what_needs_a_still_moment_comes_in_behind_a_shared_gate(autojump_clock: MockClock) -> None:
    gate, order = Gate(), list[str]()

    async def closer() -> None:
        await gate.close()
        order.append("closed")
        await trio.sleep(1)
        with gate.shared():
            await trio.sleep(1)
        order.append("alone again")
        await trio.sleep(1)
        gate.open()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(closer)
        await wait_all_tasks_blocked()
        await gate.while_still(lambda: order.append("first"))
        await trio.sleep(1.5)
        await gate.while_still(lambda: order.append("second"))
    assert order == ["closed", "first", "alone again", "second"]


async def test_second_closer_waits_for_the_first(autojump_clock: MockClock) -> None:
    gate = Gate()
    await gate.close()
    with trio.move_on_after(1) as scope:
        await gate.close()
    assert scope.cancelled_caught
    assert gate.is_closed
    gate.open()
    await gate.close()
    assert gate.is_closed


async def test_cancelled_close_opens_the_gate_again(autojump_clock: MockClock) -> None:
    gate = Gate()
    with gate.inside():
        with trio.move_on_after(1):
            await gate.close()
        assert not gate.is_closed
        await gate.wait_open()
    await gate.close()
    assert gate.is_closed


async def test_cancelled_operation_stands_outside(autojump_clock: MockClock) -> None:
    gate = Gate()
    with trio.move_on_after(1), gate.inside():
        await trio.sleep_forever()
    with trio.fail_after(1):
        await gate.close()


@settings(max_examples=40, deadline=None)
@given(
    operations=st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 9))), max_size=8
    ),
    closers=st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 3), st.one_of(st.none(), st.integers(0, 9))), max_size=4
    ),
)
def test_nobody_is_ever_inside_a_closed_gate(
    operations: list[tuple[int, int, int | None]], closers: list[tuple[int, int, int | None]]
) -> None:
    """Operations and closers of any length start at any time, and some of them are cancelled half-way."""
    gate, inside, owners = Gate(), [0], [0]

    @contextmanager
    def counted(counter: list[int]) -> Iterator[None]:
        counter[0] += 1
        try:
            yield
        finally:
            counter[0] -= 1

    async def operate(start: int, length: int, patience: int | None) -> None:
        await trio.sleep(start)
        with trio.move_on_after(float("inf") if patience is None else patience):
            await gate.wait_open()
            assert owners == [0]
            with gate.inside(), counted(inside):
                await trio.sleep(length)

    async def close(start: int, length: int, patience: int | None) -> None:
        await trio.sleep(start)
        with trio.move_on_after(float("inf") if patience is None else patience):
            await gate.close()
            try:
                with counted(owners):
                    assert (inside, owners) == ([0], [1])
                    await trio.sleep(length)
                    assert (inside, owners) == ([0], [1])
            finally:
                gate.open()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for operation in operations:
                nursery.start_soon(operate, *operation)
            for closer in closers:
                nursery.start_soon(close, *closer)
        assert not gate.is_closed

    trio.run(run, clock=MockClock(autojump_threshold=0))
