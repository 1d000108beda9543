"""Threads that run on the loop, so that a test with a virtual clock owns all of its time.

trio's autojump clock jumps whenever every task is blocked, also while a thread works: a deadline may pass in the
middle of a write. Inside this block `trio.to_thread.run_sync` calls the function between two checkpoints instead. A run
is then the same each time, and what used to happen in parallel happens in one of the possible orders.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio


async def _run_inline(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    await trio.lowlevel.checkpoint()
    result = function(*args)
    # As in a thread, what was done cannot be cancelled any more.
    await trio.lowlevel.cancel_shielded_checkpoint()
    return result


@contextlib.contextmanager
def inline_threads() -> Iterator[None]:
    """No threads for as long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trio.to_thread.run_sync", _run_inline)
        yield
