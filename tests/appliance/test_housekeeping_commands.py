"""`policy`, `gc` and `config check`, as people type them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.fake_service import FakeService, serving

from appliance import cli
from appliance.config_text import default_text
from appliance.places import StatePlaces
from vfs.retention import DAY_S, HOUR_S, YEAR_S

Run = Callable[..., tuple[int, str, str]]


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
    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = cli.run([*arguments, "--state", str(places.state)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def test_the_policy_is_shown_in_spans_that_can_be_typed(run: Run, service: FakeService) -> None:
    code, out, _ = run("policy", "show")
    assert code == 0
    assert [line.split("\t")[1] for line in out.splitlines()] == ["2h", "2d", "14d", "90d", "1y", "7y"]


def test_a_shorter_policy_is_announced_previewed_and_called_off(run: Run, service: FakeService) -> None:
    _, out, _ = run("policy", "set", "--day", "4w", "--all", "90m")
    assert "90m" in out
    assert "28d" in out
    assert "count from 2026-03-08 12:00:00 UTC on" in out
    assert service.upkeep.pending is not None
    assert (service.upkeep.pending.day, service.upkeep.pending.all) == (28 * DAY_S, 5400)
    assert json.loads(run("policy", "show", "--json")[1])["pending"]["month"] == 7 * YEAR_S
    code, out, _ = run("policy", "preview", "--hour", "0")
    assert (code, out) == (0, "2026-03-01T11-00-00Z\n1 of 3 snapshots would go.\n")
    assert json.loads(run("policy", "preview", "--hour", "3h", "--json")[1])["policy"]["hour"] == 3 * HOUR_S
    assert run("policy", "cancel")[0] == 0
    assert service.upkeep.pending is None
    code, _, err = run("policy", "cancel")
    assert (code, err) == (3, "hybrid-drive: No shorter policy is to come; nothing was changed.\n")


@pytest.mark.parametrize("span", ["abc", "101y", "-1h", "9999999999d"])
def test_what_is_no_span_is_a_sentence(run: Run, service: FakeService, span: str) -> None:
    code, _, err = run("policy", "set", f"--week={span}")
    assert code == 2
    assert "--week" in err
    assert "nothing was changed" in err
    assert service.upkeep.pending is None


def test_gc_says_what_it_did_and_what_waits(run: Run, service: FakeService) -> None:
    code, out, err = run("gc")
    assert (code, err) == (0, "")
    assert out == ("1 packs were packed anew, 2 doomed, 3 deleted.\n4 doomed packs (1.0 MiB) wait for their grace.\n")
    service.upkeep.tidied = service.upkeep.tidied.model_copy(update={"trouble": "The store is away."})
    assert "The store is away." in run("gc")[2]


def test_config_check_names_every_problem_with_its_line(
    run: Run, places: StatePlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.state.mkdir()
    places.config.write_text(default_text())
    assert run("config", "check") == (0, f"{places.config} is as it should be.\n", "")
    places.config.write_text("[cuts]\nperiod_s = 0\n[log]\nlevel = 'loud'\n")
    monkeypatch.setenv("HYBRID_DRIVE_STORE_UPP", "1")
    code, out, _ = run("config", "check")
    assert code == 2
    lines = out.splitlines()
    assert lines[0].startswith(f"{places.config}:2: [cuts] period_s = 0 is not allowed")
    assert lines[1].startswith(f"{places.config}:4: [log] level")
    assert "HYBRID_DRIVE_STORE_UPP is not known" in lines[2]
    code, out, _ = run("config", "check", "--json")
    assert [problem["line"] for problem in json.loads(out)["problems"]] == [2, 4, None]


def test_config_check_looks_at_a_file_before_it_is_put_in_place(run: Run, tmp_path: Path) -> None:
    new = tmp_path / "new.toml"
    new.write_text("[upkeep]\nnight = 24\n")
    code, out, _ = run("config", "check", "--file", str(new))
    assert code == 2
    assert out.startswith(f"{new}:2: [upkeep] night = 24 is not allowed")


def test_status_shows_what_runs_by_itself(run: Run, service: FakeService) -> None:
    service.schedules[1] = service.schedules[1].model_copy(update={"ok": False, "trouble": "the store is away"})
    _, out, _ = run("status")
    assert "retention    last 2026-03-01 12:00:00 UTC; next 2026-03-01 12:15:00 UTC" in out
    assert "scrub store  DAMAGE last 2026-03-01 12:00:00 UTC: read 1.0 GiB; waits: the store is away" in out
    assert "1.0 GiB of packs, 512 MiB of it needed; 1.0 MiB wait for their grace" in out
