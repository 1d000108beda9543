"""The control interface through a real socket: what the client says is what the service hears, and back."""

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fake_service import CLOUD, START, FakeService, serving

from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem, Difference, Finding, SessionRequest
from appliance.lock import holding
from appliance.places import StatePlaces

NOT_UTF8 = os.fsdecode(b"docs/caf\xe9 & co%41.txt")


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def client(service: FakeService, socket_path: Path) -> Iterator[ControlClient]:
    with serving(service, socket_path), ControlClient(socket_path) as client:
        yield client


def refusal(call: object, *args: object, **keys: object) -> ControlProblem:
    assert callable(call)
    with pytest.raises(ControlProblem) as caught:
        call(*args, **keys)
    return caught.value


def test_status_arrives_as_the_service_gave_it(client: ControlClient) -> None:
    status = client.status()
    assert (status.state, status.mount, status.started) == ("serving", "/the/drive", START)
    assert status.cache.segments == 1


def test_a_door_registers_whom_it_serves(client: ControlClient, service: FakeService) -> None:
    session = SessionRequest(pid=7, kind="smb", uid=60_001, device="desk-3")
    client.register_session(session)
    assert service.sessions.registered == [session]
    gone = session.model_copy(update={"pid": 404})
    assert refusal(client.register_session, gone).problem.code == "not_found"


def test_a_snapshot_lives_through_its_verbs(client: ControlClient) -> None:
    made = client.create_snapshot("before the move")
    assert made.name == "2026-03-01T12-01-00Z_before the move"
    assert client.list_snapshots() == [made]
    assert client.hold(made.name, True).held
    assert refusal(client.delete_snapshot, made.name).problem.code == "held"
    assert not client.hold(made.name, False).held
    client.delete_snapshot(made.name)
    assert client.list_snapshots() == []


def test_a_name_that_is_not_utf8_survives_both_ways(client: ControlClient, service: FakeService) -> None:
    service.keep(NOT_UTF8)
    assert client.versions(NOT_UTF8)[0].is_live
    made = client.create_snapshot()
    job = client.start_restore(NOT_UTF8, made.name)
    assert job.path == NOT_UTF8
    assert client.job(job.id).path == NOT_UTF8


def test_a_restore_is_planned_run_and_undone(client: ControlClient, service: FakeService) -> None:
    made = client.create_snapshot()
    plan = client.plan_restore("team", made.name)
    assert (plan.snapshot, plan.added, plan.removed) == (made.name, 1, 1)
    assert client.jobs() == []
    job = client.start_restore("team", "0m")
    assert (job.state, job.at) == ("building", made.name)
    assert client.job(job.id).state == "building"
    assert client.job(job.id).state == "done"
    service.changed_since = [Difference(path="team/new", change="removed", kind="file")]
    refused = refusal(client.undo, job.id).problem
    assert refused.code == "changed_since"
    assert [Difference.model_validate(each) for each in refused.details["differences"]] == service.changed_since
    assert client.undo(job.id, force=True).kind == "undo"
    assert client.job(job.id).state == "undone"


def test_a_task_is_begun_looked_at_and_ends(client: ControlClient, service: FakeService) -> None:
    task = client.warm(NOT_UTF8)
    assert (task.state, task.path, task.total_bytes) == ("running", NOT_UTF8, 20)
    service.cloud.trouble = "away"
    assert client.task(task.id).trouble == "away"
    service.cloud.trouble = None
    assert [client.task(task.id).done_bytes for _ in range(2)] == [10, 20]
    assert client.task(task.id).state == "done"
    service.cloud.is_full = True
    task = client.warm("")
    client.task(task.id)
    failed = client.task(task.id)
    assert failed.error is not None
    assert (failed.state, failed.error.code) == ("failed", "cache_full")
    assert refusal(client.task, 99).problem.code == "not_found"


def test_pins_are_set_listed_and_taken_back(client: ControlClient) -> None:
    assert client.pin(NOT_UTF8).missing_bytes == 1024
    assert client.pins().paths == [NOT_UTF8]
    assert client.drop().dropped_bytes == 2**20
    assert client.drop(NOT_UTF8).path == NOT_UTF8
    assert client.unpin(NOT_UTF8).paths == []
    assert refusal(client.unpin, NOT_UTF8).problem.code == "not_found"


def test_check_and_metrics_tell_what_the_service_knows(client: ControlClient, service: FakeService) -> None:
    service.findings = [Finding(invariant="I3", message="a hole", path=NOT_UTF8)]
    assert client.check().findings == service.findings
    metrics = client.metrics()
    assert "\nhybrid_drive_cache_budget_bytes 1073741824\n" in metrics
    assert metrics.count("# TYPE") == metrics.count("# HELP") == 43
    assert f'\nhybrid_drive_schedule_last_run_seconds{{job="retention"}} {START.timestamp():.0f}\n' in metrics
    assert "\nhybrid_drive_cloud_complete 1\n" in metrics
    service.cloud_status = CLOUD.model_copy(update={"state": "stuck", "unsent_bytes": 7, "trouble_since": START})
    metrics = client.metrics()
    assert "\nhybrid_drive_cloud_unsent_bytes 7\n" in metrics
    assert f"\nhybrid_drive_cloud_trouble_since_seconds {START.timestamp():.0f}\n" in metrics


def test_a_refusal_keeps_its_code_and_sentence(client: ControlClient) -> None:
    problem = refusal(client.versions, "nothing").problem
    assert problem.code == "not_found"
    assert problem.message == "The drive has and had no such file. Check the path."


