"""How an S3 store says that it cannot be used: whose fault it is decides what the owner reads."""

import datetime
import ipaddress
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import botocore.exceptions as theirs
import botocore.session
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kit.s3_servers import BUCKET, S3Server, free_port

from cloud_tier.errors import ConnectionStale, StoreDenied, StoreError, StoreMisconfigured, StoreUnavailable
from cloud_tier.object_store import Page
from cloud_tier.s3_client import check_endpoint, transport_error, trusted
from cloud_tier.s3_store import is_keyed, open_s3_store


async def failure(bucket: str, endpoint: str) -> StoreError:
    store = await open_s3_store(bucket, endpoint=endpoint, connect_timeout_s=2.0, read_timeout_s=2.0)
    with pytest.raises(StoreError) as caught:
        await store.list_page("")
    await store.aclose()
    return caught.value


async def test_wrong_secret_is_refused_by_the_store(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    error = await failure(BUCKET, rclone_server.endpoint)
    assert type(error) is StoreDenied
    assert "secret key is wrong" in str(error)


async def test_bucket_that_is_not_there_is_a_wrong_address(moto_server: S3Server) -> None:
    error = await failure("nobody-s-bucket", moto_server.endpoint)
    assert type(error) is StoreMisconfigured
    assert "no such bucket" in str(error)


@pytest.mark.usefixtures("moto_server")  # its credentials
async def test_server_that_is_not_there_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(await failure(BUCKET, f"http://127.0.0.1:{free_port()}")) is StoreUnavailable

    def no_such_host(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    assert type(await failure(BUCKET, "https://store.example.org")) is StoreUnavailable


async def test_without_credentials_nothing_is_asked(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreDenied, match="no credentials"):
        await open_s3_store(BUCKET, endpoint=moto_server.endpoint)


@pytest.mark.usefixtures("moto_server")
async def test_profile_that_nobody_wrote_down_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreMisconfigured, match="nobody"):
        await open_s3_store(BUCKET, endpoint="http://127.0.0.1:9")


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[str]:
    """A server with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "impostor")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "impostor.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("moto_server")
@pytest.mark.parametrize("bundle", [None, ""])
async def test_certificate_that_nobody_vouches_for_is_refused_whatever_the_environment_says(
    impostor: str, bundle: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        if bundle is not None:
            monkeypatch.setenv(name, bundle)
    error = await failure(BUCKET, impostor)
    assert type(error) is StoreMisconfigured
    assert "certificate" in str(error)


def test_an_empty_variable_does_not_switch_verification_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    assert trusted(botocore.session.Session()) is True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/office.pem")
    assert trusted(botocore.session.Session()) == "/etc/office.pem"


@pytest.mark.parametrize(
    ("endpoint", "insecure"),
    [
        (None, False),
        ("https://s3.example.org", False),
        ("http://127.0.0.1:9000", False),
        ("http://localhost:9000", False),
        ("http://[::1]:9000", False),
        ("http://10.0.0.2:9000", True),
    ],
)
def test_endpoint_that_nobody_can_listen_to_is_fine(endpoint: str | None, insecure: bool) -> None:
    check_endpoint(endpoint, insecure)


@pytest.mark.parametrize(
    "endpoint",
    ["http://10.0.0.2:9000", "http://localhost.example.org", "http://127.0.0.1.nip.io", "s3.example.org", "ftp://x"],
)
def test_endpoint_that_anybody_can_listen_to_is_refused(endpoint: str) -> None:
    with pytest.raises(StoreMisconfigured):
        check_endpoint(endpoint, False)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (theirs.ConnectionClosedError(endpoint_url="x"), ConnectionStale),
        (theirs.ReadTimeoutError(endpoint_url="x"), StoreUnavailable),
        (theirs.ConnectTimeoutError(endpoint_url="x"), StoreUnavailable),
        (theirs.EndpointConnectionError(endpoint_url="x"), StoreUnavailable),
        (theirs.ProxyConnectionError(proxy_url="x"), StoreUnavailable),
        (theirs.ResponseStreamingError(error="x"), StoreUnavailable),
        (theirs.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable),
        (theirs.SSLError(endpoint_url="x", error="EOF occurred"), StoreUnavailable),
        (theirs.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED"), StoreMisconfigured),
        (theirs.HTTPClientError(error="x"), StoreUnavailable),
        (theirs.NoCredentialsError(), StoreDenied),
        (theirs.CredentialRetrievalError(provider="x", error_msg="x"), StoreDenied),
        (theirs.InvalidDNSNameError(bucket_name="x"), StoreMisconfigured),
        (ValueError("Invalid endpoint"), StoreMisconfigured),
    ],
    ids=lambda case: getattr(case, "__name__", type(case).__name__),
)
def test_what_it_means_to_get_no_answer(error: Exception, kind: type[StoreError]) -> None:
    assert type(transport_error(error, "office")) is kind


def test_every_error_of_the_library_means_something() -> None:
    for each in vars(theirs).values():
        if isinstance(each, type) and issubclass(each, theirs.BotoCoreError):
            error = cast(Any, each).__new__(each)
            assert isinstance(transport_error(error, "office"), StoreError)


def test_only_keys_of_the_owner_make_an_etag_no_md5() -> None:
    assert is_keyed({"ServerSideEncryption": "aws:kms"})
    assert is_keyed({"ServerSideEncryption": "aws:kms:dsse"})
    assert is_keyed({"SSECustomerAlgorithm": "AES256"})
    assert not is_keyed({"ServerSideEncryption": "AES256"})
    assert not is_keyed({})


async def test_what_others_keep_in_the_bucket_is_not_listed(moto_server: S3Server) -> None:
    for name in ("Thumbs.db", "foreign/A", "foreign/Z.tmp", "foreign/a"):
        put = urllib.request.Request(f"{moto_server.endpoint}/{BUCKET}/{name}", method="PUT", data=b"x")
        urllib.request.urlopen(put, timeout=10).close()
    store = await open_s3_store(BUCKET, "foreign", endpoint=moto_server.endpoint, page_objects=1)
    assert [info.name for info in (await store.list_page("")).objects] == ["a"]
    await store.delete(["a"])
    assert await store.list_page("") == Page([], True)
    await store.aclose()


async def test_plain_http_to_another_machine_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(StoreMisconfigured, match="insecure=1"):
        await open_s3_store(BUCKET, endpoint="http://10.0.0.2")
