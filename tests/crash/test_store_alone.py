"""The machine is lost at any moment: what was flushed comes back from the store alone, and nothing wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash.engine_rounds import SEEDS, STEPS, burn_everywhere, record

from cachefs.mirror import Mirror
from cachefs.outbox import Outbox
from vfs import recovered


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_flushed_survives_the_loss_of_the_machine(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path / "run", seed, STEPS)
    assert list(burn_everywhere(run, tmp_path / "burnt", first=seed)) == []


# Negative controls: each takes one care away, and the same look must find a loss.

Sabotage = Callable[[pytest.MonkeyPatch], None]


def flush_does_not_wait_for_the_log(patch: pytest.MonkeyPatch) -> None:
    async def careless(self: Mirror) -> None:
        await self._cuts.wait_cut()

    patch.setattr(Mirror, "flush", careless)


def entries_leave_out_names(patch: pytest.MonkeyPatch) -> None:
    careful = Outbox.__init__

    def careless(self: Outbox, disk: Any, state: Any, clock: Any, local_tables: frozenset[str]) -> None:
        careful(self, disk, state, clock, local_tables | {"dentries"})

    patch.setattr(Outbox, "__init__", careless)


def what_was_behind_is_left_as_it_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovered._PuttingBack, "_suffering", lambda self: [])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "sabotage",
    [
        flush_does_not_wait_for_the_log,
        entries_leave_out_names,
        what_was_behind_is_left_as_it_is,
    ],
)
def test_careless_drive_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sabotage: Sabotage
) -> None:
    sabotage(monkeypatch)
    with caplog.at_level("CRITICAL"):
        for seed in range(1, 9):
            run = record(tmp_path / str(seed) / "run", seed, STEPS)
            if next(burn_everywhere(run, tmp_path / str(seed) / "burnt", every=11), None) is not None:
                return
    pytest.fail("nobody noticed")
