"""How we connect to an S3 server: whose certificates count, how long we wait, and what it means to get no answer.

The client is boto3's. Its transfers and resource objects are not used, and it retries nothing here: that is the work
of `cloud_tier.retrying`, which knows the deadlines. botocore, which boto3 is made of, is named where boto3 has no name
of its own: the client's configuration, the settings of ~/.aws, and the errors. So is urllib3, which is below it: where
botocore reads the body of a refused GET, nothing translates its errors.

Promises that certificates are always verified, whatever the environment says, and that plain http goes to this machine
only, unless `insecure` says otherwise. This module and `cloud_tier.s3_store` are the only ones that import the two.
"""

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

import boto3.session
import botocore.config
import botocore.exceptions as botocore_errors
import botocore.session
import urllib3.exceptions as urllib3_errors

from cloud_tier.errors import ConnectionStale, StoreDenied, StoreError, StoreMisconfigured, StoreUnavailable

CONNECTIONS = 16
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0

NO_ANSWER = (botocore_errors.BotoCoreError, ValueError, urllib3_errors.HTTPError)
# What they are when there is no answer to look at; the first that fits counts.
_TRANSPORT: tuple[tuple[type[Exception], type[StoreError]], ...] = (
    (botocore_errors.ConnectionClosedError, ConnectionStale),
    (botocore_errors.InvalidProxiesConfigError, StoreMisconfigured),
    (botocore_errors.NoCredentialsError, StoreDenied),
    (botocore_errors.PartialCredentialsError, StoreDenied),
    (botocore_errors.CredentialRetrievalError, StoreDenied),
    (botocore_errors.TokenRetrievalError, StoreDenied),
    (botocore_errors.SSOError, StoreDenied),
    (botocore_errors.MetadataRetrievalError, StoreUnavailable),
    (botocore_errors.ConnectionError, StoreUnavailable),  # refused, no such host, not reached in time, proxy
    (botocore_errors.HTTPClientError, StoreUnavailable),  # no answer in time, ended in the middle of one
    (botocore_errors.IncompleteReadError, StoreUnavailable),
    (botocore_errors.FlexibleChecksumError, StoreUnavailable),
    (botocore_errors.ChecksumError, StoreUnavailable),
    (botocore_errors.BotoCoreError, StoreMisconfigured),
    (ValueError, StoreMisconfigured),  # an endpoint that is no address
    (urllib3_errors.HTTPError, StoreUnavailable),  # a refusal that ended in the middle
)


def connect(
    *,
    endpoint: str | None,
    region: str | None,
    insecure: bool,
    connections: int = CONNECTIONS,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    read_timeout_s: float = READ_TIMEOUT_S,
) -> Any:
    """A client of boto3's; no request is made yet. Without an endpoint it is Amazon's.

    Credentials are found as the AWS tools find them (environment, ~/.aws, instance). A piece of a body must be sent
    within `connect_timeout_s`, each part of an answer come within `read_timeout_s`. Raises StoreMisconfigured and
    StoreDenied.
    """
    check_endpoint(endpoint, insecure)
    config = botocore.config.Config(
        max_pool_connections=connections,
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",  # rclone answers a range with the whole object's CRC32
        # Content-MD5 is signed, so a second digest of every body would bring nothing.
        s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": False},
    )
    settings = botocore.session.Session()
    try:
        session = boto3.session.Session(botocore_session=settings)  # reads ~/.aws, so it may refuse
        if session.get_credentials() is None:
            raise StoreDenied("no credentials were found (AWS_ACCESS_KEY_ID or ~/.aws/credentials)")
        return session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region or session.region_name or "us-east-1",
            verify=trusted(settings),
            config=config,
        )
    except (botocore_errors.BotoCoreError, ValueError) as error:
        raise transport_error(error, endpoint or "Amazon S3") from error


def trusted(settings: Any) -> str | bool:
    """The certificates that count: those that the environment or ~/.aws names, else the usual ones; never none.

    botocore by itself takes an empty REQUESTS_CA_BUNDLE for "do not verify".
    """
    return settings.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True


def transport_error(error: Exception, name: str) -> StoreError:
    """What it means that there was no answer, or none that could be read."""
    if isinstance(error, botocore_errors.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreMisconfigured(f"{name}: the server's certificate is not one we trust: {error}")
    kind = next(ours for theirs, ours in _TRANSPORT if isinstance(error, theirs))
    return kind(f"{name}: {error}")


def check_endpoint(endpoint: str | None, insecure: bool) -> None:
    """Raises StoreMisconfigured unless requests to `endpoint` are encrypted, stay here, or may be read by anybody."""
    if endpoint is None:
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreMisconfigured(f"{endpoint} is not the address of a server (https://HOST)")
    if parts.scheme == "http" and not insecure and not _is_loopback(parts.hostname):
        raise StoreMisconfigured(f"{endpoint} is not encrypted; use https, or add insecure=1 to the store's address")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
