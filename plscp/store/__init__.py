"""The event store: append-only, numbered without gaps, chained, and synced to disk before anyone hears of it."""

from typing import Any

from plscp.store.files import sqlite_path
from plscp.store.port import EventStore
from plscp.store.sqlite import SqliteStore

__all__ = ["EventStore", "SqliteStore", "open_store"]


def open_store(url: str, **options: Any) -> EventStore:
    """Open the store that a URL (``sqlite:///relative``, ``sqlite:////absolute``) names for writing, with options of `SqliteStore`.

    Raises ConfigError where it names none, and StoreNotOpened where it cannot be opened.
    """
    return SqliteStore(sqlite_path(url), **options)
