"""Forks: how rows that were true in [since, until) are found by an epoch, without looking at the others.

The fork of a row is the number in [since, until) that most twos divide. A row that was true in epoch e has one of some
thirty forks: e itself, or a number met on the way to e when all epochs are halved again and again. So "what was true in
e" is one seek for each of these in an index that begins with the fork, however many rows other epochs have left behind.
(The relational interval tree of Kriegel, Pötke and Seidl.)

Two states of one name, or of one byte, are never true in the same epoch. So a fork has at most as many rows of a folder
as the folder had names in that epoch, and a question about e costs what the folder was around then, not what it has
been since. The column is computed by SQLite (`schema.sql`) and stored in the indexes only.
"""

import json

LEVELS = 32  # epochs stay below 2^32; as in `schema.sql`


def forks(epoch: int) -> list[int]:
    """The forks that a row can have which was true in `epoch`."""
    found = [epoch]
    for level in range(LEVELS):
        fork = epoch >> level + 1 << level + 1 | 1 << level
        if fork != epoch:
            found.append(fork)
    return found if epoch >> LEVELS == 0 else []  # later than any past row


def fork_list(epoch: int) -> str:
    """`forks` as a parameter for json_each."""
    return json.dumps(forks(epoch))


def fork_of(since: int, until: int) -> int:
    """The fork of a row, as the schema computes it."""
    fork = until - 1
    for level in range(1, LEVELS):
        if until - 1 >> level << level < since:
            break
        fork = until - 1 >> level << level
    return fork
