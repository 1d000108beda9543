"""An object that proves itself, asked for once more when it does not: a line may have damaged it on its way.

For what is small and decides much (rings, claims): one bit turned over must not make a store another drive's. What the
store says twice is taken for what it holds.
"""

from collections.abc import Callable
from typing import TypeVar

from cloud_tier.errors import KeysError, LeaseError, SealedError
from cloud_tier.object_store import ObjectStore

T = TypeVar("T")


async def get_proven(store: ObjectStore, name: str, prove: Callable[[bytes], T]) -> T:
    """What `prove` makes of the object; it raises SealedError, KeysError or LeaseError when that is not what it should
    be, and what it raises the second time is raised. Raises StoreError, ObjectMissing at once.
    """
    try:
        return prove(await store.get(name))
    except (SealedError, KeysError, LeaseError):
        return prove(await store.get(name))
