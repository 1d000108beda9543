"""Keys of a drive that runs: changed by the core, opened again by passphrase, and without the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.mounted import CommandFailed, DriveFailed, MountedDrive


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[MountedDrive]:
    """A drive without a key file; its passphrase is in the environment of every command."""
    tmp_path.chmod(0o755)
    drive = MountedDrive(tmp_path / "locked" / "state", tmp_path / "locked" / "drive")
    drive.run_command("init", "--no-keyfile")
    try:
        yield drive
    finally:
        drive.clear_away()


def test_running_drive_changes_its_keys_and_starts_again_without_its_store(locked: MountedDrive) -> None:
    locked.start()
    (locked.mount / "letter.txt").write_text("kept")
    assert locked.cli("status")["store"]["state"] == "reachable"
    kinds = [wrap["kind"] for wrap in locked.cli("keys", "list")["wraps"]]
    assert kinds == ["kit", "passphrase"]
    assert locked.cli("keys", "rotate")["generation"] == 2
    assert locked.cli("keys", "kit")["number"] == 3
    assert [wrap["number"] for wrap in locked.cli("keys", "revoke", "1")["wraps"]] == [2, 3]
    with pytest.raises(CommandFailed) as caught:
        locked.cli("keys", "revoke", "7")
    assert caught.value.code == 3
    locked.stop()
    (locked.state / "store").rename(locked.state / "unplugged")
    locked.start()
    assert (locked.mount / "letter.txt").read_text() == "kept"
    store = locked.cli("status")["store"]
    assert store["state"] == "unreachable"
    assert "not to be mounted" in store["reason"] or "No such file" in store["reason"]
    advice = {each["title"] for each in doctor(locked)}
    assert "The store cannot be reached" in advice
    assert locked.cli("keys", "list")["generation"] == 3
    assert locked.complaints() == []


def test_wrong_passphrase_ends_the_start_with_a_sentence(
    locked: MountedDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        MountedDrive, "_environment", staticmethod(lambda: {"HYBRID_DRIVE_PASSPHRASE": "some other words", "PATH": ""})
    )
    with pytest.raises(DriveFailed, match="This passphrase does not open the drive"):
        locked.start()


def doctor(drive: MountedDrive) -> list[dict[str, str]]:
    found: list[dict[str, str]] = drive.cli("doctor")
    return found
