"""statfs: numbers that programs act on."""

import os
from pathlib import Path

from mount.calls import write_file


def test_numbers_are_sane(folder: Path) -> None:
    numbers = os.statvfs(folder)
    assert numbers.f_namemax == 255
    assert numbers.f_bsize >= 512
    assert numbers.f_frsize >= 512
    assert 0 < numbers.f_bavail <= numbers.f_bfree <= numbers.f_blocks
    assert 0 < numbers.f_favail <= numbers.f_ffree <= numbers.f_files


def test_space_is_counted_in_fragments_of_at_least_a_gigabyte(folder: Path) -> None:
    numbers = os.statvfs(folder)
    assert numbers.f_frsize * numbers.f_blocks > 1 << 30


def test_limits_programs_ask_for(folder: Path) -> None:
    assert os.pathconf(folder, "PC_NAME_MAX") == 255
    assert os.pathconf(folder, "PC_PATH_MAX") == 4096
    assert os.pathconf(folder, "PC_CHOWN_RESTRICTED") == 1
    assert os.pathconf(folder, "PC_NO_TRUNC") == 1


def test_answer_is_the_same_from_path_and_handle(folder: Path) -> None:
    with write_file(folder / "file").open("rb") as file:
        here, there = os.statvfs(folder), os.fstatvfs(file.fileno())
    assert (here.f_bsize, here.f_namemax, here.f_blocks) == (there.f_bsize, there.f_namemax, there.f_blocks)


def test_device_number_is_one_for_all(folder: Path) -> None:
    (folder / "inner").mkdir()
    write_file(folder / "inner" / "file")
    paths = (folder, folder / "inner", folder / "inner" / "file")
    assert len({path.stat().st_dev for path in paths}) == 1
    assert len({path.stat().st_ino for path in paths}) == 3


def test_blocks_follow_what_was_written(folder: Path) -> None:
    file = write_file(folder / "file", os.urandom(1 << 20))
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    assert (1 << 20) <= file.stat().st_blocks * 512 <= (1 << 20) * 2
    assert file.stat().st_blksize >= 512
