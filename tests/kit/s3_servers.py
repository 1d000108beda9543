"""Real S3 servers on free ports of this machine, each a process of its own.

moto knows conditional writes and believes every signature; rclone checks signatures and MD5s and overwrites whatever it
is told not to. What holds on both holds on most.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
KEY, SECRET = "office", "correct-horse-battery"
BUCKET = "drive-of-the-office"
START_DEADLINE_S = 30.0


@dataclass(frozen=True)
class S3Server:
    """A server that runs, with an empty bucket `BUCKET`."""

    endpoint: str
    creates_only: bool


@contextlib.contextmanager
def credentials() -> Iterator[None]:
    """This process, and what it starts, has the servers' credentials and no others, and asks no proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("no_proxy", "*")
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """moto's server: everything in its memory, signatures not checked. `folder`: where its log goes."""
    port = free_port()
    with _running(folder / "moto.log", port, str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)):
        endpoint = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT"), timeout=10).close()
        yield S3Server(endpoint, creates_only=True)


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[S3Server]:
    """`rclone serve s3` over a folder: signatures and MD5s checked, no conditional writes."""
    port = free_port()
    (folder / "root" / BUCKET).mkdir(parents=True)
    serve = ("serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", "--config", os.devnull)
    with _running(folder / "rclone.log", port, str(BIN / "rclone"), *serve, str(folder / "root")):
        yield S3Server(f"http://127.0.0.1:{port}", creates_only=False)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(log: Path, port: int, *command: str) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(log.read_text()) from None
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()
