"""What the program does is on its pages: every command, option, exit code, key, route and problem code."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from appliance import cli
from appliance.config_text import DEFAULT_TEXT
from appliance.control.handlers import _HTTP_STATUS
from appliance.exit_codes import MEANINGS, PROBLEM_CODES, ExitCode, exit_code_for

DOCS = Path(__file__).parents[2] / "docs"
CLI_PAGE = (DOCS / "cli.md").read_text()
CONFIGURATION_PAGE = (DOCS / "configuration.md").read_text()
PROTOCOL_PAGE = (DOCS / "protocol.md").read_text()
NEVER_SENT = {"no_fuse", "findings", "unanswered"}
"""Codes that only a command or the client itself can say."""


def commands(command: object, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every command with its own options; those that all share are left out."""
    inner = getattr(command, "commands", None)
    if inner is not None:
        for name, each in inner.items():
            yield from commands(each, f"{path} {name}".strip())
        return
    options = [
        option
        for parameter in command.params  # type: ignore[attr-defined]
        if not getattr(parameter, "hidden", False)
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    ]
    yield path, options


@pytest.mark.parametrize(("name", "options"), list(commands(get_command(cli.app))))
def test_every_command_and_option_is_on_the_page(name: str, options: list[str]) -> None:
    assert f"`{name}" in CLI_PAGE
    assert {"--state", "--json"} <= set(options)
    for option in options:
        assert option in CLI_PAGE


def test_every_exit_code_is_on_the_page_and_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)
    for code in ExitCode:
        assert f"\n| {code.value} | {code.name.lower()} | " in CLI_PAGE


def test_every_key_of_the_configuration_is_on_the_page() -> None:
    table = ""
    for line in DEFAULT_TEXT.splitlines():
        if line.startswith("["):
            table = line.partition("]")[0] + "]"
        elif " = " in line and not line.startswith("#"):
            key, _, rest = line.partition(" = ")
            value = rest.partition("#")[0].strip()
            assert f"\n| `{table} {key}` | `{value}` | " in CONFIGURATION_PAGE


def test_every_route_is_on_the_page() -> None:
    document = json.loads((DOCS / "control-openapi.json").read_text())
    for path, verbs in document["paths"].items():
        shown = re.sub(r"\{(?:\w+_)?(\w+)\}", lambda match: match[1].upper(), path)
        for verb in verbs:
            assert f"`{verb.upper()} {shown}" in PROTOCOL_PAGE


@pytest.mark.parametrize("code", sorted(PROBLEM_CODES))
def test_every_problem_code_is_on_the_page_with_its_status(code: str) -> None:
    assert exit_code_for(code) is not ExitCode.OK
    if code not in NEVER_SENT:
        (row,) = [line for line in PROTOCOL_PAGE.splitlines() if line.startswith("| ") and f"`{code}`" in line]
        assert row.startswith(f"| {_HTTP_STATUS.get(code, 500)} ")
