"""The engine's part of a recovery: from a store and its keys to a state directory with a drive in it.

    step                                              died here → what the next one does
    1 a checkpoint's database, into `drive.db.new`    begins anew
    2 the log behind it, run on tables as they were    begins anew
      when it was written; then those of today made
    3 the claim: `claim` is called with the last      begins anew, and takes over from this one
      position that counts, so that what an older
      holder sends from now on does not
    4 packs that the log does not know, adopted       begins anew
    5 the machine that was, forgotten; files that     begins anew
      were behind, put back
    6 `drive.db.new` becomes `drive.db`               begins anew, until the appliance says that there is a drive

Nothing else in the store is changed. Which checkpoint: the newest that opens and is whole; a damaged one costs nothing
but the longer log behind the one before.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import trio

from cachefs.adopting import adopt_packs
from cachefs.checkpointing import remember
from cachefs.database import Database
from cachefs.replaying import run_entry
from cloud_tier.checkpoint import Manifest
from cloud_tier.errors import LogDamaged, NothingToRecover, ObjectMissing, SealedError
from cloud_tier.keys import DriveKeys
from cloud_tier.object_store import ObjectStore
from cloud_tier.stored_log import Follower, checkpoints_in, fetch_database, manifest_of
from vfs.ids import NEVER
from vfs.recovered import Behind, forget_machine, put_back
from vfs.state import DATABASE, make_folders, migrations

log = logging.getLogger(__name__)

MOST_LOOKS = 5  # at a log that grows while it is read


@dataclass(frozen=True)
class Recovered:
    """What came back. Times in nanoseconds since 1970.

    `as_of_ns`: when the newest change was made that came back; `position`: its entry. `left`: what the store has behind
    that and cannot be used. `adopted`: blocks found in packs that the log did not know.
    """

    as_of_ns: int
    position: int
    files: int
    snapshots: int
    adopted: int
    behind: tuple[Behind, ...]
    left: str | None


class _Reached(NamedTuple):
    """The last entry whose rows are there."""

    position: int
    made_ns: int
    left: str | None


async def _no_claim(position: int) -> None:
    pass


async def bring_back(
    state: Path,
    store: ObjectStore,
    keys: DriveKeys,
    now_ns: int,
    *,
    until_ns: int | None = None,
    accepted: Mapping[int, int] = MappingProxyType({}),
    claim: Callable[[int], Awaitable[None]] = _no_claim,
    say: Callable[[str], None] = lambda sentence: None,
) -> Recovered:
    """Make the drive in `state`, a folder without one, as the store has it; the newest state not younger than
    `until_ns`. `accepted`: see `cloud_tier.lease.accepted_of`. `say` hears, in a few words, what is being done.

    Raises NothingToRecover, StoreError, CacheError, OSError, and what `claim` raises.
    """
    return await _Recovery(state, store, keys, now_ns, until_ns, accepted, claim, say).run()


class _Recovery:
    def __init__(
        self,
        state: Path,
        store: ObjectStore,
        keys: DriveKeys,
        now_ns: int,
        until_ns: int | None,
        accepted: Mapping[int, int],
        claim: Callable[[int], Awaitable[None]],
        say: Callable[[str], None],
    ) -> None:
        self._state = state
        self._store = store
        self._keys = keys
        self._now_ns = now_ns
        self._until_ns = until_ns
        self._accepted = accepted
        self._claim = claim
        self._say = say
        self._new = state / (DATABASE + ".new")
        self._used = ""
        """The checkpoint whose database it is."""
        self._follower: Follower | None = None
        """At the end of the log; None when something of it was left out on purpose, or cannot be run."""

    async def run(self) -> Recovered:
        for leftover in self._state.glob(DATABASE + "*"):
            leftover.unlink()
        database, reached = await self._bring_rows()
        try:
            await trio.to_thread.run_sync(database.migrate, migrations())
            await self._claim(reached.position)
            reached = await self._tell_of_late(reached)
            self._say("looking for packs that the log does not know")
            adopted = await adopt_packs(database, self._store, self._keys)
            found = await trio.to_thread.run_sync(self._settle, database, reached, adopted)
        finally:
            database.close()
        self._new.rename(self._state / DATABASE)
        make_folders(self._state)
        remember(self._state, self._used)
        return found

    async def _bring_rows(self) -> tuple[Database, _Reached]:
        found = await checkpoints_in(self._store)
        names = [name for name in found if name.position <= self._accepted.get(name.fence, NEVER)]
        refused: list[str] = []
        for name in names:
            try:
                manifest = await manifest_of(self._store, self._keys, name)
                if self._until_ns is not None and manifest.made_ns > self._until_ns:
                    refused.append(f"that of {_when(manifest.made_ns)} is younger")
                    continue
                await self._fetch(manifest)
            except (SealedError, ObjectMissing) as error:
                log.warning("checkpoint %s cannot be used: %s", name, error)
                refused.append(f"that at {name.position} cannot be used ({error})")
                continue
            self._used = str(name)
            return await self._follow(manifest, self._accepted.get(name.fence, NEVER))
        raise NothingToRecover(
            f"the store has {len(names)} checkpoints of the drive, and none can be used: {'; '.join(refused) or 'none'}"
        )

    async def _fetch(self, manifest: Manifest) -> None:
        done, total = 0, manifest.size_bytes

        def report(more: int) -> None:
            nonlocal done
            done += more
            self._say(f"names and attributes as of {_when(manifest.made_ns)}: {100 * done // max(1, total)} %")

        with self._new.open("wb") as file:
            await fetch_database(self._store, self._keys, manifest, file, report)

    async def _follow(self, manifest: Manifest, last: int) -> tuple[Database, _Reached]:
        database = Database.open(self._new, migrations=migrations())
        follower = Follower(self._store, self._keys, manifest)
        reached = _Reached(manifest.position, manifest.made_ns, None)
        try:
            for _ in range(MOST_LOOKS):  # whoever has the drive may still be sending
                before = reached.position
                async with aclosing(follower.entries()) as batches:
                    async for batch in batches:
                        for entry in batch:
                            is_late = self._until_ns is not None and entry.made_ns > self._until_ns
                            if is_late or entry.position > last:
                                return database, reached
                            await trio.to_thread.run_sync(run_entry, database, entry)
                            reached = _Reached(entry.position, entry.made_ns, None)
                        self._say(f"changes until {_when(reached.made_ns)}")
                if reached.position == before:
                    break
        except LogDamaged as error:
            return database, reached._replace(left=f"the log in the store ends at entry {reached.position}: {error}")
        except BaseException:
            database.close()
            raise
        self._follower = follower
        return database, reached._replace(left=follower.left)

    async def _tell_of_late(self, reached: _Reached) -> _Reached:
        """What the machine before has sent between the last look at its log and the claim is left out: say so."""
        if self._follower is None:
            return reached
        late = 0
        async with aclosing(self._follower.entries()) as batches:
            async for batch in batches:
                late += len(batch)
        if not late:
            return reached
        return reached._replace(
            left=f"the machine that had the drive was still at work: {late} entries of its log, until "
            f"{_when(self._follower.made_ns)}, came too late and do not count"
        )

    def _settle(self, database: Database, reached: _Reached, adopted: int) -> Recovered:
        database.begin()
        forget_machine(database, reached.position)
        behind = put_back(database, self._now_ns)
        files = database.row("SELECT count(*) FROM inodes WHERE mode & 61440 = 32768 AND nlink > 0")[0]
        snapshots = database.row("SELECT count(*) FROM snapshots WHERE kind = 'snapshot' AND state = 'kept'")[0]
        database.commit()
        database.rewrite_log()  # all of it, or an error: only the file itself gets the drive's name
        return Recovered(
            as_of_ns=reached.made_ns,
            position=reached.position,
            files=files,
            snapshots=snapshots,
            adopted=adopted,
            behind=tuple(behind),
            left=reached.left,
        )


def _when(instant_ns: int) -> str:
    return datetime.fromtimestamp(instant_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
