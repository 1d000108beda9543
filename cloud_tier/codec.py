"""What is inside a sealed piece: one byte that says how, then the bytes as they are or a zstd frame.

Bytes that do not compress (photographs, videos, archives, encrypted files) are recognised by three samples, at a
fraction of what compressing them in vain would cost, and left alone. A frame says how long it is unpacked, and that is
checked before anything is unpacked: a bad frame cannot fill the memory.
"""

import threading

import zstandard

from cloud_tier.object_store import Buffer

RAW = 0  # on disk: do not change
ZSTD = 1

LEVEL = 3
SAMPLE_BYTES = 4096
WORTH = 0.97
"""Compressed to more than this share, it is left as it is: reading it back costs time, too."""


class _Zstd(threading.local):
    """zstd's contexts are not for several threads at once, and making one costs more than a small block."""

    def __init__(self) -> None:
        self.quick = zstandard.ZstdCompressor(level=1)
        self.thorough = zstandard.ZstdCompressor(level=LEVEL)
        self.unpack = zstandard.ZstdDecompressor()


_zstd = _Zstd()


class Undecodable(Exception):
    """Not something that `encode` made. Whoever knows what it is says so in words."""


def encode(data: Buffer) -> bytes:
    """The inside of a piece that holds these bytes."""
    if _may_compress(data):
        packed = _zstd.thorough.compress(data)
        if len(packed) < len(data) * WORTH:
            return b"".join((bytes((ZSTD,)), packed))
    return b"".join((bytes((RAW,)), data))


def decode(inside: bytes, most_bytes: int) -> bytes | memoryview:
    """The bytes that `encode` was given, `most_bytes` at most. Raises Undecodable."""
    how = inside[0] if inside else None
    body = memoryview(inside)[1:]
    if how == RAW and len(body) <= most_bytes:
        return body
    if how != ZSTD:
        raise Undecodable(f"unknown or too long: {how}")
    try:
        if not 0 <= zstandard.frame_content_size(body) <= most_bytes:
            raise Undecodable("unpacked it would be too long")
        return _zstd.unpack.decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Undecodable(str(error)) from error


def _may_compress(data: Buffer) -> bool:
    if len(data) <= 16 * SAMPLE_BYTES:
        return True
    middle, end = len(data) // 2, len(data) - SAMPLE_BYTES
    sample = b"".join(data[at : at + SAMPLE_BYTES] for at in (0, middle, end))
    return len(_zstd.quick.compress(sample)) < len(sample) * WORTH
