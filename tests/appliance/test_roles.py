"""Roles: every request has its need, and each role gets what the table says, through a real socket."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fake_service import FakeService, serving

from appliance.audit import Event
from appliance.control.client import ControlClient
from appliance.control.openapi import document
from appliance.control.protocol import ControlProblem, ServiceError
from appliance.roles import NEEDS, Acting, Need, require
from vfs.people import Role

ROUTES = {
    f"{verb.upper()} {path}" for path, verbs in json.loads(document())["paths"].items() for verb in verbs
}  # fmt: skip
PERSONS = {Role.OWNER: 60_001, Role.ADMIN: 60_002, Role.AUDITOR: 60_003, Role.EMPLOYEE: 60_004, None: 60_005}
MAY: dict[Role | None, set[Need]] = {
    Role.OWNER: set(Need),
    Role.ADMIN: {Need.NOTHING, Need.USER, Need.REPORT, Need.ADMIN},
    Role.AUDITOR: {Need.NOTHING, Need.USER, Need.REPORT},
    Role.EMPLOYEE: {Need.NOTHING, Need.USER},
    None: {Need.NOTHING},
}


def test_every_request_has_its_need_and_no_other_has_one() -> None:
    assert set(NEEDS) == ROUTES


def test_a_request_without_a_need_is_the_owners() -> None:
    require(Acting(0, Role.OWNER), "POST /v1/something-new")
    with pytest.raises(ServiceError):
        require(Acting(60_000, Role.ADMIN), "POST /v1/something-new")


def test_keys_are_the_owners_and_contents_nobodys_by_role() -> None:
    assert {need for route, need in NEEDS.items() if "/keys" in route} == {Need.OWNER}
    assert {need for route, need in NEEDS.items() if "restore" in route or "versions" in route} <= {
        Need.NOTHING,
        Need.USER,
    }


@pytest.fixture
def office() -> Iterator[tuple[Path, list[Event]]]:
    """A served socket that everybody can open, and what was told of its requests."""
    service, events = FakeService(), list[Event]()
    service.people.roles = {uid: role for role, uid in PERSONS.items() if role is not None}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "control.sock"
        with serving(service, path, tell=events.append):
            path.chmod(0o666)
            yield path, events


@pytest.mark.parametrize("role", PERSONS, ids=str)
def test_each_role_gets_what_the_table_says(role: Role | None, office: tuple[Path, list[Event]]) -> None:
    path, _ = office
    uid, seen = PERSONS[role], {}
    os.seteuid(uid)
    try:
        with ControlClient(path) as client:
            for route in sorted(ROUTES):
                verb, _, url = route.partition(" ")
                code = "done"
                try:
                    client._ask(verb, url.replace("{job_id}", "7").replace("{task_id}", "7").replace("{number}", "7"))
                except ControlProblem as problem:
                    code = problem.problem.code
                seen[route] = code != "no_rights"
    finally:
        os.seteuid(0)
    assert seen == {route: NEEDS[route] in MAY[role] for route in ROUTES}


def test_what_changes_and_what_is_refused_is_told_with_who_and_for_whom(office: tuple[Path, list[Event]]) -> None:
    path, events = office
    with ControlClient(path) as root:
        root.create_snapshot("monday")
        root.status()
    with ControlClient(path, acting_uid=PERSONS[Role.EMPLOYEE]) as employee, pytest.raises(ControlProblem):
        employee.keys()
    with ControlClient(path) as root:
        root.add_passphrase("correct horse battery", "spare")
    assert events == [
        Event(0, 0, "POST /v1/snapshots", {"label": "monday"}, 201),
        Event(PERSONS[Role.EMPLOYEE], 0, "GET /v1/keys", {}, 403),
        Event(0, 0, "POST /v1/keys/passphrases", {"name": "spare"}, 200),
    ]


def test_nobody_but_root_asks_for_another_and_the_attempt_is_told(office: tuple[Path, list[Event]]) -> None:
    path, events = office
    os.seteuid(PERSONS[Role.ADMIN])
    try:
        with ControlClient(path, acting_uid=0) as client, pytest.raises(ControlProblem):
            client.keys()
    finally:
        os.seteuid(0)
    assert [(event.uid, event.status) for event in events] == [(PERSONS[Role.ADMIN], 403)]
