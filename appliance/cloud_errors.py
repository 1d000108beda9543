"""What `cloud_tier` refuses, as a sentence and a word of `exit_codes`: the one table from its errors to both.

Below, errors of stores are sentences already, and those of keys and seals are clauses.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import CloudRefused
from cloud_tier import errors

# The first that fits counts.
_CODES: tuple[tuple[type[errors.CloudError], str], ...] = (
    (errors.ObjectExists, "changed_since"),
    (errors.StoreTaken, "exists"),
    (errors.StoreUnavailable, "offline"),
    (errors.UploadDamaged, "offline"),
    (errors.StoreError, "store_refused"),
    (errors.UnknownFormat, "other_version"),
    (errors.WrongDrive, "store_refused"),
    (errors.WrongKey, "locked"),
    (errors.EncodingFailed, "unexpected"),
    (errors.NothingToRecover, "not_found"),
    (errors.SealedError, "damaged"),
    (errors.RingRolledBack, "store_refused"),
    (errors.RingDamaged, "damaged"),
    (errors.LastWrap, "refused"),
    (errors.NoSuchWrap, "not_found"),
    (errors.KeysError, "locked"),
    (errors.LeaseDamaged, "damaged"),
    (errors.LeaseError, "store_refused"),
)


def code_of(error: errors.CloudError) -> str:
    """The word for it."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "unexpected")


def sentence_of(error: errors.CloudError) -> str:
    """What a person is told."""
    text = str(error)
    return text if isinstance(error, errors.StoreError) else f"{text[:1].upper()}{text[1:]}."


@contextmanager
def cloud_told() -> Iterator[None]:
    """Errors of `cloud_tier` as errors of the appliance."""
    try:
        yield
    except errors.CloudError as error:
        raise CloudRefused(code_of(error), sentence_of(error)) from error
