"""The doors into the past: `.snapshots`, `.previous`, and the views behind them.

`.snapshots` of an anchor (the root, every share, every home) holds one folder a snapshot: a view, numbered at first
use, the number kept for ever. In any other folder `.snapshots` is a virtual folder of relative symlinks into the
nearest anchor's, so that no past folder is ever reached by two ways (T13). `.previous` of the root is for smbd: bare
time names, at most 500, thinned evenly over their age. All of them are found by name and never listed.
"""

import math
from typing import NamedTuple

from cachefs.counters import Counters
from cachefs.database import Database
from vfs.areas import Areas
from vfs.errors import NotFound, Stale
from vfs.ids import (
    FILE_MASK,
    FIRST_VIEW,
    LINKS_VIEW,
    PREVIOUS_VIEW,
    ROOT,
    SNAPSHOTS_VIEW,
    Epoch,
    in_view,
    view_of,
)
from vfs.names import PREVIOUS, SNAPSHOTS
from vfs.namespace import Namespace
from vfs.past import entry_as_of, inode_as_of
from vfs.snapshots import Snapshot, Snapshots

MOST_PREVIOUS = 500
MOST_LINKS = 100_000  # symlinks known at a time, about 300 bytes each
SPARE_VIEWS = 100  # views of deleted snapshots that are not worth looking for
FIRST_COOKIE = 2  # plus the snapshot's number; 1 and 2 are `.` and `..`


class View(NamedTuple):
    """One place where a past tree is seen."""

    number: int
    anchor: int
    snapshot: int
    door: str


class Door(NamedTuple):
    """One line of a virtual folder."""

    cookie: int
    name: bytes
    snapshot: Snapshot


