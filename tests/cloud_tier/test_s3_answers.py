"""What an S3 server's refusals mean."""

import pytest

from cloud_tier.errors import (
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreMisconfigured,
    StoreThrottled,
    StoreUnavailable,
    UploadDamaged,
)
from cloud_tier.s3_answers import error_for


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, ObjectMissing),
        ("404", 404, ObjectMissing),  # a HEAD
        ("NoSuchBucket", 404, StoreMisconfigured),
        ("PreconditionFailed", 412, ObjectExists),
        ("412", 412, ObjectExists),
        ("ConditionalRequestConflict", 409, StoreUnavailable),
        ("SlowDown", 503, StoreThrottled),
        ("429", 429, StoreThrottled),
        ("ServiceUnavailable", 503, StoreUnavailable),
        ("InternalError", 500, StoreUnavailable),
        ("502", 502, StoreUnavailable),
        ("SomethingNew", 500, StoreUnavailable),
        ("RequestTimeout", 400, StoreUnavailable),
        ("BadDigest", 400, UploadDamaged),
        ("XAmzContentSHA256Mismatch", 400, UploadDamaged),
        ("AccessDenied", 403, StoreDenied),
        ("403", 403, StoreDenied),
        ("SignatureDoesNotMatch", 403, StoreDenied),
        ("InvalidAccessKeyId", 403, StoreDenied),
        ("ExpiredToken", 400, StoreDenied),
        ("RequestTimeTooSkewed", 403, StoreMisconfigured),
        ("PermanentRedirect", 301, StoreMisconfigured),
        ("AuthorizationHeaderMalformed", 400, StoreMisconfigured),
        ("NotImplemented", 501, StoreMisconfigured),
        ("QuotaExceeded", 403, StoreFull),
        ("507", 507, StoreFull),
        ("SomethingNew", 400, StoreMisconfigured),
        ("", 0, StoreMisconfigured),
    ],
)
def test_answer_means(code: str, status: int, kind: type[StoreError]) -> None:
    assert type(error_for(code, status, "", "packs/1/ab", {})) is kind


@pytest.mark.parametrize(("header", "wait_s"), [("7", 7.0), ("", 0.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0)])
def test_how_long_to_wait_is_what_the_server_asked_for(header: str, wait_s: float) -> None:
    error = error_for("SlowDown", 503, "", "a", {"retry-after": header})
    assert isinstance(error, StoreThrottled)
    assert error.retry_after_s == wait_s


def test_unavailable_with_a_time_to_come_back_is_throttling() -> None:
    assert isinstance(error_for("ServiceUnavailable", 503, "", "a", {"retry-after": "5"}), StoreThrottled)


def test_wrong_clock_is_said_in_words() -> None:
    assert "clock is wrong" in str(error_for("RequestTimeTooSkewed", 403, "The difference…", "office", {}))
