"""Where am I, and what is above me: while directories move and vanish."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from mount.calls import refused, write_file
from mount.people import Answer, in_child


def inside(place: Path, story: Callable[[], Answer]) -> Answer:
    """Runs `story` in a process whose working directory is `place`."""

    def enter() -> Answer:
        os.chdir(place)
        return story()

    return in_child(enter)


def test_getcwd_is_the_path_that_was_entered(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    assert inside(folder / "a" / "b", os.getcwd) == os.path.realpath(folder / "a" / "b")


def test_getcwd_follows_renames_of_any_parent(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "other").mkdir()

    def move_around() -> tuple[str, str]:
        os.rename(folder / "a", folder / "moved")
        first = os.getcwd()
        os.rename(folder / "moved" / "b", folder / "other" / "b")
        return first, os.getcwd()

    real = os.path.realpath(folder)
    assert inside(folder / "a" / "b", move_around) == (f"{real}/moved/b", f"{real}/other/b")


def test_stat_by_another_path_does_not_move_anybody(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "link").symlink_to("a")

    def look_around() -> str:
        in_child(lambda: os.stat(folder / "link" / "b").st_ino)
        os.listdir(folder / "link" / "b")
        return os.getcwd()

    assert inside(folder / "a" / "b", look_around) == os.path.realpath(folder / "a" / "b")


def test_getcwd_in_a_removed_directory_is_enoent(folder: Path) -> None:
    (folder / "gone").mkdir()

    def remove_then_ask() -> None:
        os.rmdir(folder / "gone")
        os.getcwd()

    with refused(errno.ENOENT):
        inside(folder / "gone", remove_then_ask)


def test_dotdot_is_the_parent_wherever_it_was_moved(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "other").mkdir()

    def move_then_look_up() -> list[int]:
        seen = [os.stat("..").st_ino]
        os.rename(folder / "a" / "b", folder / "other" / "b")
        return [*seen, os.stat("..").st_ino, os.stat("../..").st_ino]

    parents = [(folder / "a").stat().st_ino, (folder / "other").stat().st_ino, folder.stat().st_ino]
    assert inside(folder / "a" / "b", move_then_look_up) == parents


def test_relative_paths_work_from_an_open_directory_that_moved(folder: Path) -> None:
    (folder / "a").mkdir()
    write_file(folder / "a" / "file", b"content")
    home = os.open(folder / "a", os.O_RDONLY | os.O_DIRECTORY)
    os.rename(folder / "a", folder / "moved")
    handle = os.open("file", os.O_RDONLY, dir_fd=home)
    assert os.read(handle, 100) == b"content"
    os.close(handle)
    os.mkdir("new", dir_fd=home)
    assert sorted(os.listdir(folder / "moved")) == ["file", "new"]
    os.close(home)


def test_root_of_the_drive_has_a_way_up(drive_dir: Path) -> None:
    assert inside(drive_dir, lambda: os.stat("..").st_ino) == drive_dir.parent.stat().st_ino
