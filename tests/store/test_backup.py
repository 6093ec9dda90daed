"""Backup and restore of a store: whole, checked, beside a busy writer; and nothing half is ever left."""

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
import structlog.testing

from plscp.errors import CommandError, StoreNotOpened
from plscp.store import SqliteStore, schema
from plscp.store.backup import back_up, restore
from plscp.store.connections import open_read_only
from plscp.store.ledger import WORST_WAL
from plscp.store.limits import StoreLimits
from plscp.store.port import Delivered, Filter
from plscp.store.schema import StoreHead, ancestors
from tests.store.contract import Open
from tests.store.drafts import change, entry, rejected, request, send, stored
from tests.store.layout import FOLDER, fill, load


def restored_from(file: Path) -> dict[str, int]:
    """The stores that the one in a file comes from, each with the position up to which it counts."""
    with closing(open_read_only(file)) as connection:
        return ancestors(connection)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def said(call: Callable[[], object]) -> str:
    """The one line of a failure."""
    with pytest.raises((CommandError, StoreNotOpened)) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def everything(store: SqliteStore) -> list[Any]:
    return [store.read(Filter(limit=-1)), store.quarantine(), store.retries(), store.proposals(), store.head()]


def test_a_backup_of_a_served_store_is_the_store(open_sqlite: Open, path: Path, tmp_path: Path) -> None:
    """Write-ahead log included: the file alone is a whole store; what is told of it is true; others cannot read it."""
    store = open_sqlite()
    assert isinstance(store, SqliteStore)
    fill(store)
    seen: list[tuple[str, int, int]] = []
    made = back_up(path, tmp_path / "b.db", progress=lambda *told: seen.append(told))
    file = tmp_path / "b.db"
    assert made[:4] == (str(file), store.store_id, *store.head())
    assert (made.bytes, made.sha256) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {name for name in names(tmp_path) if name.startswith("b.db")} == {"b.db"}
    assert seen[0][0] == "copy"
    assert seen[-1] == ("check", store.head()[0], store.head()[0])
    before = everything(store)
    store.close()
    copy = SqliteStore(file)
    assert everything(copy) == before
    assert copy.first_broken_position() is None
    copy.close()


def test_a_backup_of_a_store_that_nobody_serves(open_sqlite: Open, path: Path, tmp_path: Path) -> None:
    """Also of one whose server was killed: what is in its write-ahead log counts."""
    store = open_sqlite()
    stored(store, request())
    log = path.with_name(path.name + "-wal").read_bytes()
    store.close()
    assert back_up(path, tmp_path / "closed.db").position == 1
    main = path.read_bytes()
    store = open_sqlite()
    stored(store, request())
    killed = tmp_path / "killed"
    killed.mkdir()
    for tail in ("", "-wal"):
        (killed / f"s.db{tail}").write_bytes(path.with_name(path.name + tail).read_bytes())
    assert back_up(killed / "s.db", tmp_path / "k.db").position == 2
    assert log
    assert main


def test_a_busy_writer_neither_makes_it_begin_anew_nor_shows_in_it(
    open_sqlite: Open, path: Path, tmp_path: Path
) -> None:
    """The copy is the store at one moment, however much is committed while it is made."""
    store = open_sqlite()
    for _ in range(40):
        stored(store, request(raw=os.urandom(200_000)))
    begun, enough = threading.Event(), threading.Event()
    done: list[int] = []

    def busy() -> None:
        begun.wait(60)
        while len(done) < 30:
            done.append(stored(store, request(raw=os.urandom(20_000))).position)
        enough.set()

    copied: list[int] = []

    def progress(what: str, now: int, _whole: int) -> None:
        if what == "copy":
            copied.append(now)
            begun.set()
            assert enough.wait(60)  # the writer commits while the copy is half done

    writer = threading.Thread(target=busy)
    writer.start()
    made = back_up(path, tmp_path / "b.db", progress=progress)
    writer.join()
    assert made.position == 40
    assert len(copied) >= 2
    assert copied == sorted(copied), "it began anew"
    assert store.head()[0] == 70
    assert store.first_broken_position() is None


