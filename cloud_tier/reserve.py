"""How much of a disk is left free, whoever fills it: the drive's state, or a store in a folder.

A drive whose state finds no room for a row cannot even be tidied up, and its store may lie on the same disk.
"""

SHARE = 0.05
LEAST_BYTES, MOST_BYTES = 32 << 20, 2 << 30


def reserve_bytes(disk_bytes: int) -> int:
    """The reserve of a disk of that size."""
    return min(max(int(disk_bytes * SHARE), LEAST_BYTES), MOST_BYTES)
