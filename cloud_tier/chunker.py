"""Where the bytes of a file are cut into blocks: at places that their content chooses.

A cut depends on the 31 bytes before it and on the distance from the cut before, so after an insertion the cuts soon
fall at the same places again, and the blocks between them are known already. The scanner is FastCDC with normalised
chunking, as PyPI's `fastcdc` compiles it; its table is public, so who sees the lengths of a file's blocks may recognise
a file that he knows (docs/threat-model.md).

The parameters are fixed for the drive's life and stand in its header (`cloud_tier.drive_header`): other cuts make other
blocks, and nothing would be recognised any more. Why these: docs/decisions and docs/performance.md.

The scanner holds the GIL, for some 0.5 ms for each MiB that it looks at. Between two scans `Cutter` lets others run.
"""

import time
from dataclasses import dataclass

from fastcdc.fastcdc_cy import fastcdc_cy  # the compiled one: the package's own name falls back to Python silently

from cloud_tier.object_store import Buffer

KIB = 1 << 10
MOST_BLOCK_BYTES = 1 << 20
"""No sealed block is longer, whatever cut it."""


@dataclass(frozen=True, slots=True)
class ChunkerParameters:
    """Lengths of cuts in bytes: the least (but for the end of a file), what is aimed at, the most."""

    least_bytes: int = 128 * KIB
    average_bytes: int = 512 * KIB
    most_bytes: int = MOST_BLOCK_BYTES


class Cutter:
    """Cuts one run of bytes. What it answers does not depend on how the bytes were fed."""

    def __init__(self, parameters: ChunkerParameters) -> None:
        self._parameters = parameters
        self._pending = bytearray()  # after the last cut; always less than the longest block

    def feed(self, data: Buffer) -> list[int]:
        """The next bytes of the run. Returns the lengths of the blocks that are certain now, in order."""
        # A cut is certain once as many bytes are there as a block may have: the scanner looks at no more.
        most = self._parameters.most_bytes
        lengths: list[int] = []
        with memoryview(data) as rest:
            done = 0  # of `data`
            while len(self._pending) + len(rest) - done >= most:
                if self._pending:  # copied is only what a window begins with, and what is left at the end
                    window = self._pending + rest[done : done + most - len(self._pending)]
                    lengths.append(self._first(window))
                    done += max(0, lengths[-1] - len(self._pending))
                    del self._pending[: lengths[-1]]
                else:
                    with rest[done : done + most] as view:
                        lengths.append(self._first(view))
                    done += lengths[-1]
            self._pending += rest[done:]
        return lengths

    def finish(self) -> list[int]:
        """The run is over. Returns the lengths of the last blocks; the cutter begins anew."""
        lengths: list[int] = []
        while self._pending:
            lengths.append(self._first(self._pending))
            del self._pending[: lengths[-1]]
        return lengths

    def _first(self, window: Buffer) -> int:
        time.sleep(0)  # lets go of the GIL
        least, average, most = self._parameters.least_bytes, self._parameters.average_bytes, self._parameters.most_bytes
        length: int = next(fastcdc_cy(window, least, average, most)).length
        return length
