"""What a store that is 40 ms away costs: the rates of a stream beside those without, and the first byte of cold files.

By turns, because the machine is not always equally fast. The latency comes before each answer of the proxy, on as many
connections as the drive likes to have.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from bench.cloud_kit import MIB, drop, flush, noise, read_all, read_at
from kit.fault_proxy import FaultProxy
from kit.mounted import MountedDrive

LATENCY_S = 0.04
ROUNDS = 3
FILES = 12


class Far(NamedTuple):
    """Medians: rates as shares of those without latency, and milliseconds."""

    up: float
    down: float
    first_byte_ms: float


def far(drive: MountedDrive, proxy: FaultProxy, size: int) -> Far:
    """Measure, with streams of `size` bytes; the drive's store is behind the proxy."""
    up, down = list[float](), list[float]()
    for turn in range(ROUNDS):
        took = {latency_s: _stream(drive, proxy, latency_s, size, turn) for latency_s in (0.0, LATENCY_S)}
        up.append(took[0.0][0] / took[LATENCY_S][0])
        down.append(took[0.0][1] / took[LATENCY_S][1])
    return Far(statistics.median(up), statistics.median(down), _first_byte_ms(drive, proxy))


def _stream(drive: MountedDrive, proxy: FaultProxy, latency_s: float, size: int, turn: int) -> tuple[float, float]:
    """Seconds until a new stream is in the store, and until it has been read cold."""
    proxy.latency_s = latency_s
    path = drive.mount / f"far-{turn}-{latency_s}"

    def write() -> None:
        path.write_bytes(data)
        flush(drive)

    data = noise(hash((turn, latency_s)), size)
    up = seconds(write)
    drop(drive)
    return up, seconds(lambda: read_all(path))


def _first_byte_ms(drive: MountedDrive, proxy: FaultProxy) -> float:
    paths = [drive.mount / f"first-{number}" for number in range(FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(noise(number, 8 * MIB))
    flush(drive)
    proxy.latency_s = LATENCY_S
    took = []
    for path in paths:
        drop(drive)
        took.append(1e3 * seconds(lambda path=path: read_at(path, 0, 4096)))  # type: ignore[misc]
    proxy.latency_s = 0.0
    return statistics.median(took)


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
