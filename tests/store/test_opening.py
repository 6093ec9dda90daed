"""What a store says when it cannot be opened for writing, and what it makes sure of when it can."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from plscp.errors import ConfigError, StoreNotOpened
from plscp.store import SqliteStore, connections, open_store, schema
from plscp.store.files import sqlite_path
from plscp.store.port import ClockMeasured, Filter
from plscp.store.relay_view import RelayView
from tests.store.contract import Open
from tests.store.drafts import NOW, STUDY, accepted, entry, proposal, rejected, request, stored
from tests.store.layout import FOLDER, load


def refused(path: Path) -> str:
    """The one line with which opening fails."""
    with pytest.raises(StoreNotOpened) as caught:
        SqliteStore(path)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_status != 0
    return line


def test_settings_that_durability_rests_on_are_read_back(open_sqlite: Open, path: Path) -> None:
    """Write-ahead log, every commit synced, nobody checkpoints but the writer."""
    store = open_sqlite()
    connection: Any = store._writer._ledger._connection  # type: ignore[attr-defined]
    found = {name: connection.execute(f"PRAGMA {name}").get for name in connections.PRAGMAS}
    assert found == connections.PRAGMAS
    assert connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, -1) == 1
    assert apsw.SQLITE_VERSION_NUMBER >= connections.OLDEST_SQLITE
    assert path.exists()


def test_a_setting_that_is_not_kept_is_refused() -> None:
    """A database that cannot have a write-ahead log (here: in memory) is no place for a store."""
    connection: Any = apsw.Connection(":memory:")
    with pytest.raises(StoreNotOpened, match="journal_mode"):
        connections.configure(connection)
    connection.close()


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 3.51.3 two checkpoints at once can corrupt the log."""
    monkeypatch.setattr(apsw, "SQLITE_VERSION_NUMBER", 3051002)
    assert "3.51.3" in refused(path)


def test_a_second_server_is_refused(open_sqlite: Open, path: Path) -> None:
    """In this process or another: the line names the process that has the store."""
    store = open_sqlite()
    assert f"process {os.getpid()}" in refused(path)
    code = f"from plscp.store import SqliteStore; SqliteStore({str(path)!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert other.returncode != 0
    assert f"StoreNotOpened: another server (process {os.getpid()})" in other.stderr
    store.close()
    open_sqlite().close()


