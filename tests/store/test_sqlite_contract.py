import pytest

from tests.store.contract import EventStoreContract, Open
from tests.store.retention import RetentionContract


class TestSqliteStore(EventStoreContract, RetentionContract):
    """The store on SQLite keeps the contract."""

    @pytest.fixture
    def open_one(self, open_sqlite: Open) -> Open:
        return open_sqlite
