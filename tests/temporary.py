"""A store for tests that are about something else."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

from plscp.store import SqliteStore

_MEMORY = Path("/dev/shm")


class TemporaryStore(SqliteStore):
    """The store on SQLite, in a folder of its own that goes when it is closed."""

    @classmethod
    def made(cls, **options: Any) -> Self:
        """An empty store; the arguments are those of `SqliteStore.open`."""
        folder = tempfile.mkdtemp(prefix="plscp-test-", dir=_MEMORY if _MEMORY.is_dir() else None)
        return cls.open(Path(folder) / "store.db", **options)

    def close(self) -> None:
        """As the store's; nothing is left."""
        super().close()
        shutil.rmtree(self.path.parent, ignore_errors=True)
