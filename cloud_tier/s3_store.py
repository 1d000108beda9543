"""A store behind the S3 API, at any endpoint: the calls. How it is connected to stands in `cloud_tier.s3_client`.

boto3 blocks, so each call runs in a thread, as many at once as there are connections.

Promises, beyond the contract:
- **Every upload is compared.** Its MD5 travels as Content-MD5, by which an honest server refuses a damaged body, and
  the ETag that comes back must be that MD5: moto and others store a body that does not match, and tell its true MD5.
  Where the server says that it encrypts by SSE-KMS or SSE-C, an ETag is no MD5 and Content-MD5 alone must do, which
  those servers check; where an ETag is no MD5 for another reason, the object is read back.
- **A body leaves in small pieces.** Python's `sendall` must end within the socket's timeout as a whole, so that 16 MiB
  in one piece would fail on a slow line; between pieces a pace is kept and a cancelled call stops.
"""

import base64
import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import botocore.exceptions as botocore_errors
import trio

from cloud_tier.blocking_store import BlockingStore
from cloud_tier.errors import RangeBeyondEnd, StoreMisconfigured, StoreUnavailable, UploadDamaged
from cloud_tier.object_store import (
    PAGE_OBJECTS,
    PIECE_BYTES,
    Buffer,
    ObjectInfo,
    Pace,
    Page,
    is_name,
    wait_in_thread,
)
from cloud_tier.s3_answers import error_for
from cloud_tier.s3_client import CONNECT_TIMEOUT_S, CONNECTIONS, NO_ANSWER, READ_TIMEOUT_S, connect, transport_error


class S3Store(BlockingStore):
    """An `ObjectStore` in a bucket, below `prefix`; made by `open_s3_store`."""

    def __init__(self, client: Any, bucket: str, prefix: str, connections: int, page_objects: int) -> None:
        super().__init__(connections, page_objects)
        self._client = client
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._page_objects = page_objects
        self._of_thread = threading.local()
        client.meta.events.register("before-send.s3.PutObject", self._send_in_pieces)
        client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)

    async def aclose(self) -> None:
        await trio.to_thread.run_sync(self._client.close)

    def _put(self, name: str, body: Buffer, if_absent: bool, pace: Pace | None) -> None:
        data = _unwrapped(body)
        md5 = hashlib.md5(data, usedforsecurity=False)
        options = {"IfNoneMatch": "*"} if if_absent else {}
        self._of_thread.pieces = _Pieces(memoryview(data), pace)
        with self._translated(name):
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=data,
                ContentMD5=base64.b64encode(md5.digest()).decode(),
                **options,
            )
        etag = answer.get("ETag", "").strip('"').lower()
        if re.fullmatch(r"[0-9a-f]{32}", etag) and not is_keyed(answer):
            if etag != md5.hexdigest():
                raise UploadDamaged(f"{name}: sent {md5.hexdigest()}, the store has {etag}")
        elif not is_keyed(answer) and self._get(name, 0, None, None) != data:
            raise UploadDamaged(f"{name}: read back, it is not what was sent")

    def _get(self, name: str, start: int, length: int | None, pace: Pace | None) -> bytes:
        is_part = start > 0 or length is not None
        end = "" if length is None else start + length - 1
        options = {"Range": f"bytes={start}-{end}"} if is_part else {}
        with self._translated(name, start, length):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, **options)
            with contextlib.closing(answer["Body"]) as body:
                if is_part:
                    self._check_part(answer, name, start, length)
                if pace is None:
                    return bytes(body.read())
                parts, left = [], int(answer["ContentLength"])
                while left > 0:
                    wait_in_thread(pace, min(PIECE_BYTES, left))
                    parts.append(body.read(min(PIECE_BYTES, left)))
                    if not parts[-1]:
                        raise StoreUnavailable(f"{name}: the answer ended {left} bytes too early")
                    left -= len(parts[-1])
                return b"".join(parts)

    def _check_part(self, answer: Any, name: str, start: int, length: int | None) -> None:
        part = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange", ""))
        if part is None:
            if answer["ContentLength"] == 0:
                raise RangeBeyondEnd(name, start, length, 0)
            raise StoreMisconfigured(f"{name}: the server ignores ranges")
        first, last, size_bytes = map(int, part.groups())
        wanted_end = size_bytes if length is None else start + length
        if wanted_end > size_bytes:
            raise RangeBeyondEnd(name, start, length, size_bytes)
        if (first, last + 1) != (start, wanted_end) or answer["ContentLength"] != wanted_end - start:
            raise StoreUnavailable(f"{name}: asked for {wanted_end - start} bytes from {start}, got another part")

    def _size(self, name: str) -> int:
        with self._translated(name):
            return int(self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)["ContentLength"])

    def _delete(self, names: Sequence[str]) -> None:
        objects = [{"Key": self._prefix + name} for name in names]
        with self._translated(self._bucket):
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        for refused in answer.get("Errors", ()):
            if refused.get("Code") not in ("NoSuchKey", "NoSuchVersion"):
                status = 500 if refused.get("Code") == "InternalError" else 403
                raise error_for(refused.get("Code", ""), status, refused.get("Message", ""), refused["Key"], {})

    def _list_page(self, prefix: str, after: str) -> Page:
        found: list[ObjectInfo] = []
        is_last = False
        while not found and not is_last:  # a page of things that are not ours says nothing
            options = {"StartAfter": self._prefix + after} if after else {}
            with self._translated(self._bucket):
                answer = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=self._page_objects, **options
                )
            is_last = not answer["IsTruncated"]
            for each in answer.get("Contents", ()):
                after = each["Key"].removeprefix(self._prefix)
                if is_name(after):
                    found.append(ObjectInfo(after, int(each["Size"])))
        return Page(found, is_last)

    def _send_in_pieces(self, request: Any, **_: Any) -> None:
        request.body = self._of_thread.pieces
        # A refusal before the body was sent is not worth a round trip before every body. (It is never signed.)
        request.headers.pop("Expect", None)

    @contextlib.contextmanager
    def _translated(self, name: str, start: int = 0, length: int | None = None) -> Iterator[None]:
        """Whatever the library raises becomes a StoreError about the object (or bucket) `name`."""
        try:
            yield
        except botocore_errors.ClientError as error:
            answer: Any = error.response
            code = str(answer.get("Error", {}).get("Code", ""))
            found = answer.get("ResponseMetadata", {})
            headers = found.get("HTTPHeaders", {})
            if code == "InvalidRange" or found.get("HTTPStatusCode") == 416:
                size = re.fullmatch(r"bytes \*/(\d+)", headers.get("content-range", ""))
                size_bytes = int(size[1]) if size else self._size(name)
                raise RangeBeyondEnd(name, start, length, size_bytes) from None
            message = str(answer.get("Error", {}).get("Message", ""))
            raise error_for(code, int(found.get("HTTPStatusCode", 0)), message, name, headers) from error
        except NO_ANSWER as error:
            raise transport_error(error, name) from error


