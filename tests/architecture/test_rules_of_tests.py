"""The rules of tests/conftest.py, each shown on a small test run that breaks it."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[[str], pytest.RunResult]
CONFTEST = Path(__file__).parents[1] / "conftest.py"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Runs one test file under the project's own settings and conftest, in a process of its own."""
    pytester.path.joinpath("pyproject.toml").write_text(PROJECT.read_text())
    folder = pytester.path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST.read_text())

    def run_file(body: str, place: str = "test_it.py") -> pytest.RunResult:
        file = folder / place
        file.parent.mkdir(exist_ok=True)
        file.write_text("import logging, warnings\nimport pytest\n" + body)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider")

    return run_file


def test_an_unannounced_warning_in_the_log_fails_the_test(run: Run) -> None:
    result = run("def test_it():\n    logging.getLogger('vfs').warning('disk %s', 'slow')\n")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*vfs: disk slow*"])


def test_a_warning_logged_while_fixtures_are_torn_down_counts(run: Run) -> None:
    result = run(
        "@pytest.fixture\ndef drive():\n    yield\n    logging.error('lost')\ndef test_it(drive):\n    pass\n"
    )
    result.assert_outcomes(passed=1, errors=1)


def test_an_announced_warning_is_fine(run: Run) -> None:
    result = run(
        "@pytest.mark.expected_log('vfs: disk')\ndef test_marked():\n    logging.getLogger('vfs').warning('disk')\n"
        "def test_called(expected_log):\n    expected_log('slow$')\n    logging.warning('slow')\n"
        "def test_below_warning():\n    logging.getLogger('vfs').info('busy')\n"
    )
    result.assert_outcomes(passed=3)


def test_an_announced_warning_must_come(run: Run) -> None:
    result = run("@pytest.mark.expected_log('disk')\ndef test_it():\n    pass\n")
    result.assert_outcomes(passed=1, errors=1)


def test_a_skip_is_a_failure(run: Run) -> None:
    result = run(
        "@pytest.mark.skip(reason='no fuse')\ndef test_marked():\n    pass\n"
        "def test_called():\n    pytest.skip('no fuse')\n"
        "@pytest.mark.xfail\ndef test_known():\n    assert False\n"
    )
    result.assert_outcomes(failed=1, errors=1, xfailed=1)
    result.stdout.fnmatch_lines(["*skipped, and so proves nothing: Skipped: no fuse"])


def test_a_file_that_skips_itself_is_an_error(run: Run) -> None:
    result = run("pytest.importorskip('no_such_module_anywhere')\ndef test_it():\n    pass\n")
    result.assert_outcomes(errors=1)


def test_a_missing_program_fails_with_a_sentence(run: Run) -> None:
    result = run("@pytest.mark.needs_program('no-such-program')\ndef test_it():\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*this machine lacks: no-such-program*"])


def test_async_tests_run_under_trio_with_and_without_hypothesis(run: Run) -> None:
    result = run(
        "import trio\nfrom hypothesis import given, strategies\n"
        "async def test_plain():\n    await trio.lowlevel.checkpoint()\n"
        "@given(strategies.booleans())\nasync def test_given(flag):\n    await trio.lowlevel.checkpoint()\n"
        "async def test_red():\n    await trio.lowlevel.checkpoint()\n    assert False\n"
    )
    result.assert_outcomes(passed=2, failed=1)


def test_a_python_warning_is_an_error_and_a_surprising_pass_too(run: Run) -> None:
    result = run(
        "def test_warns():\n    warnings.warn('old')\n"
        "@pytest.mark.xfail(reason='known')\ndef test_passes():\n    pass\n"
    )
    result.assert_outcomes(failed=2)
