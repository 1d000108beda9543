"""A month of an office, made up from a seed: who reads and writes which blocks when, at about a hundredth of its size.

Twenty people. They reopen documents, the likelier the more recently they had them (Zipf over recency), look into the
folders of the projects they are in, save a quarter of what they open (a saved document is new blocks; the old ones stay
for the snapshots, and nobody reads them), work all day in mailboxes and one database with hot ranges, import photos
that are looked at once, copy a folder now and then, and at the end of the month write reports over files of past years.
At night, if wanted, a virus scanner, an index or a backup reads every live file once, folder by folder.

Nothing here is measured in a real office. What is made to be so: people come back to what they had, most of what lies
there is never wanted again, much is read exactly once, and a scan has no favourites.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

KIB, MIB = 1 << 10, 1 << 20
READ, WRITE, GONE, SCAN = range(4)
"""Somebody reads a block; it is new and in the store now; it is no more; the scanner reads it."""
PEOPLE, DAYS, WORKDAYS = 20, 28, 5
DAY_S, MORNING_S, EVENING_S, SCAN_S = 86_400.0, 9 * 3600.0, 18 * 3600.0, 2 * 3600.0
MOST_BLOCK_BYTES = MIB
REOPENED = 200
_RANKS = list(accumulate((rank + 1) ** -1.1 for rank in range(REOPENED)))


class Event(NamedTuple):
    at_s: float
    kind: int
    block: int
    size_bytes: int


Blocks = list[tuple[int, int]]
"""Numbers and lengths."""


@dataclass(eq=False)
class File:
    """A live file."""

    blocks: Blocks


@dataclass
class Person:
    projects: list[list[File]]
    mailbox: File
    recent: list[File] = field(default_factory=list)
    """Newest last."""


class Office:
    """What lies on the drive, and what happens to it."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._next = 0
        self._events: list[Event] = []
        self.projects = [[self._document() for _ in range(25)] for _ in range(120)]
        self.archive = [[self._document() for _ in range(40)] for _ in range(100)]
        self.albums = [[self._file(3 * MIB) for _ in range(40)] for _ in range(18)]
        self.database = self._file(250 * MIB)
        self.people = []
        for _ in range(PEOPLE):
            home = [self._document() for _ in range(60)]
            self.projects.append(home)
            person = Person([home, *self._chance.sample(self.projects[:120], 3)], self._file(60 * MIB))
            person.recent = self._chance.sample([file for project in person.projects for file in project], 60)
            self.people.append(person)

    def files(self) -> Iterator[File]:
        """Every live file, folder by folder."""
        for folder in (*self.projects, *self.archive, *self.albums):
            yield from folder
        yield self.database
        for person in self.people:
            yield person.mailbox

    def month(self, *, is_scanned: bool) -> list[Event]:
        """All events, by time. Of one office, once."""
        for day in range(DAYS):
            begin_s = day * DAY_S
            if is_scanned:
                self._scan(begin_s + SCAN_S)
            if day % 7 < WORKDAYS:
                self._work(begin_s, is_last_week=day >= DAYS - 7)
        return self._events

    def _scan(self, at_s: float) -> None:
        """A hundredth of a second for each block: the scanner is at work for minutes."""
        for file in self.files():
            for number, size in file.blocks:
                self._events.append(Event(at_s, SCAN, number, size))
                at_s += 0.01

    def _work(self, begin_s: float, *, is_last_week: bool) -> None:
        chance = self._chance
        day: list[tuple[float, int, Person]] = []
        weights = [60, 100, 100, 0.5, 0.12, 4 if is_last_week else 0]
        for person in self.people:
            if chance.random() < 0.2:
                person.projects[chance.randrange(1, 4)] = chance.choice(self.projects[:120])
            for work, often in enumerate(weights):
                times = int(often) + (chance.random() < often % 1)
                day += [(begin_s + chance.uniform(MORNING_S, EVENING_S), work, person) for _ in range(times)]
        day.sort(key=lambda each: each[0])
        works = (self._open, self._mail, self._book, self._copy, self._import, self._report)
        mark = len(self._events)
        for at_s, work, person in day:
            works[work](at_s, person)
        self._events[mark:] = sorted(self._events[mark:], key=lambda event: event.at_s)

    def _open(self, at_s: float, person: Person) -> None:
        chance, dice = self._chance, self._chance.random()
        recent = person.recent
        if dice < 0.65:
            ranks = min(len(recent), REOPENED)
            file = recent[-1 - min(chance.choices(range(ranks), cum_weights=_RANKS[:ranks])[0], ranks - 1)]
        elif dice < 0.9:
            file = chance.choice(chance.choice(person.projects))
        elif dice < 0.95:
            file = chance.choice(chance.choice(self.people).recent[-20:])
        else:  # a folder is looked through: of each file the beginning
            for seen in chance.choice(person.projects):
                self._read(at_s, seen.blocks[:1])
            return
        if file in recent:
            recent.remove(file)
        recent.append(file)
        del recent[:-REOPENED]
        self._read(at_s, file.blocks if len(file.blocks) < 16 else [*file.blocks[:2], *file.blocks[-2:]])
        if chance.random() < 0.25:
            draft = self._write(at_s, sum(size for _, size in file.blocks[:4]))
            self._events += [Event(at_s + 30, GONE, *block) for block in draft]  # the program's temporary file
            kept = file.blocks[: len(file.blocks) // 2] if len(file.blocks) > 3 else []
            file.blocks = kept + self._write(at_s, sum(size for _, size in file.blocks[len(kept) :]))

    def _mail(self, at_s: float, person: Person) -> None:
        self._hot_range(at_s, person.mailbox, 0.08, 0.02)

    def _book(self, at_s: float, person: Person) -> None:
        self._hot_range(at_s, self.database, 0.10, 0.05)

    def _hot_range(self, at_s: float, file: File, hot: float, changed: float) -> None:
        """Nine of ten reads go to the newest part; some of what is there is written anew."""
        count = len(file.blocks)
        newest = self._chance.random() < 0.9
        at = self._chance.randrange(int(count * (1 - hot)) if newest else 0, count)
        self._read(at_s, [file.blocks[at]])
        if self._chance.random() < changed:
            file.blocks[at] = (self._number(), file.blocks[at][1])
            self._events.append(Event(at_s, WRITE, *file.blocks[at]))

    def _copy(self, at_s: float, person: Person) -> None:
        for file in self._chance.choice(self.projects):
            self._read(at_s, file.blocks)

    def _import(self, at_s: float, person: Person) -> None:
        album = [File(self._write(at_s + number, 3 * MIB)) for number in range(60)]
        self.albums.append(album)
        for photo in album:
            self._read(at_s + self._chance.uniform(60, 1800), photo.blocks[:1])
            if self._chance.random() < 0.1:
                self._read(at_s + self._chance.uniform(1800, 7200), photo.blocks)

    def _report(self, at_s: float, person: Person) -> None:
        for file in self._chance.sample(self._chance.choice(self.archive), 5):
            self._read(at_s, file.blocks)
            if self._chance.random() < 0.3:
                self._read(at_s + self._chance.uniform(600, 7200), file.blocks)

    def _read(self, at_s: float, blocks: Blocks) -> None:
        self._events += [Event(at_s, READ, *block) for block in blocks]

    def _write(self, at_s: float, size_bytes: int) -> Blocks:
        blocks = self._blocks(size_bytes)
        self._events += [Event(at_s, WRITE, *block) for block in blocks]
        return blocks

    def _document(self) -> File:
        return self._file(min(int(self._chance.lognormvariate(11.4, 1.5)), 24 * MIB))  # half of them under 90 KB

    def _file(self, size_bytes: int) -> File:
        return File(self._blocks(size_bytes))

    def _blocks(self, size_bytes: int) -> Blocks:
        """New blocks of so many bytes in all, as long as cuts by content make them."""
        blocks: Blocks = []
        left = max(size_bytes, 1)
        while left:
            size = min(left, int(self._chance.triangular(128 * KIB, MOST_BLOCK_BYTES, 384 * KIB)))
            blocks.append((self._number(), size))
            left -= size
        return blocks

    def _number(self) -> int:
        self._next += 1
        return self._next
