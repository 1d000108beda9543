"""The rules that every test lives by, so that no test has to repeat them.

- An async test is a trio test, except under tests/ui, whose pages run on asyncio.
- A test fails when something logged a warning, or worse, that the test did not announce. It fails as well when an
  announced one never came: a fault that was planned and not hit proves nothing.
- Nothing is skipped. A machine without /dev/fuse or without a needed program fails the test with a sentence, because a
  skipped promise looks exactly like a kept one. What cannot run on some system must not be collected there.

Announce a warning with `@pytest.mark.expected_log("pattern")`, or, where the pattern is known only later, by calling
the `expected_log` fixture with it. Patterns are searched in "logger: message".
"""

import inspect
import logging
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from trio.testing import MockClock

TESTS = Path(__file__).parent


def _is_under(item: pytest.Item, *folders: str) -> bool:
    return any(item.path.is_relative_to(TESTS / folder) for folder in folders)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks async tests for pytest-trio, also those that Hypothesis wraps."""
    for item in items:
        function = getattr(item, "obj", None)
        innermost = getattr(getattr(function, "hypothesis", None), "inner_test", function)
        if inspect.iscoroutinefunction(innermost) and not _is_under(item, "ui"):
            item.add_marker(pytest.mark.trio)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fails a test at once, with the reason, on a machine that lacks what it needs."""
    programs = [name for marker in item.iter_markers("needs_program") for name in marker.args]
    if _is_under(item, "mount"):
        programs.append("fusermount3")
        if not Path("/dev/fuse").exists():
            pytest.fail("this machine has no /dev/fuse, so nothing can be mounted here", pytrace=False)
    missing = sorted({name for name in programs if shutil.which(name) is None})
    if missing:
        pytest.fail(f"this machine lacks: {', '.join(missing)}", pytrace=False)


def _fail_instead(report: pytest.TestReport | pytest.CollectReport) -> None:
    # pytest describes a skip as (file, line, reason).
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    report.outcome = "failed"
    report.longrepr = f"skipped, and so proves nothing: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # An expected failure is reported as skipped too; that one stays.
    if report.skipped and not hasattr(report, "wasxfail"):
        _fail_instead(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _fail_instead(report)
    return report


class _Alarms(logging.Handler):
    """Remembers what was logged at WARNING and above, and sorts it by what was announced."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.patterns: list[str] = []
        self.possible: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")

    def unexpected(self) -> list[str]:
        known = [*self.patterns, *self.possible]
        return [line for line in self.lines if not any(re.search(pattern, line) for pattern in known)]

    def never_came(self) -> list[str]:
        return [pattern for pattern in self.patterns if not any(re.search(pattern, line) for line in self.lines)]


# Autouse and without dependencies: set up before every other fixture of the test, so torn down after them all.
@pytest.fixture(autouse=True)
def _alarms(request: pytest.FixtureRequest) -> Iterator[_Alarms]:
    alarms = _Alarms()
    alarms.patterns += [marker.args[0] for marker in request.node.iter_markers("expected_log")]
    logging.getLogger().addHandler(alarms)
    yield alarms
    logging.getLogger().removeHandler(alarms)
    if alarms.unexpected():
        pytest.fail("nobody announced these log lines:\n" + "\n".join(alarms.unexpected()), pytrace=False)
    if alarms.never_came():
        pytest.fail("announced but never logged: " + ", ".join(alarms.never_came()), pytrace=False)


@pytest.fixture
def expected_log(_alarms: _Alarms) -> Callable[[str], None]:
    """Announces one more pattern of a warning that the rest of the test must cause."""
    return _alarms.patterns.append


@pytest.fixture
def possible_log(_alarms: _Alarms) -> Callable[[str], None]:
    """Announces one more pattern of a warning that chance decides about; what else the test counts is its proof."""
    return _alarms.possible.append


@pytest.fixture
def virtual_time(autojump_clock: MockClock) -> Iterator[MockClock]:
    """Time passes when everybody waits, and never while something works. A test must name it as a parameter."""
    from kit.inline_threads import inline_threads  # not where only this file's rules are tried

    with inline_threads():
        yield autojump_clock
