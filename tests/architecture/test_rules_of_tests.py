"""The rules of tests/conftest.py, each shown on a small test that breaks it.

All of them stand in one project, run once in a process of its own under our settings and our conftest: a pytest run
costs a second, and the rules are many.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = """
import logging
import warnings

import pytest
import trio
from hypothesis import given, strategies

log = logging.getLogger("vfs")

def test_logs_a_warning():
    log.warning("disk %s", "slow")

@pytest.fixture
def drive():
    yield
    log.error("lost")

def test_logs_while_torn_down(drive):
    pass

def test_logs_below_warning():
    log.info("busy")

@pytest.mark.expected_log("vfs: disk")
def test_announces_by_mark():
    log.warning("disk slow")

def test_announces_by_call(expected_log):
    expected_log("slow$")
    log.warning("disk slow")

@pytest.mark.expected_log("vfs: disk")
def test_announces_in_vain():
    pass

@pytest.mark.expected_log("vfs: disk")
def test_announces_another():
    log.warning("disk slow")
    log.warning("cache slow")

@pytest.mark.skip(reason="no fuse")
def test_skipped_by_mark():
    pass

def test_skipped_by_call():
    pytest.skip("no fuse")

@pytest.mark.xfail(reason="known")
def test_known_failure():
    assert False

@pytest.mark.xfail(reason="known")
def test_surprising_pass():
    pass

@pytest.mark.needs_program("no-such-program")
def test_lacks_program():
    pass

@pytest.mark.needs_program("sh")
def test_has_program():
    pass

def test_python_warning():
    warnings.warn("old")

async def test_async():
    await trio.lowlevel.checkpoint()

async def test_async_red():
    await trio.lowlevel.checkpoint()
    assert False

@given(strategies.booleans())
async def test_async_given(flag):
    await trio.lowlevel.checkpoint()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    project = tmp_path_factory.mktemp("project")
    (project / "tests").mkdir()
    for name in ("pyproject.toml", "tests/conftest.py"):
        (project / name).write_text((ROOT / name).read_text())
    (project / "tests/test_examples.py").write_text(EXAMPLES)
    (project / "tests/test_absent.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    run = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    return subprocess.run(run, cwd=project, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def outcomes(report: str) -> Mapping[str, set[str]]:
    """What pytest's closing summary says of each example; one that passes and then fails in teardown has two words."""
    found: dict[str, set[str]] = {}
    for word, name in re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL) tests/test_\w+\.py::(\w+)", report, re.M):
        found.setdefault(name, set()).add(word)
    return found


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ("test_logs_a_warning", {"PASSED", "ERROR"}),
        ("test_logs_while_torn_down", {"PASSED", "ERROR"}),
        ("test_logs_below_warning", {"PASSED"}),
        ("test_announces_by_mark", {"PASSED"}),
        ("test_announces_by_call", {"PASSED"}),
        ("test_announces_in_vain", {"PASSED", "ERROR"}),
        ("test_announces_another", {"PASSED", "ERROR"}),
        ("test_skipped_by_mark", {"ERROR"}),
        ("test_skipped_by_call", {"FAILED"}),
        ("test_known_failure", {"XFAIL"}),
        ("test_surprising_pass", {"FAILED"}),
        ("test_lacks_program", {"ERROR"}),
        ("test_has_program", {"PASSED"}),
        ("test_python_warning", {"FAILED"}),
        ("test_async", {"PASSED"}),
        ("test_async_red", {"FAILED"}),
        ("test_async_given", {"PASSED"}),
    ],
)
def test_rule_holds(example: str, words: set[str], outcomes: Mapping[str, set[str]]) -> None:
    assert outcomes[example] == words


@pytest.mark.parametrize(
    "line",
    [
        r"vfs: disk slow",
        r"announced but never logged: vfs: disk",
        r"skipped, and so proves nothing: Skipped: no fuse",
        r"skipped, and so proves nothing: Skipped: could not import 'no_such_module'",
        r"this machine lacks: no-such-program",
    ],
)
def test_failure_says_which_rule(line: str, report: str) -> None:
    assert re.search(f"^{line}", report, re.M)


def test_a_file_that_skips_itself_is_an_error(report: str) -> None:
    assert "ERROR tests/test_absent.py" in report
