"""The stores that the contract is asked of, by name; each test gets an empty one."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from contracts.subjects import Subject
from kit.s3_servers import BUCKET, credentials, moto, rclone

from cloud_tier.dir_store import open_dir_store
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import PAGE_OBJECTS, ObjectStore, list_objects
from cloud_tier.s3_store import open_s3_store

CREATING = ["memory", "directory", "moto"]
OVERWRITING = ["rclone"]
SERVER_PAGE = 100  # a put takes such a server 3 to 5 ms


@pytest.fixture(scope="session")
def moto_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with credentials(), moto(tmp_path_factory.mktemp("moto")) as server:
        yield trio.run(partial(open_s3_store, BUCKET, "deep/down", endpoint=server.endpoint, page_objects=SERVER_PAGE))


@pytest.fixture(scope="session")
def rclone_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with credentials(), rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield trio.run(partial(open_s3_store, BUCKET, endpoint=server.endpoint, page_objects=SERVER_PAGE))


@pytest.fixture
def kept_store(request: pytest.FixtureRequest) -> tuple[str, ObjectStore | None]:
    """The kind of store, and the store if it is one that all tests share: to open it takes a quarter of a second."""
    kind = request.param
    return kind, request.getfixturevalue(f"{kind}_store") if kind in ("moto", "rclone") else None


@pytest.fixture
async def subject(kept_store: tuple[str, ObjectStore | None], tmp_path: Path) -> AsyncIterator[Subject]:
    """Every store in turn, empty."""
    kind, store = kept_store
    if store is None:
        store = MemoryStore() if kind == "memory" else await open_dir_store(tmp_path / "store", create=True)
    yield Subject(store, SERVER_PAGE if kind in ("moto", "rclone") else PAGE_OBJECTS)
    await store.delete([info.name async for info in list_objects(store, "")])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `creates_only` runs on stores that can create-only."""
    if "subject" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("creates_only")
        metafunc.parametrize("kept_store", CREATING if only else CREATING + OVERWRITING, indirect=True)
