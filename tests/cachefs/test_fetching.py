"""What comes back from the store is looked at once, only what somebody asked for counts as asked for, and an answer
that cannot be true is asked for once more.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import CloudDrive
from kit.faulty_store import What

import cachefs.fetching
from cloud_tier.block_id import block_id
from vfs.errors import OutOfReach


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[CloudDrive]:
    """A drive whose two small files were written together, so that one record has both, and are not here."""
    async with CloudDrive(tmp_path / "state") as built:
        await built.write("asked for", b"a" * 700)
        await built.write("beside it", b"b" * 700)
        await built.sent()
        await built.drop()
        assert built.held_bytes("asked for") == built.held_bytes("beside it") == 0
        yield built


async def kept(built: CloudDrive, path: str) -> None:
    """Wait until the file lies here."""
    with trio.fail_after(10):
        while not built.held_bytes(path):
            await trio.lowlevel.checkpoint()


async def test_what_came_along_does_not_count_as_read(built: CloudDrive) -> None:
    heard: dict[int, bool] = {}
    settled = built.tier.fetching.settled

    def hear(blocks: "list[tuple[int, int, bool]]") -> None:
        found = list(blocks)
        heard.update({number: is_read for number, _, is_read in found})
        settled(found)

    built.tier.fetching.settled = hear  # type: ignore[assignment]
    assert await built.read("asked for") == b"a" * 700
    await kept(built, "beside it")
    assert heard == {built.blocks_of("asked for")[0]: True, built.blocks_of("beside it")[0]: False}


async def test_every_block_is_hashed_once_however_many_read_it(
    built: CloudDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []

    def counted(key: bytes, data: memoryview) -> bytes:
        hashed.append(len(data))
        return block_id(key, data)

    monkeypatch.setattr(cachefs.fetching, "block_id", counted)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(built.read, "asked for")
    await kept(built, "beside it")
    assert hashed == [700, 700]


@pytest.mark.parametrize("what", [What.CORRUPT, What.MISSING])
async def test_an_answer_that_cannot_be_true_is_asked_for_once_more(built: CloudDrive, what: What) -> None:
    built.store.plan("get", what)
    assert await built.read("asked for") == b"a" * 700
    built.store.assert_all_hit()


@pytest.mark.expected_log("cachefs.fetching: .*hybrid-drive scrub tells which files")
@pytest.mark.parametrize("what", [What.CORRUPT, What.MISSING])
async def test_a_pack_that_stays_damaged_or_missing_is_no_trouble_of_the_store(built: CloudDrive, what: What) -> None:
    await built.write("in another pack", b"c" * 700)
    await built.sent()
    await built.drop()
    built.store.plan("get", what, times=2)
    with pytest.raises(OutOfReach):
        await built.read("asked for")
    assert built.tier.fetching.trouble is None
    assert await built.read("in another pack") == b"c" * 700
    assert await built.read("asked for") == b"a" * 700
    built.store.assert_all_hit()
