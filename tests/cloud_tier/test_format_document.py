"""The worked pack and the test vectors of docs/format.md are what this program computes."""

import os
from pathlib import Path

import pytest

from cloud_tier.block_id import block_id
from cloud_tier.chunker import ChunkerParameters
from cloud_tier.drive_header import DriveHeader
from cloud_tier.keys import DriveId, DriveKeys, Generation
from cloud_tier.kit import Kit
from cloud_tier.pack import PackWriter, index_bytes
from cloud_tier.wraps import Argon2Cost, make_secret_box, passphrase_secret, public_half

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
KEYS = DriveKeys(DriveId(bytes(range(16))), b"\x11" * 32, {Generation(1): b"\x22" * 32}, Generation(1))
SALT = bytes(range(0x20, 0x40))
BLOCK = b"Hello, drive!\n"


def dump(data: bytes) -> str:
    return "\n".join(f"{at:04x}  {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16))


def test_bytes_of_the_worked_pack_are_those_of_a_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "urandom", lambda count: SALT[:count])
        writer = PackWriter(KEYS)
    writer.add(block_id(KEYS.block_key, BLOCK), BLOCK)
    pack = writer.close()
    assert dump(bytes(pack.body)) in PAGE
    assert [entry[1:] for entry in pack.entries] == [(64, 31, 0, 14)]
    assert index_bytes(pack.body) == 77


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block key", KEYS.block_key),
        ("block id", block_id(KEYS.block_key, BLOCK)),
        ("pack key", KEYS.object_key(Generation(1), SALT, b"pack")),
        ("public half", public_half(b"\x33" * 32)),
        ("secret box", make_secret_box(b"\x33" * 32, KEYS.secret, b"")),
        ("Argon2id", passphrase_secret("Grüße", bytes(range(16)), Argon2Cost(64, 1, 1))),
        ("drive header", DriveHeader(KEYS.drive_id, ChunkerParameters(), 10**18).encode(KEYS)),
    ],
)
def test_vector_is_what_is_computed(name: str, value: bytes) -> None:
    shown = "\n".join(f"{name if at == 0 else '':14}{value[at : at + 32].hex()}" for at in range(0, len(value), 32))
    assert f"\n{shown}\n" in PAGE


def test_the_kit_of_the_vectors_is_printed_so() -> None:
    lines = Kit(b"\x33" * 32).text().splitlines()
    assert "\n".join(line for line in lines if line[2:4] in ("1:", "2:", "3:", "4:")) in PAGE
