"""Others on the same server: how soon a stream that is written to their mount is in the store.

rclone mount with its full cache, and S3QL where `S3QL_BIN` says that it is (`bench.peers`).
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bench.cloud_kit import noise
from bench.subjects import mounted
from kit.s3_servers import BIN, BUCKET, KEY, SECRET


def rclone_rate(endpoint: str, place: Path, size: int) -> float:
    """Bytes a second."""
    place.mkdir()
    config = f":s3,provider=Other,access_key_id={KEY},secret_access_key={SECRET},endpoint='{endpoint}':{BUCKET}/peer"
    cache = ["--vfs-cache-mode", "full", "--cache-dir", str(place / "cache"), "--vfs-write-back", "0s"]
    listed = [str(BIN / "rclone"), "size", "--json", "--config", os.devnull, config]

    def flush() -> None:
        while f'"bytes":{size}' not in subprocess.run(listed, capture_output=True, text=True, check=False).stdout:
            time.sleep(0.05)

    command = [str(BIN / "rclone"), "mount", *cache, "--config", os.devnull, config, str(place / "mount")]
    with mounted(command, place / "mount"):
        return _rate(place / "mount", size, flush)


def s3ql_rate(endpoint: str, place: Path, size: int) -> float | None:
    """Bytes a second, without encryption, as it is fastest, and compression; None where there is no S3QL."""
    programs = os.environ.get("S3QL_BIN", "")
    if not programs:
        return None
    place.mkdir()
    logins = place / "logins"
    url = f"s3c4://{urlsplit(endpoint).netloc}/{BUCKET}/s3ql"
    logins.write_text(f"[s3c4]\nstorage-url: {url}\nbackend-login: {KEY}\nbackend-password: {SECRET}\n")
    logins.chmod(0o600)
    common = ["--cachedir", str(place / "cache"), "--authfile", str(logins), "--backend-options", "no-ssl", url]
    subprocess.run([f"{programs}/mkfs.s3ql", "--plain", *common], check=True, capture_output=True)
    program = [f"{programs}/mount.s3ql", "--fg", "--compress", "none", "--log", "none", *common]
    mount = place / "mount"
    flush = [f"{programs}/s3qlctrl", "flushcache", str(mount)]
    with mounted([*program, str(mount)], mount, unmount=[f"{programs}/umount.s3ql", str(mount)]):
        return _rate(mount, size, lambda: subprocess.run(flush, check=True))


def _rate(mount: Path, size: int, flush: Callable[[], object]) -> float:
    data = noise(5, size)
    began = time.perf_counter()
    (mount / "stream").write_bytes(data)
    flush()
    return size / (time.perf_counter() - began)
