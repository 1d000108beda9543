"""An HTTP proxy in front of a real S3 server that breaks things by plan, and counts what passes.

It knows nothing of S3 but its verbs, so what it breaks is broken for any client as networks and servers break it:
connections reset, bodies cut off, bits turned over, answers lost after the work was done. `plan` lets the nth request
of a kind meet a fault; `scatter` does so by chance from a seed; `assert_all_hit` sees that no test proves nothing.
`latency_s` and `bytes_per_s` hold for every request; the benchmarks use them, and `count`.

Kinds of requests: PUT, GET, LIST (a GET of the bucket), HEAD, DELETE, POST, ANY.

Threads, not trio: it works beside the loop that it tests, and beside a benchmark as a process of its own:

    python tests/kit/s3_proxy.py http://127.0.0.1:9000 --latency-ms 40
"""

import argparse
import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ANY = "ANY"
HANG_S = 30.0
PIECE_BYTES = 64 << 10
EMPTY_LIST = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
)


class Break(Enum):
    """What may happen to a request."""

    DELAY = "it is answered, later"
    RESET = "the connection is reset before anything was done"
    DROP_UPLOAD = "the connection is reset in the middle of the request's body, and nothing was done"
    ERROR_500 = "500 InternalError, and nothing was done"
    SLOW_DOWN = "503 SlowDown with Retry-After, and nothing was done"
    HANG = "nothing is done, and there is no answer"
    DROP_ANSWER = "the connection is reset in the middle of the answer's body"
    TRUNCATE = "the answer ends too early, in good order"
    CORRUPT_ANSWER = "one bit of the answer's body is turned over"
    CORRUPT_UPLOAD = "one bit of the request's body is turned over"
    STORED_500 = "it is done, and 500 is the answer"
    LOST_ACK = "it is done, and the connection is reset instead of an answer"
    STALE = "404 NoSuchKey, as from a replica that is behind"
    EMPTY = "an empty listing, as from a replica that is behind"
    TWICE = "it is done two times"


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


