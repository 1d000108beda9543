"""The core keeps the memory of one block for the next: new pages cost as much as encryption does."""

import subprocess
import sys

COUNT_FAULTS = """
import resource, sys
from appliance.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [bytearray(4 << 20) for _ in range(8)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    ran = subprocess.run([sys.executable, "-c", COUNT_FAULTS, how], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def test_memory_of_blocks_is_used_again() -> None:
    assert faults("kept") < faults("given back") / 4
