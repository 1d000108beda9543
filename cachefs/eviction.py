"""Placeholder until the policy lands."""

from collections import OrderedDict


class Eviction:
    def __init__(self) -> None:
        self._blocks: OrderedDict[int, int] = OrderedDict()

    def admitted(self, block: int, size_bytes: int, *, is_read: bool) -> None:
        self._blocks[block] = size_bytes

    def touched(self, block: int) -> None:
        if block in self._blocks:
            self._blocks.move_to_end(block)

    def gone(self, block: int) -> None:
        self._blocks.pop(block, None)

    def victims(self, size_bytes: int) -> list[int]:
        found = []
        for block, size in self._blocks.items():
            if size_bytes <= 0:
                break
            found.append(block)
            size_bytes -= size
        return found
