#!/usr/bin/env python3
"""The owner's exit: files out of a store, without Hybrid Drive. Copy this one file; it imports nothing of the program.

    pip install cryptography zstandard
    python3 unpack.py STORE KIT TARGET                 the newest state, into the folder TARGET, which must not exist
    python3 unpack.py STORE KIT --list                 the snapshots
    python3 unpack.py STORE KIT TARGET --at NAME       the drive as a snapshot shows it

STORE is a folder with the store's objects: that of a drive whose store is a disk, or a copy of the bucket, such as
`rclone copy` makes. KIT is a file with the recovery kit. The byte tables are in docs/format.md.

What is believed: AES-256-GCM proves every byte under the drive's keys, in its place in its object; the chain of digests
that log entries carry puts them in order. What is not checked, for want of BLAKE3 here: ids of blocks. A file of which
bytes are not in the store gets the name NAME.incomplete, and is listed.
"""

import argparse
import os
import re
import sqlite3
import stat
import struct
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
HEADER, TAG = 64, 16
KINDS = {1: b"pack", 2: b"log_entry", 3: b"checkpoint", 4: b"lease", 5: b"part"}
NOW = 1 << 62


def derive(secret, salt, purpose):
    return HKDF(SHA256(), 32, salt, b"hybrid-drive 1 " + purpose).derive(secret)


def kit_secret(text):
    """The 32 bytes of the kit: four lines of four groups of four symbols and one check each, and two checks a line."""
    symbols = ""
    for number in "1234":
        line = re.search(rf"^[ \t]*{number}:[ \t]*(.*?)[ \t\r]*$", text, re.MULTILINE)
        if line is None:
            sys.exit(f"line {number} of the key is missing in the kit")
        typed = line[1].upper().translate(str.maketrans("OIL", "011", " -\t"))
        symbols += "".join(typed[at : at + 4] for at in range(0, 20, 5))
    value = 0
    for symbol in symbols:
        value = value * 32 + ALPHABET.index(symbol)
    payload = value.to_bytes(40, "big")
    if payload[33:] != sha256(b"hybrid-drive kit " + payload[:33]).digest()[:7] or payload[0] != 1:
        sys.exit("the key of the kit is mistyped")
    return payload[1:33]


def open_ring(ring, wrap_secret):
    """(drive id, {generation: key}) of a key ring, for the holder of a wrap."""
    head = struct.Struct("<8sHHHHIIQ16s32s32s")
    _, _, wraps, _, generations, number, _, _, drive, salt, _ = head.unpack_from(ring)
    private = X25519PrivateKey.from_private_bytes(derive(wrap_secret, b"", b"wrap private half"))
    mine, at, box_bytes = private.public_key().public_bytes_raw(), head.size, generations * 36 + TAG
    for _ in range(wraps):
        wrap, _, _, public = struct.unpack_from("<IBQ32s", ring, at)
        ephemeral = ring[at + 73 + 48 : at + 73 + 80]
        box = ring[at + 73 + 80 : at + 73 + 80 + box_bytes]
        at += 73 + 80 + box_bytes
        if public == mine:
            agreed = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            bound = drive + struct.pack("<II", number, wrap) + salt
            plain = AESGCM(derive(agreed, ephemeral + public, b"wrap generation box")).decrypt(bytes(12), box, bound)
            return drive, dict(struct.iter_unpack("<I32s", plain))
    sys.exit("this kit does not open the drive: it belongs to another one, or was revoked")


def opener(keys, header):
    """A function (offset in the object, sealed bytes) → plain bytes, for the object with this header."""
    drive, generations = keys
    _, _, kind, generation, found, salt = struct.unpack("<8sHHI16s32s", header)
    if found != drive:
        raise ValueError("an object of another drive")
    aead = AESGCM(derive(generations[generation], salt, b"object " + KINDS[kind]))
    return lambda at, sealed: inside(
        aead.decrypt(at.to_bytes(12, "little"), sealed, header[8:] + struct.pack("<QB", at, 0)), kind
    )


