"""Errors of the cloud tier: what may be asked again, and what the drive's owner reads."""

import inspect
import re

import pytest

from cloud_tier import errors
from cloud_tier.errors import ObjectExists, ObjectMissing, RangeBeyondEnd, StoreError, StoreThrottled

TREE = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.CloudError)]


def drawn(name: str) -> str | None:
    """The line of the tree in the module's docstring that speaks of this class."""
    return next((line for line in (errors.__doc__ or "").splitlines() if re.match(rf"[ │├└─]*{name}\b", line)), None)


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_every_error_is_in_the_tree_and_says_there_whether_to_ask_again(error: type[errors.CloudError]) -> None:
    line = drawn(error.__name__)
    assert line is not None
    assert line.endswith("retryable") == getattr(error, "is_retryable", False)


@pytest.mark.parametrize(
    "error",
    [
        *(each("host 10.0.0.9 timed out.") for each in TREE if each.__init__ is StoreError.__init__),
        StoreThrottled("503 SlowDown", 3.0),
        ObjectMissing("packs/1/00/ab"),
        ObjectExists("lease/000001"),
        RangeBeyondEnd("packs/1/00/ab", 10, 5, 12),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_is_whole_sentences_that_end_in_what_to_do_or_what_still_works(error: StoreError) -> None:
    text = str(error)
    assert error.detail.rstrip(".") in text
    assert ".." not in text
    assert text[0].isupper()
    assert text.endswith(".")
    assert text.count(". ") >= 1
