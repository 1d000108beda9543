"""Reading the configuration: STATE/config.toml, and the environment over it.

Promises that whatever it returns is usable, and that a refusal is a sentence with the key, its line, the value and what
is allowed; `find_problems` gives all of them. Refuses unknown keys and variables: a typing error must not quietly mean
the default.

A variable `HYBRID_DRIVE_SECTION_KEY` overrides a key. Its value is written as in the file, where quotes may be left
out.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from appliance.config import Config
from appliance.config_keys import KEYS, OTHER_VARIABLES, PREFIX, SECRET_SENTENCE, is_secret
from appliance.errors import ConfigInvalid


class ConfigProblem(NamedTuple):
    """One thing that is wrong: a sentence, and the line of the file, None where there is none."""

    sentence: str
    line: int | None = None


class _Given(NamedTuple):
    """A value, and where it came from: a line of the file, or a variable."""

    table: str
    key: str
    value: object
    line: int | None
    variable: str | None = None

    @property
    def name(self) -> str:
        return self.variable or f"[{self.table}] {self.key}"


def read_config(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `path`, overridden by `environment`; a missing file means all defaults.

    Raises ConfigInvalid with the first problem.
    """
    config, problems = find_problems(path, environment)
    if problems:
        first = problems[0]
        where = f"{path}, line {first.line}" if first.line is not None else str(path)
        more = f" There are {len(problems)} problems: `hybrid-drive config check` names them." if problems[1:] else ""
        raise ConfigInvalid(f"{where}: {first.sentence}{more}")
    return config


def find_problems(path: Path, environment: Mapping[str, str] = os.environ) -> tuple[Config, list[ConfigProblem]]:
    """What `read_config` would give, with the defaults in place of what is wrong; and all that is wrong."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        return Config(), [ConfigProblem(f"this file cannot be read: {error}.")]
    return _parse(text, environment)


def parse_config(text: str) -> Config:
    """The configuration in a TOML text. Raises ConfigInvalid."""
    config, problems = _parse(text, {})
    if problems:
        raise ConfigInvalid(problems[0].sentence)
    return config


def _parse(text: str, environment: Mapping[str, str]) -> tuple[Config, list[ConfigProblem]]:
    config, problems = Config(), list[ConfigProblem]()
    for given in (*_in_file(text, problems), *_in_environment(environment, problems)):
        if is_secret(given.key) or is_secret(given.table):
            problems.append(ConfigProblem(f"{given.name} {SECRET_SENTENCE}", given.line))
        elif given.key not in KEYS[given.table]:
            keys = ", ".join(KEYS[given.table])
            problems.append(ConfigProblem(f"{given.name} is not known; its keys are {keys}.", given.line))
        else:
            attribute, allowed, parse = KEYS[given.table][given.key]
            try:
                part = replace(getattr(config, given.table), **{attribute: parse(given.value)})
                config = replace(config, **{given.table: part})
            except ValueError:
                sentence = f"{given.name} = {given.value!r} is not allowed; it must be {allowed}."
                problems.append(ConfigProblem(sentence, given.line))
    return config, sorted(problems, key=lambda problem: (problem.line is None, problem.line))


def _in_file(text: str, problems: list[ConfigProblem]) -> Iterator[_Given]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        problems.append(ConfigProblem(f"this is not TOML: {error}.", int(at[1]) if at else None))
        return
    for table, keys in tables.items():
        line = _line_of(text, table)
        if is_secret(table):
            problems.append(ConfigProblem(f"{table} {SECRET_SENTENCE}", line))
        elif table not in KEYS:
            problems.append(ConfigProblem(f"[{table}] is not known; the tables are {', '.join(KEYS)}.", line))
        elif not isinstance(keys, Mapping):
            problems.append(ConfigProblem(f"{table} must be a table, written [{table}].", line))
        else:
            for key, value in keys.items():
                yield _Given(table, key, value, _line_of(text, table, key))


def _in_environment(environment: Mapping[str, str], problems: list[ConfigProblem]) -> Iterator[_Given]:
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        table, _, key = variable.removeprefix(PREFIX).lower().partition("_")
        if is_secret(variable):
            problems.append(ConfigProblem(f"The variable {variable} {SECRET_SENTENCE}"))
        elif table not in KEYS:
            others = ", ".join(sorted(OTHER_VARIABLES))
            problems.append(
                ConfigProblem(f"The variable {variable} is not known; there are {others} and {PREFIX}SECTION_KEY.")
            )
        else:
            yield _Given(table, key, _value_of(environment[variable]), None, f"The variable {variable}")


def _value_of(text: str) -> object:
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value


def _line_of(text: str, table: str, key: str | None = None) -> int | None:
    """Where it stands, as people write it: tables in brackets, a key to a line. TOML knows more ways; then None."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            current = heading[1]
            if key is None and current == table:
                return number
        elif assigned := re.match(r"\s*([\w-]+)\s*=", line):
            wanted = (table, key) if key is not None else ("", table)
            if (current, assigned[1]) == wanted:
                return number
    return None
