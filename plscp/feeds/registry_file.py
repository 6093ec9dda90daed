"""The registry file as a feed: read at start and on SIGHUP; only differences to what it said before are changes."""

import asyncio
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from plscp.errors import PlscpError
from plscp.logs import log
from plscp.matching.model import Policy
from plscp.matching.registry import Registry
from plscp.matching.registry_file import apply_file
from plscp.store.port import RegistryRecord


class Keeper(Protocol):
    """Who makes registry changes durable."""

    async def change(self, plan: Any, source: str) -> list[int]:
        """Plan on the registry as it is and commit."""


def _content(path: Path) -> Mapping[str, Any]:
    return tomllib.loads(path.read_bytes().decode("utf-8"))


async def read(path: Path, keeper: Keeper, policy: Policy) -> int:
    """Take what the file says.

    A file that cannot be used changes nothing: the registry stays as it was, so that a slip of the pen does not stop a server
    during a case. Each refused change is one line in the log, and is tried again when the file is next read.

    Returns:
        How many lines were logged as refused.
    """
    try:
        content = await asyncio.to_thread(_content, path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        log.error("registry-file-refused", file=str(path), why=" ".join(str(error).split()))
        return 1
    refused: list[str] = []

    def plan(registry: Registry) -> list[RegistryRecord]:
        planned = apply_file(registry, None, content, policy, datetime.now(UTC))
        refused[:] = planned.refused
        return planned.records

    try:
        positions = await keeper.change(plan, "file")
    except PlscpError as error:
        refused.append(str(error))
        positions = []
    for line in refused:
        log.error("registry-file-refused", file=str(path), why=line)
    if positions:
        log.info("registry-changed", source="file", position=positions[-1])
    return len(refused)
