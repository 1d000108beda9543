"""Objects written by every version of the store's format so far: they must open for ever."""

import json
import random
import shutil
from pathlib import Path

import pytest

from cloud_tier.chunker import ChunkerParameters
from cloud_tier.drive_header import DriveHeader
from cloud_tier.errors import WrapRevoked
from cloud_tier.key_file import read_key_file
from cloud_tier.keyring import KeyRing
from cloud_tier.keys import DriveKeys
from cloud_tier.kit import parse_kit
from cloud_tier.object_names import DRIVE, KeysName, PackName, parse_name
from cloud_tier.pack import PackReader
from cloud_tier.sealed import Header

FOLDERS = sorted(Path(__file__).parents[1].glob("golden/store-*"))
BLOCKS = {b"Dear Anna,\n" * 300, bytes(70_000), b"x", random.Random(1).randbytes(200), random.Random(2).randbytes(300)}


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def ring_of(folder: Path) -> KeyRing:
    (path,) = (folder / "objects" / "keys").iterdir()
    ring = KeyRing.decode(path.read_bytes())
    assert parse_name(f"keys/{path.name}") == KeysName(ring.rows.number)
    return ring


def keys_of(folder: Path) -> DriveKeys:
    return ring_of(folder).open_with_secret(parse_kit((folder / "kit.txt").read_text()).secret)


def test_every_way_into_the_ring_is_open(folder: Path, tmp_path: Path) -> None:
    said = json.loads((folder / "keys.json").read_text())
    ring, keys = ring_of(folder), keys_of(folder)
    assert keys.secret.hex() == said["secret"]
    assert {str(number): key.hex() for number, key in keys.generations.items()} == said["generations"]
    assert ring.open_with_passphrase(said["passphrase"]) == keys
    assert ring.open_with_secret(parse_kit((folder / "kit.html").read_text()).secret) == keys
    shutil.copyfile(folder / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o600)  # git does not keep it
    assert ring.open_with_secret(read_key_file(tmp_path / "key")) == keys
    assert [wrap.name for wrap in ring.wraps(keys)] == ["recovery kit", "appliance", "Anna"]
    with pytest.raises(WrapRevoked):
        ring.open_with_passphrase(said["revoked"])


def test_every_pack_of_every_generation_opens(folder: Path) -> None:
    keys = keys_of(folder)
    found: set[bytes] = set()
    generations = set()
    for path in (folder / "objects" / "packs").rglob("*"):
        if path.is_file():
            body = path.read_bytes()
            header = Header.decode(body)
            name = parse_name(path.relative_to(folder / "objects").as_posix())
            assert isinstance(name, PackName)
            assert name.pack_id == header.salt
            reader = PackReader(keys, header)
            for entry in reader.index(body, len(body)):
                found.update(map(bytes, reader.blocks([entry], body[entry.offset : entry.offset + entry.length])))
            generations.add(header.generation)
    assert found == BLOCKS
    assert generations == {1, 2}


def test_the_header_opens_and_the_cuts_are_still_the_drives(folder: Path) -> None:
    header = DriveHeader.decode(keys_of(folder), (folder / "objects" / DRIVE).read_bytes())
    assert header.chunker == ChunkerParameters(128 << 10, 512 << 10, 1 << 20)
    assert header.made_ns == 1_800_000_000 * 10**9


def test_there_is_a_frozen_store_to_open() -> None:
    assert [folder.name for folder in FOLDERS] == ["store-1"]
