"""The budget: told no before anything changed, and the disk is not asked for every write."""

import os
from pathlib import Path

import pytest
from kit.fake_clock import FakeClock

from cachefs.budget import RECHECK_BYTES, RECHECK_S, SHORT_BYTES, Budget
from cachefs.errors import StorageFull
from cloud_tier.reserve import LEAST_BYTES, MOST_BYTES

MIB = 1 << 20


class FakeStatvfs:
    """A disk of so many bytes; `calls` counts how often it was asked."""

    def __init__(self, patch: pytest.MonkeyPatch, size: int, free: int) -> None:
        self.size, self.free, self.calls = size, free, 0
        patch.setattr(os, "statvfs", self)

    def __call__(self, path: object) -> "FakeStatvfs":
        self.calls += 1
        return self

    f_frsize = 4096

    @property
    def f_blocks(self) -> int:
        return self.size // 4096

    @property
    def f_bavail(self) -> int:
        return self.free // 4096


def budget(path: Path, held: int = 0, limit_bytes: int = 0) -> tuple[Budget, FakeClock]:
    clock = FakeClock()
    return Budget(path, clock, lambda: held, limit_bytes), clock


@pytest.mark.parametrize(
    ("size", "floor"),
    [(100 * MIB, LEAST_BYTES), (10_000 * MIB, 500 * MIB), (1 << 42, MOST_BYTES)],
)
def test_floor_is_kept_for_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, floor: int) -> None:
    FakeStatvfs(monkeypatch, size, size)
    assert budget(tmp_path)[0].free_bytes() == size - floor


def test_disk_below_its_floor_has_nothing_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeStatvfs(monkeypatch, 100 * MIB, LEAST_BYTES - 4096)
    assert budget(tmp_path)[0].free_bytes() == 0
    with pytest.raises(StorageFull):
        budget(tmp_path)[0].admit(1)


def test_limit_counts_what_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeStatvfs(monkeypatch, 1 << 40, 1 << 40)
    limited, _ = budget(tmp_path, held=90 * MIB, limit_bytes=100 * MIB)
    assert limited.free_bytes() == 10 * MIB
    limited.admit(9 * MIB)
    with pytest.raises(StorageFull):
        limited.admit(11 * MIB)


def test_disk_is_asked_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FakeStatvfs(monkeypatch, 1 << 40, 1 << 40)
    admitting, _ = budget(tmp_path)
    for _ in range(1000):
        admitting.admit(RECHECK_BYTES // 1000)
    assert disk.calls <= 2


def test_disk_that_filled_up_is_noticed_after_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FakeStatvfs(monkeypatch, 1 << 40, 1 << 40)
    admitting, clock = budget(tmp_path)
    admitting.admit(1)
    disk.free = 0
    admitting.admit(1)
    clock.advance(RECHECK_S + 0.1)
    with pytest.raises(StorageFull):
        admitting.admit(1)


def test_refused_bytes_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeStatvfs(monkeypatch, 100 * MIB, LEAST_BYTES + MIB)
    admitting, _ = budget(tmp_path)
    with pytest.raises(StorageFull):
        admitting.admit(2 * MIB)
    admitting.admit(MIB)


def test_low_disk_is_told_while_there_is_room_for_what_kernels_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FakeStatvfs(monkeypatch, 1 << 40, 1 << 40)
    admitting, clock = budget(tmp_path)
    admitting.admit(1)
    assert not admitting.is_low()
    disk.free = MOST_BYTES + 2 * RECHECK_BYTES
    clock.advance(RECHECK_S + 0.1)
    admitting.admit(2 * RECHECK_BYTES - 4096)
    assert admitting.is_low()


def test_freed_bytes_are_wanted_back_long_before_the_disk_is_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FakeStatvfs(monkeypatch, 1 << 40, 1 << 40)
    admitting, clock = budget(tmp_path)
    assert not admitting.is_short()
    disk.free = MOST_BYTES + SHORT_BYTES - 1
    clock.advance(RECHECK_S + 0.1)
    assert admitting.is_short()
    assert not admitting.is_low()
