"""The event store: append-only, numbered without gaps, chained, and synced to disk before anyone hears of it."""

from typing import Any

from plscp.store.files import sqlite_path
from plscp.store.port import EventStore
from plscp.store.sqlite import SqliteStore

__all__ = ["EventStore", "SqliteStore", "open_store"]


def open_store(url: str, **options: Any) -> EventStore:
    """Open the store that a URL (``sqlite:///relative``, ``sqlite:////absolute``) names for writing; options as of `SqliteStore`.

    Raises:
        ConfigError: the URL names no store.
        StoreNotOpened: it cannot be opened for writing.
    """
    return SqliteStore(sqlite_path(url), **options)
