"""Whatever sequence of calls: the drive answers as a plain directory does.

Derandomized, so that a red run is red again. `SAME_AS_DIRECTORY_EXAMPLES` and `SAME_AS_DIRECTORY_STEPS` make it bigger,
`SAME_AS_DIRECTORY_SEARCH=1` makes it look elsewhere each time.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from mount.twin_machine import tree, twins

EXAMPLES = int(os.environ.get("SAME_AS_DIRECTORY_EXAMPLES", "100"))
STEPS = int(os.environ.get("SAME_AS_DIRECTORY_STEPS", "40"))
SEARCH = bool(os.environ.get("SAME_AS_DIRECTORY_SEARCH"))

PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    derandomize=not SEARCH,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def plain() -> Iterator[Path]:
    """A plain directory on the machine's own file system, to compare with."""
    with tempfile.TemporaryDirectory(prefix="plain-") as place:
        yield Path(place)


@pytest.mark.timeout(max(120, EXAMPLES * STEPS))
def test_same_calls_have_the_same_outcomes(folder: Path, plain: Path) -> None:
    run_state_machine_as_test(twins(folder, plain), settings=PROFILE)


def test_comparison_sees_what_differs(folder: Path, plain: Path) -> None:
    for root in (folder, plain):
        (root / "one").write_bytes(b"same")
        (root / "two").write_bytes(b"same")
    assert tree(folder) == tree(plain)
    differences = [
        lambda: (folder / "one").write_bytes(b"other"),
        lambda: (folder / "one").write_bytes(b"same") and os.chmod(folder / "one", 0o600),
        lambda: (os.chmod(folder / "one", 0o644), os.setxattr(folder / "one", "user.note", b"x")),
        lambda: (os.removexattr(folder / "one", "user.note"), os.replace(folder / "one", folder / "two")),
    ]
    for differ in differences:
        differ()
        assert tree(folder) != tree(plain)
