from typing import Any

import pytest

from plscp.store.corrections import EntryFilter
from plscp.store.port import LAST, Filter
from plscp.store.sqlite import SqliteStore
from tests.store.contract import EventStoreContract, Open
from tests.store.retention import RetentionContract


class TestSqliteStore(EventStoreContract, RetentionContract):
    """The store on SQLite keeps the contract."""

    @pytest.fixture
    def open_one(self, open_sqlite: Open) -> Open:
        return open_sqlite

    def test_what_is_asked_often_goes_by_an_index(self, open_sqlite: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        """No study's or patient's question reads all events, nor one about a study all contexts."""
        store, plan = open_sqlite(), list[str]()
        asked = SqliteStore._all

        def explained(self: SqliteStore, query: str, *given: Any, **named: Any) -> list[Any]:
            plan.extend(row[3] for row in asked(self, f"EXPLAIN QUERY PLAN {query}", *given, **named))
            return asked(self, query, *given, **named)

        monkeypatch.setattr(SqliteStore, "_all", explained)
        store.timeline("1.2")
        store.timeline("1.2", original=True)
        store.entries(EntryFilter("1.2", [], "", "", "", 10))
        store.has_entries("1.2")
        store.read(Filter(study_instance_uid="1.2"))
        assert not [step for step in plan if step.startswith(("SCAN c", "SCAN e", "SCAN x", "SCAN r"))]
        store.entries(EntryFilter("", [("P1", "H")], "", "", "", 10))
        store.read(Filter(patient=[("P1", "H", 0, LAST)], patient_keys=["H|P1"]))
        store.read(Filter(patient=[("P1", "H", 0, LAST)], patient_keys=["H|P1"], upto=9))
        whole = ("SCAN e", "SCAN x", "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)")
        wrong = [step for step in plan if step.startswith(whole) and "corrections_by_key" not in step]
        assert not wrong + [step for step in plan if "AUTOMATIC PARTIAL" in step]
