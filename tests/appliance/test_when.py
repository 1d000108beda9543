"""WHEN names the newest snapshot that is not later, however a person says it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.protocol import Snapshot
from appliance.when import Unresolved, resolve_when

NOW = datetime(2026, 3, 10, 12, 0, 0, 500_000, tzinfo=UTC)


def snapshot(created: datetime, label: str | None = None) -> Snapshot:
    name = created.strftime("%Y-%m-%dT%H-%M-%SZ") + (f"_{label}" if label else "")
    return Snapshot(name=name, created=created, epoch=int(created.timestamp()), held=False, label=label)


OLD = snapshot(datetime(2026, 3, 1, 8, 0, 0, 250_000, tzinfo=UTC))
LABELLED = snapshot(datetime(2026, 3, 9, 9, 30, tzinfo=UTC), "2h")
RECENT = snapshot(datetime(2026, 3, 10, 11, 0, tzinfo=UTC))
ALL = [LABELLED, RECENT, OLD]


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        (OLD.name, OLD),
        (LABELLED.name, LABELLED),
        ("30m", RECENT),
        ("2h", LABELLED),
        ("1 D", LABELLED),
        ("7d", OLD),
        ("1w", OLD),
        ("2026-03-10", LABELLED),
        ("2026-03-01T08:00:00Z", OLD),
        ("2026-03-01T08-00-00Z", OLD),
        ("2026-03-10T11:00", RECENT),
        ("2026-03-10 10:59:59", LABELLED),
        ("2026-03-10T12:00+01:00", RECENT),
        ("2026-03-10T11:59+01:00", LABELLED),
        ("2999-01-01", RECENT),
    ],
)
def test_when_means(when: str, meant: Snapshot) -> None:
    assert resolve_when(when, ALL, NOW) == meant


@pytest.mark.parametrize(
    ("when", "code"),
    [
        ("yesterday", "usage"),
        ("", "usage"),
        ("2x", "usage"),
        ("-2h", "usage"),
        ("2026-13-01", "usage"),
        ("30d", "not_found"),
        ("2026-03-01T07:59:59Z", "not_found"),
        ("999999999999d", "not_found"),
    ],
)
def test_a_when_without_a_snapshot_says_why(when: str, code: str) -> None:
    with pytest.raises(Unresolved) as caught:
        resolve_when(when, ALL, NOW)
    assert caught.value.code == code


@given(st.lists(st.integers(0, 10_000), unique=True), st.integers(0, 10_000))
def test_an_age_means_the_newest_that_is_not_later(ages_s: list[int], asked_s: int) -> None:
    snapshots = [snapshot(NOW - timedelta(seconds=age)) for age in ages_s]
    fitting = [age for age in ages_s if age >= asked_s]
    if not fitting:
        with pytest.raises(Unresolved):
            resolve_when(f"{asked_s}s", snapshots, NOW)
    else:
        assert resolve_when(f"{asked_s}s", snapshots, NOW).created == NOW - timedelta(seconds=min(fitting))


def test_a_label_means_the_newest_snapshot_that_has_it() -> None:
    mondays = [snapshot(datetime(2026, 3, day, 8, 0, tzinfo=UTC), "monday") for day in (9, 2)]
    assert resolve_when("monday", [*ALL, *mondays], NOW) == mondays[0]
