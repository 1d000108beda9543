"""One mounted drive per test module, one folder per test; or, as a control, any plain directory.

`DRIVE_UNDER_TEST=/some/dir` runs the same tests on that directory: what fails there is wrong in the suite, what fails
only on the drive is wrong in the product. Tests marked `needs_product` ask for what a plain directory does not have
and are deselected in a control run. A machine without /dev/fuse fails the run: skipped mount tests would look like
passed ones.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.mounted import MountedDrive

CONTROL = os.environ.get("DRIVE_UNDER_TEST")
DEFAULT_TIMEOUT_S = 120.0
RESCUE_BEFORE_S = 8.0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_product: asks for more than a plain directory can do")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if CONTROL is None:
        return
    beside = [item for item in items if item.get_closest_marker("needs_product")]
    if beside:
        config.hook.pytest_deselected(items=beside)
        items[:] = [item for item in items if item not in beside]


def pytest_report_header() -> str | None:
    if CONTROL is None:
        return None
    return f"control run: {CONTROL} stands in for the drive; tests that need the product are deselected"


def _require_fuse() -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.fail("/dev/fuse is missing: the drive cannot be mounted here, so nothing about it can be proven", False)


@pytest.fixture(scope="module")
def module_drive() -> Iterator[MountedDrive | None]:
    """The module's drive; None in a control run. Afterwards its log must hold no error and no traceback."""
    if CONTROL is not None:
        yield None
        return
    _require_fuse()
    drive = MountedDrive.make()
    try:
        yield drive
        drive.stop()
        complaints = drive.complaints()
        assert not complaints, "the core complained:\n" + "\n".join(complaints) + "\n" + drive.log_tail(200)
    finally:
        drive.clear_away()


@pytest.fixture(scope="module")
def drive_dir(module_drive: MountedDrive | None) -> Iterator[Path]:
    """The root of what is tested: the mount, or in a control run a directory of this module's own."""
    if module_drive is not None:
        yield module_drive.mount
        return
    own = Path(tempfile.mkdtemp(prefix="control-", dir=CONTROL))
    own.chmod(0o755)
    yield own
    shutil.rmtree(own, ignore_errors=True)


@pytest.fixture
def drive(module_drive: MountedDrive | None) -> MountedDrive:
    """The module's drive for tests that talk to the product; such tests carry `needs_product`."""
    assert module_drive is not None, "this test needs the product: mark it needs_product"
    return module_drive


@pytest.fixture
def own_drive() -> Iterator[MountedDrive]:
    """A drive of this test's own, for tests that kill or stop it; its log is the test's to judge."""
    _require_fuse()
    drive = MountedDrive.make()
    try:
        yield drive
    finally:
        drive.clear_away()


@pytest.fixture
def folder(request: pytest.FixtureRequest, drive_dir: Path, module_drive: MountedDrive | None) -> Iterator[Path]:
    """An empty folder (0755, root) for one test; a hang in the kernel is ended by aborting the connection."""
    name = re.sub(r"[^A-Za-z0-9_.=-]+", "_", request.node.name)[:80]
    place = Path(tempfile.mkdtemp(prefix=name + "-", dir=drive_dir))
    place.chmod(0o755)
    limit = request.node.get_closest_marker("timeout")
    limit_s = float(limit.args[0]) if limit else DEFAULT_TIMEOUT_S
    rescue = threading.Timer(limit_s - RESCUE_BEFORE_S, module_drive.abort_connection if module_drive else lambda: None)
    rescue.daemon = True
    rescue.start()
    yield place
    rescue.cancel()


@pytest.fixture(autouse=True)
def plain_umask() -> Iterator[None]:
    """Modes in these tests are exact, so the umask is 022 whoever runs them."""
    before = os.umask(0o022)
    yield
    os.umask(before)
