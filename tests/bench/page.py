"""The page on performance: measured tables stand between markers, so that a run can put its own in their place."""

import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def write_section(part: str, text: str) -> None:
    """Put the text between the markers of `part`. Ends the program when the page has none."""
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{PAGE.name} lacks the markers {begin} and {end}")
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")