def _unwrapped(body: Buffer) -> bytes | bytearray:
    """The same bytes as botocore takes them, if possible without a copy of a whole pack."""
    if isinstance(body, memoryview) and isinstance(body.obj, bytes | bytearray) and len(body.obj) == body.nbytes:
        return body.obj
    return body if isinstance(body, bytes | bytearray) else bytes(body)


class _Pieces:
    """A body that is sent piece by piece. urllib3 sends what it iterates over."""

    def __init__(self, data: memoryview, pace: Pace | None) -> None:
        self._data = data
        self._pace = pace

    def __iter__(self) -> Iterator[memoryview]:
        for at in range(0, len(self._data), PIECE_BYTES):
            piece = self._data[at : at + PIECE_BYTES]
            if self._pace is None:
                trio.from_thread.check_cancelled()
            else:
                wait_in_thread(self._pace, len(piece))
            yield piece


def is_keyed(answer: Any) -> bool:
    """Whether the server says that it encrypts with a key of its owner's, so that ETags are no MD5."""
    return bool(answer.get("SSECustomerAlgorithm")) or str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")


def _add_md5(params: Any, **_: Any) -> None:
    # Older servers want it for a multi-delete, and botocore sends a CRC32 instead since 1.36.
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


async def open_s3_store(
    bucket: str,
    prefix: str = "",
    *,
    endpoint: str | None = None,
    region: str | None = None,
    insecure: bool = False,
    connections: int = CONNECTIONS,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    read_timeout_s: float = READ_TIMEOUT_S,
    page_objects: int = PAGE_OBJECTS,
) -> S3Store:
    """A store in this bucket; no request is made yet. Without an endpoint it is Amazon's.

    Raises StoreMisconfigured for plain http to another machine without `insecure`, StoreDenied without credentials.
    """

    def make() -> Any:
        return connect(
            endpoint=endpoint,
            region=region,
            insecure=insecure,
            connections=connections,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
        )

    # In a thread: boto3 reads half a megabyte of service descriptions.
    return S3Store(await trio.to_thread.run_sync(make), bucket, prefix, connections, page_objects)
