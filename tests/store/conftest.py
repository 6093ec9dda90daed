from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from plscp.store import SqliteStore
from plscp.store.port import EventStore
from tests.store.contract import Open


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """What is logged is not what these tests are about."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's store is."""
    return tmp_path / "store.db"


@pytest.fixture
def open_sqlite(path: Path) -> Iterator[Open]:
    """Opens the store at `path`; closed at the end of the test."""
    opened: list[EventStore] = []

    def open_one(**options: object) -> EventStore:
        opened.append(SqliteStore(path, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()
