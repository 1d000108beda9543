"""What a test of the contract is given."""

from dataclasses import dataclass

from cloud_tier.object_store import PAGE_OBJECTS, ObjectStore


@dataclass
class Subject:
    """An empty store."""

    store: ObjectStore
    creates_only: bool
    page_objects: int = PAGE_OBJECTS
    """How many objects a page of its listings holds."""
