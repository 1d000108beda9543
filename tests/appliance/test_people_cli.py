"""`hybrid-drive user`, `group` and `share`: what a person types, and what it prints."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.fake_service import FakeService, serving

from appliance import cli
from appliance.exit_codes import ExitCode
from appliance.places import StatePlaces

Run = Callable[..., tuple[int, str, str]]
PASSWORD = "violet kettle"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeService]:
    service = FakeService()
    with serving(service, StatePlaces(tmp_path).control_socket):
        yield service


@pytest.fixture
def run(service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        code = cli.run([*words, "--state", str(tmp_path)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def as_json(answer: tuple[int, str, str]) -> Any:
    assert answer[0] == 0, answer
    return json.loads(answer[1])


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    return str(file)


def test_a_user_lives_through_his_verbs(run: Run, service: FakeService, password_file: str) -> None:
    code, out, _ = run("user", "add", "anna", "--full-name", "Anna A.", "--role", "admin")
    assert (code, out) == (
        0,
        "anna is added and has no password yet; set one with `hybrid-drive user password anna`.\n",
    )
    assert run("user", "password", "anna", "--password-file", password_file)[1] == "anna has a new password.\n"
    assert service.people.passwords == {"anna": PASSWORD}
    assert run("user", "role", "anna", "auditor")[1] == "anna is auditor now.\n"
    assert run("user", "disable", "anna")[1] == "anna may no longer sign in.\n"
    assert run("user", "list")[1] == "anna\tAnna A.\tauditor\t60000\t\tdisabled\n"
    assert run("user", "enable", "anna")[1] == "anna may sign in.\n"
    (shown,) = as_json(run("user", "list", "--json"))
    assert (shown["role"], shown["enabled"], shown["has_password"]) == ("auditor", True, True)
    assert "removed" in run("user", "remove", "anna")[1]
    assert run("user", "list")[1] == "There are no users yet.\n"


def test_a_password_comes_from_a_file_and_is_never_printed(run: Run, service: FakeService, password_file: str) -> None:
    answers = [
        run("user", "add", "anna", "--password-file", password_file, "--json"),
        run("user", "password", "anna", "--password-file", password_file, "--json"),
        run("user", "add", "anna", "--password-file", password_file),
        run("user", "list", "--json"),
    ]
    assert service.people.passwords == {"anna": PASSWORD}
    assert [code for code, _, _ in answers] == [0, 0, ExitCode.REFUSED, 0]
    assert not [text for _, out, err in answers for text in (out, err) if PASSWORD in text]


def test_without_a_file_and_a_terminal_no_password_is_set(run: Run, service: FakeService) -> None:
    run("user", "add", "anna")
    code, _, err = run("user", "password", "anna")
    assert code == ExitCode.USAGE
    assert "--password-file" in err
    assert service.people.passwords == {}


def test_a_role_that_there_is_not_is_refused_by_name(run: Run) -> None:
    code, _, err = run("user", "add", "anna", "--role", "king")
    assert code == ExitCode.USAGE
    assert "king" in err


def test_groups_and_their_members(run: Run) -> None:
    run("user", "add", "anna")
    assert run("group", "add", "team")[1] == "The group team is added.\n"
    assert run("group", "member", "add", "team", "anna")[1] == "anna is in the group team.\n"
    assert as_json(run("group", "list", "--json"))[0]["members"] == ["anna"]
    assert run("group", "list")[1] == "team\t60001\tanna\n"
    assert run("group", "member", "remove", "team", "anna")[1] == "anna is no longer in the group team.\n"
    assert run("group", "member", "add", "team", "nobody")[0] == ExitCode.NOT_FOUND
    assert run("group", "remove", "team")[1] == "The group team is removed.\n"


def test_shares_and_who_may_what_in_them(run: Run) -> None:
    for name in ("anna", "bert"):
        run("user", "add", name)
    assert (
        run("share", "add", "Sales")[1] == "The share Sales is added; let people in with `hybrid-drive share allow`.\n"
    )
    assert run("share", "allow", "Sales", "anna", "write")[1] == "anna may write in Sales.\n"
    assert run("share", "allow", "Sales", "bert", "read")[1] == "bert may read in Sales.\n"
    assert run("share", "list")[1] == "Sales\tanna\tbert\n"
    assert run("share", "rename", "Sales", "Selling")[1] == "The share Sales is called Selling now.\n"
    assert run("share", "deny", "Selling", "anna")[1] == "anna is no longer a member of Selling.\n"
    assert as_json(run("share", "list", "--json"))[0]["members"] == [{"name": "bert", "kind": "user", "access": "read"}]
    assert run("share", "allow", "Selling", "bert", "own")[0] == ExitCode.USAGE
    assert "stays, for root alone" in run("share", "remove", "Selling")[1]
    assert run("share", "remove", "Selling")[0] == ExitCode.NOT_FOUND
