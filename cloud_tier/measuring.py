"""A store that counts what passes: requests, bytes, errors, how long answers take, and how fast it goes just now.

Counts what it sees: inside of `cloud_tier.retrying` every attempt, outside of it every call. Bytes count when their
call has ended, those of a failed one never; so the rate of a line that moves one 16 MiB pack in 20 s comes in steps.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cloud_tier.clock import Clock
from cloud_tier.errors import ObjectExists, ObjectMissing, RangeBeyondEnd, StoreError
from cloud_tier.object_store import PAGE_OBJECTS, Buffer, ObjectStore, Pace, Page

T = TypeVar("T")

RATE_S = 10.0
LATENCIES = 200


@dataclass(frozen=True)
class StoreStatistics:
    """Since the start, but for the rates (over the last 10 s) and latencies (of the last 200 answers of a kind)."""

    requests: Mapping[str, int]
    """By kind: put, get, size, delete, list. A delete of many counts as S3 bills it, one for each 1,000."""
    errors: Mapping[str, int]
    """By the name of the error's class."""
    bytes_up: int
    bytes_down: int
    up_bytes_per_s: float
    down_bytes_per_s: float
    median_s: Mapping[str, float]
    """By kind of request; only what was answered without an error."""
    slowest_s: Mapping[str, float]
    is_asked: bool
    """Whether the store has answered, or failed to, since the start."""
    trouble: StoreError | None
    """Why the last request failed; None when it was answered, be it by "there is no such object"."""
    trouble_age_s: float
    """Since when every request has failed; 0 when the last one did not."""


class Measuring:
    """An `ObjectStore` around another one."""

    def __init__(self, inner: ObjectStore, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._latencies: dict[str, deque[float]] = {}
        self._up_bytes = self._down_bytes = 0
        self._is_asked = False
        self._trouble: StoreError | None = None
        self._trouble_since_s = 0.0
        self._recent: deque[tuple[float, int, int]] = deque()  # when, up, down

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await self._measured("put", lambda: self._inner.put(name, body, if_absent=if_absent, pace=pace))
        self._moved(memoryview(body).nbytes, 0)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        body = await self._measured("get", lambda: self._inner.get(name, start, length, pace=pace))
        self._moved(0, len(body))
        return body

    async def size(self, name: str) -> int:
        return await self._measured("size", lambda: self._inner.size(name))

    async def delete(self, names: Sequence[str]) -> None:
        await self._measured("delete", lambda: self._inner.delete(names), -(-len(names) // PAGE_OBJECTS))

    async def list_page(self, prefix: str, after: str = "") -> Page:
        return await self._measured("list", lambda: self._inner.list_page(prefix, after))

    async def aclose(self) -> None:
        await self._inner.aclose()

    def statistics(self) -> StoreStatistics:
        self._forget()
        known = {kind: sorted(latencies) for kind, latencies in self._latencies.items()}
        return StoreStatistics(
            requests=dict(self._requests),
            errors=dict(self._errors),
            bytes_up=self._up_bytes,
            bytes_down=self._down_bytes,
            up_bytes_per_s=sum(up for _, up, _ in self._recent) / RATE_S,
            down_bytes_per_s=sum(down for _, _, down in self._recent) / RATE_S,
            median_s={kind: latencies[len(latencies) // 2] for kind, latencies in known.items()},
            slowest_s={kind: latencies[-1] for kind, latencies in known.items()},
            is_asked=self._is_asked,
            trouble=self._trouble,
            trouble_age_s=0.0 if self._trouble is None else self._clock.monotonic_s() - self._trouble_since_s,
        )

    async def _measured(self, kind: str, call: Callable[[], Awaitable[T]], count: int = 1) -> T:
        self._requests[kind] += count
        begun_s = self._clock.monotonic_s()
        try:
            result = await call()
        except StoreError as error:
            self._errors[type(error).__name__] += 1
            self._is_asked = True
            if isinstance(error, ObjectMissing | ObjectExists | RangeBeyondEnd):
                self._trouble = None
            else:
                if self._trouble is None:
                    self._trouble_since_s = begun_s
                self._trouble = error
            raise
        self._is_asked, self._trouble = True, None
        self._latencies.setdefault(kind, deque(maxlen=LATENCIES)).append(self._clock.monotonic_s() - begun_s)
        return result

    def _moved(self, up: int, down: int) -> None:
        self._up_bytes += up
        self._down_bytes += down
        self._forget()
        self._recent.append((self._clock.monotonic_s(), up, down))

    def _forget(self) -> None:
        while self._recent and self._recent[0][0] <= self._clock.monotonic_s() - RATE_S:
            self._recent.popleft()
