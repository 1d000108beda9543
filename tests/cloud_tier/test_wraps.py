"""Boxes of a wrap: they open for its owner, in their place, and the proof of a box is what its owner will see."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from cloud_tier.errors import RingDamaged
from cloud_tier.wraps import (
    Argon2Cost,
    fresh_secret,
    make_generation_box,
    make_secret_box,
    open_generation_box,
    open_secret_box,
    passphrase_secret,
    prove_generation_box,
    public_half,
)

OWNER = b"\x07" * 32
GENERATIONS = b"generations"
BOUND = b"ring 5, wrap 2"

secrets = st.binary(min_size=32, max_size=32)


@given(owner=secrets)
def test_what_the_proof_sees_is_what_the_owner_gets(owner: bytes) -> None:
    made = make_generation_box(public_half(owner), GENERATIONS, BOUND)
    proven = prove_generation_box(made, public_half(owner), made.ephemeral_public, made.box, BOUND)
    assert proven == open_generation_box(owner, made.ephemeral_public, made.box, BOUND) == GENERATIONS


def test_a_box_opens_for_nobody_else_and_nowhere_else() -> None:
    made = make_generation_box(public_half(OWNER), GENERATIONS, BOUND)
    for owner, bound in ((fresh_secret(), BOUND), (OWNER, b"ring 6, wrap 2")):
        with pytest.raises(RingDamaged):
            open_generation_box(owner, made.ephemeral_public, made.box, bound)
    box = make_secret_box(OWNER, GENERATIONS, BOUND)
    assert open_secret_box(OWNER, box, BOUND) == GENERATIONS
    for owner, bound in ((fresh_secret(), BOUND), (OWNER, b"another drive")):
        with pytest.raises(RingDamaged):
            open_secret_box(owner, box, bound)


def test_a_proof_wants_the_ephemeral_key_that_the_ring_shows() -> None:
    """The box would open by the secret at hand; its owner would use what the ring shows, and not get it open."""
    public = public_half(OWNER)
    made = make_generation_box(public, GENERATIONS, BOUND)
    other = replace(made, ephemeral=X25519PrivateKey.generate())
    with pytest.raises(RingDamaged, match="does not show the ephemeral key"):
        prove_generation_box(other, public, made.ephemeral_public, made.box, BOUND)


def test_a_public_half_that_is_none_is_refused() -> None:
    with pytest.raises(RingDamaged, match="a public key that is none"):
        make_generation_box(bytes(32), GENERATIONS, BOUND)


def test_no_two_boxes_share_a_key() -> None:
    first, second = (make_generation_box(public_half(OWNER), GENERATIONS, BOUND) for _ in range(2))
    assert first.ephemeral_public != second.ephemeral_public
    assert first.box != second.box


def test_a_passphrase_with_another_salt_or_cost_is_another_secret() -> None:
    costs = [Argon2Cost(64, 1, 1), Argon2Cost(72, 1, 1), Argon2Cost(64, 2, 1)]
    made = {passphrase_secret("same", bytes((salt,)) * 16, cost) for salt in range(2) for cost in costs}
    assert len(made) == 6


@pytest.mark.parametrize("cost", [(1 << 21, 1, 1), (4, 1, 1), (64, 0, 1), (64, 33, 1), (64, 1, 0), (1 << 10, 1, 17)])
def test_a_cost_that_nobody_would_choose_is_not_sane(cost: tuple[int, int, int]) -> None:
    assert not Argon2Cost(*cost).is_sane()
    assert Argon2Cost().is_sane()
