"""What lies below a folder of the live tree, as blocks: for whoever warms, drops or pins it.

Queries over rows of the last cut, for a thread and a connection of its own. A file whose block another file shares has
it all the same; states of the past do not count.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from vfs.past import Query

_TREE = (
    "WITH RECURSIVE tree(ino) AS (SELECT value FROM json_each(?) UNION"
    " SELECT d.ino FROM tree CROSS JOIN dentries d ON d.parent = tree.ino),"
    " below(block) AS (SELECT DISTINCT e.block FROM tree CROSS JOIN inodes i ON i.ino = tree.ino"
    " CROSS JOIN extents e ON e.content = i.content)"
)
_PLACES = (
    f"{_TREE} SELECT block, blocks.length, coalesce(capacity, 0), pack, catalog.offset FROM below"
    " CROSS JOIN blocks USING (block) LEFT JOIN residency USING (block) LEFT JOIN catalog USING (block)"
    " ORDER BY pack, catalog.offset"
)


class Below(NamedTuple):
    """A block of the subtree. `held_bytes`: of its place here, 0 if it is not held.

    `pack` and `offset` say where in the store its record is; None if no pack has it.
    """

    block: int
    size_bytes: int
    held_bytes: int
    pack: int | None
    offset: int | None


def blocks_below(query: Query, inos: Iterable[int]) -> list[Below]:
    """Every block that a file at or below these inodes leads to, in the order of the catalog."""
    return [Below(*row) for row in query(_PLACES, (json.dumps(list(inos)),))]
