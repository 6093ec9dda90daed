from collections.abc import Iterator

import pytest

from plscp.store import MemoryStore
from plscp.store.port import EventStore
from tests.store.contract import EventStoreContract, Open
from tests.store.retention import RetentionContract


class TestMemoryStore(EventStoreContract, RetentionContract):
    """The in-memory twin keeps the contract."""

    @pytest.fixture
    def open_one(self) -> Iterator[Open]:
        opened: list[EventStore] = []

        def open_one(**options: object) -> EventStore:
            opened.append(MemoryStore.open(**options))  # type: ignore[arg-type]
            return opened[-1]

        yield open_one
        for store in opened:
            store.close()