def inside(data, kind):
    """What a piece holds: as it is in the log, else a byte that says how, and the bytes or a zstd frame."""
    if kind == 2:
        return data
    return data[1:] if data[0] == 0 else zstandard.ZstdDecompressor().decompress(data[1:])


def whole(keys, path):
    """The inside of an object of one piece."""
    body = path.read_bytes()
    return opener(keys, body[:HEADER])(HEADER, body[HEADER:])


def unmsgpack(data, at=0):
    """(value, where the next begins): as much of msgpack as the drive writes."""
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first == 0xCB:
        return struct.unpack_from(">d", data, at)[0], at + 8
    if 0xCC <= first <= 0xD3:
        size = 1 << (first & 3)
        return int.from_bytes(data[at : at + size], "big", signed=first >= 0xD0), at + size
    if first <= 0x8F or first in (0xDE, 0xDF):
        count, at = (first & 15, at) if first <= 0x8F else length(data, at, 2 << (first & 1))
        found = {}
        for _ in range(count):
            key, at = unmsgpack(data, at)
            found[key], at = unmsgpack(data, at)
        return found, at
    if first <= 0x9F or first in (0xDC, 0xDD):
        count, at = (first & 15, at) if first <= 0x9F else length(data, at, 2 << (first & 1))
        items = []
        for _ in range(count):
            item, at = unmsgpack(data, at)
            items.append(item)
        return items, at
    if first in (0xC4, 0xC5, 0xC6):
        count, at = length(data, at, 1 << (first - 0xC4))
        return bytes(data[at : at + count]), at + count
    count, at = (first & 31, at) if first <= 0xBF else length(data, at, 1 << (first - 0xD9))
    return bytes(data[at : at + count]).decode(), at + count


def length(data, at, size):
    return int.from_bytes(data[at : at + size], "big"), at + size


def checkpoint(store, keys, database):
    """Write the newest whole checkpoint to a file; (position, digest) of where the log goes on."""
    for path in sorted((store / "checkpoints").glob("*/*"), key=lambda p: (p.parent.name, p.name), reverse=True):
        try:
            manifest, _ = unmsgpack(whole(keys, path))
            with database.open("wb") as file:
                for fence, salt, _, _ in manifest["parts"]:
                    name = salt.hex()
                    file.write(whole(keys, store / "parts" / f"{fence:06}" / name[:2] / name))
        except Exception as error:  # the one before, and more log, give the same
            print(f"{path.name[:12]}: this checkpoint cannot be used ({error!r})", file=sys.stderr)
        else:
            return manifest["position"], manifest["digest"]
    sys.exit("no checkpoint in this store can be used")


def follow(store, keys, rows, position, digest):
    """Run the log behind a checkpoint, as far as it goes on."""
    for path in sorted((store / "log").glob("*/*"), key=lambda p: p.name):
        if int(path.name[13:25]) <= position:
            continue
        for entry in unmsgpack(whole(keys, path))[0]:
            _, _, _, number, _, before = struct.unpack_from("<8sHHQQ32s", entry)
            if number != position + 1 or before != digest:
                continue
            texts, runs = unmsgpack(inside(entry[60:-32], 0))[0]
            rows.execute("BEGIN")
            for text, *values in runs:
                rows.execute(texts[text], values).fetchall()
            rows.execute("COMMIT")
            position, digest = number, entry[-32:]


