"""The stores that the contract is asked of, by name; each test gets an empty one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud_tier.dir_store import open_dir_store
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import ObjectStore


@dataclass
class Subject:
    """A store, and what it can do beyond what all can."""

    store: ObjectStore
    creates_only: bool = True


@pytest.fixture(params=["memory", "directory"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "memory":
        subject = Subject(MemoryStore())
    else:
        subject = Subject(await open_dir_store(tmp_path / "store", create=True))
    yield subject
    await subject.store.aclose()
