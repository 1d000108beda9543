"""What is kept of a password: published vectors, and which passwords are none."""

import pytest

from appliance.errors import PassphraseRefused
from appliance.md4 import md4
from appliance.passwords import is_right, require_fit, secrets_of
from cloud_tier.wraps import Argon2Cost
from vfs.people import SecretKind

CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "043f8582f241db351ce627e153e7f0e4"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_is_that_of_rfc_1320(message: bytes, digest: str) -> None:
    assert md4(message).hex() == digest


def test_the_nt_hash_is_the_one_that_windows_makes() -> None:
    assert secrets_of("password", CHEAP)[SecretKind.NT] == "8846F7EAEE8FB117AD06BDD830B7586C"  # MS-NLMP's own example


def test_a_password_is_right_and_another_is_not_also_from_another_keyboard() -> None:
    kept = secrets_of("café au lait", CHEAP)[SecretKind.ARGON2ID]
    assert is_right("café au lait", kept)
    assert is_right("cafe\u0301 au lait", kept)
    assert not is_right("cafe au lait", kept)
    assert not is_right("", kept)


def test_two_hashes_of_one_password_differ_and_say_what_they_cost() -> None:
    one, other = (secrets_of("violet kettle", CHEAP)[SecretKind.ARGON2ID] for _ in range(2))
    assert one != other
    assert one.startswith("$argon2id$v=19$m=64,t=1,p=1$")


@pytest.mark.parametrize(
    "password", ["short 1", "x" * 128, "aaaabbbb", "with\nline end", "my name is Anna", "\udce9 lone surrogate"]
)
def test_what_is_no_password_is_refused_without_repeating_it(password: str) -> None:
    with pytest.raises(PassphraseRefused) as refused:
        require_fit(password, "anna")
    assert password not in str(refused.value)
