"""Writes the frozen objects of the store's format that this program writes: `tests/golden/store-N`.

    .venv/bin/python tests/golden/make_store.py tests/golden/store-N

Run once for each version of the format, when it is released, and never again for the same one.
"""

import json
import os
import random
import sys
from pathlib import Path

from cloud_tier.block_id import block_id
from cloud_tier.chunker import ChunkerParameters
from cloud_tier.drive_header import DriveHeader
from cloud_tier.key_file import key_file_text
from cloud_tier.keyring import KeyRing
from cloud_tier.kit import Kit
from cloud_tier.object_names import DRIVE, KeysName, PackName
from cloud_tier.pack import PackWriter
from cloud_tier.wraps import Argon2Cost, WrapKind

MADE_NS = 1_800_000_000 * 10**9
PASSPHRASE = "schöne Grüße aus dem Büro"
BLOCKS = [b"Dear Anna,\n" * 300, bytes(70_000), b"x", random.Random(1).randbytes(200)]


def main(folder: Path) -> None:
    """One drive: kit, key file, a passphrase, a revoked one, two generations with a pack each, and its header."""
    ring, keys, kit = KeyRing.create(MADE_NS)
    ring, machine = ring.add_secret(keys, WrapKind.MACHINE, "appliance", MADE_NS)
    ring = ring.add_passphrase(keys, PASSPHRASE, "Anna", MADE_NS, Argon2Cost(64, 1, 1))
    ring = ring.add_passphrase(keys, "left the office", "Bernd", MADE_NS, Argon2Cost(64, 1, 1))
    objects = {}
    for blocks in (BLOCKS, [random.Random(2).randbytes(300)]):
        writer = PackWriter(keys)
        for data in blocks:
            writer.add(block_id(keys.block_key, data), data)
        pack = writer.close()
        objects[str(PackName(1, pack.pack_id))] = bytes(pack.body)
        if keys.current == 1:
            ring, keys = ring.revoke(keys, 4, MADE_NS)
    objects[str(KeysName(ring.rows.number))] = ring.encode()
    objects[DRIVE] = DriveHeader(keys.drive_id, ChunkerParameters(), MADE_NS).encode(keys)
    for name, body in objects.items():
        path = folder / "objects" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    page = Kit(kit, keys.drive_id, "s3://office/drive?endpoint=https://s3.example.com", "2027-01-15")
    (folder / "kit.txt").write_text(page.text())
    (folder / "kit.html").write_text(page.html())
    (folder / "key").write_text(key_file_text(machine))
    said = {
        "passphrase": PASSPHRASE,
        "revoked": "left the office",
        "secret": keys.secret.hex(),
        "generations": {number: key.hex() for number, key in keys.generations.items()},
    }
    (folder / "keys.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]))
