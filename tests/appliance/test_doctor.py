"""The doctor names what is wrong, weightiest first, whether or not there is a core to ask."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from kit.fake_service import START, FakeService, serving

from appliance.config import Config, DriveConfig
from appliance.config_reading import ConfigProblem
from appliance.control.protocol import Advice, DoorStatus, Problem, Status, StoreStatus
from appliance.control.upkeep_protocol import UpkeepStatus
from appliance.doctor import Facts, advise, gather
from appliance.key_health import KeyFacts
from appliance.lock import holding
from appliance.places import StatePlaces
from appliance.smb.health import SmbFacts


@pytest.fixture
async def status() -> Status:
    return await FakeService().status()


@pytest.fixture
def well(status: Status) -> Facts:
    return Facts(
        now=START + timedelta(seconds=10),
        state=Path("/s"),
        mount=Path("/the/drive"),
        is_made=True,
        may_write=True,
        is_held=True,
        pid=7,
        status=status,
        problem=None,
        mount_answer="alive",
        fuse="usable",
        has_mount_helper=True,
        kernel="6.1.0-18-amd64",
        free_bytes=2**40,
        disk_bytes=2**41,
        newest_file=START,
        keys=KeyFacts(kits=1),
        store=status.store,
        is_store_beside=False,
        smb=None,
        config=Config(drive=DriveConfig(time_zone="Europe/Berlin")),
        config_problems=(),
        log_file=Path("/s/log/core.log"),
        log_lines=(),
    )


def only(facts: Facts) -> Advice:
    (advice,) = advise(facts)
    return advice


async def test_a_drive_that_is_well_gets_no_advice(well: Facts) -> None:
    assert advise(well) == []


async def test_each_trouble_has_its_own_advice(well: Facts, status: Status) -> None:
    def with_status(**changes: object) -> Facts:
        return replace(well, status=status.model_copy(update=changes))

    over = status.cache.model_copy(update={"allocated_bytes": 2**31})

    def schedule(**changes: object) -> Facts:
        return with_status(schedules=[status.schedules[0].model_copy(update=changes)])

    late = START - timedelta(hours=2)
    doubt = UpkeepStatus(doubt="the clock has leapt by more than a day")
    expected = {
        ("broken", "Bytes in the store are lost"): schedule(name="scrub store", ok=False, result="2 lost"),
        ("broken", "The last scrub found damage on this machine"): schedule(name="scrub local", ok=False),
        ("warning", "Snapshots are late"): schedule(name="snapshots", next_due=late),
        ("warning", "Late: garbage"): schedule(name="garbage", next_due=late, trouble="the store is away"),
        ("warning", "The clock is not believed"): with_status(upkeep=doubt),
        ("broken", "The configuration cannot be used"): replace(well, config_problems=(ConfigProblem("No.", 3),)),
        ("broken", "No drive here"): replace(well, is_made=False),
        ("broken", "The drive is not running"): replace(well, is_held=False, status=None, mount_answer=None),
        ("broken", "The core does not answer"): replace(well, status=None),
        ("broken", "The drive is read-only"): with_status(state="read_only", reason="a sync failed"),
        ("note", "The drive is starting"): with_status(state="starting"),
        ("warning", "The cache is over its budget"): with_status(cache=over),
        ("note", "The drive has no store and no keys yet"): replace(well, keys=KeyFacts(are_lacking=True)),
        ("broken", "The keys here do not open the drive"): replace(well, keys=KeyFacts("Many read it.", 1)),
        ("broken", "smbd is not installed"): replace(well, smb=SmbFacts(True, 445, has_smbd=False)),
        ("warning", "smbd is too old"): replace(well, smb=SmbFacts(True, 445, version=(4, 17))),
        ("broken", "Modules of smbd are missing"): replace(
            well, smb=SmbFacts(True, 445, missing_modules=("glusterfs_fuse",))
        ),
        ("broken", "libnss-extrausers is not installed"): replace(well, smb=SmbFacts(True, 445, has_names=False)),
        ("broken", "Port 445 is taken"): replace(well, smb=SmbFacts(True, 445, is_port_free=False)),
        ("broken", "smbd is down"): replace(
            well, smb=SmbFacts(True, 445, door=DoorStatus(name="smb", state="down", since=START, reason="It ended."))
        ),
        ("note", "The store is on the same disk as the drive"): replace(well, is_store_beside=True),
        ("warning", "There is no recovery kit"): replace(well, keys=KeyFacts()),
        ("warning", "The recovery kit lies beside the drive"): replace(well, keys=KeyFacts(None, 1, Path("/s/kit"))),
        ("warning", "The store cannot be reached"): replace(
            well, store=StoreStatus(url="file:///x", state="unreachable", reason="It is unplugged.")
        ),
        ("warning", "The store cannot tell two machines apart"): replace(
            well, store=StoreStatus(url="file:///x", state="reachable", reason="It overwrites.")
        ),
        ("broken", "The store is not used"): replace(
            well, store=StoreStatus(url="file:///x", state="refused", reason="It is another drive's.")
        ),
        ("broken", "A dead mount is left"): replace(well, mount_answer="dead"),
        ("broken", "The mount does not answer"): replace(well, mount_answer="hung"),
        ("broken", "The core runs but nothing is mounted"): replace(well, mount_answer=None),
        ("broken", "FUSE cannot be used"): replace(well, fuse="denied"),
        ("broken", "fusermount3 is missing"): replace(well, has_mount_helper=False),
        ("warning", "The kernel is old"): replace(well, kernel="4.19.0"),
        ("note", "This user may not use the state directory"): replace(well, may_write=False),
        ("warning", "The disk under the drive is nearly full"): replace(well, free_bytes=2**30 + 1),
        ("warning", "The clock went backwards"): replace(well, newest_file=START + timedelta(hours=1)),
        ("note", "1 warnings or errors in the logs"): replace(well, log_lines=("2026 ERROR x: y",)),
    }
    assert {(only(facts).severity, only(facts).title): facts for facts in expected.values()} == expected


async def test_old_uncommitted_rows_are_a_warning_and_fresh_ones_are_not(well: Facts, status: Status) -> None:
    waiting = replace(well, status=status.model_copy(update={"uncommitted_rows": 3}))
    assert advise(waiting) == []
    assert only(replace(waiting, now=START + timedelta(hours=1))).title == "Changes are not becoming durable"


async def test_the_weightiest_comes_first(well: Facts) -> None:
    facts = replace(well, log_lines=("2026 ERROR x: y",), kernel="4.4.0", mount_answer="dead")
    assert [advice.severity for advice in advise(facts)] == ["broken", "warning", "note"]


async def test_a_silent_core_is_told_with_what_it_said(well: Facts) -> None:
    problem = Problem(code="unanswered", message="No answer within 5 s.")
    assert "No answer within 5 s." in only(replace(well, status=None, problem=problem)).what


def test_facts_are_gathered_from_a_dead_drive(tmp_path: Path) -> None:
    facts = gather(StatePlaces(tmp_path / "no" / "state"), tmp_path / "drive", START)
    assert not facts.is_made
    assert not facts.is_held
    assert facts.status is None
    assert facts.problem is not None
    assert facts.problem.code == "not_running"
    assert facts.mount_answer is None
    assert facts.disk_bytes > facts.free_bytes > 0


def test_facts_are_gathered_from_a_running_core(tmp_path: Path) -> None:
    places = StatePlaces(tmp_path / "state")
    places.log.mkdir(parents=True)
    places.core_log.write_text(
        "2026-02-28T12:00:00.000Z ERROR vfs: before this start\n"
        "2026-03-01T12:00:00.500Z INFO vfs: fine\n"
        "2026-03-01T12:00:01.000Z WARNING cachefs: slow disk\nTraceback\n"
    )
    places.supervisor_log.write_text(
        "2026-02-01T00:00:00.000Z WARNING appliance: long ago\n"
        "2026-03-01T11:59:00.000Z WARNING appliance: started again\n"
    )
    with holding(places), serving(FakeService(), places.control_socket):
        facts = gather(places, tmp_path, START)
    assert facts.is_held
    assert facts.status is not None
    assert facts.mount == Path("/the/drive")
    assert facts.log_lines == (
        "2026-03-01T11:59:00.000Z WARNING appliance: started again",
        "2026-03-01T12:00:01.000Z WARNING cachefs: slow disk",
    )


async def test_bytes_in_danger_come_first(well: Facts, status: Status) -> None:
    lost = status.schedules[0].model_copy(update={"name": "scrub store", "ok": False})
    changed = status.model_copy(update={"schedules": [lost], "state": "read_only"})
    found = advise(replace(well, status=changed, keys=KeyFacts("Many read it.", 1), fuse="missing", free_bytes=0))
    assert [advice.title for advice in found] == [
        "Bytes in the store are lost",
        "The keys here do not open the drive",
        "The drive is read-only",
        "FUSE cannot be used",
        "The disk under the drive is nearly full",
    ]


async def test_work_that_is_under_way_or_only_just_due_is_not_late(well: Facts, status: Status) -> None:
    late, now = START - timedelta(hours=2), START - timedelta(minutes=30)
    for changes in ({"next_due": late, "running": True}, {"next_due": now}):
        schedules = [one.model_copy(update=changes) for one in status.schedules]
        assert advise(replace(well, status=status.model_copy(update={"schedules": schedules}))) == []


async def test_a_machine_at_utc_is_told_of_the_time_zone(
    well: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.upkeep_health.LOCAL_TIME", tmp_path / "none")
    assert only(replace(well, config=Config())).title == "No time zone is set"
    assert advise(replace(well, config=Config(drive=DriveConfig(time_zone="UTC")))) == []
