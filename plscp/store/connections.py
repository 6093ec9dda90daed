"""Connections to an SQLite store: the one that writes, those that only read, and what the errors of either mean."""

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

import apsw

from plscp.errors import StoreBroken, StoreError, StoreFull, StoreNotOpened, StoreUnavailable
from plscp.files import LockFile
from plscp.store import schema
from plscp.store.files import locked, private_database, private_folder, sync_folder

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
READER_BUSY_MS: Final = 5000
STATEMENTS: Final = 512
"""Prepared ones that are kept: a batch of n rows has statements of its own for each n."""
ROWS_AT_ONCE: Final = 64
_QUOTA: Final = (errno.EDQUOT, errno.ENOSPC)
_UNAVAILABLE: Final = (apsw.BusyError, apsw.LockedError, apsw.NoMemError, apsw.InterruptError)
_BROKEN: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.InternalError,
    apsw.MisuseError,
    apsw.NotFoundError,
    apsw.NoLFSError,
)


def translate(error: BaseException, system_errno: int = 0) -> StoreError | None:
    """What a driver error means (`system_errno` tells a quota from a broken disk); None: the fault is in what the store was given."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, apsw.FullError):
        return StoreFull("the disk is full")
    extended = getattr(error, "extendedresult", 0)
    if extended == apsw.SQLITE_IOERR_WRITE and system_errno in _QUOTA:
        return StoreFull("the disk quota is used up")
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(f"the store does not answer: {error}")
    if isinstance(error, (*_BROKEN, OSError)):
        return StoreBroken(f"the store cannot be trusted any more: {type(error).__name__}: {error}")
    return None


def configure(connection: Any) -> None:
    """Make the settings that durability rests on; StoreNotOpened: SQLite kept another value, as without write-ahead logging."""
    connection.set_busy_timeout(BUSY_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    for name, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        kept = connection.execute(f"PRAGMA {name}").get
        if kept != value:
            raise StoreNotOpened(f"SQLite keeps {name} at {kept!r} where {value!r} is needed: not a local file system?")


def insert(connection: Any, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Add rows of one length, a few statements for all of them: each lets go of the GIL and may wait for it."""
    for at in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[at : at + ROWS_AT_ONCE]
        connection.execute(_insert(into, len(rows[0]), len(some)), tuple(chain.from_iterable(some)))


@cache
def _insert(into: str, columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"{into} VALUES {','.join([row] * rows)}"


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
    """The one writing connection, and the lock that makes it the only one; StoreNotOpened says on one line why not."""
    if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
        raise StoreNotOpened(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed (install apsw)")
    with explained(path), ExitStack() as undo:
        private_folder(path.parent)
        lock = locked(path)
        undo.callback(lock.release)
        private_database(path)
        connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=STATEMENTS)
        undo.callback(connection.close)
        _refuse_read_only(connection, path)
        schema.layout_of(connection, str(path))  # before anything of somebody else's file is changed
        configure(connection)
        schema.bring_up_to_date(connection, str(path))
        sync_folder(path.parent)
        undo.pop_all()
    return connection, lock


def _refuse_read_only(connection: Any, path: Path) -> None:
    if connection.readonly("main"):
        raise StoreNotOpened(f"cannot write the store {path}: it is read-only; check folder and permissions")


def open_read_only(path: Path, *, vfs: str | None = None) -> Any:
    """A connection that never writes and never checkpoints; apsw.Error where there is no such database, or it cannot be read."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(READER_BUSY_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA query_only = 1; PRAGMA trusted_schema = 0; PRAGMA cache_size = -4096")
    return connection


class Readers:
    """Hands out connections; keeps as many as were ever needed at once."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path, self._vfs = path, vfs
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[Any]:
        """A connection for one query; StoreError where the store does not answer, or is closed.

        Read everything before leaving: an open statement holds the write-ahead log.
        """
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or open_read_only(self._path, vfs=self._vfs)
            yield connection
        except (apsw.Error, OSError) as error:
            raise (translate(error) or StoreUnavailable(f"the store cannot be read: {error}")) from error
        finally:
            if connection is not None:
                with self._lock:
                    keep = not self._closed
                    if keep:
                        self._idle.append(connection)
                if not keep:
                    connection.close()

    def close(self) -> None:
        """Close what is idle now and the rest when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
