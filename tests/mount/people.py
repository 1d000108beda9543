"""Other users, as real processes: fork, take a user's identity for good, call, and carry the answer back.

The kernel checks the identity of a process, so a promise about rights is only proven by a process that has no others.
The child never returns into the test; an OSError comes back with its errno and is raised again in the test.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

ALICE = 65533
BOB = 65534
STAFF = 65500

Answer = TypeVar("Answer")


class ChildFailed(AssertionError):
    """A child process ended by something other than an OSError; the message is its traceback."""


def as_user(uid: int, call: Callable[[], Answer], *, gid: int | None = None, groups: Sequence[int] = ()) -> Answer:
    """Runs `call` as `uid` (primary group `gid`, else the same number) and returns or raises what it did."""

    def become() -> Answer:
        os.setgroups(list(groups))
        os.setgid(uid if gid is None else gid)
        os.setuid(uid)
        return call()

    return in_child(become)


def in_child(call: Callable[[], Answer]) -> Answer:
    """Runs `call` in a forked process of the same user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            answer: tuple[str, object] = ("value", call())
        except OSError as refused:
            answer = ("errno", (refused.errno, str(refused)))
        except BaseException:
            answer = ("failed", traceback.format_exc())
        try:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        raw = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not raw:
        raise ChildFailed(f"the child ended with status {status} and no answer")
    kind, value = pickle.loads(raw)
    if kind == "errno":
        raise OSError(*value)
    if kind == "failed":
        raise ChildFailed(value)
    return value  # type: ignore[no-any-return]


def member(call: Callable[[], Answer], *, primary: int = ALICE) -> Answer:
    """Runs `call` as ALICE, who is also in STAFF."""
    return as_user(ALICE, call, gid=primary, groups=[STAFF])
