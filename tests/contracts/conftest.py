"""The stores that the contract is asked of, by name; each test gets an empty one."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import trio
from contracts.subjects import Subject
from kit.faulty_store import FaultyStore
from kit.s3_servers import BUCKET, S3Server, credentials, moto, rclone

from cloud_tier.clock import SystemClock
from cloud_tier.dir_store import open_dir_store
from cloud_tier.late_store import Late
from cloud_tier.limiting import Limiting
from cloud_tier.measuring import Measuring
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import PAGE_OBJECTS, ObjectStore, list_objects
from cloud_tier.retrying import Retrying
from cloud_tier.s3_store import open_s3_store
from cloud_tier.timetable import Limits, Timetable

CREATING = ["memory", "retrying", "limiting", "measuring", "late", "faulty", "directory", "moto"]
OVERWRITING = ["rclone"]
FAST = Limits(up=1 << 34, down=1 << 34)


async def _itself(store: ObjectStore) -> ObjectStore:
    return store


WRAPPED: dict[str, Callable[[ObjectStore], ObjectStore]] = {
    "memory": lambda inner: inner,
    "retrying": Retrying,
    "limiting": lambda inner: Limiting(inner, Timetable(ZoneInfo("UTC"), otherwise=FAST), SystemClock()),
    "measuring": lambda inner: Measuring(inner, SystemClock()),
    "late": lambda inner: Late(partial(_itself, inner)),
    "faulty": FaultyStore,
}
SERVER_PAGE = 25  # a put takes such a server 3 to 5 ms


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with credentials(), moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with credentials(), rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_store(moto_server: S3Server) -> ObjectStore:
    return trio.run(
        partial(open_s3_store, BUCKET, "deep/down", endpoint=moto_server.endpoint, page_objects=SERVER_PAGE)
    )


@pytest.fixture(scope="session")
def rclone_store(rclone_server: S3Server) -> ObjectStore:
    return trio.run(partial(open_s3_store, BUCKET, endpoint=rclone_server.endpoint, page_objects=SERVER_PAGE))


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
        if kind == "directory":  # what is synced, and when, is asked in tests/cloud_tier/test_dir_store.py
            store = await open_dir_store(tmp_path / "store", create=True, sync=lambda fd: None)
        else:
            store = WRAPPED[kind](MemoryStore())
    yield Subject(store, kind in CREATING, SERVER_PAGE if kind in ("moto", "rclone") else PAGE_OBJECTS)
    await store.delete([info.name async for info in list_objects(store, "")])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `creates_only` runs on stores that can create-only."""
    if "subject" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("creates_only")
        metafunc.parametrize("kept_store", CREATING if only else CREATING + OVERWRITING, indirect=True)
