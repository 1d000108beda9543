"""What smbd costs on the drive, beside an smbd of the same settings on the disk, by turns; and 25 people at work.

Samba's own client makes, reads, lists and removes small files and moves a stream; its start and sign-in are measured
alone and taken off. Both smbds, both clients and the core share this machine's cores. Ends with 1 when a floor is
missed. Wants root and Samba (`./just bench-smb` installs it), and a temporary folder (TMPDIR) on a real disk.

    python tests/bench/over_smb.py [--quick] [--write] [--soak [--seconds N] | --deaths]
"""

import argparse
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.over_smb_deaths import deaths
from bench.over_smb_soak import soak
from bench.page import write_section
from smb.office import PASSWORD, SHARE, Office, free_port, opened

ROUNDS = 3
SMALL_BYTES = 8 << 10
FLOORS = {"creates /s": 0.5, "write MB/s": 0.7, "read MB/s": 0.7, "creates /s among 8,000, to empty": 0.9}


class Server:
    """One smbd and the folder behind it. `among`: a folder that holds 8,000 files."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self._port = port
        self.folder = folder

    def run(self, commands: str, local: Path) -> float:
        """Seconds that smbclient takes for `commands`, in the local folder."""
        words = ["smbclient", f"//127.0.0.1/{SHARE}", "--port", str(self._port), "--user", f"alice%{PASSWORD}"]
        begun = time.perf_counter()
        ended = subprocess.run(
            [*words, "--command", f'prompt OFF; lcd "{local}"; {commands}'],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.perf_counter() - begun
        if ended.returncode or "NT_STATUS" in ended.stdout:
            sys.exit(f"{self.name}: {commands}: {ended.stdout[-500:]}{ended.stderr[-500:]}")
        return took


def smbd_on_disk(office: Office, stack: ExitStack) -> Server:
    """An smbd with the settings of the office's, without what belongs to the past, on a folder of the disk."""
    home = Path(tempfile.mkdtemp(prefix="hybrid-bench-smbd-"))
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)
    ours, port = office.drive.state / "run" / "samba", free_port()
    folder = home / "drive" / SHARE
    folder.mkdir(parents=True)
    os.chown(folder, 0, office.folder.stat().st_gid)
    folder.chmod(0o2770)
    text = (ours / "smb.conf").read_text().replace(str(office.drive.mount), str(home / "drive"))
    text = text.replace(str(ours), str(home)).replace(f"smb ports = {office.port}", f"smb ports = {port}")
    text = (
        text.replace(f"smbpasswd:{home}", f"smbpasswd:{ours}")
        .replace("shadow_copy2 ", "")
        .replace("glusterfs_fuse", "")
    )
    text = text.replace(str(office.drive.state / "log"), str(home))
    kept = [line for line in text.splitlines() if "preexec" not in line and "shadow:" not in line]
    for name in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
        (home / name).mkdir()
    (home / "smb.conf").write_text("\n".join(kept) + "\n")
    names = office.drive.state / "run" / "extrausers"
    command = [sys.executable, "-m", "appliance.smb.launcher", str(home / "smb.conf"), str(names), str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    server = Server("disk", port, folder)
    end = time.monotonic() + 20
    while subprocess.run(
        ["smbclient", f"//127.0.0.1/{SHARE}", "--port", str(port), "--user", f"alice%{PASSWORD}", "--command", "exit"],
        capture_output=True,
        check=False,
    ).returncode:
        if time.monotonic() > end:
            sys.exit("the smbd on the disk does not serve")
        time.sleep(0.1)
    return server


def measure(server: Server, number: int, files: int, stream: Path, small: Path) -> dict[str, float]:
    """One turn of a server, in a folder of its own: figures by row."""
    back = Path(tempfile.mkdtemp(prefix="hybrid-bench-back-"))
    size_mb = stream.stat().st_size / 1e6
    start_s = server.run("exit", back)
    found: dict[str, float] = {}

    def row(title: str, amount: float, commands: str, local: Path) -> None:
        found[title] = amount / max(server.run(commands, local) - start_s, 0.001)

    try:
        row("creates /s", files, f"mkdir r{number}; cd r{number}; mput *", small)
        row("reads /s", files, f"cd r{number}; mget *", back)
        row("entries listed /s", 8000, "cd among; ls", back)
        row("deletes /s", files, f"cd r{number}; del *", back)
        row("creates /s among 8,000", files, "cd among; mput *", small)
        found["creates /s among 8,000, to empty"] = found["creates /s among 8,000"] / found["creates /s"]
        server.run("cd among; del s*", back)
        row("write MB/s", size_mb, f'put "{stream.name}" stream', stream.parent)
        row("read MB/s", size_mb, "get stream", back)
        server.run("del stream", back)
    finally:
        shutil.rmtree(back)
    return found


def table(results: dict[str, dict[str, list[float]]]) -> tuple[str, bool]:
    """The rows as a table, and whether every floor was met."""
    lines = ["| | smbd on the drive | smbd on ext4 | ratio (range) | floor |", "|---|---:|---:|---|---:|"]
    is_met = True
    for title, by_name in results.items():
        ratios = [drive / disk for drive, disk in zip(by_name["drive"], by_name["disk"], strict=True)]
        if title.endswith("to empty"):
            ratios = by_name["drive"]
        ratio, floor = statistics.median(ratios), FLOORS.get(title)
        figures = [statistics.median(by_name[name]) for name in ("drive", "disk")]
        shown = ["{:,.2f}" if title.endswith("to empty") else "{:,.0f}"] * 2
        mark = "" if floor is None else " ≥" if ratio >= floor else " **<**"
        is_met = is_met and (floor is None or ratio >= floor)
        lines.append(
            f"| {title} | {shown[0].format(figures[0])} | {shown[1].format(figures[1])} | {ratio:.2f}"
            f" ({min(ratios):.2f}–{max(ratios):.2f}){mark} | {'' if floor is None else f'{floor:g}'} |"
        )
    return "\n".join(lines), is_met


def compare(files: int, stream_mib: int, *, is_written: bool) -> int:
    """The table; 1 when a floor is missed."""
    with ExitStack() as stack:
        office = stack.enter_context(opened())
        servers = [Server("drive", office.port, office.folder), smbd_on_disk(office, stack)]
        local = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        small, stream = local / "small", local / "big" / "stream"
        small.mkdir()
        stream.parent.mkdir()
        stream.write_bytes(os.urandom(1 << 20) * stream_mib)
        for number in range(files):
            (small / f"s{number:05}").write_bytes(os.urandom(SMALL_BYTES))
        for server in servers:
            (server.folder / "among").mkdir()
            (server.folder / "among").chmod(0o2777)
            for number in range(8000):
                (server.folder / "among" / f"file {number:05}.docx").touch()
        results: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for number in range(ROUNDS):
            for server in servers:
                for title, figure in measure(server, number, files, stream, small).items():
                    results[title][server.name].append(figure)
                    print(f"  {title:34} {server.name:6} {figure:10,.1f}", file=sys.stderr, flush=True)
    lines, is_met = table(results)
    said = (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the"
        f" end, {files:,} files of {SMALL_BYTES >> 10} KiB, a stream of {stream_mib} MiB; medians of {ROUNDS} rounds."
    )
    text = f"{said}\n\n{lines}"
    print(text)
    if is_written:
        write_section("smb", text)
    return int(not is_met)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--quick", action="store_true", help="smaller counts")
    options.add_argument("--write", action="store_true", help="put the result into docs/performance.md")
    options.add_argument("--soak", action="store_true", help="25 clients at work instead")
    options.add_argument("--deaths", action="store_true", help="how long a killed process holds people up instead")
    options.add_argument("--seconds", type=int, default=600, help="how long they work (600)")
    chosen = options.parse_args()
    if chosen.soak or chosen.deaths:
        text, is_well = soak(chosen.seconds) if chosen.soak else deaths()
        print(text)
        if chosen.write:
            write_section("smb-soak" if chosen.soak else "smb-deaths", text)
        return int(not is_well)
    return compare(300 if chosen.quick else 1000, 64 if chosen.quick else 256, is_written=chosen.write)


if __name__ == "__main__":
    sys.exit(main())
