"""Installs what the tests of SMB need on this machine: smbd >= 4.20, its modules, its client, libnss-extrausers.

Run by the recipes that need it, and only by them: who merely serves a drive from a clone does not get a file server.
Debian 12 has smbd 4.17, which cannot open a file in a folder that was deleted since (Samba bug 15544); there the
packages come from bookworm-backports, whose source entry is made from the machine's own entry of `bookworm`, so that a
machine with a mirror goes on using it. No service is started: `policy-rc.d` says no while the packages are unpacked.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LEAST = (4, 20)
PACKAGES = ("samba", "samba-vfs-modules", "smbclient", "libnss-extrausers")
BACKPORTED = "samba-vfs-glusterfs"
"""Holds the module glusterfs_fuse where it is a package of its own."""
SOURCES = Path("/etc/apt")
OWN_ENTRY = SOURCES / "sources.list.d" / "hybrid-drive-backports.sources"
POLICY = Path("/usr/sbin/policy-rc.d")


def version_of(said: str) -> tuple[int, int]:
    """(4, 22) of "Version 4.22.6-Debian…"; (0, 0) when there is none in it."""
    found = re.search(r"\b(\d+)\.(\d+)\.", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def backports_entry(texts: Iterable[str], release: str) -> str | None:
    """A source entry for `release`-backports like the machine's own entry for `release`, in the one-file format.

    None when no entry is one of `release`, or when one of the backports is there already. Pure.
    """
    wanted = None
    for uri, suites, signed in _entries(texts):
        if f"{release}-backports" in suites:
            return None
        if release in suites and wanted is None:
            wanted = f"Types: deb\nURIs: {uri}\nSuites: {release}-backports\nComponents: main\n"
            wanted += f"Signed-By: {signed}\n" if signed else ""
    return wanted


def _entries(texts: Iterable[str]) -> Iterator[tuple[str, list[str], str]]:
    for text in texts:
        for stanza in re.split(r"\n\s*\n", text):
            lines = [line for line in stanza.splitlines() if not line.lstrip().startswith("#")]
            fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
            if "uris" in fields and fields.get("enabled", "yes") != "no":
                yield fields["uris"], fields.get("suites", "").split(), fields.get("signed-by", "")
            for line in lines:
                found = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s", line)
                if found:
                    signed = re.search(r"signed-by=(\S+)", found[1] or "")
                    yield found[2], [found[3]], signed[1] if signed else ""


def is_enough() -> bool:
    """Whether this machine has all of it."""
    smbd = shutil.which("smbd", path=os.environ["PATH"] + ":/usr/sbin")
    if smbd is None or shutil.which("smbclient") is None:
        return False
    said = subprocess.run([smbd, "--version"], capture_output=True, text=True, check=False).stdout
    has_module = any(Path("/usr/lib").glob("*/samba/vfs/glusterfs_fuse.so"))
    has_names = any(Path("/usr/lib").glob("*/libnss_extrausers.so.2")) or Path("/lib/libnss_extrausers.so.2").exists()
    return version_of(said) >= LEAST and has_module and has_names


@contextmanager
def _no_service_starts() -> Iterator[None]:
    if POLICY.exists():  # somebody has decided already
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _apt(*words: str) -> str:
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *words]
    ended = subprocess.run(
        command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"`{' '.join(command)}` ended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended.stdout


def main() -> None:
    if is_enough():
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.exit(
            f"This machine lacks smbd >= {LEAST[0]}.{LEAST[1]}, smbclient, the module glusterfs_fuse or"
            f" libnss-extrausers, and they can be installed by root on Debian only."
        )
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
    name = release[1] if release else ""
    print(f"installing {', '.join(PACKAGES)}", file=sys.stderr)
    wanted = list(PACKAGES)
    if name == "bookworm":
        files = [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]
        texts = [each.read_text() for each in files if each.suffix in (".list", ".sources") and each.is_file()]
        entry = backports_entry(texts, name)
        if entry is not None:
            OWN_ENTRY.write_text(entry)
        wanted = ["-t", f"{name}-backports", *PACKAGES, BACKPORTED]
    with _no_service_starts():
        _apt("update", "-qq")
        if name != "bookworm" and "Candidate:" in _policy(BACKPORTED):
            wanted.append(BACKPORTED)
        _apt("install", "-y", "-qq", "--no-install-recommends", *wanted)
    if not is_enough():
        sys.exit("The packages are installed, but smbd is too old or one of its modules is missing.")


def _policy(package: str) -> str:
    return subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    main()
