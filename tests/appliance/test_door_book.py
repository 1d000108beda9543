"""What is told of a door: as it is, since when, and why it is down."""

from pathlib import Path

import pytest
from kit.fake_clock import FakeClock

from appliance.door_book import DoorBook, read_doors


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_door_that_fails_again_and_again_stays_down_since_it_went_down(tmp_path: Path, clock: FakeClock) -> None:
    file = tmp_path / "doors.json"
    book = DoorBook(file, clock)
    tell = book.teller("smb", lambda code: f"It ended with {code}.")
    tell("starting", 0)
    assert [door.state for door in read_doors(file)] == ["starting"]
    tell("serving", 0)
    (serving,) = read_doors(file)
    assert (serving.state, serving.restarts, serving.reason) == ("serving", 0, None)
    for _ in range(3):
        tell("down", 1)
        clock.advance(7)
        tell("starting", 0)
    (down,) = read_doors(file)
    assert (down.state, down.reason) == ("down", "It ended with 1.")
    tell("serving", 0)
    (again,) = read_doors(file)
    assert (again.state, again.restarts, again.reason) == ("serving", 1, None)
    assert (again.since - down.since).total_seconds() == 21


def test_nobody_tells_of_doors_that_nobody_keeps(tmp_path: Path, clock: FakeClock) -> None:
    file = tmp_path / "doors.json"
    book = DoorBook(file, clock)
    book.enter("smb", "off")
    book.close()
    assert read_doors(file) == []
    file.write_text("[{]")
    assert read_doors(file) == []
