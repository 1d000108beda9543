"""The key file: opens the drive unattended, and is refused as soon as others could have read it."""

import os
from pathlib import Path

import pytest

from cloud_tier.errors import KeyFileRefused
from cloud_tier.key_file import key_file_text, read_key_file

SECRET = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(key_file_text(SECRET))
    return path


def test_what_was_written_is_read(path: Path) -> None:
    assert read_key_file(path) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_can_touch_is_refused_with_what_to_do(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFileRefused, match="chmod 600"):
        read_key_file(path)


def test_a_file_of_somebody_else_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 1234, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(KeyFileRefused, match="not for its owner alone"):
        read_key_file(path)


def test_a_link_a_folder_a_pipe_and_nothing_are_refused(path: Path) -> None:
    link, folder, pipe = path.with_name("link"), path.with_name("folder"), path.with_name("pipe")
    link.symlink_to(path)
    folder.mkdir(0o700)
    os.mkfifo(pipe, 0o600)
    for each in (link, folder, pipe, path.with_name("nothing")):
        with pytest.raises(KeyFileRefused):
            read_key_file(each)


def test_every_damaged_byte_is_noticed(path: Path) -> None:
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
        with pytest.raises(KeyFileRefused, match=r"damaged|version"):
            read_key_file(path)
