"""What tests against a real smbd stand on; they fail, and never skip, where it is missing."""

import os
import shutil
from pathlib import Path

import pytest

PROGRAMS = ("smbd", "smbclient", "sharesec", "net", "smbcontrol", "fusermount3")


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for name in PROGRAMS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None]
    if missing or not Path("/dev/fuse").exists() or os.geteuid():
        pytest.fail(
            f"these tests need root, /dev/fuse and {', '.join(missing) or 'nothing more'}: ./just smb-test", False
        )
