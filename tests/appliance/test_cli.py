"""The command line over a fake core: what is printed, what goes to stderr, and the exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kit.fake_service import CLOUD, START, FakeService, serving

from appliance import cli
from appliance.commands import output
from appliance.control.protocol import ControlProblem, Difference, Dropped, StoreStatus, Task
from appliance.drive_paths import drive_path
from appliance.exit_codes import ExitCode
from appliance.figures import size_text
from appliance.places import StatePlaces, default_mount, default_state

Run = Callable[..., tuple[int, str, str]]
NAME = "2026-03-01T12-01-00Z"


@pytest.fixture
def places(tmp_path: Path) -> StatePlaces:
    return StatePlaces(tmp_path / "state")


@pytest.fixture
def service(places: StatePlaces) -> Iterator[FakeService]:
    service = FakeService()
    with serving(service, places.control_socket):
        yield service


@pytest.fixture
def run(places: StatePlaces, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line on the test's state; gives exit code, stdout, stderr."""

    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = cli.run([*arguments, "--state", str(places.state)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def parsed(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert (code, err) == (0, "")
    return json.loads(out)


def test_status_says_where_and_how(run: Run, service: FakeService) -> None:
    code, out, _ = run("status")
    assert code == 0
    assert "serving at /the/drive" in out
    service.read_only_reason = "the disk failed to sync"
    assert "READ-ONLY at /the/drive: the disk failed to sync" in run("status")[1]
    assert parsed(run("status", "--json"))["state"] == "read_only"


def test_status_says_how_the_store_is(run: Run, service: FakeService) -> None:
    assert "store      file:///the/store, reachable\n" in run("status")[1]
    service.store = StoreStatus(url="file:///the/store", state="unreachable", reason="It is unplugged.")
    assert "OUT OF REACH: It is unplugged." in run("status")[1]
    assert parsed(run("status", "--json"))["store"]["state"] == "unreachable"


def test_status_says_what_the_cloud_has_and_what_is_wrong(run: Run, service: FakeService) -> None:
    assert "cloud      everything is in the cloud as of 2026-03-01 12:00:00 UTC\n" in run("status")[1]
    service.cloud_status = CLOUD.model_copy(
        update={
            "state": "stuck",
            "verdict": "the store does not take what is sent since noon; 7 B wait",
            "uploading_bytes": 2**20,
            "rate_bytes_per_s": 2048.0,
            "trouble": "The cloud store is full.",
        }
    )
    out = run("status")[1]
    assert "cloud      the store does not take what is sent since noon; 7 B wait\n" in out
    assert "uploading" not in out
    assert "trouble    The cloud store is full.\n" in out
    assert parsed(run("status", "--json"))["cloud"]["state"] == "stuck"
    service.cloud_status = service.cloud_status.model_copy(update={"state": "sending", "trouble": None})
    assert "uploading  1.0 MiB, 2.0 KiB/s\n" in run("status")[1]


def test_flush_waits_for_its_task_and_says_what_it_did(run: Run, service: FakeService) -> None:
    code, out, err = run("flush")
    assert (code, err) == (0, "")
    assert out == (
        "Everything that was saved until 2026-03-01 12:00:00 UTC is in the cloud. 20 B sent in 2.0 s, 10 B/s.\n"
    )
    service.cloud.warning = "Two blocks are damaged."
    code, out, err = run("flush")
    assert (code, err) == (0, "But: Two blocks are damaged.\n")
    assert parsed(run("flush", "--json"))["state"] == "done"


def test_flush_says_once_why_it_waits_and_ends_with_a_sentence_when_told_to(run: Run, service: FakeService) -> None:
    service.cloud.trouble = "The cloud store cannot be reached."
    code, out, err = run("flush", "--timeout", "0.2")
    assert (code, out) == (ExitCode.OFFLINE, "")
    assert err.count("Waiting for it; Ctrl-C ends only the waiting.") == 1
    assert "Not done within 0.2 s: 20 B wait. The core goes on" in err
    assert err.count("The cloud store cannot be reached.") == 1
    code, out, err = run("flush", "--timeout", "0.2", "--json")
    problem = json.loads(err)
    assert problem["code"] == "offline"
    assert problem["message"].endswith("The cloud store cannot be reached.")
    service.cloud.trouble, service.cloud.steps = None, 10_000
    code, _, err = run("flush", "--timeout", "0")
    assert code == ExitCode.UNEXPECTED
    assert "Not done within 0 s" in err


def test_an_interrupted_flush_leaves_the_core_at_work(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.commands.waiting.time.sleep", interrupt)
    code, out, err = run("flush")
    assert (code, out) == (130, "")
    assert err == "The core goes on; `hybrid-drive status` shows how far it is.\n"
    assert service.cloud.begun[1].state == "running"


def test_a_task_of_a_core_that_was_started_anew_is_not_taken_for_ours(run: Run, service: FakeService) -> None:
    service.cloud.trouble = "away"
    later = service.cloud.task

    async def other(task_id: int) -> Task:
        return (await later(task_id)).model_copy(update={"created": START + timedelta(hours=1)})

    service.cloud.task = other  # type: ignore[method-assign]
    code, _, err = run("flush")
    assert code == ExitCode.NOT_RUNNING
    assert "started anew" in err


def test_the_cache_is_dropped_pinned_and_warmed(run: Run, service: FakeService) -> None:
    assert run("cache", "drop") == (0, "1.0 MiB were given up.\n", "")
    service.cloud.dropped = Dropped(dropped_bytes=0, unsent_bytes=2048, pinned_bytes=4096)
    assert run("cache", "drop", "team/")[1].splitlines() == [
        "0 B were given up.",
        "2.0 KiB stay, because the cloud does not have them yet.",
        "4.0 KiB stay, because they are pinned.",
    ]
    assert parsed(run("cache", "drop", "team/", "--json"))["path"] == "team"
    code, out, err = run("cache", "pin", "team")
    assert out == "team is pinned: 1.0 MiB.\n1.0 KiB of it are not here; `hybrid-drive cache warm team` brings them.\n"
    assert (code, err) == (0, "")
    service.cloud.beyond_bytes = 2**20
    assert "1.0 MiB of all that is pinned do not fit" in run("cache", "pin", ".")[2]
    assert "            team\n            .\n" in run("cache", "stats")[1]
    assert parsed(run("cache", "stats", "--json"))["pinned_paths"] == ["team", ""]
    assert run("cache", "unpin", "team") == (0, "team is not pinned any more.\n", "")
    assert run("cache", "unpin", "team")[0] == ExitCode.NOT_FOUND
    assert run("cache", "warm", "team")[1] == "team is here. 20 B fetched in 2.0 s, 10 B/s.\n"
    assert run("cache", "warm", "nothing")[0] == ExitCode.NOT_FOUND
    service.cloud.is_full = True
    assert run("cache", "warm", "team")[0] == ExitCode.DISK_FULL


def test_a_snapshot_lives_through_its_verbs(run: Run, service: FakeService) -> None:
    assert parsed(run("snapshot", "create", "--json"))["name"] == NAME
    assert run("snapshot", "create", "two words")[1] == "2026-03-01T12-02-00Z_two words\n"
    assert [each["name"] for each in parsed(run("snapshot", "list", "--json"))] == [*service.snapshots]
    assert parsed(run("snapshot", "hold", NAME, "--json"))["held"] is True
    assert run("snapshot", "delete", NAME)[0] == ExitCode.REFUSED
    assert run("snapshot", "release", NAME)[0] == 0
    assert run("snapshot", "delete", NAME)[0] == 0
    assert run("snapshot", "delete", NAME)[0] == ExitCode.NOT_FOUND


def test_versions_of_a_name_that_is_not_utf8(run: Run, service: FakeService) -> None:
    path = os.fsdecode(b"caf\xe9.txt")
    service.keep(path, size_bytes=2048)
    assert parsed(run("versions", path, "--json"))[0]["size_bytes"] == 2048
    assert "live\t2026-03-01 12:00:00 UTC\t2.0 KiB\tlocal" in run("versions", path)[1]


def test_a_restore_waits_for_its_job_and_can_be_undone(run: Run, service: FakeService) -> None:
    run("snapshot", "create")
    job = parsed(run("restore", "team/", "--at", "0m", "--json"))
    assert (job["state"], job["path"], job["at"]) == ("done", "team", NAME)
    code, out, _ = run("restore", ".", "--at", NAME)
    assert code == 0
    assert "The whole drive is back" in out
    assert "undo-restore 2" in out
    assert run("undo-restore", "1")[0] == 0
    assert [job["state"] for job in parsed(run("jobs", "--json"))] == ["done", "done", "undone"]


def test_a_dry_run_lists_and_starts_nothing(run: Run, service: FakeService) -> None:
    run("snapshot", "create")
    code, out, _ = run("restore", "team", "--at", NAME, "--dry-run")
    assert code == 0
    assert out.splitlines()[:2] == ["+ team/new", "- team/old/"]
    assert parsed(run("restore", "team", "--at", NAME, "--dry-run", "--json"))["added"] == 1
    assert parsed(run("jobs", "--json")) == []


def test_an_undo_after_changes_lists_them_and_wants_force(run: Run, service: FakeService) -> None:
    run("snapshot", "create")
    run("restore", "team", "--at", NAME)
    service.changed_since = [Difference(path="team/late.txt", change="removed", kind="file")]
    code, out, err = run("undo-restore", "1")
    assert (code, out) == (ExitCode.REFUSED, "- team/late.txt\n")
    assert "--force" in err
    code, _, err = run("undo-restore", "1", "--json")
    assert json.loads(err)["details"]["differences"][0]["path"] == "team/late.txt"
    assert run("undo-restore", "1", "--force")[0] == 0


def test_cache_stats(run: Run, service: FakeService) -> None:
    assert parsed(run("cache", "stats", "--json"))["segments"] == 1
    assert "1.0 MiB in 1 segments" in run("cache", "stats")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("status",), ExitCode.NOT_RUNNING, "not running"),
        (("mount",), ExitCode.NOT_FOUND, "There is no drive"),
        (("fsck",), ExitCode.NOT_FOUND, "There is no drive"),
        (("restore", "x"), ExitCode.USAGE, "--at"),
        (("nonsense",), ExitCode.USAGE, "nonsense"),
        (("undo-restore", "x"), ExitCode.USAGE, "ID"),
    ],
)
def test_an_error_is_one_sentence_and_a_code(run: Run, arguments: tuple[str, ...], code: ExitCode, word: str) -> None:
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert err.count("\n") == 1
    assert word in err
    found, out, err = run(*arguments, "--json")
    assert (found, out) == (code, "")
    assert word in json.loads(err)["message"]


@pytest.mark.expected_log("appliance.control: Error in ASGI Framework")
def test_a_defect_of_the_core_is_no_traceback(run: Run, service: FakeService) -> None:
    service.defect = RuntimeError("secret")
    code, out, err = run("status")
    assert (code, out) == (ExitCode.UNEXPECTED, "")
    assert "Traceback" not in err
    service.defect = None
    assert run("status")[0] == 0, "and whoever served that has logged by now"


def test_what_nobody_foresaw_leaves_its_traceback_in_the_log_only(
    run: Run, places: StatePlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_value: object) -> None:
        raise RuntimeError("surprise")

    places.log.mkdir(parents=True)
    monkeypatch.setattr("appliance.commands.doctor.print_json", broken)
    code, _, err = run("doctor", "--json")
    assert code == ExitCode.UNEXPECTED
    assert "surprise" in err
    assert "Traceback" not in err
    assert str(places.command_log) in json.loads(err)["message"]
    assert "Traceback" in places.command_log.read_text()


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for word in (
        "init",
        "serve",
        "mount",
        "status",
        "snapshot",
        "versions",
        "restore",
        "undo-restore",
        "jobs",
        "cache",
    ):
        assert word in said
    assert "12 findings" in said


def test_a_path_is_relative_to_the_root_or_absolute_in_the_mount(tmp_path: Path) -> None:
    (tmp_path / "drive" / "team").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "drive")
    (tmp_path / "drive" / "away").symlink_to("/etc")
    mount = str(tmp_path / "drive")
    assert drive_path("./team//a/", mount) == "team/a"
    assert drive_path(".", mount) == ""
    assert drive_path(mount, mount) == ""
    assert drive_path(f"{mount}/team/a", mount) == "team/a"
    assert drive_path(f"{tmp_path}/link/gone/a", mount) == "gone/a"
    assert drive_path(f"{mount}/away", mount) == "away"
    for wrong in ("/etc/passwd", "team/../../x", f"{mount}/../x", "/"):
        with pytest.raises(ControlProblem) as caught:
            drive_path(wrong, mount)
        assert caught.value.problem.code == "usage"


def test_the_default_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYBRID_DRIVE_STATE", raising=False)
    assert default_state(tmp_path) == Path("/var/lib/hybrid-drive")
    assert default_mount(Path("/var/lib/hybrid-drive")) == Path("/srv/drive")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "hybrid-drive"\n')
    assert default_state(tmp_path) == tmp_path / ".drive"
    assert default_mount(tmp_path / ".drive") == tmp_path / "drive"
    monkeypatch.setenv("HYBRID_DRIVE_STATE", "other")
    assert default_state(tmp_path) == tmp_path / "other"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 * 2**20, "200 MiB"), (2**60, "1024 PiB")]
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_name_cannot_move_the_cursor() -> None:
    assert output.printable("a\x1b[2Jb\nc\udce9") == "a\\x1b[2Jb\\nc\\udce9"


def test_the_command_line_loads_no_web_framework_and_no_engine() -> None:
    heavy = "{'fastapi', 'hypercorn', 'rich', 'apsw', 'pyfuse3'}"
    program = f"import sys, appliance.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
