"""What an installed drive is made of: an editable install finds files that the wheel forgot, so we read the wheel."""

import email.parser
import email.policy
import subprocess
import sys
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "appliance", "cachefs", "cloud_tier", "ui", "vfs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    # The build backend itself: pip would want to fetch one.
    build = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> EmailMessage:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.parser.BytesParser(EmailMessage, policy=email.policy.default).parsebytes(wheel.read(name))


def test_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    expected = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert expected - set(wheel.namelist()) == set()
    assert any(name.endswith(".sql") for name in expected), "the schema is data; without it this test proves little"


def test_wheel_holds_nothing_but_the_packages(wheel: zipfile.ZipFile) -> None:
    folders = {name.partition("/")[0] for name in wheel.namelist()}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == set(PACKAGES)


def test_every_package_tells_type_checkers_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_agent_installs_without_a_compiler_or_libfuse(metadata: EmailMessage) -> None:
    required = metadata.get_all("Requires-Dist", [])
    always = [line for line in required if "extra ==" not in line]
    assert always
    assert not [line for line in always if line.startswith(("pyfuse3", "apsw", "blake3"))]
    assert any(line.startswith("pyfuse3") and "extra == 'drive'" in line for line in required)


def test_every_dependency_has_both_bounds(metadata: EmailMessage) -> None:
    required = metadata.get_all("Requires-Dist", [])
    assert [line for line in required if ">=" not in line or "<" not in line] == []