class Packs:
    """Blocks by number."""

    def __init__(self, store, keys, rows):
        self.store, self.keys, self.rows, self.record = store, keys, rows, (None, b"")

    def block(self, number):
        """Its bytes; None when no pack has it."""
        row = self.rows.execute(
            "SELECT pack_id, fence, c.offset, c.length, c.start, b.length FROM catalog c JOIN packs USING (pack)"
            " JOIN blocks b USING (block) WHERE block = ?",
            (number,),
        ).fetchone()
        if row is None:
            return None
        pack, fence, offset, size, start, plain = row
        if self.record[0] != (pack, offset):
            name = pack.hex()
            with (self.store / "packs" / f"{fence:06}" / name[:2] / name).open("rb") as file:
                opened = opener(self.keys, file.read(HEADER))
                file.seek(offset)
                self.record = ((pack, offset), opened(offset, file.read(size)))
        return self.record[1][start : start + plain]


def as_of(table, columns, where):
    """Rows of a table as they were in epoch :e."""
    return (
        f"SELECT {columns} FROM {table} WHERE {where} AND since <= :e UNION ALL"
        f" SELECT {columns} FROM {table}_history WHERE {where} AND since <= :e AND until > :e"
    )


INODE = as_of("inodes", "mode, size, content, mtime_ns, target", "ino = :ino")
NAMES = as_of("dentries", "name, ino", "parent = :ino")
EXTENTS = as_of("extents", "start, length, block, offset", "content = :content")


def give_back(rows, packs, folder, ino, epoch, lost):
    """Make a folder, and everything below it."""
    folder.mkdir()
    for name, child in sorted(rows.execute(NAMES, {"ino": ino, "e": epoch}).fetchall()):
        mode, size, content, mtime_ns, target = rows.execute(INODE, {"ino": child, "e": epoch}).fetchone()
        path = folder / name.decode("utf-8", "surrogateescape")
        if stat.S_ISDIR(mode):
            give_back(rows, packs, path, child, epoch, lost)
        elif stat.S_ISLNK(mode):
            path.symlink_to(target.decode("utf-8", "surrogateescape"))
        elif stat.S_ISREG(mode):
            if not write(rows, packs, path, size, content, epoch):
                path = path.replace(path.with_name(path.name + ".incomplete"))
                lost.append(path)
            path.chmod(stat.S_IMODE(mode) & 0o777)
            os.utime(path, ns=(mtime_ns, mtime_ns))


def write(rows, packs, path, size, content, epoch):
    """Write one file; whether all of its bytes were there."""
    is_whole = True
    with path.open("wb") as file:
        file.truncate(size)
        found = rows.execute(EXTENTS, {"content": content, "e": epoch}).fetchall() if content is not None else []
        for start, count, number, offset in sorted(found):
            data = packs.block(number)
            if data is None:
                is_whole = False
                continue
            file.seek(start)
            file.write(data[offset : offset + min(count, size - start)])
    return is_whole


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("store", type=Path)
    options.add_argument("kit", type=Path)
    options.add_argument("target", type=Path, nargs="?")
    options.add_argument("--at", metavar="NAME")
    options.add_argument("--list", action="store_true")
    wanted = options.parse_args()
    rings = sorted((wanted.store / "keys").iterdir())
    keys = open_ring(rings[-1].read_bytes(), kit_secret(wanted.kit.read_text("utf-8", "replace")))
    with tempfile.TemporaryDirectory() as place:
        database = Path(place) / "drive.db"
        position, digest = checkpoint(wanted.store, keys, database)
        rows = sqlite3.connect(database, isolation_level=None)
        follow(wanted.store, keys, rows, position, digest)
        snapshots = dict(rows.execute("SELECT name, epoch FROM snapshots WHERE kind = 'snapshot' AND state = 'kept'"))
        if wanted.list or wanted.target is None:
            print("\n".join(snapshots) or "There are no snapshots.")
            return
        if wanted.at is not None and wanted.at not in snapshots:
            sys.exit(f"there is no snapshot {wanted.at}; --list shows them")
        lost = []
        epoch = NOW if wanted.at is None else snapshots[wanted.at]
        give_back(rows, Packs(wanted.store, keys, rows), wanted.target, 1, epoch, lost)
        rows.close()
    for path in lost:
        print(f"not all bytes of this file are in the store: {path}", file=sys.stderr)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
