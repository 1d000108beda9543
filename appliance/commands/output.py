"""How commands print: JSON for programs, words and tables for people. Rich is loaded only when a table is drawn."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel


def print_json(value: BaseModel | Sequence[BaseModel] | dict[str, Any]) -> None:
    """One JSON value on stdout; pure ASCII, so that a name that is not UTF-8 survives as an escape."""
    if isinstance(value, BaseModel):
        plain: Any = value.model_dump(mode="json")
    elif isinstance(value, dict):
        plain = value
    else:
        plain = [item.model_dump(mode="json") for item in value]
    print(json.dumps(plain))


def print_answer(value: BaseModel | dict[str, Any], as_json: bool, sentence: str) -> None:
    """What was done: as JSON, or in one sentence."""
    if as_json:
        print_json(value)
    else:
        print(sentence)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str) -> None:
    """A table, or the sentence `nothing` when there are no rows. Plain columns where stdout is not a terminal."""
    lines = list(rows)
    if not lines:
        print(nothing)
    elif not sys.stdout.isatty():
        for line in lines:
            print("\t".join(line))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headings, box=None, header_style="bold", pad_edge=False)
        for line in lines:
            table.add_row(*(Text(printable(cell)) for cell in line))
        Console().print(table)


def printable(name: str) -> str:
    """A name for a person's eyes: what is not UTF-8, or moves the cursor, becomes an escape."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
