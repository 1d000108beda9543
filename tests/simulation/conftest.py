"""Fixtures of the simulations."""

from collections.abc import Iterator

import pytest
from kit.inline_threads import inline_threads
from trio.testing import MockClock


@pytest.fixture
def virtual_time(autojump_clock: MockClock) -> Iterator[MockClock]:
    """Time passes when everybody waits, and never while something works. A test must name it as a parameter."""
    with inline_threads():
        yield autojump_clock
