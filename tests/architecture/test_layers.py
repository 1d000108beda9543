"""The layers, read from the source: who may import whom, and who may touch what."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# For each package, what else of ours it may import.
MAY_IMPORT = {
    "cloud_tier": (),
    "cachefs": ("cloud_tier",),
    "vfs": ("cachefs", "cloud_tier"),
    "agent": (),
    "ui": ("appliance.control",),
    "appliance": ("agent", "cachefs", "cloud_tier", "ui", "vfs"),
}
# For each of these, the files (or folders) that alone may use it.
ONLY_IN = {
    "apsw": ("cachefs/",),
    "boto3": ("cloud_tier/s3_client.py", "cloud_tier/s3_store.py"),
    "botocore": ("cloud_tier/s3_client.py", "cloud_tier/s3_store.py"),
    "urllib3": ("cloud_tier/s3_client.py",),
    "pyfuse3": ("vfs/fuse/", "agent/mount_fuse.py"),
    "winfspy": ("agent/mount_windows.py",),
    "nicegui": ("ui/",),
    "time.time": ("clock.py",),
    "time.time_ns": ("clock.py",),
    "kit": (),
    "tests": (),
}
MOST_LINES = 400


def sources() -> Iterator[Path]:
    for package in MAY_IMPORT:
        yield from sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module imported, and every name imported from one, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import keeps its dots: it belongs to no layer and is refused.
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def attributes(tree: ast.AST) -> Iterator[str]:
    """Every `a.b` that occurs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def upward_imports(package: str, tree: ast.AST) -> list[str]:
    allowed = (package, *MAY_IMPORT[package])
    return [
        name
        for name in imports(tree)
        if (name.startswith(".") or name.partition(".")[0] in MAY_IMPORT)
        and not any(is_within(name, module) for module in allowed)
    ]


def banned_names(file: str, tree: ast.AST) -> list[str]:
    def is_at_home(homes: tuple[str, ...]) -> bool:
        return any(file.startswith(home) if "/" in home else Path(file).name == home for home in homes)

    used = {*imports(tree), *attributes(tree)}
    return [
        banned
        for banned, homes in ONLY_IN.items()
        if any(is_within(name, banned) for name in used) and not is_at_home(homes)
    ]


@pytest.mark.parametrize("file", list(sources()), ids=lambda file: str(file.relative_to(ROOT)))
def test_file_stays_in_its_layer(file: Path) -> None:
    name = file.relative_to(ROOT).as_posix()
    text = file.read_text()
    tree = ast.parse(text)
    assert upward_imports(name.partition("/")[0], tree) == []
    assert banned_names(name, tree) == []
    assert text.count("\n") < MOST_LINES, "which second idea moved in?"


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("cloud_tier", "import cachefs.database"),
        ("cachefs", "from vfs.store import Ino"),
        ("vfs", "from appliance import config"),
        ("ui", "from appliance import assemble"),
        ("agent", "def late():\n    import cachefs"),
        ("vfs", "from . import store"),
    ],
)
def test_an_import_upward_is_found(package: str, line: str) -> None:
    assert len(upward_imports(package, ast.parse(line))) == 1


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("vfs", "from cachefs.database import Database"),
        ("vfs", "from vfs import store"),
        ("ui", "from appliance.control import client"),
        ("ui", "from appliance.control.client import ControlClient"),
        ("agent", "import httpx"),
    ],
)
def test_an_import_downward_is_fine(package: str, line: str) -> None:
    assert upward_imports(package, ast.parse(line)) == []


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("vfs/store.py", "import apsw", ["apsw"]),
        ("cachefs/database.py", "import apsw", []),
        ("cloud_tier/dir_store.py", "from boto3.session import Session", ["boto3"]),
        ("cloud_tier/s3_client.py", "from boto3.session import Session", []),
        ("vfs/files.py", "import time\nstamp = time.time()", ["time.time"]),
        ("vfs/files.py", "from time import time_ns", ["time.time_ns"]),
        ("cloud_tier/clock.py", "import time\nstamp = time.time_ns()", []),
        ("vfs/files.py", "import time\nstart = time.monotonic()", []),
        ("appliance/core.py", "from kit.clock import FakeClock", ["kit"]),
    ],
)
def test_a_banned_name_is_found_outside_its_home(file: str, line: str, found: list[str]) -> None:
    assert banned_names(file, ast.parse(line)) == found


def test_every_folder_with_python_is_a_layer() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)
    assert not folders & sys.stdlib_module_names


def test_no_package_marker_under_tests_shadows_a_layer() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