def test_a_long_backup_makes_the_writer_wait_seldom(open_sqlite: Open, path: Path) -> None:
    """As long as a snapshot holds the write-ahead log, the writer tries to start it anew once in a while only; then at once."""
    store = open_sqlite(limits=StoreLimits(checkpoint_pages=1))
    stored(store, request())
    ledger: Any = store._writer._ledger  # type: ignore[attr-defined]
    tries: list[int] = []
    real = ledger._checkpoint

    def counted(mode: int) -> None:
        if mode == apsw.SQLITE_CHECKPOINT_RESTART:
            tries.append(ledger._wal_pages)
        real(mode)

    ledger._checkpoint = counted
    with closing(open_read_only(path)) as snapshot:
        snapshot.execute("BEGIN; SELECT position FROM head").fetchall()
        for _ in range(60):
            stored(store, request())
        pages = ledger._wal_pages
    assert pages >= 60
    assert 1 <= len(tries) <= 1 + pages // WORST_WAL
    for _ in range(WORST_WAL):
        stored(store, request())
    assert ledger._wal_pages < WORST_WAL, "the log starts from its beginning again"


@pytest.mark.parametrize("what", ["there already", "no store", "no folder", "no room", "an older layout"])
def test_what_cannot_be_backed_up_is_one_line_and_leaves_nothing(
    open_sqlite: Open, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The line names the file and what to do; no file is made, and one that is there is left alone."""
    store = open_sqlite()
    stored(store, request())
    target, source = tmp_path / "b" / "b.db", path
    target.parent.mkdir()
    expected, leave = what, 0
    match what:
        case "there already":
            target.write_bytes(b"mine")
        case "no store":
            source, expected = tmp_path / "none.db", "there is no store at"
        case "no folder":
            target, expected = tmp_path / "none" / "b.db", "No such file or directory"
        case "no room":
            leave, expected = 1 << 60, "MiB free: the backup needs 0 MiB and the server's own"
        case "an older layout":
            source, expected = (
                tmp_path / "old.db",
                f"layout 3, this plscp backs up layout {schema.VERSION}: start the server once",
            )
            load(FOLDER / "3.sql", source)
    assert expected in said(lambda: back_up(source, target, leave=leave))
    assert not (tmp_path / "none").exists()
    assert names(tmp_path / "b") == ({"b.db"} if what == "there already" else set())


@pytest.mark.parametrize("when", ["copying", "syncing"])
def test_a_disk_that_gets_full_leaves_no_half_file(
    open_sqlite: Open, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """One line; the part that was written is gone."""
    store = open_sqlite()
    stored(store, request(raw=os.urandom(100_000)))
    target = tmp_path / "b" / "b.db"
    target.parent.mkdir()

    def full(*_: object) -> None:
        assert (target.parent / "b.db.part").exists()
        raise apsw.FullError if when == "copying" else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if when == "copying":
        call = lambda: back_up(path, target, progress=full)  # noqa: E731
    else:
        monkeypatch.setattr("plscp.store.backup.os.fdatasync", full)
        call = lambda: back_up(path, target)  # noqa: E731
    assert said(call).lower() in {
        f"{target}: no space left on the disk".lower(),
        f"{target}: no space left on device".lower(),
    }
    assert names(target.parent) == set()
    assert stored(store, request()).position == 2


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE events SET data = x'00' WHERE position = 3", "broken at position 3"),
        ("UPDATE head SET position = 4", "broken at position"),
        ("UPDATE requests SET raw = x'000000' WHERE n = 2", "broken at position 5"),
    ],
)
def test_a_damaged_store_is_not_taken_for_a_backup(
    open_sqlite: Open, path: Path, tmp_path: Path, damage: str, expected: str
) -> None:
    """The copy is held against the chain of digests before it gets its name; so is a backup before it is a store."""
    store = open_sqlite()
    assert isinstance(store, SqliteStore)
    fill(store)
    store.close()
    good = tmp_path / "good.db"
    back_up(path, good)
    for file in (path, good):
        connection = apsw.Connection(str(file))
        connection.execute(damage)
        connection.close()
    assert expected in said(lambda: back_up(path, tmp_path / "b.db"))
    (tmp_path / "r").mkdir()
    assert expected in said(lambda: restore(good, tmp_path / "r" / "s.db"))
    assert names(tmp_path / "r") == {"s.db.lock"}
    assert not (tmp_path / "b.db").exists()


def test_a_page_that_is_damaged_is_found(open_sqlite: Open, path: Path, tmp_path: Path) -> None:
    """Zeros in the middle of the file: no traceback, and no store."""
    store = open_sqlite()
    for _ in range(50):
        stored(store, request(raw=os.urandom(3000)))
    made = tmp_path / "b.db"
    back_up(path, made)
    content = bytearray(made.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 12288] = bytes(12288)
    made.write_bytes(content)
    assert said(lambda: restore(made, tmp_path / "r" / "s.db")).startswith(f"{made} is damaged: ")
    assert names(tmp_path / "r") == {"s.db.lock"}


# --- restoring ---


@pytest.fixture
def backup(open_sqlite: Open, path: Path, tmp_path: Path) -> Path:
    """A backup of a store that has gone on since, and is closed."""
    store = open_sqlite()
    assert isinstance(store, SqliteStore)
    fill(store)
    back_up(path, tmp_path / "b.db")
    stored(store, request())
    store.close()
    return tmp_path / "b.db"


def test_a_restored_store_is_another_store(backup: Path, path: Path, tmp_path: Path) -> None:
    """Its own id; it knows the old one and up to where; it goes on where the backup ends, answers retries, and its chain is whole."""
    old = SqliteStore(path)
    old_id = old.store_id
    old.close()
    file = tmp_path / "new" / "s.db"
    made = restore(backup, file)
    with structlog.testing.capture_logs() as lines:
        store = SqliteStore(file)
    assert lines[0]["restored_from"] == old_id
    assert (made.store, made.restored_from, made.moved_aside) == (store.store_id, old_id, "")
    assert store.store_id != old_id
    assert store.head()[0] == made.position == 14
    assert restored_from(file) == {old_id: 14}
    assert store.first_broken_position() is None
    first = request([entry("a", uid="1.1"), entry("b", index=1)])
    assert stored(store, first).outcome == "retry"
    send(store, change("study.closed"), Delivered([first.request_id]), request(decision=rejected()))
    assert store.first_broken_position() is None
    store.close()
    assert {name for name in names(file.parent) if "part" in name} == set()


def test_a_store_may_be_restored_again_and_again(backup: Path, tmp_path: Path) -> None:
    """Each one knows all those before it, the oldest first, each up to its own backup."""
    file, source, ids = tmp_path / "s.db", backup, []
    for number in range(3):
        made = restore(source, file, force=True)
        ids.append((made.restored_from, made.position))
        store = SqliteStore(file)
        stored(store, request(identity=f"again {number}"))
        store.close()
        source = tmp_path / f"{number}.db"
        back_up(file, source)
    assert list(restored_from(file).items()) == ids
    assert [position for _, position in ids] == [14, 15, 16]


def test_no_store_that_was_moved_aside_is_written_over(backup: Path, tmp_path: Path) -> None:
    """Also where two are moved aside within one second."""
    file = tmp_path / "another" / "store.db"
    aside = [restore(backup, file, force=True).moved_aside for _ in range(4)][1:]
    assert len(set(aside)) == 3
    assert all(Path(each).exists() for each in aside)


def test_the_same_backup_again_in_place_of_a_restored_store(backup: Path, path: Path, tmp_path: Path) -> None:
    """What the one that is put away has published of the backup's events counts; of what came after nothing does."""
    file = tmp_path / "another" / "store.db"
    first = restore(backup, file)
    store = SqliteStore(file)
    stored(store, request())
    store.close()
    second = restore(backup, file, force=True)
    assert restored_from(file) == {first.store: 14, first.restored_from: 14}
    assert list(restored_from(file))[-1] == first.restored_from, "where it comes from is named last"
    store = SqliteStore(file)
    stored(store, request())
    store.close()
    back_up(file, tmp_path / "later.db")
    restore(backup, file, force=True)
    assert restored_from(file) == {first.store: 14, second.store: 14, first.restored_from: 14}
    third = restore(tmp_path / "later.db", file, force=True)
    assert third.restored_from == second.store
    assert restored_from(file)[second.store] == 15
    Path(file).write_bytes(b"no database at all")
    restore(backup, file, force=True)
    assert restored_from(file) == {first.restored_from: 14}


def test_a_store_that_stands_there_is_kept(backup: Path, path: Path, tmp_path: Path) -> None:
    """Without --force nothing happens; with it the old one is moved aside, whole, with its companions."""
    companion = path.with_name("s-relay.db")
    companion.write_bytes(b"cursor")
    before = path.read_bytes()
    assert "--force moves it aside" in said(lambda: restore(backup, path))
    assert path.read_bytes() == before

    def beside(_connection: Any, store_id: str) -> None:
        companion.with_name("s-relay.db.part").write_text(store_id)

    made = restore(backup, path, force=True, companions=[companion], beside=beside)
    aside = Path(made.moved_aside)
    assert aside.read_bytes() == before
    assert aside.parent == path.parent
    suffix = aside.name.removeprefix(path.name)
    assert (path.parent / f"s-relay.db{suffix}").read_bytes() == b"cursor"
    assert companion.read_text() == made.store
    store = SqliteStore(path)
    assert (store.store_id, store.head()[0]) == (made.store, 14)
    store.close()


def test_a_log_without_its_database_is_not_taken_for_the_new_stores(
    backup: Path, open_sqlite: Open, path: Path, tmp_path: Path
) -> None:
    """Somebody deleted the database and left the write-ahead log beside it."""
    store = open_sqlite()
    stored(store, request())
    log = path.with_name(path.name + "-wal").read_bytes()
    store.close()
    place = tmp_path / "new"
    place.mkdir()
    (place / "s.db-wal").write_bytes(log)
    made = restore(backup, place / "s.db")
    assert made.moved_aside == ""
    assert not (place / "s.db-wal").exists()
    fresh = SqliteStore(place / "s.db")
    assert fresh.head()[0] == 14
    assert fresh.first_broken_position() is None
    fresh.close()


def test_a_store_that_a_server_has_open_is_not_touched(backup: Path, open_sqlite: Open, path: Path) -> None:
    """The line names the process."""
    store = open_sqlite()
    assert f"process {os.getpid()}" in said(lambda: restore(backup, path, force=True))
    assert stored(store, request()).outcome == "added"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no database, and longer than a header of one" * 20, "no database at all"),
        (b"", "an empty database"),
        (None, "no such file"),
    ],
)
def test_what_is_no_backup_is_one_line(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """Nothing is left where the store would have been."""
    source = tmp_path / "b.db"
    if content is not None:
        source.write_bytes(content)
    line = said(lambda: restore(source, tmp_path / "r" / "s.db"))
    assert expected in line
    assert str(source) in line
    assert not (tmp_path / "r").exists() or names(tmp_path / "r") == {"s.db.lock"}


def test_a_backup_of_a_newer_layout_is_refused(backup: Path, tmp_path: Path) -> None:
    """The line says that a newer plscp made it."""
    connection = apsw.Connection(str(backup))
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    assert f"layout {schema.VERSION + 1}, this plscp knows layouts up to" in said(
        lambda: restore(backup, tmp_path / "s.db")
    )


@pytest.mark.parametrize("sql", sorted(FOLDER.glob("*.sql")), ids=lambda sql: f"layout {sql.stem}")
def test_a_copy_of_any_released_layout_can_be_restored(sql: Path, tmp_path: Path) -> None:
    """It is brought up to date; the file that it came from stays as it was."""
    load(sql, tmp_path / "old.db")
    before = (tmp_path / "old.db").read_bytes()
    made = restore(tmp_path / "old.db", tmp_path / "s.db")
    store = SqliteStore(tmp_path / "s.db")
    assert store.first_broken_position() is None
    assert store.head()[0] == made.position
    store.close()
    assert (tmp_path / "old.db").read_bytes() == before


def test_a_full_disk_at_restoring_leaves_what_stood_there(
    backup: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is moved aside before the new store is whole and synced."""
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("plscp.store.backup.os.fsync", full)
    assert "No space left on device" in said(lambda: restore(backup, path, force=True))
    assert path.read_bytes() == before
    assert not [name for name in names(path.parent) if "part" in name or "replaced" in name]


def test_an_old_layout_knows_no_ancestors(tmp_path: Path) -> None:
    """A store that was not brought up to date yet was restored from nowhere."""
    load(FOLDER / "3.sql", tmp_path / "old.db")
    connection: Any = apsw.Connection(str(tmp_path / "old.db"))
    assert ancestors(connection) == {}
    connection.close()


def test_heads_that_differ_are_no_backup(open_sqlite: Open, path: Path, tmp_path: Path) -> None:
    """A copy that ends elsewhere than its original is refused."""
    from plscp.store.backup import check  # noqa: PLC0415 -- only here

    store = open_sqlite()
    stored(store, request())
    back_up(path, tmp_path / "b.db")
    assert "ends at position 1 and not at 2" in said(lambda: check(tmp_path / "b.db", StoreHead(2, bytes(32), 0, 1)))
