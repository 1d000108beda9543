"""The audit log: one line for each request, with who and what, and nothing that must not be told."""

import json
from pathlib import Path

import pytest
from kit.fake_clock import FakeClock

from appliance.audit import MOST_TOLD, PUT_ASIDE, Audit, Event, told
from appliance.control import people_protocol, protocol

SECRET_WORDS = ("pass", "secret", "old", "kit", "key")


def test_a_line_says_who_when_what_and_how_it_ended(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    audit = Audit(file, FakeClock(), {60_001: "anna"}.get)
    audit.write(Event(60_001, 0, "POST /v1/shares", {"name": "Sales"}, 201))
    audit.write(Event(1000, 1000, "GET /v1/keys", {}, 403))
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert first.pop("at").endswith("+00:00")
    assert first == {
        "uid": 60_001,
        "user": "anna",
        "peer": 0,
        "request": "POST /v1/shares",
        "asked": {"name": "Sales"},
        "status": 201,
    }
    assert second["refused"] == "refused: uid 1000 GET /v1/keys"
    assert second["user"] is None


def test_names_that_are_not_utf8_and_line_ends_stay_in_their_line(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    Audit(file, FakeClock(), lambda uid: None).write(Event(0, 0, "POST /\n{", {"path": "caf\udce9\n"}, 400))
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["asked"] == {"path": "caf\udce9\n"}


@pytest.mark.expected_log("appliance.audit: the audit log cannot be written")
def test_a_disk_that_refuses_stops_nobody(tmp_path: Path) -> None:
    Audit(tmp_path / "missing" / "audit.log", FakeClock(), lambda uid: None).write(Event(0, 0, "POST /", {}, 200))


def test_a_long_log_is_put_aside_and_the_oldest_of_many_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.audit.LONG_BYTES", 0)
    file = tmp_path / "audit.log"
    audit = Audit(file, FakeClock(), lambda uid: None)
    for number in range(PUT_ASIDE + 2):
        audit.write(Event(0, 0, f"POST /{number}", {}, 200))
    assert not file.exists()
    kept = [json.loads((tmp_path / f"audit.log.{n}").read_text())["request"] for n in range(1, PUT_ASIDE + 1)]
    assert kept == [f"POST /{number}" for number in range(PUT_ASIDE + 1, 1, -1)]
    assert len(list(tmp_path.iterdir())) == PUT_ASIDE


def test_only_what_may_be_told_is_told() -> None:
    body = json.dumps({"name": "anna", "password": "violet kettle", "old": "x", "new_secret": "y"}).encode()
    assert told(body) == {"name": "anna"}
    assert told(b"not json") == told(b"[1, 2]") == told(b"") == {}
    assert told(json.dumps({"name": "x" * MOST_TOLD}).encode()) == {}


def test_no_field_that_holds_a_secret_is_ever_told() -> None:
    requests = [
        kind
        for module in (protocol, people_protocol)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, protocol._Request)
    ]
    fields = {name for kind in requests for name in kind.model_fields}
    assert {"password", "passphrase", "old"} <= fields
    secret = {name for name in fields if any(word in name for word in SECRET_WORDS)}
    assert told(json.dumps(dict.fromkeys(secret, "x")).encode()) == {}
