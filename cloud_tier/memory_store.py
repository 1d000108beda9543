"""A store that is a dictionary: for tests, and for whatever need not outlive the process.

Promises the whole contract of `cloud_tier.object_store` but durability. It is what the contract's tests are written
against first, so it is plain.
"""

from collections.abc import Sequence

import trio

from cloud_tier.errors import ObjectExists, ObjectMissing
from cloud_tier.object_store import (
    PAGE_OBJECTS,
    PIECE_BYTES,
    Buffer,
    ObjectInfo,
    Pace,
    Page,
    check_name,
    check_prefix,
    check_range,
    cut_range,
)


class MemoryStore:
    """An `ObjectStore` whose objects live as long as it does."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        check_name(name)
        await _wait(pace, len(memoryview(body).cast("B")))
        if if_absent and name in self.objects:
            raise ObjectExists(name)
        self.objects[name] = bytes(body)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        check_name(name)
        check_range(start, length)
        start, end = cut_range(name, len(self._body(name)), start, length)
        await _wait(pace, end - start)
        return self._body(name)[start:end]

    async def size(self, name: str) -> int:
        check_name(name)
        await trio.lowlevel.checkpoint()
        return len(self._body(name))

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            check_name(name)
        await trio.lowlevel.checkpoint()
        for name in names:
            self.objects.pop(name, None)

    async def list_page(self, prefix: str, after: str = "") -> Page:
        check_prefix(prefix)
        await trio.lowlevel.checkpoint()
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        return Page(
            [ObjectInfo(name, len(self.objects[name])) for name in names[:PAGE_OBJECTS]], len(names) <= PAGE_OBJECTS
        )

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def _body(self, name: str) -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise ObjectMissing(name) from None


async def _wait(pace: Pace | None, size_bytes: int) -> None:
    await trio.lowlevel.checkpoint()
    if pace is not None:
        for at in range(0, size_bytes, PIECE_BYTES):
            await pace(min(PIECE_BYTES, size_bytes - at))
