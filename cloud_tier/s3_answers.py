"""What the refusals of an S3 server mean to us.

One table from the error codes of the S3 API (its "Error Responses" page, and what MinIO, Ceph, Backblaze and Wasabi
add) to the errors of `cloud_tier.errors`; where a server sends no code we know, the HTTP status decides. Whatever is
neither known nor a 5xx is a StoreMisconfigured: to ask again would get the same answer.
"""

from collections.abc import Mapping

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

_MEANING: Mapping[str, type[StoreError]] = {
    # gone, or taken
    "NoSuchKey": ObjectMissing,
    "NoSuchVersion": ObjectMissing,
    "PreconditionFailed": ObjectExists,
    # asked too fast
    "SlowDown": StoreThrottled,
    "SlowDownRead": StoreThrottled,
    "SlowDownWrite": StoreThrottled,
    "Throttling": StoreThrottled,
    "ThrottlingException": StoreThrottled,
    "RequestLimitExceeded": StoreThrottled,
    "RequestThrottled": StoreThrottled,
    "TooManyRequests": StoreThrottled,
    "BandwidthLimitExceeded": StoreThrottled,
    # the store's own trouble, or a request that was cut off
    "InternalError": StoreUnavailable,
    "InternalFailure": StoreUnavailable,
    "ServiceUnavailable": StoreUnavailable,
    "ServerBusy": StoreUnavailable,
    "OperationAborted": StoreUnavailable,
    "ConditionalRequestConflict": StoreUnavailable,
    "RequestTimeout": StoreUnavailable,
    "IncompleteBody": StoreUnavailable,
    "XMinioServerNotInitialized": StoreUnavailable,
    # arrived otherwise than it was sent
    "BadDigest": UploadDamaged,
    "InvalidDigest": UploadDamaged,
    "XAmzContentSHA256Mismatch": UploadDamaged,
    "XAmzContentChecksumMismatch": UploadDamaged,
    # who we are, and what we may
    "AccessDenied": StoreDenied,
    "AllAccessDisabled": StoreDenied,
    "AccountProblem": StoreDenied,
    "ExpiredToken": StoreDenied,
    "ExpiredTokenException": StoreDenied,
    "InvalidAccessKeyId": StoreDenied,
    "InvalidSecurity": StoreDenied,
    "InvalidToken": StoreDenied,
    "NotSignedUp": StoreDenied,
    "SignatureDoesNotMatch": StoreDenied,
    "TokenRefreshRequired": StoreDenied,
    "UnauthorizedAccess": StoreDenied,
    "Unauthorized": StoreDenied,
    "MethodNotAllowed": StoreDenied,  # an object lock answers so as well
    "InvalidObjectState": StoreDenied,  # moved to an archive class: not readable now
    "ObjectLocked": StoreDenied,
    # where, and how
    "NoSuchBucket": StoreMisconfigured,
    "InvalidBucketName": StoreMisconfigured,
    "PermanentRedirect": StoreMisconfigured,
    "TemporaryRedirect": StoreUnavailable,
    "AuthorizationHeaderMalformed": StoreMisconfigured,
    "IllegalLocationConstraintException": StoreMisconfigured,
    "RequestTimeTooSkewed": StoreMisconfigured,
    "RequestExpired": StoreMisconfigured,
    "NotImplemented": StoreMisconfigured,
    # no room
    "QuotaExceeded": StoreFull,
    "EntityTooLarge": StoreMisconfigured,
    "StorageQuotaExceeded": StoreFull,
    "XMinioStorageFull": StoreFull,
    "StorageFull": StoreFull,
    "InsufficientStorage": StoreFull,
    "storage_cap_exceeded": StoreFull,
}
_BY_STATUS: Mapping[int, type[StoreError]] = {
    401: StoreDenied,
    403: StoreDenied,
    404: ObjectMissing,  # HEAD has no body, so no code
    405: StoreDenied,
    408: StoreUnavailable,
    409: StoreUnavailable,
    412: ObjectExists,
    425: StoreUnavailable,
    429: StoreThrottled,
    507: StoreFull,
}
_HINTS: Mapping[str, str] = {
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it, or switch time synchronisation on",
    "RequestExpired": "this machine's clock is wrong; set it, or switch time synchronisation on",
    "NoSuchBucket": "there is no such bucket",
    "PermanentRedirect": "the bucket is in another region",
    "AuthorizationHeaderMalformed": "the region is wrong",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidAccessKeyId": "the access key is not known there",
    "ExpiredToken": "the session token has expired",
    "InvalidObjectState": "the object was moved to an archive class; take that rule off the bucket",
}


def error_for(code: str, status: int, message: str, name: str, headers: Mapping[str, str]) -> StoreError:
    """The error for an answer with this error code and HTTP status; `name` is the object asked for, or the bucket.

    `headers` have lower-case names. Retry-After counts where it is a number of seconds (RFC 9110, 10.2.3).
    """
    kind = _MEANING.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = StoreUnavailable if status >= 500 else StoreMisconfigured
    if issubclass(kind, ObjectMissing | ObjectExists):
        return kind(name)
    detail = ": ".join(each for each in (f"{name}: {status} {code}", _HINTS.get(code) or message) if each)
    retry_after = headers.get("retry-after", "").strip()
    if kind is StoreUnavailable and status == 503 and retry_after:
        kind = StoreThrottled
    if issubclass(kind, StoreThrottled):
        return kind(detail, float(retry_after) if retry_after.isdigit() else 0.0)
    return kind(detail)
