"""Extended attributes: equal sets are one row, and a set goes with the last who has it, now or in a kept epoch."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.still_drive import StillDrive

from vfs.errors import AttributeTooLarge, NoAttribute, NotSupported
from vfs.xattrs import MAX_SET_BYTES, MAX_VALUE_BYTES


def put(still: StillDrive, path: str, name: bytes, value: bytes) -> None:
    still.drive.xattrs.set(still.inode(path), name, value, 0)


@pytest.fixture
def three(still: StillDrive) -> StillDrive:
    """Three files with the same attributes, set in different orders."""
    for path, order in (("a", (0, 1)), ("b", (1, 0)), ("c", (0, 1))):
        still.do(still.create, path)
        for number in order:
            put(still, path, b"user.%d" % number, b"value")
    return still


def test_equal_sets_are_stored_once(three: StillDrive) -> None:
    assert len(three.rows("xattr_sets")) == 1


def test_a_set_is_never_changed(three: StillDrive) -> None:
    put(three, "a", b"user.0", b"other")
    assert three.drive.xattrs.get(three.inode("b"), b"user.0") == b"value"
    assert len(three.rows("xattr_sets")) == 2


def test_a_set_goes_with_the_last_who_has_it(three: StillDrive) -> None:
    three.do(three.unlink, "a")
    for name in (b"user.0", b"user.1"):
        three.drive.xattrs.remove(three.inode("b"), name, 0)
    assert len(three.rows("xattr_sets")) == 1
    three.do(three.unlink, "c")
    assert three.rows("xattr_sets") == []


def test_a_set_that_was_left_and_taken_again_stays(three: StillDrive) -> None:
    for path in "abc":
        put(three, path, b"user.0", b"other")
        put(three, path, b"user.0", b"value")
    assert len(three.rows("xattr_sets")) == 1
    three.rest()
    assert three.drive.xattrs.get(three.inode("c"), b"user.0") == b"value"


def test_a_kept_epoch_keeps_its_set(three: StillDrive) -> None:
    snapshot = three.snap()
    for path in "abc":
        three.do(three.unlink, path)
    assert len(three.rows("xattr_sets")) == 1
    three.drive.snapshots.delete(snapshot.name)
    three.reap()
    assert three.rows("xattr_sets") == []


def test_attributes_survive_a_restart(three: StillDrive) -> None:
    three.rest()
    assert three.drive.xattrs.all(three.inode("b")) == {b"user.0": b"value", b"user.1": b"value"}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        (b"system.posix_acl_access", b"", NotSupported),
        (b"nothing", b"", NotSupported),
        (b"user.large", bytes(MAX_VALUE_BYTES + 1), AttributeTooLarge),
    ],
)
def test_a_refusal_changes_nothing(name: bytes, value: bytes, error: type[Exception], three: StillDrive) -> None:
    before = three.rows("xattr_sets"), three.rows("inodes")
    with pytest.raises(error):
        put(three, "a", name, value)
    with pytest.raises(NoAttribute):
        three.drive.xattrs.remove(three.inode("a"), b"user.none", 0)
    assert (three.rows("xattr_sets"), three.rows("inodes")) == before


def test_a_set_has_a_largest_size(three: StillDrive) -> None:
    count = MAX_SET_BYTES // MAX_VALUE_BYTES
    for number in range(count - 1):
        put(three, "a", b"user.large%d" % number, bytes(MAX_VALUE_BYTES))
    with pytest.raises(AttributeTooLarge):
        put(three, "a", b"user.last", bytes(MAX_VALUE_BYTES))
    assert len(three.drive.xattrs.all(three.inode("a"))) == 2 + count - 1


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.binary(max_size=20).map(lambda name: b"user." + name), st.binary(max_size=50), max_size=5))
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, fresh_state: Path, attributes: dict) -> None:
    still = StillDrive.opened(tmp_path_factory.mktemp("drive") / "state", fresh_state)
    still.do(still.create, "a")
    for name, value in attributes.items():
        put(still, "a", name, value)
    still.rest()
    assert still.drive.xattrs.all(still.inode("a")) == attributes
    still.abandon()
