"""Open files and folders: what a handle number stands for."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vfs.errors import BadHandle

T = TypeVar("T")


@dataclass
class Handles(Generic[T]):
    """Numbers for open things. A number is not used again while the drive is mounted."""

    _open: dict[int, T] = field(default_factory=dict)
    _last: int = 0

    def add(self, thing: T) -> int:
        """Give an open thing a number."""
        self._last += 1
        self._open[self._last] = thing
        return self._last

    def __getitem__(self, number: int) -> T:
        try:
            return self._open[number]
        except KeyError:
            raise BadHandle(f"handle {number} is not open") from None

    def pop(self, number: int) -> T | None:
        """Close: forget the number and return what it stood for."""
        return self._open.pop(number, None)

    def all(self) -> list[T]:
        """Everything that is open."""
        return list(self._open.values())
