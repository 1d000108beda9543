"""The supervisor over stand-in children: brought back, paused, freed before killed, and nothing left behind."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.supervisor import Answer, Backoff, Child, ChildRefused, Patience, keep_alive

QUICK = Patience(first_pause_s=0.01, longest_pause_s=0.04, start_look_s=0.01, look_s=0.01, stop_s=0.5)

# Says that it is there by a file, removes it when told to stop.
GOOD = """
import os, signal, sys, pathlib
here = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: (here.unlink(), sys.exit(0)))
here.with_suffix(".new").write_text(str(os.getpid()))
here.with_suffix(".new").rename(here)
while True: signal.pause()
"""
DEAF = GOOD.replace("lambda *_: (here.unlink(), sys.exit(0))", "signal.SIG_IGN")


class StandIn:
    """A child whose health the test sets, and what was done for it in order."""

    def __init__(self, here: Path, program: str = GOOD) -> None:
        self.here = here
        self.silences_left = 0
        self.asked = 0
        self.deeds: list[str] = []
        self.child = Child("stand-in", [sys.executable, "-c", program, str(here)], self._ask, self._free)

    @property
    def pid(self) -> int:
        return int(self.here.read_text())

    def _ask(self) -> Answer:
        self.asked += 1
        if self.silences_left > 0:
            self.silences_left -= 1
            return "silent"
        return "answers" if self.here.exists() else "absent"

    def _free(self) -> None:
        alive = self.here.exists() and Path(f"/proc/{self.pid}").exists() and not self.is_zombie(self.pid)
        self.deeds.append("freed a living child" if alive else "freed")
        if not alive:
            self.here.unlink(missing_ok=True)

    @staticmethod
    def is_zombie(pid: int) -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


class Serving:
    """Lets a test wait for the nth time that the child serves."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[int](100)

    def __call__(self, starts: int) -> None:
        self._send.send_nowait(starts)

    async def wait(self) -> int:
        with trio.fail_after(20):
            return await self._receive.receive()


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "here")


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_a_child_that_dies_is_brought_back_and_told_to_stop_at_the_end(
    stand_in: StandIn, expected_log: Callable[[str], None]
) -> None:
    expected_log("the stand-in was ended by SIGKILL; it is started again in 0.01 s")
    serving = Serving()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, stand_in.child, QUICK, serving)
        assert await serving.wait() == 1
        first = stand_in.pid
        os.kill(first, signal.SIGKILL)
        assert await serving.wait() == 2
        second = stand_in.pid
        assert second != first
        nursery.cancel_scope.cancel()
    assert is_gone(first)
    assert is_gone(second)
    assert not stand_in.here.exists()
    assert "freed a living child" not in stand_in.deeds


async def test_a_hung_child_is_freed_before_it_is_killed(
    stand_in: StandIn, expected_log: Callable[[str], None]
) -> None:
    for line in (
        r"did not answer \([12] of 3\)",
        r"did not answer \(3 of 3\)",
        "hangs; it is ended",
        "ended by SIGKILL",
    ):
        expected_log(line)
    serving = Serving()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, stand_in.child, QUICK, serving)
        await serving.wait()
        hung = stand_in.pid
        os.kill(hung, signal.SIGSTOP)
        stand_in.silences_left = 3
        with trio.fail_after(20):
            while not is_gone(hung):
                await trio.sleep(0.01)
        assert await serving.wait() == 2
        nursery.cancel_scope.cancel()
    assert stand_in.deeds[1] == "freed a living child"


async def test_two_silences_are_forgiven(stand_in: StandIn, expected_log: Callable[[str], None]) -> None:
    expected_log(r"did not answer \(2 of 3\)")
    expected_log(r"did not answer \(1 of 3\)")
    serving = Serving()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, stand_in.child, QUICK, serving)
        await serving.wait()
        for _ in range(2):
            stand_in.silences_left = 2
            asked = stand_in.asked
            with trio.fail_after(20):
                while stand_in.asked < asked + 4:
                    await trio.sleep(0.01)
        assert not is_gone(stand_in.pid)
        nursery.cancel_scope.cancel()
    assert stand_in.deeds.count("freed a living child") == 0


async def test_a_child_that_ignores_the_request_to_stop_is_killed(
    tmp_path: Path, expected_log: Callable[[str], None]
) -> None:
    expected_log("did not stop within 0.5 s; it is killed")
    deaf = StandIn(tmp_path / "here", DEAF)
    serving = Serving()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, deaf.child, QUICK, serving)
        await serving.wait()
        pid = deaf.pid
        nursery.cancel_scope.cancel()
    assert is_gone(pid)
    assert deaf.deeds == ["freed", "freed a living child", "freed"]


@pytest.mark.parametrize("code", [2, 3, 4, 6, 7, 8, 10, 11])
async def test_what_another_start_will_not_change_ends_the_supervisor(tmp_path: Path, code: int) -> None:
    refusing = StandIn(tmp_path / "here", f"raise SystemExit({code})")
    with trio.fail_after(20), pytest.raises(ChildRefused) as caught:
        await keep_alive(refusing.child, QUICK, Serving())
    assert caught.value.code == code


async def test_a_leftover_of_the_child_before_is_waited_out(
    tmp_path: Path, expected_log: Callable[[str], None]
) -> None:
    """Once it has served, `already running` can be the child's own dying predecessor."""
    expected_log("ended by SIGKILL")
    expected_log("ended with code 6")
    here = tmp_path / "here"
    program = (
        "import pathlib, sys\nseen = pathlib.Path(sys.argv[1]).with_suffix('.seen')\n"
        "starts = int(seen.read_text()) + 1 if seen.exists() else 1\nseen.write_text(str(starts))\n"
        "if starts == 2: sys.exit(6)\n" + GOOD
    )
    stand_in = StandIn(here, program)
    serving = Serving()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, stand_in.child, QUICK, serving)
        await serving.wait()
        os.kill(stand_in.pid, signal.SIGKILL)
        assert await serving.wait() == 3
        nursery.cancel_scope.cancel()


def test_the_pause_doubles_to_a_limit_and_good_service_resets_it() -> None:
    backoff = Backoff(Patience())
    assert [backoff.pause_after(1) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert backoff.pause_after(60) == 0.1
    assert backoff.pause_after(59) == 0.2


async def test_what_works_beside_a_child_ends_before_it_and_begins_anew_with_it(
    stand_in: StandIn, expected_log: Callable[[str], None]
) -> None:
    expected_log("ended by SIGKILL")
    serving, told = Serving(), list[str]()

    async def beside() -> None:
        told.append("begun")
        try:
            await trio.sleep_forever()
        finally:
            told.append("ended" if is_gone(stand_in.pid) else "ended before the child")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, stand_in.child, QUICK, serving, beside)
        await serving.wait()
        await trio.testing.wait_all_tasks_blocked()
        os.kill(stand_in.pid, signal.SIGKILL)
        await serving.wait()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert told == ["begun", "ended", "begun", "ended before the child"]


async def test_a_child_that_is_never_refused_is_tried_again_and_tells_how_it_lives(
    tmp_path: Path, expected_log: Callable[[str], None]
) -> None:
    expected_log("ended with code 3")
    lives, done = list[tuple[str, int]](), trio.Event()

    def tell(life: str, code: int) -> None:
        lives.append((life, code))
        if len(lives) == 4:
            done.set()

    child = replace(StandIn(tmp_path / "here", "raise SystemExit(3)").child, tell=tell, is_ever_refused=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, child, QUICK, Serving())
        with trio.fail_after(20):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert lives[:4] == [("starting", 0), ("down", 3)] * 2
