"""Memory that was freed is kept for the next block, up to a bound.

Blocks and packs pass through the core as buffers of 1 to 16 MiB. By default glibc gives each back to the kernel when it
is freed, and the next one comes page by page, zeroed: that cost a quarter of what it costs to seal and encode a MiB
(`docs/performance.md`). But each thread would have a heap of its own, and keep in it what only it needed once: so there
are two, and after rare large work they are trimmed. Other C libraries do as they please.
"""

import ctypes

KEPT_BYTES = 64 << 20  # most that a heap keeps free at its end
LARGE_BYTES = 32 << 20  # what is larger is given back at once; glibc takes no more here
HEAPS = 2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # as malloc.h numbers them


def keep_freed_memory() -> bool:
    """From now on. Whether the C library knows how."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_THRESHOLD, LARGE_BYTES), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_ARENA_MAX, HEAPS))
    return all(mallopt(name, value) for name, value in settings)


def give_back_freed_memory() -> None:
    """Let the kernel have what is free in the heaps. Blocks whoever needs memory meanwhile, for some milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
