"""Passphrases: where one comes from, and which is too weak.

Promises that no passphrase stands in a command line, a log or an answer. One is asked for only at a terminal. The rule
of strength is a floor, not a judgement: what an attacker guesses first is short or has few different characters; each
guess costs him 64 MiB and a tenth of a second (`cloud_tier.wraps`).
"""

import getpass
import os
import sys
import unicodedata
from pathlib import Path

from appliance.errors import PassphraseRefused

VARIABLE = "HYBRID_DRIVE_PASSPHRASE"
LEAST_CHARACTERS = 12
LEAST_DIFFERENT = 6


def from_file(path: Path) -> str:
    """What stands in the file, without the end of its line. Raises PassphraseRefused."""
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PassphraseRefused(f"The passphrase cannot be read from {path}: {reason}.") from error
    if not text:
        raise PassphraseRefused(f"The file {path} holds no passphrase.")
    return text


def from_environment() -> str | None:
    """The one that this process was started with."""
    return os.environ.get(VARIABLE) or None


def ask(question: str) -> str | None:
    """What somebody types at the terminal; None where there is none, or nobody types anything."""
    return getpass.getpass(f"{question}: ") or None if sys.stdin.isatty() else None


def ask_new() -> str:
    """A new one, typed twice. Raises PassphraseRefused."""
    typed = ask("New passphrase")
    if typed is None:
        raise PassphraseRefused("No passphrase was given, and there is no terminal to ask at; use --passphrase-file.")
    if ask("Once more") != typed:
        raise PassphraseRefused("The two passphrases differ; nothing was changed.")
    return typed


def require_strong(passphrase: str) -> str:
    """The passphrase, unless it is too weak to protect anything. Raises PassphraseRefused."""
    text = unicodedata.normalize("NFKC", passphrase)
    if len(text) < LEAST_CHARACTERS or len(set(text)) < LEAST_DIFFERENT:
        raise PassphraseRefused(
            f"This passphrase is too weak: it needs {LEAST_CHARACTERS} characters, {LEAST_DIFFERENT} of them different;"
            " four words chosen by chance make a good one. Nothing was changed."
        )
    return passphrase
