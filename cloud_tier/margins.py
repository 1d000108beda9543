"""Everything that garbage collection and repacking leave room for, in one place. Pure figures.

Safety: how long what nobody needs stays all the same. Economy: how much that is dead the store may hold, against how
much that is needed is sent once more to be rid of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Margins:
    """Everything that garbage collection and repacking leave room for."""

    grace_s: float = 86_400.0
    """Between the doom of a pack and its deletion; up to twice as long may pass."""
    old_fence_grace_s: float = 7 * 86_400.0
    """From a takeover on, for packs of the lease before."""
    small_bytes: int = 4 << 20
    """A pack below this size is merged with others of its kind,"""
    least_small: int = 8
    """once there are so many: what is merged today need not be merged again tomorrow."""
    least_live: float = 0.5
    """A pack of which less than this share is needed is packed anew."""
    most_dead: float = 0.2
    """If of all packs together more than this share is not needed, then also the sparsest of the others,"""
    most_live: float = 0.9
    """but none of which more than this share is needed."""
    scrub_days: float = 90.0
    """In which every pack is read again; 0: never."""
