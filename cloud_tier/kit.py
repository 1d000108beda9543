"""The recovery kit: a page of paper that opens the drive when the appliance is gone and nobody knows a passphrase.

The key is 64 symbols of Crockford's base32 (O reads as 0, I and L as 1): a version byte, the 32 bytes of the wrap
secret, and 7 bytes of SHA-256 over both. They stand in four lines of four groups. The fifth symbol of a group is its
check, two more symbols end each line. A group's check finds every single wrong symbol, and every group in the wrong
place; of the rest the line's check finds 1,023 in 1,024, and the check of the whole key what is left. So whoever types
the page is told which group to look at again.

The same text is the kit as a file, and stands in the printable HTML page; `parse_kit` reads all three, and the bare
four lines as well.
"""

import html
import re
import string
from dataclasses import dataclass
from hashlib import sha256

from cloud_tier.errors import KitDamaged
from cloud_tier.keys import KEY_BYTES, DriveId

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # on paper: do not change
VERSION = 1
LINES = 4
GROUPS = 4  # of a line
GROUP_SYMBOLS = 4  # and one check
CHECK_BYTES = 7

_READ_AS = str.maketrans("OIL", "011", " -\t")
_LINE = re.compile(r"^[ \t]*([1-9]):[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_ORDINALS = ("first", "second", "third", "fourth", "last")

_PAGE = string.Template("""\
HYBRID DRIVE                                                        RECOVERY KIT
================================================================================

With this page the whole drive can be brought back on a new machine, also when
nobody remembers a passphrase. Whoever has it and can reach the store can read
everything. Keep it on paper, away from the appliance.

$facts

  The key. There is no letter O and no letter I or L in it: those are 0 and 1.

$key

  The last symbol of each group, and the last two of each line, only check the
  others. A typing mistake is noticed, and you are told which group to look at.

WHEN THE APPLIANCE IS LOST
  a) Install Hybrid Drive on a new machine, with the access to the store.
  b) Type the lines above, from "Drive:" on, into a file kit.txt.
  c) hybrid-drive recover --kit kit.txt --state DIRECTORY --take-over

WHEN THIS PAGE IS LOST, OR SOMEBODY ELSE HAS SEEN IT
  hybrid-drive keys list          shows its number
  hybrid-drive keys kit           prints a new one
  hybrid-drive keys revoke N      makes this one useless for all that comes
""")

_HTML = string.Template("""\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Recovery kit</title>
<style>@page { margin: 20mm } body { margin: 2em } pre { font: 10.5pt/1.35 monospace }</style>
</head><body><pre>
$text</pre></body></html>
""")


@dataclass(frozen=True, slots=True, repr=False)
class Kit:
    """What the page says. `drive_id` None and the rest empty: somebody typed the key alone."""

    secret: bytes
    drive_id: DriveId | None = None
    store_url: str = ""
    printed_on: str = ""
    """A date, as people write it."""

    def text(self) -> str:
        """The page as plain text of 80 columns, and the kit as a file."""
        drive = self.drive_id.hex(" ", 4) if self.drive_id else ""
        facts = [("Drive", drive), ("Store", self.store_url), ("Printed", self.printed_on)]
        lines = (f"  {label + ':':10}{part}" for label, value in facts for part in _folded(value))
        return _PAGE.substitute(facts="\n".join(lines), key="\n".join(_key_lines(self.secret)))

    def html(self) -> str:
        """The page for a browser's printer; needs nothing from anywhere else."""
        return _HTML.substitute(text=html.escape(self.text(), quote=False))

    def __repr__(self) -> str:
        return f"Kit(drive {self.drive_id.hex() if self.drive_id else 'not said'})"


def parse_kit(text: str) -> Kit:
    """The kit in a text, a page or four typed lines. Raises KitDamaged, which says where to look."""
    if "<pre>" in text:
        text = html.unescape(re.sub(r"<[^>]*>", "", text))
    typed = dict(_LINE.findall(text))
    symbols = "".join(_line_symbols(number, typed.get(str(number))) for number in range(1, LINES + 1))
    value = 0
    for symbol in symbols:
        value = value * 32 + ALPHABET.index(symbol)
    payload = value.to_bytes(len(symbols) * 5 // 8, "big")
    version, secret, check = payload[0], payload[1 : 1 + KEY_BYTES], payload[1 + KEY_BYTES :]
    if check != _check(payload[: 1 + KEY_BYTES]):
        raise KitDamaged("the lines of the key do not belong together: are they all from the same page?")
    if version != VERSION:
        raise KitDamaged(f"this kit has version {version}; this program knows {VERSION}: use a newer one")
    drive = re.sub(r"\s", "", _fact(text, "Drive")).lower()
    if drive and not re.fullmatch("[0-9a-f]{32}", drive):
        raise KitDamaged("the line Drive of the kit has 32 digits, 0 to 9 and a to f: look at it again", "Drive")
    return Kit(secret, DriveId(bytes.fromhex(drive)) if drive else None, _fact(text, "Store"), _fact(text, "Printed"))


def _key_lines(secret: bytes) -> list[str]:
    payload = bytes((VERSION,)) + secret
    value = int.from_bytes(payload + _check(payload), "big")
    count = LINES * GROUPS * GROUP_SYMBOLS
    symbols = "".join(ALPHABET[value >> 5 * (count - 1 - index) & 31] for index in range(count))
    per_line = GROUPS * GROUP_SYMBOLS
    lines = []
    for number in range(1, LINES + 1):
        line = symbols[(number - 1) * per_line : number * per_line]
        groups = [line[at : at + GROUP_SYMBOLS] for at in range(0, per_line, GROUP_SYMBOLS)]
        checked = [group + _group_check(number, index, group) for index, group in enumerate(groups)]
        lines.append(f"  {number}:  {'  '.join(checked)}  {_line_check(number, line)}")
    return lines


def _line_symbols(number: int, typed: str | None) -> str:
    """The 16 symbols of one line. Raises KitDamaged."""
    if typed is None:
        raise KitDamaged(f"line {number} of the key is missing", f"line {number}")
    sizes = [GROUP_SYMBOLS + 1] * GROUPS + [2]
    words = [word.upper().translate(_READ_AS) for word in typed.split()]
    if list(map(len, words)) != sizes:  # somebody joined groups, or lost a symbol
        joined = "".join(words)
        if len(joined) != sum(sizes) and len(words) != len(sizes):
            raise KitDamaged(
                f"line {number} of the key has {sum(sizes)} symbols, not {len(joined)}: look at it again",
                f"line {number}",
            )
        if len(joined) == sum(sizes):
            words = [joined[sum(sizes[:index]) : sum(sizes[: index + 1])] for index in range(len(sizes))]
    for index, (word, size) in enumerate(zip(words, sizes, strict=True)):
        is_whole = len(word) == size and set(word) <= set(ALPHABET)
        if not is_whole or (size > 2 and _group_check(number, index, word[:-1]) != word[-1]):
            where = f"line {number}, {_ORDINALS[index]} group"
            raise KitDamaged(f"{where} of the key ({word}) is mistyped: look at it again", where)
    symbols = "".join(word[:-1] for word in words[:-1])
    if _line_check(number, symbols) != words[-1]:
        raise KitDamaged(f"line {number} of the key is mistyped: look at it again", f"line {number}")
    return symbols


def _group_check(line: int, index: int, group: str) -> str:
    # Odd weights are invertible modulo 32: no single wrong symbol keeps the sum.
    weighted = sum(weight * ALPHABET.index(symbol) for weight, symbol in zip((1, 3, 5, 7), group, strict=True))
    return ALPHABET[(weighted + 11 * (line * GROUPS + index)) % 32]


def _line_check(number: int, symbols: str) -> str:
    value = int.from_bytes(sha256(f"hybrid-drive kit line {number} {symbols}".encode()).digest()[:2], "big")
    return ALPHABET[value >> 11] + ALPHABET[value >> 6 & 31]


def _check(payload: bytes) -> bytes:
    return sha256(b"hybrid-drive kit " + payload).digest()[:CHECK_BYTES]


def _folded(value: str) -> list[str]:
    width = 66
    return [value[at : at + width] for at in range(0, len(value), width)] or [""]


def _fact(text: str, label: str) -> str:
    return "".join(re.findall(rf"^[ \t]*{label}:[ \t]*(\S.*?)[ \t\r]*$", text, re.MULTILINE))
