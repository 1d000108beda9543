"""The kit that breaks stores does what it says: each fault as a plain HTTP client sees it, and what it leaves."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import md5
from itertools import islice
from urllib.parse import urlsplit

import pytest
from kit.breaks import AT_REST, MAY_MEET, PASSING, Break, fates
from kit.fault_line import fault_line
from kit.fault_proxy import FaultProxy, Hit, fault_proxy
from kit.s3_servers import BUCKET, S3Server

BODY = bytes(range(256)) * 1000
NEW = BODY[::-1]
PATH = f"/{BUCKET}/kit/object"
SOMEBODY = {  # moto does not look at signatures, but nobody in particular may not read
    "Authorization": "AWS4-HMAC-SHA256 Credential=office/20260101/x/s3/aws4_request,SignedHeaders=host,Signature=0"
}
LIST = f"/{BUCKET}?list-type=2&prefix=kit/"


class Client:
    """Somebody who asks once, on a connection that he keeps, and believes what he is told."""

    def __init__(self, endpoint: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)

    def ask(
        self, verb: str, path: str = PATH, body: bytes | None = None, *, only_if_new: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            self._connection.request(verb, path, body, SOMEBODY | ({"If-None-Match": "*"} if only_if_new else {}))
            answer = self._connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def wait_at_most(self, seconds: float) -> None:
        self._connection.close()
        self._connection.timeout = seconds


@pytest.fixture(scope="module")
def kept_proxy(moto_server: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy(moto_server.endpoint, seed=7) as proxy:
        proxy.delay_s, proxy.crawl_bytes_per_s = 0.05, 4 << 20
        yield proxy


@pytest.fixture
def proxy(kept_proxy: FaultProxy) -> Iterator[FaultProxy]:
    kept_proxy.forget()
    yield kept_proxy
    kept_proxy.assert_all_hit()
    kept_proxy.forget()


@pytest.fixture
def server(moto_server: S3Server) -> Iterator[Client]:
    """The server itself, holding the object with `BODY`."""
    with closing(Client(moto_server.endpoint)) as client:
        assert client.ask("PUT", body=BODY)[0] == 200
        yield client


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[Client]:
    with closing(Client(proxy.endpoint)) as client:
        yield client


def bits_that_differ(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("what", [Break.RESET, Break.DROP_UPLOAD])
def test_a_request_that_is_cut_off_does_nothing(proxy: FaultProxy, server: Client, client: Client, what: Break) -> None:
    proxy.plan("PUT", what)
    with pytest.raises(OSError):  # noqa: PT011  (a reset, or a pipe that broke)
        client.ask("PUT", body=NEW)
    assert server.ask("GET")[2] == BODY
    assert client.ask("PUT", body=NEW)[0] == 200, "the next one passes"


@pytest.mark.parametrize(("what", "status"), [(Break.ERROR_500, 500), (Break.SLOW_DOWN, 503)])
def test_a_request_that_is_refused_does_nothing(
    proxy: FaultProxy, server: Client, client: Client, what: Break, status: int
) -> None:
    proxy.plan("PUT", what)
    found, headers, _ = client.ask("PUT", body=NEW)
    assert (found, headers.get("retry-after")) == (status, "1" if what is Break.SLOW_DOWN else None)
    assert server.ask("GET")[2] == BODY


def test_a_request_that_hangs_does_nothing_until_somebody_gives_it_up(
    proxy: FaultProxy, server: Client, client: Client
) -> None:
    proxy.plan("PUT", Break.HANG)
    client.wait_at_most(0.2)
    with pytest.raises(TimeoutError):
        client.ask("PUT", body=NEW)
    assert server.ask("GET")[2] == BODY


def test_what_was_done_in_secret_is_done(proxy: FaultProxy, server: Client, client: Client) -> None:
    proxy.plan("PUT", Break.STORED_500)
    assert client.ask("PUT", body=NEW)[0] == 500
    assert server.ask("GET")[2] == NEW
    proxy.plan("PUT", Break.LOST_ACK)
    with pytest.raises(OSError):  # noqa: PT011
        client.ask("PUT", body=BODY)
    assert server.ask("GET")[2] == BODY


def test_what_is_delivered_twice_is_done_twice(proxy: FaultProxy, server: Client, client: Client) -> None:
    proxy.plan("PUT", Break.TWICE)
    other = f"{PATH}-new"
    server.ask("DELETE", other)
    assert client.ask("PUT", other, NEW, only_if_new=True)[0] == 412, "the second one found the first"
    assert server.ask("GET", other)[2] == NEW
    assert proxy.hits == [Hit("PUT", Break.TWICE, other)]


@pytest.mark.parametrize(("what", "least_s"), [(Break.DELAY, 0.05), (Break.CRAWL, len(BODY) / (4 << 20))])
def test_what_is_slow_arrives(proxy: FaultProxy, server: Client, client: Client, what: Break, least_s: float) -> None:
    proxy.plan("GET", what)
    begun = time.monotonic()
    assert client.ask("GET")[2] == BODY
    assert time.monotonic() - begun >= least_s


@pytest.mark.parametrize("what", [Break.DROP_ANSWER, Break.TRUNCATE])
def test_an_answer_that_ends_early_is_half_of_it(
    proxy: FaultProxy, server: Client, client: Client, what: Break
) -> None:
    proxy.plan("GET", what)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as caught:
        client.ask("GET")
    assert what is not Break.TRUNCATE or isinstance(caught.value, http.client.IncompleteRead)


def test_a_corrupted_answer_differs_in_one_bit(proxy: FaultProxy, server: Client, client: Client) -> None:
    proxy.plan("GET", Break.CORRUPT_ANSWER)
    assert bits_that_differ(client.ask("GET")[2], BODY) == 1
    assert client.ask("GET")[2] == BODY


@pytest.mark.parametrize("what", [Break.CORRUPT_UPLOAD, Break.ROTTEN_PUT])
def test_a_corrupted_upload_is_stored_and_only_the_honest_one_tells(
    proxy: FaultProxy, server: Client, client: Client, what: Break
) -> None:
    proxy.plan("PUT", what)
    status, headers, _ = client.ask("PUT", body=NEW)
    stored = server.ask("GET")[2]
    assert (status, bits_that_differ(stored, NEW)) == (200, 1)
    told = stored if what is Break.CORRUPT_UPLOAD else NEW
    assert headers["etag"] == f'"{md5(told, usedforsecurity=False).hexdigest()}"'


def test_a_lost_put_is_acknowledged_and_nowhere(proxy: FaultProxy, server: Client, client: Client) -> None:
    proxy.plan("PUT", Break.LOST_PUT)
    status, headers, _ = client.ask("PUT", body=NEW)
    assert (status, headers["etag"]) == (200, f'"{md5(NEW, usedforsecurity=False).hexdigest()}"')
    assert server.ask("GET")[2] == BODY


def test_a_replica_that_is_behind_knows_nothing_yet(proxy: FaultProxy, server: Client, client: Client) -> None:
    proxy.plan("GET", Break.STALE)
    assert client.ask("GET")[0] == 404
    assert client.ask("GET")[0] == 200
    proxy.plan("LIST", Break.EMPTY)
    assert b"kit/object" not in client.ask("GET", LIST)[2]
    assert b"kit/object" in client.ask("GET", LIST)[2]


def test_connections_that_lie_idle_are_ended_and_others_are_not(
    proxy: FaultProxy, server: Client, client: Client
) -> None:
    assert client.ask("GET")[0] == 200
    assert proxy.end_idle() >= 1
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        client.ask("GET")
    assert client.ask("GET")[0] == 200


def test_after_healing_nothing_happens_any_more(proxy: FaultProxy, server: Client, client: Client) -> None:
    proxy.scatter(1.0, [Break.ERROR_500])
    assert client.ask("GET")[0] == 500
    assert proxy.missed("GET") == set()
    proxy.heal()
    assert client.ask("GET")[0] == 200


def test_a_plan_is_a_function_of_its_seed_and_meets_everything() -> None:
    def first(seed: int, kind: str, rate: float = 0.1) -> list[Break | None]:
        return list(islice(fates(seed, rate, kind, PASSING), 400))

    for kind, possible in MAY_MEET.items():
        assert first(1, kind) == first(1, kind) != first(2, kind)
        met = [what for what in first(1, kind) if what is not None]
        assert set(met) == set(possible) - AT_REST
        assert 20 <= len(met) <= 60
    assert set(first(1, "GET", 0.0)) == {None}
    assert first(1, "GET") != first(1, "PUT")


def test_a_line_of_its_own_process_obeys_and_reports(server: Client, moto_server: S3Server) -> None:
    with fault_line(moto_server.endpoint, seed=3) as line, closing(Client(line.endpoint)) as client:
        line.scatter(1.0, [Break.ERROR_500, Break.STALE])
        assert sorted(client.ask("GET")[0] for _ in range(2)) == [404, 500]
        assert client.ask("PUT", body=NEW)[0] == 500
        line.heal()
        assert client.ask("GET")[2] == BODY
        report = line.report()
    assert report.hits == {"GET": {"STALE": 1, "ERROR_500": 1}, "PUT": {"ERROR_500": 1}}
    assert (report.missed, report.requests["ANY"], report.total_hits()) == ({}, 4, 3)