@pytest.mark.expected_log("appliance.control: Error in ASGI Framework")
def test_a_defect_of_the_core_is_a_sentence_and_the_core_goes_on(client: ControlClient, service: FakeService) -> None:
    service.defect = RuntimeError("secret detail")
    problem = refusal(client.status).problem
    assert problem.code == "unexpected"
    assert "secret" not in problem.message
    service.defect = None
    assert client.status().state == "serving"


def test_a_request_that_is_no_request_is_answered_in_kind(client: ControlClient) -> None:
    send = client._ask
    assert refusal(send, "GET", "/v1/nothing").problem.code == "not_found"
    assert refusal(send, "POST", "/v1/snapshots").problem.code == "usage"
    assert refusal(send, "GET", "/v1/versions").problem.code == "usage"
    assert refusal(send, "GET", "/v1/jobs/x").problem.code == "usage"


def test_a_missing_or_dead_socket_means_not_running(service: FakeService, socket_path: Path) -> None:
    with ControlClient(socket_path) as client:
        assert refusal(client.status).problem.code == "not_running"
        with serving(service, socket_path):
            assert client.status().state == "serving"
        assert refusal(client.status).problem.code == "not_running"
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(socket_path))
        dead.close()
        problem = refusal(client.status).problem
        assert problem.code == "not_running"
        assert str(socket_path.parent.parent) in problem.message
        with serving(service, socket_path):
            assert client.status().state == "serving"


def test_a_core_that_is_being_started_is_waited_for(service: FakeService, socket_path: Path) -> None:
    answers: list[str] = []
    with holding(StatePlaces(socket_path.parent.parent)):
        with ControlClient(socket_path, patience_s=0.1) as hasty:
            assert refusal(hasty.status).problem.code == "unanswered"
        with ControlClient(socket_path) as client:
            call = threading.Thread(target=lambda: answers.append(client.status().state))
            call.start()
            with serving(service, socket_path):
                call.join(10)
    assert answers == ["serving"]


def test_a_core_that_stops_ends_the_calls_it_holds(service: FakeService, socket_path: Path) -> None:
    service.stuck = True
    refusals: list[ControlProblem] = []
    with ControlClient(socket_path) as client:
        with serving(service, socket_path):
            with ControlClient(socket_path, timeout_s=0.2) as impatient:
                assert "within 0.2 s" in str(refusal(impatient.status))
            call = threading.Thread(target=lambda: refusals.append(refusal(client.status)))
            call.start()
        call.join(10)
    assert [refused.problem.code for refused in refusals] == ["not_running"]


def test_a_client_that_reads_nothing_cannot_keep_the_core_alive(service: FakeService, socket_path: Path) -> None:
    service.findings = [Finding(invariant="I1", message="x" * 4_000_000)]
    with serving(service, socket_path):
        lazy = socket.socket(socket.AF_UNIX)
        lazy.connect(str(socket_path))
        lazy.sendall(b"GET /v1/check HTTP/1.1\r\nHost: core\r\n\r\n")
        assert lazy.recv(1)
    lazy.close()


def test_a_deep_state_directory_is_no_obstacle(service: FakeService, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / "run" / "control.sock"
    with serving(service, deep), ControlClient(deep) as client:
        assert client.status().state == "serving"


def test_the_socket_is_for_owner_and_group_only(client: ControlClient, socket_path: Path) -> None:
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o660


@pytest.fixture
def stranger_door(service: FakeService) -> Iterator[Path]:
    """A served socket that another user can reach and open."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "control.sock"
        with serving(service, path, core_uid=4711):
            path.chmod(0o666)
            yield path


def ask_as(uid: int, path: Path, acting: int | None = None) -> tuple[str, str]:
    """What reading and writing give a process whose effective user is `uid`; needs root, as the mount does."""
    os.seteuid(uid)
    try:
        with ControlClient(path, acting_uid=acting) as client:
            verdicts = []
            for call in (client.list_snapshots, client.create_snapshot):
                try:
                    call()
                    verdicts.append("done")
                except ControlProblem as problem:
                    verdicts.append(problem.problem.code)
    finally:
        os.seteuid(0)
    return verdicts[0], verdicts[1]


@pytest.mark.parametrize(
    ("uid", "acting", "read", "write"),
    [
        (0, None, "done", "done"),
        (4711, None, "done", "done"),
        (65534, None, "done", "no_rights"),
        (0, 65534, "done", "no_rights"),
        (65534, 0, "no_rights", "no_rights"),
        (4711, 0, "no_rights", "no_rights"),
        (65534, 65534, "done", "no_rights"),
    ],
)
def test_the_kernel_says_who_asks_and_only_root_may_act_for_another(
    stranger_door: Path, uid: int, acting: int | None, read: str, write: str
) -> None:
    assert ask_as(uid, stranger_door, acting) == (read, write)


def test_a_user_without_rights_on_the_socket_is_told_so(stranger_door: Path) -> None:
    stranger_door.chmod(0o600)
    assert ask_as(65534, stranger_door) == ("no_rights", "no_rights")


def test_the_checked_in_document_is_what_the_core_serves(client: ControlClient) -> None:
    from appliance.control.openapi import document

    checked_in = Path(__file__).parents[2] / "docs" / "control-openapi.json"
    assert checked_in.read_text() == document(), "python -m appliance.control.openapi > docs/control-openapi.json"
