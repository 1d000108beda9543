"""Lines of the table: what the issue asks, what was measured, and whether that is enough."""

import datetime
import os
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One claim. `bar` is the most that is allowed, in the unit of the figure; None = told, not judged."""

    claim: str
    figure: float
    unit: str = ""
    bar: float | None = None
    said: str = ""

    @property
    def is_met(self) -> bool:
        return self.bar is None or self.figure <= self.bar

    def __str__(self) -> str:
        figure = f"{self.figure:,.0f}" if abs(self.figure) >= 100 else f"{self.figure:.3g}"
        asked = "" if self.bar is None else f"≤ {self.bar:g} {self.unit}".strip()
        verdict = "" if self.bar is None else ("met" if self.is_met else "**missed**")
        told = f" ({self.said})" if self.said else ""
        return f"| {self.claim} | {figure} {self.unit}".rstrip() + f"{told} | {asked} | {verdict} |"


def table(lines: Iterable[Line]) -> str:
    """All lines in Markdown."""
    return "\n".join(["| claim | figure | asked | |", "|---|---|---|---|", *map(str, lines)])


def conditions(load: float) -> str:
    """What the figures hold for, in one sentence."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores, load {load:.1f} before the run."
