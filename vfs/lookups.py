"""How often the kernel was given each inode number, and has not given it back: for a million of them in two megabytes.

One byte a number, in pages of 256, because numbers that are looked up together lie together; what a byte cannot hold
is kept beside. A dict of numbers needs some 130 bytes for each, which a listing of a large drive pays for every file.
"""

PAGE, MOST = 256, 255
_EMPTY = bytes(PAGE)


class Lookups:
    """The counts, all of them above zero."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._more: dict[int, int] = {}  # what is above MOST

    def __contains__(self, ino: int) -> bool:
        page = self._pages.get(ino >> 8)
        return page is not None and page[ino & 255] > 0

    def add(self, ino: int) -> None:
        """Once more."""
        page = self._pages.get(ino >> 8)
        if page is None:
            page = self._pages[ino >> 8] = bytearray(PAGE)
        count = page[ino & 255]
        if count < MOST:
            page[ino & 255] = count + 1
        else:
            self._more[ino] = self._more.get(ino, 0) + 1

    def take(self, ino: int, count: int) -> bool:
        """So many were given back, or more than there are. Whether none is left."""
        page = self._pages.get(ino >> 8)
        if page is None:
            return True
        left = max(0, page[ino & 255] + self._more.pop(ino, 0) - count)
        page[ino & 255] = min(left, MOST)
        if left > MOST:
            self._more[ino] = left - MOST
        if not left and page == _EMPTY:
            del self._pages[ino >> 8]
        return not left
