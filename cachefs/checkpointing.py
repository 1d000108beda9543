"""Checkpoints: from time to time the whole database goes to the store, so that the log behind it may be short.

    step                                                     died here → what is left
    1 copy the database as of the last cut, without the      the copy, removed with the next checkpoint
      tables of this machine; read all of the copy (thread)
    2 put the parts that the older checkpoint does not       parts that nobody names: removed with the next checkpoint
      have, or the newest has as well
    3 put the manifest                                       a checkpoint that is not counted here and may be used
    4 read all that back and compare it                      the same
    5 write down that it counts (`outbox/checkpoints`)       the older ones are still there
    6 remove what only older ones need                       removed with the next checkpoint

Two checkpoints are kept, and all of the log since the older one: if the newest is damaged, the older one and the log
give the same tables (T10). What is removed in step 6 is found by listing, and only what our own two manifests do not
name, under our own fence or an older one; a listing that lies leaves more lying around, and removes nothing else.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw
import trio

from cachefs.database import FORMAT_VERSION, Database
from cachefs.database_copy import check_copy, copy_database, leave_out, remove_copy
from cachefs.disk import Disk
from cachefs.outbox import Outbox
from cloud_tier.checkpoint import (
    PART_BYTES,
    Manifest,
    PartPlace,
    open_manifest,
    open_part,
    part_id,
    part_key,
    seal_manifest,
    seal_part,
)
from cloud_tier.clock import Clock
from cloud_tier.errors import (
    CloudError,
    ObjectMissing,
    RangeBeyondEnd,
    SealedError,
    StoreError,
)
from cloud_tier.keys import DriveKeys
from cloud_tier.object_names import CHECKPOINTS, LOG, PARTS, CheckpointName, LogName, PartName, parse_name
from cloud_tier.object_store import ObjectStore, delete_all, list_objects

T = TypeVar("T")

log = logging.getLogger(__name__)

KEPT = 2
LEAST_LOG_BYTES = 4 << 20
"""No checkpoint for less than this, unless there is none, or it is a day old."""
LOG_SHARE = 1 / 8
"""A checkpoint is due when the log behind the last one has so much of the database's bytes, which shrink to a quarter
or so on their way: thus a recovery reads little log.
"""
LEAST_GROWN_BYTES = 64 << 10
OLD_S = 24 * 3600.0
AGAIN_S = 15.0
LOOK_S = 10.0
PUTS, GETS = 3, 3  # so often a store may lie about one object


def remember(state: Path, name: str) -> None:
    """For a drive that was just recovered from the checkpoint `name`: the next one need not send its parts again.

    Only a hint: it is read back before it is used, and without it all parts are sent. Raises OSError.
    """
    _record(state).parent.mkdir(exist_ok=True)
    _record(state).write_text(json.dumps([name]))


def _record(state: Path) -> Path:
    return state / "outbox" / "checkpoints"


@dataclass(frozen=True)
class Retained:
    """A checkpoint that counts: read back, and not removed."""

    name: str
    manifest: Manifest


class Checkpointing:
    """The task that makes them. `run` must be running."""

    def __init__(
        self,
        store: ObjectStore,
        keys: Callable[[], DriveKeys],
        outbox: Outbox,
        database: Database,
        disk: Disk,
        state: Path,
        fence: int,
        clock: Clock,
        local_tables: frozenset[str],
    ) -> None:
        self.retained: list[Retained] = []
        """Oldest first, at most two."""
        self.before_delete: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """Awaited before each batch of deletes; raises CloudError when this machine may not delete."""
        self.log_bytes: Callable[[], int] = lambda: 0
        """Bytes of log that were sent since the start."""
        self.made: Callable[[], object] = lambda: None
        """Called in a thread when one was made, which is rare and large work."""
        self.trouble: CloudError | None = None
        self._store = store
        self._keys = keys
        self._outbox = outbox
        self._database = database
        self._disk = disk
        self._copy = state / "checkpoint.db"
        self._record = _record(state)
        self._fence = fence
        self._clock = clock
        self._local_tables = local_tables
        self._log_bytes_then = 0
        self._is_wanted = False
        self._turn = trio.Lock()
        self._hurry = trio.Event()
        self._outbox_grew = trio.lowlevel.ParkingLot()
        self._made = trio.lowlevel.ParkingLot()

    @property
    def oldest_position(self) -> int | None:
        """What lies before it, no recovery needs: the position of the older of two checkpoints; None while there are
        not two.
        """
        return self.retained[0].manifest.position if len(self.retained) == KEPT else None

    async def run(self) -> None:
        """Make a checkpoint whenever one is due, for ever."""
        while True:
            if self.is_due():
                try:
                    await self.make()
                    self.trouble = None
                except (CloudError, OSError, apsw.Error, trio.TooSlowError) as error:
                    if str(error) != str(self.trouble):  # what a store lacks is said by whoever sends packs
                        level = logging.INFO if isinstance(error, StoreError) else logging.WARNING
                        log.log(level, "a checkpoint could not be made, and will be later: %s", error)
                    self.trouble = error if isinstance(error, CloudError) else CloudError(str(error))
            self._made.unpark_all()
            self._hurry = trio.Event()
            with trio.move_on_after(AGAIN_S if self.trouble is not None else LOOK_S):
                await self._hurry.wait()

    def is_due(self) -> bool:
        """Whether it is time."""
        if not self.is_usable or self._is_wanted:
            return True
        newest = self.retained[-1].manifest
        if newest.position == self._outbox.position:
            return False
        since = self.log_bytes() - self._log_bytes_then
        is_old = self._clock.now_ns() - newest.made_ns > OLD_S * 1e9
        return is_old or since > max(LEAST_LOG_BYTES, LOG_SHARE * newest.size_bytes)

    @property
    def is_usable(self) -> bool:
        """Whether a checkpoint counts from which the log can be followed."""
        return bool(self.retained) and self._leads_on(self.retained[-1].manifest)

    def _leads_on(self, manifest: Manifest) -> bool:
        """Whether the log goes on from it: not if its chain is another one that ended at the same position."""
        if manifest.position == self._outbox.origin:
            return manifest.digest == self._outbox.digests.get(manifest.position)
        return manifest.position > self._outbox.origin

    async def wait_usable(self) -> None:
        """Return once a checkpoint counts from which the log can be followed."""
        while not self.is_usable:
            self._hurry.set()
            await self._made.park()

    # --- making one ---

    async def make(self) -> Manifest:
        """One checkpoint, whether due or not. Raises CloudError, OSError, apsw.Error: then it does not count."""
        async with self._turn:
            return await self._make()

    async def _make(self) -> Manifest:
        keys = self._keys()
        log_bytes_then = self.log_bytes()
        try:
            position, digest = await self._copied()
            await trio.to_thread.run_sync(check_copy, self._copy)
            parts, sent_bytes = await self._put_parts(keys)
            size_bytes = self._copy.stat().st_size
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_copy, self._copy)
        manifest = Manifest(position, digest, self._clock.now_ns(), FORMAT_VERSION, size_bytes, tuple(parts))
        sealed = await trio.to_thread.run_sync(seal_manifest, keys, manifest)
        name = str(CheckpointName(self._fence, position, sealed.salt))
        await self._put_proven(name, sealed.body, partial(open_manifest, keys))
        before = [one for one in self.retained if self._leads_on(one.manifest) and one.name != name]
        kept = [*before, Retained(name, manifest)][-KEPT:]
        await trio.to_thread.run_sync(self._write_down, kept)
        self.retained, self._log_bytes_then, self._is_wanted = kept, log_bytes_then, False
        self._made.unpark_all()  # whoever waits need not wait for what follows
        log.info("checkpoint at %d: %d parts, %d bytes sent", position, len(parts), sent_bytes)
        try:
            await self._clean()
        except StoreError as error:  # it stays until the next one
            log.info("what older checkpoints needed could not be removed: %s", error)
        await trio.to_thread.run_sync(self.made)
        return manifest

    @property
    def has_grown(self) -> bool:
        """Whether there is log behind the newest checkpoint, as far as this life has sent it."""
        return self.log_bytes() - self._log_bytes_then > LEAST_GROWN_BYTES

    async def make_soon(self) -> None:
        """Return once `run` has made another one, due or not."""
        self._is_wanted = True
        while self._is_wanted:
            self._hurry.set()
            await self._made.park()

    async def distrust(self, name: str) -> None:
        """This one is not whole in the store: it does not count any more, and another is made soon."""
        async with self._turn:
            self.retained = [one for one in self.retained if one.name != name]
            await trio.to_thread.run_sync(self._write_down, self.retained)
        self._is_wanted = True
        self._hurry.set()

    async def _copied(self) -> tuple[int, bytes]:
        """Copy the database; of which cut that is, and the digest of its entry."""
        while True:
            position = await trio.to_thread.run_sync(self._copy_database)
            with trio.fail_after(AGAIN_S):
                while self._outbox.position < position:  # it is being written
                    await self._outbox_grew.park()
            if (digest := self._outbox.digests.get(position)) is not None:
                return position, digest
            await trio.lowlevel.checkpoint()  # the log began anew meanwhile: the copy leads to nothing

    def wake(self) -> None:
        """The outbox may have grown."""
        self._outbox_grew.unpark_all()

    def _copy_database(self) -> int:
        """Copy what the last cut committed, leave out what is of this machine, and say which cut it was."""
        remove_copy(self._copy)
        position = copy_database(self._database, self._copy)
        leave_out(self._copy, self._local_tables)
        return position

    async def _put_parts(self, keys: DriveKeys) -> tuple[list[PartPlace], int]:
        # Not what the newest has: the two that are kept share no part, so that one damaged object costs one of them
        # (T10). One that will not be kept, as after a recovery, gives its parts away: all need not be sent at once.
        older, newest = self.retained[:-1], self.retained[-1:]
        taken = {part for one in newest for part in one.manifest.parts}
        known = {part.part_id: part for one in older for part in one.manifest.parts if part not in taken}
        is_kept = bool(newest) and self._leads_on(newest[0].manifest)
        unproven = {part.part_id: part for part in taken if not is_kept}
        parts: list[PartPlace] = []
        sent_bytes = 0
        key = part_key(keys)
        with self._copy.open("rb") as file:
            while data := await trio.to_thread.run_sync(file.read, PART_BYTES):
                id_ = await trio.to_thread.run_sync(part_id, key, data)
                place = known.get(id_)
                if place is None and id_ in unproven and await self._is_there(keys, unproven[id_]):
                    place = known[id_] = unproven[id_]
                if place is None:
                    sealed = await trio.to_thread.run_sync(seal_part, keys, data)
                    place = known[id_] = PartPlace(self._fence, sealed.salt, id_, len(data))
                    name = str(PartName(self._fence, sealed.salt))
                    await self._put_proven(name, sealed.body, partial(open_part, keys, wanted=id_))
                    sent_bytes += len(sealed.body)
                parts.append(place)
        return parts, sent_bytes

    async def _is_there(self, keys: DriveKeys, part: PartPlace) -> bool:
        """Whether the store still gives this part."""
        try:
            body = await self._insist(partial(self._store.get, str(PartName(part.fence, part.salt))))
            await trio.to_thread.run_sync(open_part, keys, body, part.part_id)
        except (StoreError, SealedError) as error:
            log.warning("a part of the checkpoint before cannot be used (%s): it is sent anew", error)
            return False
        return True

    async def _put_proven(self, name: str, body: memoryview, prove: Callable[[bytes], object]) -> None:
        """Put an object until the store, which may be away, gives it back by a proof that raises SealedError."""
        for last in (False,) * (PUTS - 1) + (True,):
            await self._insist(partial(self._store.put, name, body))
            for _ in range(GETS):
                try:
                    found = await self._insist(partial(self._store.get, name, 0, len(body)))
                    await trio.to_thread.run_sync(prove, found)
                except (SealedError, ObjectMissing, RangeBeyondEnd) as error:
                    refused = error
                    await trio.sleep(LOOK_S / 10)
                else:
                    return
            if last:
                raise refused

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except StoreError as error:
                if not error.is_retryable:
                    raise
                self.trouble = error
                await trio.sleep(AGAIN_S)

    # --- what counts, and what may go ---

    async def load(self) -> None:
        """Find the checkpoints that count, by what was written down here and what the store gives for it.

        Returns once the store has answered.
        """
        for name in await trio.to_thread.run_sync(self._written_down):
            try:
                manifest = await self._read_back(name)
            except (StoreError, SealedError) as error:
                log.warning("checkpoint %s cannot be read back (%s): another is made", name, error)
                continue
            self.retained.append(Retained(name, manifest))

    async def _read_back(self, name: str) -> Manifest:
        size_bytes = await self._insist(partial(self._store.size, name))
        body = await self._insist(partial(self._store.get, name, 0, size_bytes))
        return await trio.to_thread.run_sync(open_manifest, self._keys(), body)

    def _written_down(self) -> list[str]:
        with suppress(OSError, ValueError):
            return [str(name) for name in json.loads(self._record.read_text())]
        return []

    def _write_down(self, kept: list[Retained]) -> None:
        draft = self._record.with_name("checkpoints.new")
        with suppress(FileNotFoundError):
            self._disk.unlink(draft)
        fd = self._disk.open(draft, create=True)
        try:
            self._disk.pwrite(fd, json.dumps([one.name for one in kept]).encode(), 0)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self._disk.rename(draft, self._record)
        self._disk.sync_directory(self._record.parent)

    async def _clean(self) -> None:
        """Remove checkpoints, parts and log that no recovery from the retained ones needs."""
        if len(self.retained) < KEPT:
            return
        names = {one.name for one in self.retained}
        parts = {str(PartName(part.fence, part.salt)) for one in self.retained for part in one.manifest.parts}
        oldest = self.retained[0].manifest.position
        needless: list[str] = []
        async for info in list_objects(self._store, CHECKPOINTS):
            if isinstance(found := parse_name(info.name), CheckpointName) and found.fence <= self._fence:
                needless += [info.name] * (
                    info.name not in names and found.position <= self.retained[-1].manifest.position
                )
        async for info in list_objects(self._store, PARTS):
            if isinstance(part := parse_name(info.name), PartName) and part.fence <= self._fence:
                needless += [info.name] * (info.name not in parts)
        async for info in list_objects(self._store, LOG):
            if isinstance(entry := parse_name(info.name), LogName) and entry.fence <= self._fence:
                needless += [info.name] * (entry.last <= oldest)
        await delete_all(self._store, needless, self.before_delete)
