"""What is asked of the drive, row by row, and whether it was met.

A row is a workload, the subjects it makes sense for, and its floors: the least share of the null file system, of the
disk, and the least multiple of S3QL. Shares are taken within a round, where the subjects follow each other within
seconds, and the median of the rounds' shares is judged: machines drift more between rounds than subjects differ.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import workloads as w

Figures = Mapping[str, Sequence[float]]
"""For each subject, one figure a round."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `on` limits the subjects; `beside` names another row whose null and S3QL figures count."""

    title: str
    work: Callable[[Path, w.Sizes], float]
    of_null: float | None = None
    of_disk: float | None = None
    of_s3ql: float | None = None
    on: tuple[str, ...] | None = None
    beside: str | None = None
    before: Callable[[Path], None] | None = None
    wants_snapshot: bool = False


DURABLE = ("drive", "disk")  # the others answer fsync without syncing anything
MOUNTED = ("null", "drive", "S3QL", "rclone", "s3fs")  # on the disk itself, forgotten pages are cold

ROWS = (
    Row("create, 4 KiB each /s", w.create, of_null=0.65, of_s3ql=1.7),
    Row("stat, names forgotten /s", w.stat, of_null=0.7, of_s3ql=3.5),
    Row("walk and lstat /s", w.walk, of_null=0.45, of_s3ql=6),
    Row("read small files, disk cold /s", w.read_small, of_null=0.7, of_s3ql=4),
    Row("read small files, disk warm /s", w.read_small_warm, on=MOUNTED),
    Row("rename /s", w.rename, of_null=0.6, of_s3ql=3),
    Row("delete /s", w.delete, of_null=0.5, of_s3ql=10),
    Row("stream write and fsync, MB/s", w.stream_write, of_null=0.8, of_disk=0.8),
    Row("stream read, disk cold, MB/s", w.stream_read, of_null=0.8, of_disk=0.8),
    Row("4 KiB random write, fresh file /s", w.random_write, of_null=0.7, of_s3ql=2, before=w.plant),
    Row("4 KiB random read, disk cold /s", w.random_read, of_null=0.7, of_s3ql=3.5),
    Row("4 KiB random read, disk warm /s", w.random_read_warm, on=MOUNTED),
    Row(
        "4 KiB random write after a snapshot /s",
        w.random_write,
        of_null=0.35,
        on=("drive",),
        beside="4 KiB random write, fresh file /s",
        before=w.plant,
        wants_snapshot=True,
    ),
    Row("SQLite FULL, rollback, tx/s", w.sqlite_rollback, of_disk=0.5, on=DURABLE),
    Row("SQLite FULL, WAL, tx/s", w.sqlite_wal, of_disk=0.5, on=DURABLE),
)


@dataclass(frozen=True)
class Share:
    """The drive beside another subject: the median, the least and the largest of the rounds' shares, and the floor."""

    median: float
    least: float
    most: float
    floor: float | None

    @property
    def is_met(self) -> bool:
        return self.floor is None or self.median >= self.floor

    def __str__(self) -> str:
        text = f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"
        if self.floor is None:
            return text
        return f"{text} {'≥' if self.is_met else '**<**'} {self.floor:g}"


def share(own: Sequence[float], others: Sequence[float], floor: float | None) -> Share | None:
    """The drive's figures over another's, round by round. None where nothing was measured."""
    shares = [mine / theirs for mine, theirs in zip(own, others, strict=False) if theirs]
    return Share(statistics.median(shares), min(shares), max(shares), floor) if shares else None


def shares_of(row: Row, results: Mapping[str, Figures]) -> dict[Literal["null", "disk", "S3QL"], Share | None]:
    """The row's shares of the three subjects that floors speak of."""
    figures = results[row.title]
    other = results[row.beside] if row.beside else figures
    own = figures.get("drive", ())
    return {
        "null": share(own, other.get("null", ()), row.of_null),
        "disk": share(own, other.get("disk", ()), row.of_disk),
        "S3QL": share(own, other.get("S3QL", ()), row.of_s3ql),
    }


def verdict(row: Row, results: Mapping[str, Figures]) -> Literal["met", "missed", "not asked"]:
    """Whether every floor that could be judged was met. A drive that gave no figure has missed."""
    shares = shares_of(row, results)
    asked = [row.of_null, row.of_disk, row.of_s3ql]
    if asked == [None, None, None]:
        return "not asked"
    judged = [shares["null"], shares["disk"], *([shares["S3QL"]] if shares["S3QL"] else [])]
    needed = [found for found, floor in zip(judged, asked, strict=False) if floor is not None]
    return "met" if all(found is not None and found.is_met for found in needed) else "missed"


def table(results: Mapping[str, Figures], subjects: Sequence[str]) -> str:
    """All rows in Markdown: each subject's median, the drive's shares with their range and floor, and the verdict."""
    named: list[Literal["null", "disk", "S3QL"]] = ["null", "disk"]
    if "S3QL" in subjects:
        named.append("S3QL")
    heads = ["", *subjects, *(f"drive ÷ {name}" for name in named), ""]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * len(subjects) + "|---" * (len(named) + 1) + "|"]
    for row in ROWS:
        figures, shares = results[row.title], shares_of(row, results)
        cells = [f"{statistics.median(figures[name]):,.0f}" if figures.get(name) else "" for name in subjects]
        cells += [str(found) if (found := shares[name]) else "" for name in named]
        outcome = verdict(row, results)
        lines.append("| " + " | ".join([row.title, *cells, "" if outcome == "not asked" else outcome]) + " |")
    return "\n".join(lines)
