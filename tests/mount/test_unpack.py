"""The owner's exit: one script, without the program, gives the files and any snapshot back from store and kit."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kit.mounted import REPOSITORY, MountedDrive
from mount.calls import write_file
from mount.snapshots import snap
from mount.twin_machine import tree

pytestmark = [pytest.mark.needs_product, pytest.mark.timeout(120)]


def unpack(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script, where nothing of the program can be imported."""
    return subprocess.run(
        [sys.executable, "-I", str(script), *words], cwd=script.parent, capture_output=True, text=True, check=False
    )


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_files_and_snapshots_come_out_without_the_program(own_drive: MountedDrive, tmp_path: Path) -> None:
    script, kit, dice = tmp_path / "alone" / "unpack.py", tmp_path / "kit.txt", random.Random(1)
    script.parent.mkdir()
    shutil.copy(REPOSITORY / "cloud_tier" / "unpack.py", script)
    own_drive.cli("keys", "kit", "--file", str(kit))
    (own_drive.mount / "größe").mkdir()
    for number in range(30):
        write_file(own_drive.mount / "größe" / f"{number}", dice.randbytes(dice.choice((0, 10, 9000, 200_000))))
    (own_drive.mount / "link").symlink_to("größe/1")
    then, name = contents(own_drive.mount), snap(own_drive)
    with (own_drive.mount / "größe" / "3").open("r+b") as file:
        file.seek(5)
        file.write(b"changed")
    (own_drive.mount / "größe" / "4").unlink()
    write_file(own_drive.mount / "sparse", b"")
    with (own_drive.mount / "sparse").open("r+b") as file:
        file.seek(3 << 20)
        file.write(b"end")
    now = tree(own_drive.mount)
    own_drive.cli("flush")
    own_drive.kill()
    store = str(own_drive.state / "store")
    listed = unpack(script, store, str(kit), "--list")
    assert listed.stdout.split() == [name], listed.stderr
    newest = unpack(script, store, str(kit), str(tmp_path / "new"))
    assert (newest.returncode, newest.stderr) == (0, "")
    own_drive.start()
    assert contents(tmp_path / "new") == contents(own_drive.mount)
    assert tree(own_drive.mount) == now
    assert (tmp_path / "new" / "link").readlink() == Path("größe/1")
    assert unpack(script, store, str(kit), str(tmp_path / "old"), "--at", name).returncode == 0
    assert contents(tmp_path / "old") == then
