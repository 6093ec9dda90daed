"""What the relay's process sees of a store."""

import json
from pathlib import Path

import apsw
import pytest

from plscp.errors import ConfigError, StoreNotOpened
from plscp.store.limits import StoreLimits
from plscp.store.port import Filter
from plscp.store.relay_view import RelayView
from tests.store.contract import Open
from tests.store.drafts import administered, change, entry, rejected, request, send, stored
from tests.store.layout import FOLDER, load


@pytest.fixture
def url(path: Path) -> str:
    """The store's URL."""
    return f"sqlite:///{path}"


def test_a_store_that_is_not_there_yet_looks_empty(url: str, open_sqlite: Open, path: Path) -> None:
    """The relay may start before the server; it sees the store as soon as there is one."""
    view = RelayView.open(url)
    assert (view.store_id, view.head(), view.records(0, 10), view.bounds()) == ("", 0, [], {})
    path.touch()
    assert (view.store_id, view.head()) == ("", 0)
    path.unlink()
    store = open_sqlite()
    stored(store, request())
    assert (view.store_id, view.head(), len(view.records(0, 10))) == (store.store_id, 1, 1)
    view.close()
    view.close()


def test_records_are_what_the_store_has(url: str, open_sqlite: Open) -> None:
    """Every published position in order, with the value that the store reads too; what has no topic is left out."""
    store = open_sqlite()
    send(
        store,
        change("study.opened"),
        change("admission.changed", published=False),
        request([entry("a"), entry("b", index=1)]),
        request(decision=administered()),
        request(decision=rejected()),
    )
    view = RelayView.open(url)
    records = view.records(0, 100)
    assert [(r.position, r.topic) for r in records] == [
        (1, "study"),
        (3, "procedure-log"),
        (4, "procedure-log"),
        (5, "medication-administration"),
        (6, "quarantine"),
    ]
    for record in records:
        event = store.event(record.position)
        assert event
        assert (record.topic, record.key, record.type, record.event_id, record.subject, record.occurred) == (
            event.topic,
            event.key,
            event.type,
            event.event_id,
            event.subject,
            event.occurred,
        )
        assert record.value == event.payload
        assert json.loads(record.value)["position"] == record.position
    assert [r.position for r in view.records(3, 2)] == [4, 5]
    assert [r.position for r in view.records(0, 10, ["study", "quarantine"])] == [1, 6]
    assert view.records(0, 10, []) == []
    assert view.bounds() == {
        "study": (1, 1),
        "procedure-log": (3, 4),
        "medication-administration": (5, 5),
        "quarantine": (6, 6),
    }
    stored(store, request())
    assert view.bounds()["procedure-log"] == (3, 7)
    view.close()


def test_the_view_never_writes(url: str, open_sqlite: Open) -> None:
    """Neither by mistake nor by closing last."""
    store = open_sqlite()
    stored(store, request())
    view = RelayView.open(url)
    assert view.head() == 1
    with pytest.raises(apsw.ReadOnlyError):
        view._connection.execute("DELETE FROM events")
    store.close()
    view.close()
    assert open_sqlite().read(Filter())


def test_records_of_a_topic_are_counted_between_positions(url: str, open_sqlite: Open) -> None:
    """Above the first position, up to the second; other topics' are not among them."""
    store = open_sqlite()
    stored(store, request([entry("a"), entry("b", index=1)]))
    stored(store, request(decision=rejected()))
    view = RelayView.open(url)
    assert [view.count("procedure-log", after, upto) for after, upto in ((0, 9), (1, 9), (0, 1), (2, 9))] == [
        2,
        1,
        1,
        0,
    ]
    assert view.count("quarantine", 0, 9) == 1
    view.close()


def test_reading_does_not_hold_the_log(url: str, open_sqlite: Open, path: Path) -> None:
    """A relay that has read leaves the writer free to start the write-ahead log from its beginning."""
    store = open_sqlite(limits=StoreLimits(checkpoint_pages=10))
    view = RelayView.open(url)
    for _ in range(60):
        stored(store, request(raw=b"x" * 3000))
        view.records(0, 1000)
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size < 60 * 4096 * 5
    view.close()


def test_a_newer_store_is_refused(url: str, open_sqlite: Open, path: Path) -> None:
    """The relay does not guess what a layout that it does not know means."""
    open_sqlite().close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreNotOpened, match="99"):
        RelayView.open(url).head()


def test_an_older_store_is_refused_with_what_to_do(url: str, path: Path) -> None:
    """What reads beside the server does not migrate."""
    load(FOLDER / "4.sql", path)
    with pytest.raises(StoreNotOpened, match="has layout 4: start the server once"):
        RelayView.open(url).head()


def test_a_url_that_names_no_store_has_no_relay() -> None:
    """One line instead of an empty topic."""
    with pytest.raises(ConfigError, match="names no store"):
        RelayView.open("memory://")
