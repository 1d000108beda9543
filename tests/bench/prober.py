"""Asks for a name that is not there, every other millisecond, until its stdin ends; then says how long that took.

A process of its own: a thread beside the work that is measured would wait for that one's interpreter as well.
"""

import json
import os
import select
import sys
import time

PERIOD_S = 0.002


def main() -> None:
    """Runs in the folder named by the argument."""
    place = sys.argv[1]
    took_ms: list[float] = []
    while not select.select([sys.stdin], [], [], PERIOD_S)[0]:
        began = time.perf_counter()
        os.path.lexists(os.path.join(place, f"missing-{os.getpid()}-{len(took_ms)}"))
        took_ms.append(1000 * (time.perf_counter() - began))
    json.dump(took_ms, sys.stdout)


if __name__ == "__main__":
    main()
