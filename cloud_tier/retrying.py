"""A store that asks again.

Owns what is done about a failure that may pass (`StoreError.is_retryable`): wait, longer each time and by chance, so
that many who failed together do not come back together ("full jitter": the wait is drawn evenly from zero to a limit
that doubles; M. Brooker, "Exponential Backoff and Jitter", 2015), or as long as the store asked for; then make the same
call again. A kept connection that turned out to be dead says nothing about the store: the first one is asked again at
once.

Promises an end: no attempt begins after the deadline, and none lasts longer than its bytes could need on the slowest
line that we care for; then the last error is raised. A caller who sets the pace may hold an attempt up for as long as
he likes: the time then counts from the last piece that was let go.

Promises that create-only stays what it is. When an attempt failed, it may have created the object all the same; if the
next one finds the name taken, the bytes there are compared with ours, and equal ones mean that it was us.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from cloud_tier.errors import ConnectionStale, ObjectExists, StoreError, StoreThrottled, StoreUnavailable
from cloud_tier.object_store import Buffer, ObjectStore, Pace, Page, is_free

T = TypeVar("T")

SEEN_S = 1.0  # a paced attempt shows on the loop at least this often that it moves


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait, and when to give up."""

    first_wait_s: float = 0.25
    """The limit of the first wait; it doubles with each failure."""
    longest_wait_s: float = 20.0
    deadline_s: float = 120.0
    """No attempt of a call begins later than this after the first."""
    patience_s: float = 60.0
    """How long an attempt may take that moves no bytes."""
    slowest_bytes_per_s: float = 16 << 10
    """An attempt may take as much longer as its bytes need at this rate."""
    unknown_bytes: int = 16 << 20
    """What an object that is read as a whole may hold, for the same sum."""


@dataclass(frozen=True)
class RetryStatistics:
    """Since the start: calls made to us, attempts made again (at once, after a dead connection), calls given up."""

    calls: int
    retries: int
    stale: int
    given_up: int


class Retrying:
    """An `ObjectStore` around another one. `chance` decides the waits."""

    def __init__(
        self, inner: ObjectStore, policy: RetryPolicy | None = None, chance: random.Random | None = None
    ) -> None:
        self._inner = inner
        self._policy = policy or RetryPolicy()
        self._chance = chance or random.Random()
        self._calls = self._retries = self._stale = self._given_up = 0

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        attempts = 0

        async def attempt(watched: Pace | None) -> None:
            nonlocal attempts
            attempts += 1
            try:
                await self._inner.put(name, body, if_absent=if_absent, pace=watched)
            except ObjectExists:
                if attempts == 1 or await self._inner.get(name) != body:
                    raise

        await self._until_done(attempt, memoryview(body).nbytes, pace)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        size_bytes = self._policy.unknown_bytes if length is None else length
        return await self._until_done(
            lambda watched: self._inner.get(name, start, length, pace=watched), size_bytes, pace
        )

    async def size(self, name: str) -> int:
        return await self._until_done(lambda _: self._inner.size(name), 0)

    async def delete(self, names: Sequence[str]) -> None:
        await self._until_done(lambda _: self._inner.delete(names), 0)

    async def list_page(self, prefix: str, after: str = "") -> Page:
        return await self._until_done(lambda _: self._inner.list_page(prefix, after), 0)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def statistics(self) -> RetryStatistics:
        return RetryStatistics(self._calls, self._retries, self._stale, self._given_up)

    async def _until_done(
        self, attempt: Callable[[Pace | None], Awaitable[T]], size_bytes: int, pace: Pace | None = None
    ) -> T:
        """`size_bytes`: what the attempt moves. It is given the pace to keep."""
        self._calls += 1
        give_up_at = trio.current_time() + self._policy.deadline_s
        failures = 0
        was_stale = False
        while True:
            try:
                return await self._timed(attempt, size_bytes, pace)
            except StoreError as error:
                if not error.is_retryable:
                    raise
                failure = error
            if isinstance(failure, ConnectionStale) and not was_stale:
                was_stale = True
                self._stale += 1
                wait_s = 0.0
            else:
                limit_s = min(self._policy.longest_wait_s, self._policy.first_wait_s * 2.0**failures)
                wait_s = self._chance.uniform(0, limit_s)
                if isinstance(failure, StoreThrottled):
                    wait_s = max(wait_s, failure.retry_after_s)
                failures += 1
            if trio.current_time() + wait_s > give_up_at:
                self._given_up += 1
                raise failure
            self._retries += 1
            await trio.sleep(wait_s)

    async def _timed(self, attempt: Callable[[Pace | None], Awaitable[T]], size_bytes: int, pace: Pace | None) -> T:
        limit_s = self._policy.patience_s + size_bytes / self._policy.slowest_bytes_per_s
        with trio.move_on_after(limit_s) as scope:
            return await attempt(None if pace is None else WatchedPace(pace, scope, limit_s))
        raise StoreUnavailable(f"no answer within {limit_s:.0f} s")


class WatchedPace:
    """The caller's pace, around which the attempt's time stands still."""

    def __init__(self, pace: Pace, scope: trio.CancelScope, limit_s: float) -> None:
        self._pace = pace
        self._scope = scope
        self._limit_s = limit_s
        self._seen_s = time.monotonic()

    async def __call__(self, size_bytes: int) -> None:
        self._scope.deadline = math.inf
        try:
            await self._pace(size_bytes)
        finally:
            self._scope.deadline = trio.current_time() + self._limit_s
            self._seen_s = time.monotonic()

    def is_free(self) -> bool:
        """A thread cannot move a deadline of the loop's: now and then it has to come there."""
        is_seen = time.monotonic() - self._seen_s < SEEN_S
        return is_seen and is_free(self._pace)
