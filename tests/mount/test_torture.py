"""Short runs of what `./just torture` does for an hour; and the exercisers see what is wrong."""

import pytest
from conformance import fio_verify, fsx_seeds, stress
from conformance.fresh_drive import silent_drive
from kit.mounted import DriveFailed

pytestmark = [pytest.mark.needs_product, pytest.mark.timeout(180)]

QUICK = (
    "access",
    "chdir",
    "copy-file",
    "dentry",
    "dir",
    "filename",
    "hdd",
    "iomix",
    "link",
    "lockf",
    "xattr",
)


def test_random_operations_under_snapshots_and_a_restart_keep_every_byte() -> None:
    fsx_seeds.exercise_drive(seeds=(5,), operations=3000, jobs=1)


@pytest.mark.needs_program("fio")
def test_blocks_that_fio_wrote_are_right_after_a_restart_and_in_a_snapshot() -> None:
    fio_verify.verify(size_mib=4)


@pytest.mark.needs_program("stress-ng")
def test_stressors_find_no_failure_and_the_drive_stays_silent() -> None:
    assert stress.stress(QUICK, seconds=1, workers=2) == []


@pytest.mark.needs_program("stress-ng")
def test_every_excluded_stressor_has_a_name_that_stress_ng_knows() -> None:
    assert set(stress.EXCLUDED).isdisjoint(stress.stressors())
    assert len(stress.stressors()) > 30


def test_line_in_the_log_of_a_drive_fails_the_run() -> None:
    def run() -> None:
        with silent_drive() as drive, drive.console.open("a") as console:
            console.write("2026-01-01T00:00:00.000Z WARNING somebody: something\n")

    with pytest.raises(DriveFailed, match="somebody: something"):
        run()


@pytest.mark.needs_program("fio")
def test_wrong_block_is_seen_by_fio() -> None:
    with silent_drive() as drive:
        fio_verify.fio(drive.mount, "random-4k", 1, 1, "--do_verify=1")
        with (drive.mount / "random-4k").open("r+b") as file:
            file.seek(70_000)
            file.write(b"wrong")
        with pytest.raises(fio_verify.Wrong, match="verify"):
            fio_verify.fio(drive.mount, "random-4k", 1, 1, "--verify_only")
