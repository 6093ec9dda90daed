"""Opens an SQLite store for writing: the folder, the lock, the settings that durability rests on, the layout."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from plscp.errors import StoreError, StoreNotOpened
from plscp.store import schema
from plscp.store.lockfile import LockFile
from plscp.store.private import private_database, private_folder

OLDEST_SQLITE: Final = 3051003
"""Before 3.51.3, two connections that checkpoint at once can corrupt a write-ahead log."""

PRAGMAS: Final = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: each commit is synced
    "wal_autocheckpoint": 0,  # errors of automatic checkpoints are swallowed; the writer checkpoints by itself
    "locking_mode": "normal",
    "temp_store": 2,
    "cache_size": -32768,
    "trusted_schema": 0,
    "cell_size_check": 1,
}
BUSY_MS: Final = 2000
STATEMENTS: Final = 512
"""Prepared ones that are kept: a batch of n rows has statements of its own for each n."""


def configure(connection: Any) -> None:
    """Make the settings and read them back.

    Raises:
        StoreNotOpened: SQLite kept another value, e.g. because the file system cannot do write-ahead logging.
    """
    connection.set_busy_timeout(BUSY_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    for name, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        kept = connection.execute(f"PRAGMA {name}").get
        if kept != value:
            raise StoreNotOpened(f"SQLite keeps {name} at {kept!r} where {value!r} is needed: not a local file system?")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what goes wrong at opening into one line that says what to do."""
    try:
        yield
    except StoreError:
        raise
    except apsw.NotADBError:
        raise StoreNotOpened(f"{path} is not a plscp store, and no database at all") from None
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as error:
        raise StoreNotOpened(f"cannot write the store {path}: {error}; check folder and permissions") from None
    except apsw.BusyError:
        raise StoreNotOpened(f"another program writes to {path}: end it first") from None
    except apsw.Error as error:
        raise StoreNotOpened(f"cannot open the store {path}: {type(error).__name__}: {error}") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreNotOpened(f"cannot write the store {path}: {reason}; check folder and permissions") from None


def open_for_writing(path: Path, *, vfs: str | None = None) -> tuple[Any, LockFile]:
    """The one writing connection, and the lock that makes it the only one.

    Raises:
        StoreNotOpened: one line why.
    """
    if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
        raise StoreNotOpened(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed (install apsw)")
    lock = LockFile(path.with_name(path.name + ".lock"))
    connection: Any = None
    try:
        with explained(path):
            private_folder(path.parent)
            lock.take()
            private_database(path)
            connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=STATEMENTS)
            _refuse_read_only(connection, path)
            schema.layout_of(connection, str(path))  # before anything of somebody else's file is changed
            configure(connection)
            schema.bring_up_to_date(connection, str(path))
            _sync_folder(path.parent)
    except BaseException:
        if connection is not None:
            connection.close()
        lock.release()
        raise
    return connection, lock


def _refuse_read_only(connection: Any, path: Path) -> None:
    if connection.readonly("main"):
        raise StoreNotOpened(f"cannot write the store {path}: it is read-only; check folder and permissions")


def _sync_folder(folder: Path) -> None:
    """A new file is only safe once the folder that names it is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