def test_a_newer_layout_is_refused(open_sqlite: Open, path: Path) -> None:
    """The line names both layouts, and nothing is touched."""
    open_sqlite().close()
    connection: Any = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    assert f"layout {schema.VERSION + 1}" in refused(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda path: path.write_bytes(b"not a database, but longer than the header of one" * 10),
            "no database at all",
        ),
        (lambda path: apsw.Connection(str(path)).execute("CREATE TABLE t (x)"), "not a plscp store"),
        (lambda path: path.mkdir(), "check folder and permissions"),
    ],
    ids=["a text file", "another program's database", "a folder"],
)
def test_what_is_no_store_is_refused(path: Path, make: Callable[[Path], object], says: str) -> None:
    """Somebody else's file is left alone."""
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    assert says in refused(path)
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize("error", [PermissionError(13, "x"), OSError(30, "x")], ids=["no permission", "read-only disk"])
def test_a_folder_that_cannot_be_written_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """The line names the store and what the system said."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("plscp.store.files.os.open", fail)
    line = refused(path)
    assert str(path) in line
    assert os.strerror(error.errno or 0) in line


def test_a_read_only_file_is_refused_for_those_who_are_not_root(path: Path, open_sqlite: Open) -> None:
    """A real user without the right to write gets the line, not a traceback later."""
    open_sqlite().close()
    for made in path.parent.iterdir():
        made.chmod(0o444)
    path.parent.chmod(0o755)
    code = (
        "import apsw, pathlib, sys\nfrom plscp.store import connections\n"
        f"connection = apsw.Connection({str(path)!r}, flags=apsw.SQLITE_OPEN_READONLY)\n"
        f"connections._refuse_read_only(connection, pathlib.Path({str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "is read-only; check folder and permissions" in done.stderr


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """`data/plscp.db` works in an empty folder."""
    store = SqliteStore(tmp_path / "a" / "b" / "s.db")
    store.close()
    assert (tmp_path / "a" / "b" / "s.db").exists()


def test_what_was_written_is_there_after_opening_again(open_sqlite: Open) -> None:
    """Store id, head and numbering go on."""
    store = open_sqlite()
    store_id = store.store_id
    stored(store, request())
    store.close()
    again = open_sqlite()
    assert (again.store_id, again.head()) == (store_id, (1, 0))
    assert stored(again, request()).position == 2
    assert again.first_broken_position() is None


@pytest.mark.parametrize("sql", sorted(FOLDER.glob("*.sql")), ids=lambda sql: f"layout {sql.stem}")
def test_released_layouts_open(sql: Path, path: Path, open_sqlite: Open) -> None:
    """A store that any released version wrote opens, is whole, and goes on."""
    load(sql, path)
    store = open_sqlite()
    head = store.head()[0]
    events = store.read(Filter(limit=-1))
    assert [event.position for event in events] == list(range(1, head + 1))
    layout = int(sql.stem)
    later_kinds = {
        3: "proposal",
        4: "expunged",
        6: "correction",
    }  # a layout has what it was the first to hold, and what those before it held
    known = {kind for since, kind in later_kinds.items() if layout >= since}
    assert {event.kind for event in events} == {"entry", "registry", "refusal"} | known
    newest = layout >= 3
    assert len(store.quarantine()) == 2 + newest
    assert [note.position for note in store.retries()] == [4]
    # What older layouts did not know is not there; it is kept from now on.
    assert [len(list(found)) for found in (store.activity(0), store.clocks(0), store.proposals())] == [newest] * 3
    assert store.has_entries(STUDY)
    published = [event for event in events if event.topic]
    view = RelayView(path)
    assert view.bounds() == {
        topic: (min(positions), max(positions))
        for topic in {event.topic for event in published}
        if (positions := [event.position for event in published if event.topic == topic])
    }
    view.close()
    later = request([entry("later")], accepted(place="LAB1", at=NOW + 60_000_000), identity=uuid.uuid4())
    assert stored(store, later).position == head + 1
    assert (STUDY, "LAB1", NOW + 60_000_000) in [sign[:3] for sign in store.activity(0)]
    store.submit(ClockMeasured("HEMO1", NOW + 10**15, 7))
    stored(store, request(decision=rejected(proposal=proposal("cd34")), identity=uuid.uuid4()))
    assert store.proposals()[0].id == "cd34"
    store.close()
    store = open_sqlite()
    assert list(store.clocks(NOW + 10**15)) == [("HEMO1", NOW + 10**15, 7)]
    assert store.first_broken_position() is None


@pytest.mark.parametrize("sql", sorted(FOLDER.glob("*.sql")), ids=lambda sql: f"layout {sql.stem}")
def test_a_migrated_store_has_what_a_new_one_has(sql: Path, path: Path, tmp_path: Path, open_sqlite: Open) -> None:
    """The same tables with the same columns, and the same indexes: only the order of columns may differ."""
    load(sql, path)
    open_sqlite().close()
    SqliteStore(tmp_path / "new.db").close()

    def layout(file: Path) -> dict[str, set[Any]]:
        connection: Any = apsw.Connection(str(file))
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema").fetchall()]
        found = {name: {row[1:] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}
        for name in names:
            of_index = connection.execute(f"PRAGMA index_xinfo({name})").fetchall()
            found[f"index {name}"] = {(rank, *more) for rank, _, *more in of_index}
        connection.close()
        return found

    assert layout(path) == layout(tmp_path / "new.db")


def test_the_newest_layout_is_among_the_released_ones() -> None:
    """Whoever raises the version adds its file (`python -m tests.store.layout`)."""
    assert (FOLDER / f"{schema.VERSION}.sql").exists()


def test_the_layout_of_a_released_version_never_changes(path: Path, tmp_path: Path, open_sqlite: Open) -> None:
    """What a new store of this version looks like is what its released file says."""
    open_sqlite().close()
    load(FOLDER / f"{schema.VERSION}.sql", tmp_path / "old.db")

    def tables(file: Path) -> set[tuple[str, str]]:
        connection: Any = apsw.Connection(str(file))
        found = set(connection.execute("SELECT name, sql FROM sqlite_schema").fetchall())
        connection.close()
        return found

    assert tables(path) == tables(tmp_path / "old.db")


def test_migrations_are_one_transaction(path: Path, open_sqlite: Open) -> None:
    """All steps to the newest layout, or none of them."""
    open_sqlite().close()
    connection: Any = apsw.Connection(str(path))

    def one(c: Any) -> None:
        c.execute("CREATE TABLE extra (x)")

    def two(c: Any) -> None:
        c.execute("INSERT INTO extra VALUES (1)")
        if failing:
            raise RuntimeError("half way")

    steps = {schema.VERSION: one, schema.VERSION + 1: two}
    failing = True
    with pytest.raises(RuntimeError):
        schema.bring_up_to_date(connection, "s", migrations=steps)
    assert connection.execute("PRAGMA user_version").get == schema.VERSION
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").get == 0
    failing = False
    schema.bring_up_to_date(connection, "s", migrations=steps)
    assert connection.execute("PRAGMA user_version").get == schema.VERSION + 2
    assert connection.execute("SELECT x FROM extra").get == 1
    connection.close()


@pytest.mark.parametrize(("layout", "needed_mib"), [(5, 16), (4, 16), (3, 16), (2, 16), (1, 16)])
def test_a_migration_that_the_disk_has_no_room_for_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, layout: int, needed_mib: int
) -> None:
    """Before anything is changed, with what it needs; where every row is written anew that is twice the database besides."""
    load(FOLDER / f"{layout}.sql", path)
    real = os.statvfs(path.parent)
    enough = (needed_mib << 20) + (2 * path.stat().st_size if layout < schema.REWRITTEN else 0)

    def free(count: int) -> None:
        found = list(real)
        found[0], found[1], found[4] = 1, 1, count
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(found))

    free(enough - 1)
    line = refused(path)
    assert f"has layout {layout}: bringing it to layout {schema.VERSION} needs {needed_mib} MiB of free disk" in line
    connection: Any = apsw.Connection(str(path))
    assert connection.execute("PRAGMA user_version").get == layout
    connection.close()
    free(enough)
    SqliteStore(path).close()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/plscp.db", Path("data/plscp.db")),
        ("sqlite:////var/lib/plscp.db", Path("/var/lib/plscp.db")),
        ("sqlite:///with%20space.db", Path("with space.db")),
    ],
)
def test_urls(url: str, path: Path) -> None:
    """Three slashes are relative, four absolute."""
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://host/db", "later version"),
        ("mysql://x", "names no store"),
        ("memory://", "names no store"),
        ("plscp.db", "names no store"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite://host/x", "names no file"),
    ],
)
def test_urls_that_name_no_store(url: str, says: str) -> None:
    """One line that says what would be right."""
    with pytest.raises(ConfigError, match=says):
        open_store(url)


def test_open_store(tmp_path: Path) -> None:
    """The URL decides which store it is."""
    opened = open_store(f"sqlite:///{tmp_path}/s.db")
    assert type(opened) is SqliteStore
    assert opened.disk_free()
    opened.close()
