"""`hybrid-drive config check`: everything that is wrong with the configuration, at once."""

from typing import Annotated

import typer

from appliance.commands.options import Json, State, path_option, places_of
from appliance.commands.output import print_json
from appliance.config_reading import find_problems
from appliance.exit_codes import ExitCode

app = typer.Typer(help="The configuration, STATE/config.toml.", no_args_is_help=True)

File = Annotated[
    str | None, path_option("--file", "F", "Look at this file, before it is put in the place of STATE/config.toml.")
]


@app.callback()
def config() -> None:
    """The configuration, STATE/config.toml."""


@app.command("check")
def check(file: File = None, state: State = None, json: Json = False) -> None:
    """Names every problem of the file and of the environment, with its line. Ends with 2 if there is one."""
    from pathlib import Path

    path = Path.cwd() / file if file is not None else places_of(state).config
    _, problems = find_problems(path)
    if json:
        print_json({"file": str(path), "problems": [problem._asdict() for problem in problems]})
    else:
        for problem in problems:
            where = str(path) if problem.line is None else f"{path}:{problem.line}"
            print(f"{where}: {problem.sentence}")
        if not problems:
            is_there = path.exists()
            print(f"{path} is as it should be." if is_there else f"There is no {path}: all is at its default.")
    if problems:
        raise typer.Exit(ExitCode.USAGE)
