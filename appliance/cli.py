"""`hybrid-drive`: the table of commands, and the one place where an error becomes a sentence and an exit code.

Promises that a person sees one sentence and never a traceback: what nobody foresaw leaves its traceback in a log file
that the sentence names. With `--json` the same goes to stderr as `{"code", "message", "details"}`.
"""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from appliance.commands import cache, config, group, keys, policy, share, snapshot, user
from appliance.commands.doctor import doctor
from appliance.commands.flush import flush
from appliance.commands.fsck import fsck
from appliance.commands.gc import gc
from appliance.commands.init import init
from appliance.commands.install import install, uninstall
from appliance.commands.jobs import jobs
from appliance.commands.mount import mount
from appliance.commands.options import places_of
from appliance.commands.recover import recover
from appliance.commands.restore import restore
from appliance.commands.scrub import scrub
from appliance.commands.serve import serve
from appliance.commands.status import status
from appliance.commands.undo_restore import undo_restore
from appliance.commands.versions import versions
from appliance.control.protocol import ControlProblem, Problem
from appliance.errors import ApplianceError
from appliance.exit_codes import MEANINGS, ExitCode, exit_code_for

_EPILOG = "Exit codes: " + ", ".join(f"{code.value} {code.name.lower()}" for code in MEANINGS)

app = typer.Typer(
    name="hybrid-drive",
    help="One drive for a small office: local speed, every past state a folder.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    init,
    recover,
    serve,
    mount,
    status,
    flush,
    versions,
    restore,
    jobs,
    fsck,
    scrub,
    gc,
    doctor,
    install,
    uninstall,
):
    app.command()(command)
app.command("undo-restore")(undo_restore)
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(cache.app, name="cache")
app.add_typer(policy.app, name="policy")
app.add_typer(keys.app, name="keys")
app.add_typer(user.app, name="user")
app.add_typer(group.app, name="group")
app.add_typer(share.app, name="share")
app.add_typer(config.app, name="config")


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files may be any bytes; what came in as a surrogate goes out as the byte it was.
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; returns its exit code, and has said on stderr why when that is not 0."""
    try:
        return int(get_command(app).main(list(arguments), prog_name="hybrid-drive", standalone_mode=False) or 0)
    except TyperException as error:
        words = error.format_message().strip().rstrip(".")
        problem = Problem(code="usage", message=f"{words}. See hybrid-drive --help.")
    except ControlProblem as error:
        problem = error.problem
    except ApplianceError as error:
        problem = Problem(code=error.code, message=error.message)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return ExitCode.OK
    except Exception as error:
        problem = _unforeseen(error, arguments)
    _complain(problem, as_json="--json" in arguments)
    return exit_code_for(problem.code)


def _complain(problem: Problem, *, as_json: bool) -> None:
    if as_json:
        body: dict[str, Any] = problem.model_dump(mode="json")
        print(json.dumps(body), file=sys.stderr)
    else:
        print(f"hybrid-drive: {problem.message}", file=sys.stderr)


def _unforeseen(error: Exception, arguments: Sequence[str]) -> Problem:
    log = _write_traceback(error, arguments)
    kind = type(error).__name__
    message = f"Something happened that nobody foresaw ({kind}: {error}); the details are in {log}."
    return Problem(code="unexpected", message=message)


def _write_traceback(error: Exception, arguments: Sequence[str]) -> Path:
    text = f"hybrid-drive {' '.join(arguments)}\n{''.join(traceback.format_exception(error))}\n"
    named = [right for left, right in pairwise(arguments) if left == "--state"]
    file = places_of(Path(named[0]) if named else None).command_log
    try:
        with file.open("a", errors="backslashreplace") as log:
            log.write(text)
    except OSError:
        with tempfile.NamedTemporaryFile(
            "w", prefix="hybrid-drive-", suffix=".log", delete=False, errors="backslashreplace"
        ) as elsewhere:
            elsewhere.write(text)
        file = Path(elsewhere.name)
    return file