class Doors:
    """Virtual folders and views."""

    def __init__(
        self,
        database: Database,
        counters: Counters,
        snapshots: Snapshots,
        namespace: Namespace,
        areas: Areas,
    ) -> None:
        self._database = database
        self._counters = counters
        self._snapshots = snapshots
        self._namespace = namespace
        self._areas = areas
        self._views: dict[int, View] = {}
        self._places: dict[tuple[int, int, str], int] = {}
        self._links: dict[int, tuple[int, str]] = {}  # number of a symlink -> folder it was found in, snapshot name
        self._link_numbers: dict[tuple[int, str], int] = {}
        self._last_link = 0
        self._thinned_of: tuple[int, int] = (0, 0)  # what `_thinned_list` was made from
        self._thinned_list: list[Snapshot] = []

    def load(self) -> None:
        """Read the table of views."""
        self._counters.raise_to("view", FIRST_VIEW - 1)
        for row in self._database.rows("SELECT view, anchor, snapshot, door FROM views"):
            self._remember(View(*row))

    def _remember(self, view: View) -> None:
        self._views[view.number] = view
        self._places[view.anchor, view.snapshot, view.door] = view.number
        if len(self._views) > 2 * len(self._snapshots) + SPARE_VIEWS:
            self._forget_deleted()

    def _forget_deleted(self) -> None:
        for view in [view for view in self._views.values() if self._snapshots.by_number(view.snapshot) is None]:
            del self._views[view.number], self._places[view.anchor, view.snapshot, view.door]

    def is_anchor(self, folder: int) -> bool:
        """Whether the folder's `.snapshots` holds real past trees."""
        return folder == ROOT or self._areas.is_root(folder)

    def door_of(self, folder: int, name: bytes) -> int | None:
        """The number of the virtual folder that `name` opens in a live folder, if it is a door."""
        if name == SNAPSHOTS:
            return in_view(SNAPSHOTS_VIEW, folder)
        if name == PREVIOUS and folder == ROOT:
            return in_view(PREVIOUS_VIEW, folder)
        return None

    # --- views ---

    def epoch_of(self, view: int) -> Epoch:
        """The epoch that a view shows. Raises Stale once its snapshot is deleted."""
        return self.snapshot_of(view).epoch

    def snapshot_of(self, view: int) -> Snapshot:
        """The snapshot that a view shows. Raises Stale once it is deleted."""
        known = self._views.get(view)
        if known is not None:
            snapshot = self._snapshots.by_number(known.snapshot)
            if snapshot is not None:
                return snapshot
        raise Stale("the snapshot was deleted")

    def _view(self, anchor: int, snapshot: Snapshot, door: str) -> int:
        number = self._places.get((anchor, snapshot.number, door))
        if number is None:
            number = self._counters.next("view")
            with self._database.operation:
                self._database.write("INSERT INTO views VALUES (?, ?, ?, ?)", (number, anchor, snapshot.number, door))
            self._remember(View(number, anchor, snapshot.number, door))
        return number

    # --- virtual folders ---

    def lookup(self, door: int, name: bytes) -> int:
        """The inode number behind a name in a virtual folder. Raises NotFound."""
        folder = door & FILE_MASK
        if view_of(door) == PREVIOUS_VIEW:
            for snapshot in self._thinned():
                if snapshot.bare_name.encode() == name:
                    return in_view(self._view(ROOT, snapshot, "previous"), ROOT)
        else:
            found = self._snapshots.find(name)
            if found is not None:
                return self._behind(folder, found)
        raise NotFound("no such snapshot")

    def entries(self, door: int) -> list[Door]:
        """Everything in a virtual folder, oldest first."""
        if view_of(door) == PREVIOUS_VIEW:
            return [Door(s.number + FIRST_COOKIE, s.bare_name.encode(), s) for s in self._thinned()]
        return [Door(s.number + FIRST_COOKIE, s.name.encode(), s) for s in self._snapshots.all()]

    def behind(self, door: int, entry: Door) -> int:
        """The inode number behind an entry of a virtual folder; a view gets its number now. Raises Stale."""
        if self._snapshots.by_number(entry.snapshot.number) is None:
            raise Stale("the snapshot was deleted")
        if view_of(door) == PREVIOUS_VIEW:
            return in_view(self._view(ROOT, entry.snapshot, "previous"), ROOT)
        return self._behind(door & FILE_MASK, entry.snapshot)

    def _behind(self, folder: int, snapshot: Snapshot) -> int:
        if self.is_anchor(folder):
            return in_view(self._view(folder, snapshot, "snapshots"), self._then(folder, snapshot.epoch))
        key = (folder, snapshot.name)
        number = self._link_numbers.get(key)
        if number is None:
            self._last_link += 1
            number = in_view(LINKS_VIEW, self._last_link)
            self._links[number] = key
            self._link_numbers[key] = number
            if len(self._links) > MOST_LINKS:  # whoever still has the oldest is told that it is stale, and asks anew
                del self._link_numbers[self._links.pop(next(iter(self._links)))]
        return number

    def _then(self, anchor: int, epoch: Epoch) -> int:
        """What an anchor was at an epoch: itself; or what stood in its place before a restore put it there.

        Raises Stale if it was not there yet.
        """
        query = self._database.rows
        if inode_as_of(query, anchor, epoch) is not None:
            return anchor
        steps: list[bytes] = []
        folder = anchor
        while folder != ROOT:
            folder, step = self._namespace.parents(folder)[0]
            steps.append(step)
        then: int | None = ROOT
        for step in reversed(steps):
            then = entry_as_of(query, then, step, epoch) if then is not None else None
        if then is None:
            raise Stale("the folder was not there then")
        return then

    def _thinned(self) -> list[Snapshot]:
        newest = self._snapshots.newest()
        present = (len(self._snapshots), newest.number if newest is not None else 0)
        if present != self._thinned_of:  # numbers only grow, so whatever comes or goes changes one of the two
            self._thinned_of, self._thinned_list = present, thin(self._snapshots.all(), MOST_PREVIOUS)
        return self._thinned_list

    def link_target(self, link: int) -> bytes:
        """Where a symlink in a virtual folder points: into the nearest anchor's `.snapshots`, by the folder's present
        path.
        """
        if link not in self._links:
            raise Stale("the link is gone")
        folder, name = self._links[link]
        below: list[bytes] = []
        while not self.is_anchor(folder):
            parents = self._namespace.parents(folder)
            if not parents:
                raise NotFound("the folder was removed")
            folder, step = parents[0]
            below.append(step)
        # From inside `.snapshots` itself: one step up to its folder, and one for each folder below the anchor.
        return b"/".join([b".."] * (len(below) + 1) + [SNAPSHOTS, name.encode(), *reversed(below)])


def thin(snapshots: list[Snapshot], most: int) -> list[Snapshot]:
    """At most `most` of the snapshots (oldest first), thinned evenly over their age; the newest always stays. Pure.

    Age is measured on a logarithmic scale, as people do: many of the last hours, few of last year.
    """
    kept = list(snapshots)
    if len(kept) <= most:
        return kept
    newest = kept[-1].created_ns
    ages = [max(0, newest - snapshot.created_ns) + 10**9 for snapshot in kept]  # not so where a clock was set back
    per_log = (most - 1) / _log(max(ages))
    chosen: dict[int, Snapshot] = {}
    for snapshot, age in zip(kept, ages, strict=True):
        chosen[int(_log(age) * per_log)] = snapshot
    taken = {snapshot.epoch for snapshot in chosen.values()}
    spare = [snapshot for snapshot in reversed(kept) if snapshot.epoch not in taken]
    return sorted([*chosen.values(), *spare[: most - len(chosen)]], key=lambda snapshot: snapshot.epoch)


def _log(age_ns: int) -> float:
    return math.log(age_ns / 10**9 + 1)