class S3Proxy:
    """A proxy that listens at `endpoint` and passes on to `upstream`; made by `s3_proxy`."""

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self._upstream = urlsplit(upstream)
        self._lock = threading.Lock()
        self._chance = random.Random(seed)
        self._by_chance: tuple[float, tuple[Break, ...]] = (0.0, ())
        self._plans: list[Planned] = []
        self.count = Traffic()
        self.latency_s = 0.0
        """How long every answer takes longer."""
        self.bytes_per_s: float | None = None
        """How fast the bodies of one connection move, either way."""
        self.delay_s = 0.1
        self.retry_after_s = 1
        self.healed = threading.Event()
        """Set when requests that hang are to be given up."""
        self.endpoint = ""

    def plan(self, kind: str, what: Break, nth: int = 1, times: int = 1) -> None:
        """Plan a fault: the `nth` request of `kind` from now on (the first is 1)."""
        with self._lock:
            self._plans.append(Planned(kind, what, self.count.requests[kind] + nth, times))

    def scatter(self, probability: float, *whats: Break) -> None:
        """From now on each request meets one of these with this probability, where it can happen to it."""
        self._by_chance = (probability, whats)

    def assert_all_hit(self) -> None:
        """Every planned fault came true."""
        missed = [planned for planned in self._plans if not planned.hits]
        assert not missed, f"planned and never hit: {missed}"

    def due(self, kind: str) -> Break | None:
        """Count a request of this kind; what it is to meet."""
        with self._lock:
            self.count.requests.update((kind, ANY))
            for planned in self._plans:
                is_left = planned.hits < planned.times and planned.kind in (kind, ANY)
                if is_left and self.count.requests[planned.kind] >= planned.nth:
                    planned.hits += 1
                    return planned.what
            probability, whats = self._by_chance
            if self._chance.random() < probability:
                what = self._chance.choice(whats)
                return what if what not in (Break.STALE, Break.EMPTY) or kind in ("GET", "LIST") else None
        return None

    def passed(self, kind: str, up: int, down: int) -> None:
        """Count the bytes of bodies."""
        with self._lock:
            self.count.bytes_up[kind] += up
            self.count.bytes_down[kind] += down

    def forget(self) -> None:
        """Begin anew: no plans, no chance, nothing counted."""
        with self._lock:
            self._plans.clear()
            self._by_chance = (0.0, ())
            self.count = Traffic()

    def turned(self, body: bytes) -> bytes:
        """The body with one bit turned over."""
        turned = bytearray(body)
        with self._lock:
            turned[self._chance.randrange(len(turned))] ^= 1 << self._chance.randrange(8)
        return bytes(turned)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def setup(self) -> None:
        super().setup()
        self._to_upstream = self.server.proxy.connect()

    def finish(self) -> None:
        self._to_upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _pass_on(self) -> None:
        proxy = self.server.proxy
        kind = self._kind()
        what = proxy.due(kind)
        length = int(self.headers.get("Content-Length", 0))
        if what is Break.RESET:
            return self._reset()
        if what is Break.DROP_UPLOAD:
            self.rfile.read(length // 2)
            return self._reset()
        body = self._read(length)
        proxy.passed(kind, length, 0)
        time.sleep(proxy.latency_s + (proxy.delay_s if what is Break.DELAY else 0))
        if what is Break.HANG:
            proxy.healed.wait(HANG_S)
            return self._reset()
        if what is Break.ERROR_500:
            return self._refuse(500, "InternalError")
        if what is Break.SLOW_DOWN:
            return self._refuse(503, "SlowDown", {"Retry-After": str(proxy.retry_after_s)})
        if what is Break.STALE:
            return self._refuse(404, "NoSuchKey")
        if what is Break.EMPTY:
            return self._answer(200, {"Content-Type": "application/xml"}, EMPTY_LIST)
        if what is Break.CORRUPT_UPLOAD and body:
            body = proxy.turned(body)
        status, headers, answer = self._ask(body)
        if what is Break.TWICE:
            status, headers, answer = self._ask(body)
        proxy.passed(kind, 0, len(answer))
        if what is Break.LOST_ACK:
            return self._reset()
        if what is Break.STORED_500:
            return self._refuse(500, "InternalError")
        if what is Break.CORRUPT_ANSWER and answer:
            answer = proxy.turned(answer)
        self._answer(status, headers, answer, what)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on

    def _kind(self) -> str:
        path = urlsplit(self.path).path.strip("/")
        return "LIST" if self.command == "GET" and "/" not in path else self.command

    def _read(self, length: int) -> bytes:
        parts = []
        while length > 0:
            parts.append(self.rfile.read(min(PIECE_BYTES, length)))
            if not parts[-1]:
                raise ConnectionResetError
            length -= len(parts[-1])
            self._take_time(len(parts[-1]))
        return b"".join(parts)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = self._to_upstream
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        found = answer.read()
        unwanted = ("transfer-encoding", "connection")
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in unwanted}
        return answer.status, headers, found

    def _answer(self, status: int, headers: dict[str, str], body: bytes, what: Break | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        is_cut = what in (Break.DROP_ANSWER, Break.TRUNCATE)
        for at in range(0, len(body) // 2 if is_cut else len(body), PIECE_BYTES):
            piece = body[at : min(at + PIECE_BYTES, len(body) // 2) if is_cut else at + PIECE_BYTES]
            self.wfile.write(piece)
            self._take_time(len(piece))
        if what is Break.DROP_ANSWER:
            self._reset()
        self.close_connection = self.close_connection or is_cut

    def _take_time(self, size_bytes: int) -> None:
        if self.server.proxy.bytes_per_s:
            time.sleep(size_bytes / self.server.proxy.bytes_per_s)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = f"<Error><Code>{code}</Code><Message>planned</Message></Error>".encode()
        self._answer(status, {"Content-Type": "application/xml", **(headers or {})}, body)

    def _reset(self) -> None:
        # Closed with a lingering time of zero, a socket sends RST and throws away what it holds.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: S3Proxy, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.proxy = proxy
        proxy.endpoint = f"http://127.0.0.1:{self.server_address[1]}"

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the polite end that would come before a reset

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


@contextlib.contextmanager
def s3_proxy(upstream: str, seed: int = 0, port: int = 0) -> Iterator[S3Proxy]:
    """A proxy before the server at the address `upstream`, for as long as the block lasts."""
    proxy = S3Proxy(upstream, seed)
    server = _Server(proxy, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.healed.set()
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="An S3 server, but slow. Ends at end of input, and prints its counts.")
    parser.add_argument("upstream")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--mib-per-s", type=float)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with s3_proxy(options.upstream, port=options.port) as proxy:
        proxy.latency_s = options.latency_ms / 1000
        proxy.bytes_per_s = options.mib_per_s and options.mib_per_s * 2**20
        print(proxy.endpoint, flush=True)
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            while True:
                input()
                print(proxy.count, flush=True)


if __name__ == "__main__":
    main()
