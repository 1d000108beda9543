"""What the documents say is so: tables and columns, rules, decisions, links, paths, and the examples, which are run."""

import re
import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from kit.drive_builder import DriveBuilder

from appliance.config_keys import KEYS
from appliance.exit_codes import ExitCode
from cachefs.disk import RealDisk
from cachefs.intent_log import BATCH, MARK, STATEMENT, IntentLog, read_records
from vfs.check import RULES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
HEADINGS = ["Context", "Decision", "Alternatives", "Price"]
NOT_THERE = {"tests/ui", "tests/vfs/__init__.py"}
"""Files that a rule speaks of before they exist, or because they must not."""

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:agent|appliance|cachefs|cloud_tier|docs|tests|ui|vfs)/[\w./*-]+)(?:::(\w+))?`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def schema() -> dict[str, list[str]]:
    """The columns of every table of the drive, in order."""
    connection = sqlite3.connect(":memory:")
    for package in ("cachefs", "vfs"):
        connection.executescript((files(package) / "schema.sql").read_text())
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: [row[1] for row in connection.execute(f"PRAGMA table_xinfo({table})")] for table in tables}
    connection.close()
    return found


def documented_tables() -> dict[str, list[str]]:
    """For each heading of `docs/format.md` that is a table's name, the columns in the first cells below it."""
    found: dict[str, list[str]] = {}
    for section in (DOCS / "format.md").read_text().split("\n### ")[1:]:
        heading, _, body = section.partition("\n")
        if re.fullmatch(r"`\w+`", heading):
            found[heading.strip("`")] = re.findall(r"^\| `(\w+)` \|", body.partition("\n## ")[0], re.MULTILINE)
    return found


def test_every_table_and_column_is_in_the_format_and_no_other() -> None:
    said, true = documented_tables(), schema()
    assert set(said) == set(true)
    for table, columns in true.items():
        if table.endswith("_history"):
            assert said[table] == [column for column in ("until", "fork") if column in columns]
            assert set(columns) == {*said[table], *true[table.removesuffix("_history")]}
        else:
            assert said[table] == columns, table


def test_every_rule_of_the_check_is_in_the_invariants_and_no_other() -> None:
    page = (DOCS / "invariants.md").read_text()
    said = re.findall(r"^\| `([^`]+)` \|", page.partition("\n## The rules of the check")[2], re.MULTILINE)
    assert said == ["database", *dict.fromkeys(rule.name for rule in RULES)]


def test_every_invariant_has_its_number_and_a_status() -> None:
    page = (DOCS / "invariants.md").read_text()
    rows = re.findall(r"^\| I(\d+) \| .+ \| (holds|in part|not yet)\b.* \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 17))


def test_every_key_and_every_exit_code_is_on_some_page() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert [f"[{table}] {key}" for table, keys in KEYS.items() for key in keys if f"[{table}] {key}" not in text] == []
    assert [code.name for code in ExitCode if f"| {code.value} | {code.name.lower()} |" not in text] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [page.name[:5] for page in DECISIONS] == [f"{number:04d}-" for number in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_decision_has_its_four_parts_and_stays_short(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert lines[0].startswith(f"# {page.name[:4]} ")
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS
    assert 20 <= len(lines) <= 50


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_named_files_are_there(page: Path) -> None:
    text = page.read_text()
    for target in _LINK.findall(text):
        if not re.match(r"\w+:", target):
            assert broken_link(page, target) is None
    assert [path for path, test in _PATH.findall(text) if not is_there(path, test)] == []


def broken_link(page: Path, target: str) -> str | None:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    if not file.exists():
        return f"{target}: no such file"
    if anchor and anchor not in {slug(heading) for heading in re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)}:
        return f"{target}: no such heading"
    return None


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def is_there(path: str, test: str) -> bool:
    if path in NOT_THERE:
        return True
    if not list(ROOT.glob(path)):
        return False
    return not test or f"def {test}(" in (ROOT / path).read_text()


def test_a_broken_link_and_a_missing_file_are_found() -> None:
    assert broken_link(DOCS / "cli.md", "nowhere.md") is not None
    assert broken_link(DOCS / "cli.md", "protocol.md#nothing-of-that-name") is not None
    assert broken_link(DOCS / "cli.md", "protocol.md#who-asks") is None
    assert not is_there("vfs/nowhere.py", "")
    assert not is_there("tests/architecture/test_documents.py", "test_of_another_name")


# --- the examples of format.md ---

COLUMNS = {
    "clock": "epoch, newest_kept",
    "snapshots": "snapshot, epoch, state, name",
    "inodes": "ino, since, nlink, size, mapped, content, next_cookie",
    "inodes_history": "ino, until, since, nlink, size, mapped, content, next_cookie",
    "dentries": "parent, name, since, ino, cookie",
    "dentries_history": "parent, name, until, since, ino, cookie",
    "extents": "content, start, since, length, block, offset",
    "extents_history": "content, start, until, since, length, block, offset",
    "gone_contents": "content, gone, is_sifted",
    "blocks": "block, length, born, shared",
    "residency": "block, segment, offset, capacity",
    "segments": "segment, family, bump, live",
    "free_queue": "entry, segment, offset, length",
}


class Watch:
    """Writes down which rows came (+) and went (-) since it was last asked."""

    def __init__(self, built: DriveBuilder) -> None:
        self._built = built
        self._seen = self._rows()

    def _rows(self) -> dict[str, list[Any]]:
        self._built.close_point()
        return {table: self._built.drive.database.rows(f"SELECT {c} FROM {table}") for table, c in COLUMNS.items()}

    def step(self, title: str) -> str:
        before, self._seen = self._seen, self._rows()
        lines = [title]
        for table, rows in self._seen.items():
            for sign, some, others in (("-", before[table], rows), ("+", rows, before[table])):
                lines += [f"  {sign} {table:16}{shown(row)}" for row in some if row not in others]
        return "\n".join(lines)


def shown(row: tuple[Any, ...]) -> str:
    values = (value.decode() if isinstance(value, bytes) else value for value in row)
    return ", ".join("NULL" if value is None else str(value) for value in values)


@pytest.mark.usefixtures("autojump_clock")
async def test_rows_of_the_worked_example_are_those_of_a_real_run(tmp_path: Path) -> None:
    page = (DOCS / "format.md").read_text()
    async with DriveBuilder(tmp_path / "state") as built:
        watch = Watch(built)
        await built.write("plan.txt", b"a" * 10_000)
        assert watch.step("1 plan.txt is made, with 10,000 bytes") in page
        snapshot = await built.snapshot("monday")
        assert watch.step("2 a snapshot is made") in page
        await built.write("plan.txt", b"NEWS", 5000)
        assert watch.step("3 four bytes are overwritten, at 5000") in page
        await built.write("plan.txt", b"MORE", 5002)
        assert watch.step("4 four more, at 5002") in page
        built.drive.snapshots.delete(snapshot.name)
        assert watch.step("5 the snapshot is deleted") in page
        await built.drive.reaper.finish()
        assert watch.step("6 the reaper has passed") in page
        await built.unlink("plan.txt")
        assert watch.step("7 plan.txt is removed") in page
        await built.cut()
        await built.cut()  # the first makes the freed ranges durable, and then they are punched
        assert watch.step("8 a cut is durable") in page


def test_bytes_of_the_worked_intent_log_are_those_of_a_real_one(tmp_path: Path) -> None:
    log = IntentLog(RealDisk(), tmp_path, 7, bytes(range(16)))
    statement = "UPDATE inodes SET size = ? WHERE ino = ?"
    log.append([(statement, (5, 16))])
    synced_from = log.length
    log.append([(statement, (9, 16))])
    log.mark(synced_from)
    log.close()
    data = log.path.read_bytes()[: log.length]
    dump = "\n".join(f"{at:04x}  {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16))
    assert dump in (DOCS / "format.md").read_text()
    _, records = read_records(data, 7)
    assert [record.kind for record in records] == [STATEMENT, BATCH, BATCH, MARK]
    assert synced_from == records[1].end == 103
