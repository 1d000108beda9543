"""What tests against a real smbd stand on; they fail, and never skip, where it is missing."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from smb.office import Office, opened

PROGRAMS = ("smbd", "smbclient", "sharesec", "net", "smbcontrol", "fusermount3")


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for name in PROGRAMS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None]
    if missing or not Path("/dev/fuse").exists() or os.geteuid():
        pytest.fail(
            f"these tests need root, /dev/fuse and {', '.join(missing) or 'nothing more'}: ./just smb-test", False
        )


@pytest.fixture(scope="session")
def office() -> Iterator[Office]:
    """One office for all tests that break nothing; each works in a folder of its own."""
    with opened() as office:
        yield office
        assert not office.drive.complaints(), office.drive.log_tail()


@pytest.fixture
def own_office() -> Iterator[Office]:
    """An office of the test's own, to be broken."""
    with opened() as office:
        yield office


@pytest.fixture
def folder(office: Office, request: pytest.FixtureRequest) -> str:
    """A folder in the share for one test, made by alice; its name."""
    name = re.sub(r"\W", "_", request.node.name)[:60]
    made = office.smbclient("alice", f'mkdir "{name}"')
    assert made.returncode == 0, made.stdout
    return name
