"""Shares and homes on a real mount: the table of rights, and what the kernel alone would not do."""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.mounted import MountedDrive
from mount.calls import refused
from mount.people import as_user
from mount.rights_table import (
    ACTIONS,
    CASES,
    CONTENT,
    PASSWORD,
    PEOPLE,
    MountDoor,
    as_person,
    furnish,
    groups_in_use,
    people_of,
    plant,
)
from mount.snapshots import snap

from appliance.control.client import ControlClient
from appliance.control.people_protocol import UserRequest
from appliance.control.protocol import ControlProblem

pytestmark = [pytest.mark.needs_product, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def office(module_drive: MountedDrive) -> MountedDrive:
    furnish(module_drive)
    return module_drive


@pytest.mark.parametrize(("person", "action"), CASES)
def test_door_role_right(person: str, action: str, office: MountedDrive) -> None:
    door = MountDoor(office)
    plant(office, "writer", "Sales")
    assert door.attempt(person, action, "Sales") is (action in PEOPLE[person][1])
    assert not door.attempt(person, action, "Plans")


def uid(office: MountedDrive, person: str) -> int:
    return groups_in_use(office, person)[0]


READERS_ATTEMPTS: dict[str, Callable[[Path], object]] = {
    "symlink": lambda work: os.symlink("x", work / "link"),
    "fifo": lambda work: os.mkfifo(work / "fifo"),
    "link": lambda work: os.link(work / "file", work / "link"),
    "folder": lambda work: os.rmdir(work / "sub"),
    "open to append": lambda work: os.open(work / "file", os.O_WRONLY | os.O_APPEND),
    "open and truncate": lambda work: os.open(work / "file", os.O_RDONLY | os.O_TRUNC),
    "mode of his own": lambda work: os.chmod(work / "his", 0o600),
    "times of his own": lambda work: os.utime(work / "his", ns=(1, 1)),
    "attribute": lambda work: os.setxattr(work / "file", "user.x", b"1"),
    "removing an attribute": lambda work: os.removexattr(work / "file", "user.there"),
}


@pytest.mark.parametrize("name", READERS_ATTEMPTS)
def test_a_reader_is_refused_whatever_he_tries(name: str, office: MountedDrive) -> None:
    plant(office, "writer", "Sales")
    work = office.mount / "Sales" / "work"
    (work / "sub").mkdir()
    (work / "his").write_bytes(b"made when he still could write")
    os.chown(work / "his", uid(office, "reader"), -1)
    os.setxattr(work / "file", "user.there", b"1")
    with refused(errno.EACCES):
        as_person(office, "reader", lambda: bool(READERS_ATTEMPTS[name](work)))
    assert (work / "file").read_bytes() == CONTENT


def test_a_writer_who_becomes_a_reader_is_stopped_also_where_he_is_signed_in(office: MountedDrive) -> None:
    """A process keeps the groups it began with; the core does not go by them."""
    people = people_of(office)
    people.add_user(UserRequest(name="anna", password=PASSWORD))
    people.allow("Sales", "anna", "write")
    plant(office, "anna", "Sales")
    number, groups = groups_in_use(office, "anna")
    work = office.mount / "Sales" / "work"

    def with_old_groups(call: Callable[[], object]) -> object:
        return as_user(number, call, groups=groups)

    with_old_groups(lambda: (work / "file").write_bytes(b"1") and None)
    people.allow("Sales", "anna", "read")
    with refused(errno.EACCES):
        with_old_groups(lambda: (work / "file").write_bytes(b"2") and None)
    assert with_old_groups((work / "file").read_bytes) == b"1"
    past = office.mount / ".snapshots" / snap(office) / "Sales" / "work"
    assert with_old_groups((past / "file").read_bytes) == b"1"
    people.deny("Sales", "anna")
    for attempt in (
        (work / "file").read_bytes,
        lambda: os.listdir(work),
        (past / "file").read_bytes,
        lambda: os.listdir(past),
    ):
        with refused(errno.EACCES):
            with_old_groups(attempt)
    people.remove_user("anna")


def test_a_reader_closes_what_another_is_writing(office: MountedDrive) -> None:
    """The kernel brings the writer's time to the core at the reader's close, in the reader's name."""
    plant(office, "writer", "Sales")
    file = office.mount / "Sales" / "work" / "file"

    def read() -> bytes:
        handle = os.open(file, os.O_RDONLY)
        found = os.read(handle, 3)
        os.close(handle)
        return found

    with file.open("r+b", buffering=0) as writing:
        writing.write(b"new")
        assert as_person(office, "reader", read) == b"new"


def test_what_one_makes_all_can_change_whatever_his_program_wants(office: MountedDrive) -> None:
    work = office.mount / "Sales" / "work"
    plant(office, "writer", "Sales")
    gid = (office.mount / "Sales").stat().st_gid

    def make() -> None:
        os.umask(0o077)
        (work / "made").mkdir(mode=0o700)
        os.close(os.open(work / "made" / "file", os.O_CREAT | os.O_WRONLY, 0o400))
        (work / "made" / "file").chmod(0o400)
        (work / "made").chmod(0o700)

    as_person(office, "writer", make)
    for path, bits in ((work / "made", 0o2770), (work / "made" / "file", 0o460)):
        found = path.stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (gid, bits)
    as_person(office, "groupwriter", lambda: (work / "made" / "file").write_bytes(b"too") and None)
    with refused(errno.EPERM):
        as_person(office, "writer", lambda: os.chown(work / "made" / "file", -1, uid(office, "writer")))


def test_what_is_moved_into_another_share_is_copied_and_belongs_there(office: MountedDrive) -> None:
    people = people_of(office)
    people.allow("Plans", "writer", "write")
    plant(office, "writer", "Sales")
    source, target = office.mount / "Sales" / "work" / "file", office.mount / "Plans" / "work" / "moved"
    with refused(errno.EXDEV):
        as_person(office, "writer", lambda: os.rename(source, target))
    with refused(errno.EXDEV):
        as_person(office, "writer", lambda: os.link(source, target))
    as_person(office, "writer", lambda: subprocess.run(["mv", source, target], check=True) and None)
    assert target.read_bytes() == CONTENT
    assert not source.exists()
    assert target.stat().st_gid == (office.mount / "Plans").stat().st_gid
    people.deny("Plans", "writer")


def test_names_that_differ_only_by_case_are_refused(office: MountedDrive) -> None:
    plant(office, "writer", "Sales")
    work = office.mount / "Sales" / "work"

    def try_twins() -> None:
        for attempt in (
            lambda: os.close(os.open(work / "FILE", os.O_CREAT | os.O_WRONLY)),
            lambda: (work / "File").mkdir(),
            lambda: os.symlink("x", work / "fILE"),
            lambda: os.link(work / "file", work / "FILE"),
        ):
            with refused(errno.EEXIST):
                attempt()
        os.rename(work / "file", work / "FILE")

    as_person(office, "writer", try_twins)
    assert os.listdir(work) == ["FILE"]


def test_a_home_is_its_users_alone(office: MountedDrive) -> None:
    home = office.mount / "Homes" / "writer"
    as_person(office, "writer", lambda: (home / "letter").write_bytes(CONTENT) and None)
    for person in ("reader", "admin1", "owner1"):
        with refused(errno.EACCES):
            as_person(office, person, (home / "letter").read_bytes)
    with refused(errno.EACCES):
        as_person(office, "reader", lambda: os.listdir(office.mount / "Homes"))
    with refused(errno.EACCES):
        as_person(office, "writer", lambda: os.rename(home, home.with_name("mine")))


def test_folders_of_shares_and_homes_are_left_to_the_commands_even_by_root(office: MountedDrive) -> None:
    for path in (office.mount / "Sales", office.mount / "Homes", office.mount / "Homes" / "writer"):
        with refused(errno.EPERM):
            os.rename(path, path.with_name("other"))
        with refused(errno.EPERM):
            os.rmdir(path)


def test_the_root_takes_nothing_from_users(office: MountedDrive) -> None:
    with refused(errno.EACCES):
        as_person(office, "writer", lambda: (office.mount / "mine").mkdir())


def test_previous_versions_of_a_share_open_in_the_share(office: MountedDrive) -> None:
    plant(office, "writer", "Sales")
    name = snap(office)
    as_person(office, "writer", lambda: (office.mount / "Sales" / "work" / "file").unlink())
    door = office.mount / "Sales" / "Previous Versions"
    assert as_person(office, "reader", (door / name / "work" / "file").read_bytes) == CONTENT
    with refused(errno.EACCES):
        as_person(office, "stranger", (door / name / "work" / "file").read_bytes)


def test_a_share_that_is_renamed_and_removed_takes_its_members_along(office: MountedDrive) -> None:
    people = people_of(office)
    people.add_share("Old")
    people.allow("Old", "writer", "write")
    as_person(office, "writer", lambda: (office.mount / "Old" / "file").write_bytes(b"1") and None)
    people.rename_share("Old", "New")
    assert as_person(office, "writer", (office.mount / "New" / "file").read_bytes) == b"1"
    assert people.remove_share("New").has_left_folder
    with refused(errno.EACCES):
        as_person(office, "writer", (office.mount / "New" / "file").read_bytes)
    assert (office.mount / "New" / "file").read_bytes() == b"1"
    people.add_share("New")
    people.allow("New", "reader", "read")
    assert as_person(office, "reader", (office.mount / "New" / "file").read_bytes) == b"1"
    shutil.rmtree(office.mount / "New" / "work", ignore_errors=True)


def test_a_restored_drive_keeps_its_shares_closed(office: MountedDrive) -> None:
    people = people_of(office)
    people.add_share("Before")
    (office.mount / "Before" / "file").write_bytes(b"1")
    name = snap(office)
    people.add_share("After")
    office.cli("restore", ".", "--at", name)
    for share in ("Before", "After", "Sales"):
        found = (office.mount / share).stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o2770)
    with refused(errno.EACCES):
        as_person(office, "stranger", (office.mount / "Before" / "file").read_bytes)


