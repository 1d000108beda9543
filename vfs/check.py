"""The invariants, run: every rule the code leans on, as a query whose rows are violations.

`check` reads only. It wants rows that are written out (a running core flushes first). `repair` puts right what can be
derived from other rows, and nothing else: it never removes a name, a byte or a state.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cachefs.database import Database
from cachefs.errors import RowsDamaged
from vfs.ids import ATTIC, ROOT, WORKSHOP

MOST_LISTED = 100  # violations listed of one rule


class Rule(NamedTuple):
    """One invariant. `violations` selects (inode number or NULL, a number for the message); `repair` mends them."""

    name: str
    sentence: str
    violations: str
    repair: str | None = None


class Finding(NamedTuple):
    """One violation."""

    rule: str
    message: str
    path: bytes | None
    is_repaired: bool


_FOLDER = "(i.mode & 61440) = 16384"
_NAMES = f"(SELECT count(*) FROM dentries d WHERE d.ino = i.ino) + (i.ino IN ({ROOT}, {WORKSHOP}, {ATTIC}))"
_SUBFOLDERS = (
    "(SELECT count(*) FROM dentries d JOIN inodes c ON c.ino = d.ino WHERE d.parent = i.ino AND (c.mode"
    " & 61440) = 16384)"
)
_USED = "SELECT block FROM extents UNION ALL SELECT block FROM extents_history"

RULES = [
    Rule("names", "a name leads to inode {1}, which does not exist",
         "SELECT d.parent, d.ino FROM dentries d LEFT JOIN inodes i ON i.ino = d.ino WHERE i.ino IS NULL"),
    Rule("names", "a name lies in inode {1}, which is no folder",
         "SELECT NULL, d.parent FROM dentries d LEFT JOIN inodes i ON i.ino = d.parent"
         f" WHERE i.ino IS NULL OR NOT {_FOLDER} GROUP BY d.parent"),
    Rule("link counts", "the link count of the file is wrong; it has {1} names",
         f"SELECT i.ino, {_NAMES} AS names FROM inodes i WHERE NOT {_FOLDER} AND i.nlink != names",
         f"UPDATE inodes AS i SET nlink = {_NAMES} WHERE NOT {_FOLDER} AND i.nlink != {_NAMES}"),
    Rule("link counts", "the link count of the folder is wrong; {1} folders lie in it",
         f"SELECT i.ino, {_SUBFOLDERS} AS inside FROM inodes i WHERE {_FOLDER} AND i.nlink != 2 + inside AND"
         " i.nlink != 0",
         f"UPDATE inodes AS i SET nlink = 2 + {_SUBFOLDERS} WHERE {_FOLDER} AND i.nlink != 0"),
    Rule("folders have one place", "the folder has {1} places",
         f"SELECT i.ino, {_NAMES} AS places FROM inodes i WHERE {_FOLDER} AND i.nlink != 0 AND places != 1"),
    Rule("cookies", "an entry's place in listings is beyond the folder's next one",
         "SELECT d.parent, d.cookie FROM dentries d JOIN inodes i ON i.ino = d.parent WHERE d.cookie >= i.next_cookie"),
    Rule("I3 extents", "a range of the file points to block {1}, which does not exist",
         "SELECT i.ino, e.block FROM extents e LEFT JOIN blocks b ON b.block = e.block LEFT JOIN inodes i ON"
         " i.content = e.content"
         " WHERE b.block IS NULL"),
    Rule("I3 extents", "a past range points to block {1}, which does not exist",
         "SELECT NULL, e.block FROM extents_history e LEFT JOIN blocks b ON b.block = e.block WHERE b.block IS NULL"),
    Rule("I3 extents", "a range of the file points beyond the end of block {1}",
         "SELECT i.ino, e.block FROM extents e JOIN blocks b ON b.block = e.block LEFT JOIN inodes i ON"
         " i.content = e.content"
         " WHERE e.offset < 0 OR e.length <= 0 OR e.offset + e.length > b.length"),
    Rule("I3 extents", "a past range points beyond the end of block {1}",
         "SELECT NULL, e.block FROM extents_history e JOIN blocks b ON b.block = e.block"
         " WHERE e.offset < 0 OR e.length <= 0 OR e.offset + e.length > b.length"),
    Rule("extents do not overlap", "two ranges of the file overlap at byte {1}",
         "SELECT i.ino, e.next FROM (SELECT content, start, length, lead(start) OVER (PARTITION BY content"
         " ORDER BY start) AS next"
         " FROM extents) e LEFT JOIN inodes i ON i.content = e.content WHERE e.start + e.length > e.next"),
    Rule("extents stay in their window", "a range of the file crosses a 64 MiB line at byte {1}",
         "SELECT i.ino, e.start FROM extents e LEFT JOIN inodes i ON i.content = e.content"
         " WHERE e.start / 67108864 != (e.start + e.length - 1) / 67108864"),
    Rule("contents have one owner", "content {1} belongs to several inodes",
         "SELECT min(ino), content FROM inodes WHERE content IS NOT NULL GROUP BY content HAVING count(*) > 1"),
    Rule("contents have one owner", "content {1} belongs to nobody",
         "SELECT DISTINCT NULL, content FROM extents WHERE content NOT IN (SELECT content FROM inodes WHERE"
         " content IS NOT NULL)"
         " AND content NOT IN (SELECT content FROM gone_contents)"),
    Rule("contents have one owner", "content {1} was given up and is still in use",
         "SELECT i.ino, content FROM inodes i JOIN gone_contents USING (content)"),
    Rule("sizes", "ranges of the file cover {1} bytes, and its row says otherwise",
         "SELECT i.ino, total(e.length) AS covered FROM inodes i LEFT JOIN extents e ON e.content = i.content"
         " GROUP BY i.ino"
         " HAVING i.mapped != covered",
         "UPDATE inodes AS i SET mapped = CAST((SELECT total(e.length) FROM extents e WHERE e.content ="
         " i.content) AS INTEGER)"
         " WHERE mapped != (SELECT total(e.length) FROM extents e WHERE e.content = i.content)"),
    Rule("sizes", "a range of the file ends at byte {1}, beyond the file",
         "SELECT i.ino, max(e.start + e.length) AS last FROM inodes i JOIN extents e ON e.content = i.content"
         " GROUP BY i.ino"
         " HAVING last > i.size"),
    Rule("blocks are used", "no range points to block {1}",
         f"SELECT NULL, block FROM blocks WHERE block NOT IN ({_USED})"),
    Rule("blocks are held", "block {1} is neither held here nor in a pack",
         "SELECT NULL, block FROM blocks WHERE block NOT IN (SELECT block FROM residency)"
         " AND block NOT IN (SELECT block FROM catalog)"),
    Rule("places", "the place of block {1} belongs to no block",
         "SELECT NULL, block FROM residency WHERE block NOT IN (SELECT block FROM blocks)"),
    Rule("places", "block {1} does not fit into its place",
         "SELECT NULL, block FROM blocks JOIN residency USING (block) WHERE length > capacity OR"
         " block_id IS NULL AND (offset % 4096 OR capacity % 4096)"),
    Rule("places", "a page of segment {1} has another number of blocks than its row says",
         "SELECT NULL, segment FROM shared_pages p WHERE users < 2 OR users != (SELECT count(*) FROM residency r"
         " WHERE r.segment = p.segment AND r.offset < (p.page + 1) * 4096 AND r.offset + r.capacity > p.page * 4096)"),
    Rule("places", "two blocks lie in one page of segment {1}, and no row says so",
         "SELECT NULL, segment FROM (SELECT segment, offset, lag(offset + capacity) OVER (PARTITION BY segment ORDER BY"
         " offset) AS before FROM residency) r WHERE before > offset / 4096 * 4096 AND NOT EXISTS"
         " (SELECT 1 FROM shared_pages p WHERE p.segment = r.segment AND p.page = r.offset / 4096)"),
    Rule("I5 unsent", "block {1} is sealed, in no pack, and nobody will send it",
         "SELECT NULL, block FROM blocks WHERE block_id IS NOT NULL AND block NOT IN (SELECT block FROM unsent)"
         " AND block NOT IN (SELECT block FROM catalog)"),
    Rule("I5 unsent", "block {1} waits to be sent and is not held here, or not sealed",
         "SELECT NULL, block FROM unsent WHERE block NOT IN (SELECT block FROM residency) OR block NOT IN"
         " (SELECT block FROM blocks WHERE block_id IS NOT NULL)"),
    Rule("I8 catalog", "block {1} is said to be in a pack that is not in the store",
         "SELECT NULL, block FROM catalog c LEFT JOIN packs p USING (pack) WHERE p.state IS NOT 2 OR"
         " block NOT IN (SELECT block FROM blocks WHERE block_id IS NOT NULL)"),
    Rule("places", "block {1} lies beyond the end of its segment",
         "SELECT NULL, block FROM residency r LEFT JOIN segments s USING (segment) WHERE s.segment IS NULL OR"
         " offset + capacity > bump"),
    Rule("places", "the place of block {1} overlaps the next one",
         "SELECT NULL, block FROM (SELECT block, segment, offset + capacity AS last, lead(offset) OVER"
         " (PARTITION BY segment ORDER BY"
         " offset) AS next FROM residency) WHERE last > next"),
    Rule("I11 free queue", "bytes of block {1} wait to be punched",
         "SELECT NULL, block FROM residency r JOIN free_queue f ON f.segment = r.segment AND"
         " (f.length < 0 OR (f.offset < r.offset + r.capacity AND r.offset < f.offset + f.length))"),
    Rule("segments", "segment {1} counts its living places wrong",
         "SELECT NULL, segment FROM segments s WHERE live !="
         " (SELECT total(capacity) FROM residency r WHERE r.segment = s.segment)",
         "UPDATE segments AS s SET live = (SELECT CAST(total(capacity) AS INTEGER) FROM residency r WHERE"
         " r.segment = s.segment)"),
    Rule("history", "a past state of inode {1} is empty or overlaps the live one",
         "SELECT h.ino, h.ino FROM inodes_history h LEFT JOIN inodes i ON i.ino = h.ino WHERE h.since >="
         " h.until OR h.until > i.since"),
    Rule("history", "a past name in folder {1} is empty or overlaps the live one",
         "SELECT h.parent, h.parent FROM dentries_history h LEFT JOIN dentries d ON d.parent = h.parent AND"
         " d.name = h.name"
         " WHERE h.since >= h.until OR h.until > d.since"),
    Rule("history", "past states of inode {1} overlap",
         "SELECT ino, ino FROM (SELECT ino, until, lead(since) OVER (PARTITION BY ino ORDER BY until) AS next"
         " FROM inodes_history)"
         " WHERE until > next"),
    Rule("attributes", "inode {1} has attributes that do not exist",
         "SELECT ino, ino FROM (SELECT ino, xattr_set FROM inodes UNION ALL SELECT ino, xattr_set FROM inodes_history)"
         " WHERE xattr_set IS NOT NULL AND xattr_set NOT IN (SELECT xattr_set FROM xattr_sets)"),
    Rule("clock", "the newest kept epoch is not {1}",
         "SELECT NULL, (SELECT coalesce(max(epoch), 0) FROM snapshots WHERE state = 'kept') AS newest FROM clock"
         " WHERE newest_kept != newest OR newest_kept >= epoch"),
    Rule("counters", "inode {1} has a number that was not handed out yet",
         "SELECT ino, ino FROM inodes WHERE ino > max(15, (SELECT value FROM counters WHERE name = 'ino'))"),
    Rule("counters", "block {1} has a number that was not handed out yet",
         "SELECT NULL, block FROM blocks WHERE block > (SELECT coalesce(max(value), 0) FROM counters WHERE"
         " name = 'block')"),
    Rule("counters", "there are {1} files, and the tally says otherwise",
         f"SELECT NULL, (SELECT count(*) FROM inodes WHERE ino NOT IN ({WORKSHOP}, {ATTIC})) AS files FROM counters"
         " WHERE name = 'files' AND value != files",
         f"UPDATE counters SET value = (SELECT count(*) FROM inodes WHERE ino NOT IN ({WORKSHOP}, {ATTIC}))"
         " WHERE name = 'files'"),
]  # fmt: skip

COUNTED = (
    "inodes",
    "dentries",
    "extents",
    "blocks",
    "inodes_history",
    "dentries_history",
    "extents_history",
    "snapshots",
    "segments",
)


def check(
    database: Database, segments: Path | None = None, *, repair: bool = False
) -> tuple[list[Finding], dict[str, int]]:
    """Run every rule. Returns what does not hold, and how many rows of each kind were looked at."""
    try:
        said = [row[0] for row in database.rows("PRAGMA quick_check")]
    except RowsDamaged as error:
        said = [str(error)]
    if said != ["ok"]:  # rows of a broken file prove nothing
        return [Finding("database", f"SQLite says: {one}", None, False) for one in said], {}
    findings: list[Finding] = []
    for rule in RULES:
        findings += _run(database, rule, repair)
    if segments is not None:
        findings += _check_files(database, segments)
    return findings, {table: database.row(f"SELECT count(*) FROM {table}")[0] for table in COUNTED}


def _run(database: Database, rule: Rule, repair: bool) -> list[Finding]:
    rows = database.rows(f"{rule.violations} LIMIT {MOST_LISTED}")
    if rows and repair and rule.repair is not None:
        with database.operation:
            database.write(rule.repair)
        is_repaired = not database.rows(f"{rule.violations} LIMIT 1")
    else:
        is_repaired = False
    return [
        Finding(rule.name, rule.sentence.format(*row), path_of(database.row, row[0]) if row[0] else None, is_repaired)
        for row in rows
    ]


def _check_files(database: Database, segments: Path) -> list[Finding]:
    findings = []
    rows = database.rows(
        "SELECT segment, (SELECT max(offset + length) FROM residency JOIN blocks USING (block) WHERE segment"
        " = s.segment) FROM segments s"
    )
    for number, end in rows:
        path = segments / f"{number:010d}.seg"
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            if end is not None:
                findings.append(Finding("segments", f"the file of segment {number} is missing", None, False))
            continue
        if end is not None and size < end:
            findings.append(Finding("segments", f"the file of segment {number} ends before byte {end}", None, False))
    return findings


def path_of(row: Callable[[str, tuple[Any, ...]], Any], ino: int) -> bytes | None:
    """One path of a live inode from the root, or None if it has no name there."""
    names: list[bytes] = []
    while ino != ROOT:
        found = row("SELECT parent, name FROM dentries WHERE ino = ?", (ino,))
        if found is None or len(names) > 4096:
            return None
        ino, name = found
        names.append(name)
    return b"/".join(reversed(names))
