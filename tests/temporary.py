"""A store for tests that are about something else."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from plscp.store import SqliteStore

MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""A folder where a sync costs nothing, where the system has it."""


class TemporaryStore(SqliteStore):
    """An empty store on SQLite, in a folder of its own that goes when it is closed; the arguments are those of `SqliteStore`."""

    def __init__(self, **options: Any) -> None:
        folder = tempfile.mkdtemp(prefix="plscp-test-", dir=MEMORY)
        super().__init__(Path(folder) / "store.db", **options)

    def close(self) -> None:
        """As the store's; nothing is left."""
        super().close()
        shutil.rmtree(self.path.parent, ignore_errors=True)