def core_as(office: MountedDrive, person: str) -> ControlClient:
    return ControlClient(office.state / "run" / "control.sock", acting_uid=uid(office, person))


def test_an_employee_restores_what_he_could_change_himself(office: MountedDrive) -> None:
    plant(office, "writer", "Sales")
    name = snap(office)
    file = office.mount / "Sales" / "work" / "file"
    as_person(office, "writer", lambda: file.write_bytes(b"worse") and None)
    path = "Sales/work/file"
    assert len(core_as(office, "reader").versions(path)) >= 2
    for person in ("reader", "stranger", "former", "disabled", "auditor1"):
        with pytest.raises(ControlProblem) as caught:
            core_as(office, person).start_restore(path, name)
        assert caught.value.problem.code == "no_rights", person
    for person in ("stranger", "former", "auditor1"):
        with pytest.raises(ControlProblem) as caught:
            core_as(office, person).versions(path)
        assert caught.value.problem.code == "not_found", person
    job = core_as(office, "writer").start_restore(path, name)
    while core_as(office, "writer").job(job.id).state == "building":
        continue
    assert file.read_bytes() == CONTENT
    with pytest.raises(ControlProblem):
        core_as(office, "stranger").job(job.id)
    for whole in ("Sales", "Homes/writer", ""):
        with pytest.raises(ControlProblem):
            core_as(office, "writer").plan_restore(whole, name)
    with pytest.raises(ControlProblem):
        core_as(office, "writer").plan_restore(path, name, "Homes/writer/file")


