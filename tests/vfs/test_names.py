"""Names: which are possible, and which differ only by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.errors import InvalidArgument, NameTooLong, NotPermitted, VfsError
from vfs.ids import ROOT
from vfs.names import check_new_name, fold, upper


@given(st.text())
def test_upper_case_is_one_to_one(name: str) -> None:
    raised = upper(name.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    assert len(raised) == len(name)


@given(st.binary())
def test_upper_case_of_upper_case_is_itself(name: bytes) -> None:
    assert upper(upper(name)) == upper(name)


@given(st.text(max_size=20))
def test_names_that_differ_by_case_have_one_fold(name: str) -> None:
    swapped = "".join(c.upper() if len(c.upper()) == 1 else c for c in name)
    assert fold(name.encode()) == fold(swapped.encode())
    assert 0 <= fold(name.encode()) < 1 << 31


def test_sharp_s_is_not_two_letters() -> None:
    assert upper("straße".encode()) == "STRAßE".encode()
    assert fold("straße".encode()) != fold(b"strasse")


def test_bytes_that_are_no_text_stay() -> None:
    assert upper(b"a\xff") == b"a\xff"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (b"", InvalidArgument),
        (b".", InvalidArgument),
        (b"..", InvalidArgument),
        (b"a/b", InvalidArgument),
        (b"a\0b", InvalidArgument),
        (b"x" * 256, NameTooLong),
        (b".snapshots", NotPermitted),
        (b".previous", NotPermitted),
    ],
)
def test_impossible_name_is_refused(name: bytes, error: type[VfsError]) -> None:
    with pytest.raises(error):
        check_new_name(ROOT, name)


@pytest.mark.parametrize("name", [b"x" * 255, b"...", b"\xff\xfe", b".Snapshots", b"Previous Versions"])
def test_any_other_name_is_possible(name: bytes) -> None:
    check_new_name(ROOT, name)


def test_previous_is_reserved_at_the_root_only() -> None:
    check_new_name(17, b".previous")
