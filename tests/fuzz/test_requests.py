"""The control interface under requests made by chance from its own document: it refuses, and never breaks.

schemathesis makes the requests, good ones and bad ones, for each route; they go through a real socket. The people
behind it are real (`PeopleVerbs` over an engine), the rest is `FakeService`. Every run is the same; FUZZ_EXAMPLES=500
in the environment makes it a longer watch with fresh chance.
"""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from kit.fake_clock import FakeClock
from kit.fake_service import FakeService, serving
from kit.still_drive import StillDrive, run
from schemathesis import Case, GenerationMode
from schemathesis.core import NotSet

from appliance.control.openapi import document
from appliance.control.people_protocol import UserRequest
from appliance.control.protocol import Problem
from appliance.exit_codes import PROBLEM_CODES
from appliance.people_verbs import PeopleVerbs
from appliance.roles import Acting
from cloud_tier.wraps import Argon2Cost
from vfs.area_folders import AreaFolders
from vfs.people import Role
from vfs.state import make_state

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
WATCH = settings(
    max_examples=EXAMPLES or 8,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FOUND: list[Any] = list(schemathesis.openapi.from_dict(json.loads(document())).get_all_operations())
OPERATIONS = [found.ok() for found in FOUND]
KNOWN = {"user": "anna", "who": "anna", "job_id": 1, "task_id": 1, "number": 1}
KNOWN_NAMES = {"users": "anna", "groups": "team", "shares": "Sales", "snapshots": "monday"}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("core", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Path]:
    """A socket behind which there are anna, the group team and the share Sales."""
    make_state(tmp_path / "state", FakeClock(), 0, 0)
    still = StillDrive(tmp_path / "state")
    still.open()
    folders = AreaFolders(still.drive, lambda parent, name: None, lambda ino: None)
    cheap = Argon2Cost(memory_kib=64, passes=1, lanes=1)
    people = PeopleVerbs(still.drive, folders, tmp_path / "extrausers", tmp_path, is_root=True, cost=cheap)
    root = Acting(0, Role.OWNER)
    run(people.add_user, root, UserRequest(name="anna"))
    run(people.add_group, "team")
    run(people.add_share, "Sales")
    service = FakeService()
    service.people = people  # type: ignore[assignment]
    with serving(service, tmp_path / "control.sock"):
        yield tmp_path / "control.sock"
    try:
        still.assert_sound()
    finally:
        still.abandon()


def ask(core: Path, case: Case) -> tuple[int, bytes]:
    """What the core answers."""
    body: Any = None
    headers = {name: value for name, value in (case.headers or {}).items() if is_sendable(name, value)}
    if not isinstance(case.body, NotSet):
        body = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        headers["Content-Type"] = case.media_type or "application/json"
    query = "&".join(f"{name}={value}" for name, value in (case.query or {}).items())
    url = case.formatted_path + (f"?{quoted(query)}" if query else "")
    connection = UnixConnection(core)
    try:
        connection.request(case.method, url, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def is_sendable(name: str, value: object) -> bool:
    """Whether it can be a header at all."""
    text = f"{name}{value}"
    return isinstance(value, str) and text.isascii() and text.isprintable() and name.replace("-", "").isalnum()


def quoted(query: str) -> str:
    return quote(query, safe="=&", errors="surrogateescape")


def judge(case: Case, status: int, body: bytes) -> None:
    if status < 400:
        assert status in (200, 201, 204)
        return
    problem = Problem.model_validate(json.loads(body))
    assert problem.code in PROBLEM_CODES
    assert status < 500, (case, problem)
    assert problem.message.endswith("."), problem


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method.upper()} {one.path}")
def test_no_request_breaks_the_core(operation: Any, core: Path) -> None:
    known = {name: KNOWN.get(name) or KNOWN_NAMES[operation.path.split("/")[2]] for name in names_in(operation.path)}
    strategies = [
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters=known or None),
    ]
    for strategy in strategies:

        @WATCH
        @given(case=strategy)
        def attempt(case: Case) -> None:
            judge(case, *ask(core, case))

        attempt()


def names_in(path: str) -> list[str]:
    return [step[1:-1] for step in path.split("/") if step.startswith("{")]