def test_an_admin_brings_nothing_out_of_a_share_or_home(office: MountedDrive) -> None:
    diary = office.mount / "Homes" / "owner1" / "diary"
    as_person(office, "owner1", lambda: diary.write_bytes(b"secret") and None)
    name = snap(office)
    admin = core_as(office, "admin1")
    for path, to in (("Homes/owner1/diary", "Homes/admin1/diary"), ("Homes", "all"), ("", "everything")):
        with pytest.raises(ControlProblem) as caught:
            admin.start_restore(path, name, to)
        assert caught.value.problem.code == "no_rights", path
    assert admin.plan_restore("Homes/owner1/diary", name) is not None, "in its own place it is his to bring back"


def test_no_log_and_no_answer_tells_a_password_or_what_is_kept_of_it(office: MountedDrive) -> None:
    from appliance.passwords import secrets_of
    from vfs.people import SecretKind

    people = people_of(office)
    with pytest.raises(ControlProblem):
        people.add_user(UserRequest(name="writer", password=PASSWORD))
    with pytest.raises(ControlProblem):
        people.set_password("nobody-of-that-name", PASSWORD)
    answers = "".join(str(each) for each in (*people.users(), *people.groups(), *people.shares(), people.status()))
    text = office.log() + answers + people.metrics()
    for secret in (PASSWORD, secrets_of(PASSWORD)[SecretKind.NT], "$argon2id$"):
        assert secret.lower() not in text.lower()
    audit = (office.state / "log" / "audit.log").read_text()
    assert '"request": "POST /v1/users"' in audit
    assert '"refused: uid' in audit


def test_every_action_of_the_table_is_one_that_somebody_can_do(office: MountedDrive) -> None:
    """A table of refusals alone would pass with a door that is nailed up."""
    for action in ACTIONS:
        plant(office, "writer", "Sales")
        assert MountDoor(office).attempt("writer", action, "Sales"), action
