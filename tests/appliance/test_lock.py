"""One holder per state directory, given back however the holder ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import AlreadyRunning
from appliance.lock import holding, is_held, read_pid
from appliance.places import StatePlaces

HOLD = """
import sys
from pathlib import Path
from appliance.lock import holding
from appliance.places import StatePlaces
with holding(StatePlaces(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def places(tmp_path: Path) -> StatePlaces:
    return StatePlaces(tmp_path / "state")


def test_the_holder_is_known_while_it_holds(places: StatePlaces) -> None:
    assert not is_held(places)
    with holding(places):
        assert is_held(places)
        assert read_pid(places) == os.getpid()
    assert not is_held(places)
    assert read_pid(places) is None


def test_a_second_holder_is_refused_with_the_first_ones_pid(places: StatePlaces) -> None:
    with holding(places), pytest.raises(AlreadyRunning, match=str(os.getpid())), holding(places):
        pass


def test_a_killed_holder_holds_nothing(places: StatePlaces) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(places.state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_held(places)
        holder.kill()
    assert not is_held(places)
    assert read_pid(places) == holder.pid
    with holding(places):
        assert read_pid(places) == os.getpid()
