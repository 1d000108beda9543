"""A log line has one shape; tracebacks are for the file, sentences for the eyes."""

import logging
import re
from pathlib import Path

import pytest

from appliance.logs import logging_to, serious_lines

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|ERROR) test\.logs: .*")


def test_the_file_has_all_and_stderr_what_is_serious(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest cannot report a name that is not UTF-8
    file = tmp_path / "log" / "core.log"
    log = logging.getLogger("test.logs")
    with logging_to(file, "info"):
        log.debug("hidden")
        log.info("a name \udce9")
        try:
            raise RuntimeError("why")
        except RuntimeError:
            log.exception("it failed")
    log.info("afterwards")
    lines = file.read_text().splitlines()
    assert LINE.fullmatch(lines[0])
    assert lines[0].endswith(r"a name \udce9")
    assert LINE.fullmatch(lines[1])
    assert lines[-1] == "RuntimeError: why"
    assert capsys.readouterr().err == lines[1] + "\n"
    assert serious_lines(file, "2000") == [lines[1]]
    assert serious_lines(file, "3000") == []
    assert serious_lines(tmp_path / "none", "2000") == []
