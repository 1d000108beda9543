"""How the proxy breaks a request, on the wire: one connection of a client, and one of its own to the server.

Which request meets what, and what is counted, is the business of `kit.fault_proxy`.
"""

import contextlib
import hashlib
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kit.breaks import Break

if TYPE_CHECKING:
    from kit.fault_proxy import FaultProxy

PIECE_BYTES = 64 << 10
EMPTY_LIST = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
)


class FaultHandler(BaseHTTPRequestHandler):
    """One connection: its requests pass through to the server, or meet what `FaultProxy.due` says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "FaultServer"
    _bytes_per_s: float | None = None

    def setup(self) -> None:
        super().setup()
        self._to_upstream = self.server.proxy.connect()

    def handle_one_request(self) -> None:
        self.server.proxy.rests(self.connection)
        super().handle_one_request()

    def parse_request(self) -> bool:
        self.server.proxy.works(self.connection)
        return super().parse_request()

    def finish(self) -> None:
        self.server.proxy.works(self.connection)
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
        what = proxy.due(kind, self.path)
        self._bytes_per_s = proxy.crawl_bytes_per_s if what is Break.CRAWL else proxy.bytes_per_s
        healed = proxy.healed
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
            healed.wait(proxy.hang_s)
            return self._reset()
        if what is Break.ERROR_500:
            return self._refuse(500, "InternalError")
        if what is Break.SLOW_DOWN:
            return self._refuse(503, "SlowDown", {"Retry-After": str(proxy.retry_after_s)})
        if what is Break.STALE:
            return self._refuse(404, "NoSuchKey")
        if what is Break.EMPTY:
            return self._answer(200, {"Content-Type": "application/xml"}, EMPTY_LIST)
        if what is Break.LOST_PUT:
            return self._answer(200, {"ETag": _etag(body)}, b"")
        if what in (Break.CORRUPT_UPLOAD, Break.ROTTEN_PUT) and body:
            status, headers, answer = self._ask(proxy.turned(body))
        else:
            status, headers, answer = self._ask(body)
        if what is Break.ROTTEN_PUT and status == 200:
            headers = {name: value for name, value in headers.items() if name.lower() != "etag"}
            headers["ETag"] = _etag(body)
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
            self._take_time(len(piece))
            self.wfile.write(piece)
        if what is Break.DROP_ANSWER:
            self._reset()
        self.close_connection = self.close_connection or is_cut

    def _take_time(self, size_bytes: int) -> None:
        if self._bytes_per_s:
            time.sleep(size_bytes / self._bytes_per_s)
        self.server.proxy.move(size_bytes)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = f"<Error><Code>{code}</Code><Message>planned</Message></Error>".encode()
        self._answer(status, {"Content-Type": "application/xml", **(headers or {})}, body)

    def _reset(self) -> None:
        # Closed with a lingering time of zero, a socket sends RST and throws away what it holds.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


class FaultServer(ThreadingHTTPServer):
    """Listens on this machine, a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: "FaultProxy", port: int) -> None:
        super().__init__(("127.0.0.1", port), FaultHandler)
        self.proxy = proxy

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the polite end that would come before a reset

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
