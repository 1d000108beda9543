"""An HTTP proxy in front of a real S3 server that breaks things by plan, and counts what passes.

It knows nothing of S3 but its verbs, so what it breaks is broken for any client as networks and servers break it:
connections reset, bodies cut off, bits turned over, answers lost after the work was done. `plan` lets the nth request
of a kind meet a fault; `scatter` does so by a seeded plan (`kit.breaks`), until `heal`. `hits` says what was met by
whom, and `assert_all_hit` sees that no test proves nothing. `latency_s`, `bytes_per_s` and `line_bytes_per_s` hold
for every request; the benchmarks use them, and `count`.

Kinds of requests: PUT, GET, LIST (a GET of the bucket), HEAD, DELETE, POST, ANY.

Threads, not trio: it works beside the loop that it tests. `kit.fault_line` runs it as a process of its own.
"""

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from kit.breaks import ANY, MAY_MEET, Break, fates
from kit.fault_handler import FaultServer


class Hit(NamedTuple):
    """A request that met something."""

    kind: str
    what: Break
    path: str


@dataclass
class Planned:
    """Requests of `kind` from the `nth` on meet this; `times` of them."""

    kind: str
    what: Break
    nth: int
    times: int
    hits: int = 0


@dataclass
class Traffic:
    """What came through, by verb as above."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes_up: Counter[str] = field(default_factory=Counter)
    bytes_down: Counter[str] = field(default_factory=Counter)


class FaultProxy:
    """A proxy that listens at `endpoint` and passes on to `upstream`; made by `fault_proxy`."""

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self._upstream = urlsplit(upstream)
        self._lock = threading.Lock()
        self._seed = seed
        self._chance = random.Random(seed)
        self._fates: dict[str, Iterator[Break | None]] = {}
        self._scattered: frozenset[Break] = frozenset()
        self._plans: list[Planned] = []
        self._resting: set[socket.socket] = set()
        self.hits: list[Hit] = []
        self.count = Traffic()
        self.latency_s = 0.0
        """How long every answer takes longer."""
        self.bytes_per_s: float | None = None
        """How fast the bodies of one connection move, either way."""
        self.line_bytes_per_s: float | None = None
        """How fast the bodies of all connections together move."""
        self._line_free_s = 0.0
        self.delay_s = 0.1
        self.crawl_bytes_per_s = 1 << 20
        self.retry_after_s = 1
        self.hang_s = 30.0
        """How long a request hangs until its connection is reset, if nobody gives up before."""
        self.healed = threading.Event()
        """Set when requests that hang now are to be given up."""
        self.endpoint = ""

    def move(self, size_bytes: int) -> None:
        """Take the time that so much of a body takes on the line that all connections share."""
        if not self.line_bytes_per_s:
            return
        with self._lock:  # only to book: whoever asks first goes first, so that each connection gets its share
            now = time.monotonic()
            self._line_free_s = max(now, self._line_free_s) + size_bytes / self.line_bytes_per_s
            ends_s = self._line_free_s
        time.sleep(ends_s - now)

    def plan(self, kind: str, what: Break, nth: int = 1, times: int = 1) -> None:
        """Plan a fault: the `nth` request of `kind` from now on (the first is 1)."""
        assert kind == ANY or what in MAY_MEET[kind], f"{what} cannot happen to {kind}"
        with self._lock:
            self._plans.append(Planned(kind, what, self.count.requests[kind] + nth, times))

    def scatter(self, rate: float, whats: Collection[Break]) -> None:
        """From now on requests meet these as `kit.breaks.fates` says for the seed, each kind from its first on."""
        with self._lock:
            self._scattered = frozenset(whats)
            self._fates = {kind: fates(self._seed, rate, kind, self._scattered) for kind in MAY_MEET}

    def heal(self) -> None:
        """From now on nothing happens that was scattered; what hangs is given up."""
        with self._lock:
            self._fates = {}
            healed, self.healed = self.healed, threading.Event()
        healed.set()

    def assert_all_hit(self) -> None:
        """Every planned fault came true."""
        missed = [planned for planned in self._plans if not planned.hits]
        assert not missed, f"planned and never hit: {missed}"

    def missed(self, kind: str) -> set[Break]:
        """Which of the scattered faults no request of this kind has met yet."""
        met = {hit.what for hit in self.hits if hit.kind == kind}
        return {what for what in MAY_MEET[kind] if what in self._scattered} - met

    def due(self, kind: str, path: str) -> Break | None:
        """Count a request of this kind; what it is to meet."""
        with self._lock:
            self.count.requests.update((kind, ANY))
            what = self._planned(kind) or next(self._fates.get(kind, iter([])), None)
            if what is not None:
                self.hits.append(Hit(kind, what, path))
            return what

    def _planned(self, kind: str) -> Break | None:
        for planned in self._plans:
            is_left = planned.hits < planned.times and planned.kind in (kind, ANY)
            if is_left and self.count.requests[planned.kind] >= planned.nth:
                planned.hits += 1
                return planned.what
        return None

    def passed(self, kind: str, up: int, down: int) -> None:
        """Count the bytes of bodies."""
        with self._lock:
            self.count.bytes_up[kind] += up
            self.count.bytes_down[kind] += down

    def forget(self) -> None:
        """Begin anew: no plans, nothing scattered, nothing counted."""
        self.heal()
        with self._lock:
            self._plans.clear()
            self._scattered = frozenset()
            self.hits.clear()
            self.count = Traffic()

    def turned(self, body: bytes) -> bytes:
        """The body with one bit turned over."""
        turned = bytearray(body)
        with self._lock:
            turned[self._chance.randrange(len(turned))] ^= 1 << self._chance.randrange(8)
        return bytes(turned)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)

    # --- kept connections ---

    def rests(self, connection: socket.socket) -> None:
        """The connection waits for a request."""
        with self._lock:
            self._resting.add(connection)

    def works(self, connection: socket.socket) -> None:
        """A request came, or the connection has ended."""
        with self._lock:
            self._resting.discard(connection)

    def end_idle(self) -> int:
        """Close all connections on which no request is, as servers do to those that were idle for too long."""
        with self._lock:
            idle, self._resting = self._resting, set()
        for connection in idle:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return len(idle)


@contextlib.contextmanager
def fault_proxy(upstream: str, seed: int = 0, port: int = 0) -> Iterator[FaultProxy]:
    """A proxy before the server at the address `upstream`, for as long as the block lasts."""
    proxy = FaultProxy(upstream, seed)
    server = FaultServer(proxy, port)
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.healed.set()
        server.shutdown()
        server.server_close()
        thread.join()
