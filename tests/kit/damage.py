"""What a bad disk does: bits that are not what they were."""

import os
from pathlib import Path

from cachefs.blocks import Block


def flip_bit(path: Path, byte: int, bit: int = 0) -> None:
    """Turn one bit of a file over; the page cache has it as well."""
    fd = os.open(path, os.O_RDWR)
    try:
        old = os.pread(fd, 1, byte)
        os.pwrite(fd, bytes((old[0] ^ 1 << bit,)), byte)
    finally:
        os.close(fd)


def segment_of(state: Path, block: Block) -> Path:
    """The file in which a block lies."""
    return state / "segments" / f"{block.segment.number:010d}.seg"


def flip(state: Path, block: Block, byte: int, bit: int = 0) -> None:
    """Turn one bit of a block over."""
    flip_bit(segment_of(state, block), block.offset + byte, bit)
