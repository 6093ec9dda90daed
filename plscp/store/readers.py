"""Read-only connections to an SQLite store: a small pool, each in use by one thread at a time, none kept inside a transaction."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from plscp.errors import StoreUnavailable
from plscp.store.failures import translate

BUSY_MS = 5000


def open_read_only(path: Path, *, vfs: str | None = None) -> Any:
    """A connection that never writes and never checkpoints.

    Raises:
        apsw.Error: there is no such database, or it cannot be read.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA query_only = 1; PRAGMA trusted_schema = 0; PRAGMA cache_size = -4096")
    return connection


class Readers:
    """Hands out connections; keeps as many as were ever needed at once."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path = path
        self._vfs = vfs
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[Any]:
        """A connection for one query; read everything before leaving, since an open statement holds the write-ahead log.

        Raises:
            StoreError: the store does not answer, or is closed.
        """
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = open_read_only(self._path, vfs=self._vfs)
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
