"""A file that is changed all the time: the store gets what was changed, in few objects; order comes when it cools."""

from pathlib import Path

import pytest
from kit.hot_file import DATABASE, MACHINE, MIB, HotFile, Pattern, SeenStore, hot_drive
from trio.testing import MockClock


@pytest.mark.parametrize("pattern", [DATABASE, MACHINE], ids=lambda pattern: pattern.name)
async def test_changes_send_little_more_than_what_was_changed(
    virtual_time: MockClock, tmp_path: Path, pattern: Pattern
) -> None:
    store = SeenStore()
    async with hot_drive(tmp_path / "state", store) as built:
        file = HotFile(built, store, size_bytes=12 * MIB, pattern=pattern, seed=1)
        await file.fill()
        busy = await file.work(minutes=15)
        assert busy.ratio < 1.2
        assert busy.objects < 15 * 4, "one for each time that something is old, and no more"
        ragged = file.layout()
        rest = await file.rest(minutes=70)
        assert (busy.sent_bytes + rest.sent_bytes) / busy.changed_bytes < 2.5
        ordered = file.layout()
        assert ordered.extents < ragged.extents
        assert ordered.records < ragged.records
        assert built.drive.tier is not None
        assert built.drive.tier.fetching.fetched_bytes == 0
        assert await file.is_right()
