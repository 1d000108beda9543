"""The printed kit: read back from every form it has, and a typing mistake is found and named."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_tier.errors import KitDamaged
from cloud_tier.keys import DriveId
from cloud_tier.kit import ALPHABET, Kit, parse_kit

KIT = Kit(
    random.Random(7).randbytes(32),
    DriveId(bytes(range(16))),
    "s3://office/drive?endpoint=https://s3.example&a=<b>",
    "2027-01-15",
)


def swapped(line: str) -> str:
    """Its first two groups changed places."""
    return line[:6] + line[13:20] + line[6:13] + line[20:]


LINES = [line for line in KIT.text().splitlines() if re.match(r"  [1-4]:", line)]

secrets = st.binary(min_size=32, max_size=32)


@given(secret=secrets)
def test_every_secret_is_read_back_from_every_form(secret: bytes) -> None:
    kit = Kit(secret, KIT.drive_id, KIT.store_url, KIT.printed_on)
    assert parse_kit(kit.text()) == kit
    assert parse_kit(kit.html()) == kit
    assert parse_kit(kit.text().replace("\n", "\r\n")) == kit


def test_four_typed_lines_are_enough_however_they_are_typed() -> None:
    assert parse_kit("\n".join(LINES)) == Kit(KIT.secret)
    typed = "\n".join(LINES).lower().replace("0", "o").replace("1", "l").replace("l:", "1:", 1)
    assert parse_kit(typed).secret == KIT.secret
    assert parse_kit("\n".join(f"{line[2:4]}{re.sub(r'[ ]', '', line[4:])}" for line in LINES)).secret == KIT.secret
    assert parse_kit("\n".join(re.sub(r"(?<=\w)  (?=\w)", " - ", line) for line in LINES)).secret == KIT.secret


@given(line=st.integers(0, 3), group=st.integers(0, 3), at=st.integers(0, 4), other=st.sampled_from(ALPHABET))
def test_every_single_wrong_symbol_is_found_and_its_group_named(line: int, group: int, at: int, other: str) -> None:
    place = 6 + 7 * group + at
    if LINES[line][place] == other:
        return
    typed = [*LINES]
    typed[line] = typed[line][:place] + other + typed[line][place + 1 :]
    with pytest.raises(KitDamaged, match="is mistyped") as refused:
        parse_kit("\n".join(typed))
    assert refused.value.where == f"line {line + 1}, {('first', 'second', 'third', 'fourth')[group]} group"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda lines: [lines[1].replace("2:", "1:"), lines[0].replace("1:", "2:"), *lines[2:]], "line 1, first group"),
        (lambda lines: [lines[0], *lines[2:]], "line 2"),
        (lambda lines: [*lines[:3], lines[3][:-1]], "line 4, last group"),
        (lambda lines: [*lines[:3], lines[3][:-4]], "line 4"),
        (lambda lines: [lines[0][:14] + lines[0][15:], *lines[1:]], "line 1, second group"),
        (lambda lines: [lines[0][:14] + "U" + lines[0][15:], *lines[1:]], "line 1, second group"),
        (lambda lines: [swapped(lines[0]), *lines[1:]], "line 1, first group"),
    ],
)
def test_what_else_goes_wrong_is_named_too(change: object, where: str) -> None:
    assert callable(change)
    with pytest.raises(KitDamaged) as refused:
        parse_kit("\n".join(change([*LINES])))
    assert refused.value.where == where


def test_two_wrong_symbols_that_a_groups_check_misses_are_found_in_the_line() -> None:
    first, second = (ALPHABET.index(LINES[0][at]) for at in (6, 7))
    fooled = ALPHABET[(first + 3) % 32] + ALPHABET[(second - 1) % 32]  # weights 1 and 3: the sum stays
    with pytest.raises(KitDamaged, match="line 1 of the key is mistyped") as refused:
        parse_kit("\n".join([LINES[0][:6] + fooled + LINES[0][8:], *LINES[1:]]))
    assert refused.value.where == "line 1"


def test_lines_of_two_kits_are_noticed() -> None:
    other = [line for line in Kit(bytes(32)).text().splitlines() if re.match(r"  [1-4]:", line)]
    with pytest.raises(KitDamaged, match="do not belong together"):
        parse_kit("\n".join([*LINES[:2], *other[2:]]))


def test_a_mistyped_drive_and_an_empty_text_are_named() -> None:
    with pytest.raises(KitDamaged, match="32 digits"):
        parse_kit(KIT.text().replace("00010203", "0001020"))
    with pytest.raises(KitDamaged, match="line 1 of the key is missing"):
        parse_kit("nothing of the kind")


def test_the_page_fits_on_paper_and_needs_nothing_else() -> None:
    kit = Kit(KIT.secret, KIT.drive_id, "s3://" + "long/" * 40, "2027-01-15")
    assert max(map(len, kit.text().splitlines())) <= 80
    assert parse_kit(kit.text()) == kit
    assert not re.search(r"src=|href=|@import|url\(", kit.html())
    assert KIT.secret.hex() not in repr(KIT)
