"""The drive as a service: exactly these files, taken away without a trace, and nothing of anybody else's touched."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.cli import run as run_line
from appliance.installing import COMMAND, GROUP, UNIT, Installation, NotInstalled, install, run_command, uninstall

GOLDEN = Path(__file__).parents[1] / "golden" / "install"
MOST_EXPOSURE = 60  # tenths, as `systemd-analyze security` counts; a service without any option has 96


@pytest.fixture
def wanted(tmp_path: Path) -> Installation:
    program = Path("/opt/hybrid-drive/bin/hybrid-drive")
    return Installation(tmp_path / "root", Path("/var/lib/hybrid-drive"), Path("/srv/drive"), program)


def never(command: Sequence[str]) -> None:
    raise AssertionError(f"{command} was run for files that are only laid out")


def tree(root: Path) -> dict[str, str]:
    found = [path for path in sorted(root.rglob("*")) if path.is_symlink() or path.is_file()]
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text() for path in found
    }


def test_the_files_are_those_of_the_golden_tree(wanted: Installation) -> None:
    install(wanted, never)
    assert tree(wanted.root) == tree(GOLDEN)
    assert {path.stat().st_mode & 0o777 for path in (wanted.root / UNIT, wanted.root / GROUP)} == {0o644}


def test_a_second_install_changes_nothing_and_uninstall_takes_away_what_it_put_there(wanted: Installation) -> None:
    (wanted.root / "etc/systemd/system").mkdir(parents=True)
    neighbour = wanted.root / "etc/systemd/system/other.service"
    neighbour.write_text("[Service]\n")
    install(wanted, never)
    before = tree(wanted.root)
    install(wanted, never)
    assert tree(wanted.root) == before
    assert len(uninstall(wanted.root, never)) == 3
    assert tree(wanted.root) == {"etc/systemd/system/other.service": "[Service]\n"}
    assert uninstall(wanted.root, never) == []


@pytest.mark.parametrize("place", [UNIT, GROUP, COMMAND])
def test_a_file_of_somebody_elses_is_never_written_over_nor_removed(wanted: Installation, place: Path) -> None:
    theirs = wanted.root / place
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(NotInstalled, match="was not written by install"):
        install(wanted, never)
    assert tree(wanted.root) == {str(place): "theirs"}
    assert uninstall(wanted.root, never) == []
    assert theirs.read_text() == "theirs"


def test_systemd_finds_no_fault_in_the_unit(wanted: Installation, tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "systemd is missing on this machine; ./just installs it"
    program = tmp_path / "hybrid-drive"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    install(Installation(wanted.root, wanted.state, wanted.mount, program), never)
    unit = str(wanted.root / UNIT)
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    said = [line for line in verified.stderr.splitlines() if "hybrid-drive" in line]
    assert (verified.returncode, said) == (0, [])
    limit = f"--threshold={MOST_EXPOSURE}"
    looked_at = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", limit, unit], capture_output=True, text=True, check=False
    )
    assert looked_at.returncode == 0, looked_at.stdout[-300:]


def test_on_the_machine_itself_the_service_is_made_known_and_started(
    wanted: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(Installation, "is_real", True)
    install(wanted, lambda command: ran.append(list(command)))
    assert [command[0] for command in ran] == ["systemd-sysusers", "systemctl", "systemctl"]
    assert ran[-1] == ["systemctl", "enable", "--now", "hybrid-drive.service"]


@pytest.mark.parametrize("folder", ["/srv/our drive", "/srv/100%", '/srv/"'])
def test_a_folder_that_a_unit_cannot_name_is_refused(wanted: Installation, folder: str) -> None:
    with pytest.raises(NotInstalled, match="cannot name"):
        install(Installation(wanted.root, wanted.state, Path(folder), wanted.program), never)
    assert tree(wanted.root) == {}


def test_a_command_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(NotInstalled, match=r"`sh -c .*` failed: no such unit"):
        run_command(["sh", "-c", "echo no such unit >&2; exit 1"])
    with pytest.raises(NotInstalled, match="systemd is needed"):
        run_command(["no-such-program-anywhere"])


def test_the_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    assert run_line(["install", "--root", str(root)]) == 0
    assert "laid out below" in capsys.readouterr().out
    assert run_line(["uninstall", "--root", str(root)]) == 0
    assert "is untouched." in capsys.readouterr().out
    assert run_line(["uninstall", "--root", str(root)]) == 0
    assert "Nothing was installed." in capsys.readouterr().out
