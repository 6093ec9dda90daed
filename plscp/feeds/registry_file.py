"""The registry file as a feed: read at start, when it changes and on SIGHUP; only differences to what it said before are changes."""

import asyncio
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from plscp.errors import InvalidBody, PlscpError
from plscp.logs import log
from plscp.matching.model import Policy
from plscp.matching.registry import Registry
from plscp.matching.registry_file import Planned, apply_file
from plscp.service.keeper import RegistryKeeper
from plscp.store.port import RegistryRecord

_refused: Final[set[Path]] = set()
"""Files that could not be used when they were read last."""


def content(path: Path) -> Mapping[str, Any]:
    """The file as nested tables.

    Raises:
        InvalidBody: it cannot be read, or is not TOML in UTF-8; one line.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InvalidBody(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise InvalidBody("is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidBody(" ".join(str(error).split())) from None


def check(path: Path, registry: Registry, policy: Policy) -> Planned:
    """What a server that knows nothing yet would say to the file: what is refused, and what is probably not meant.

    Args:
        registry: an empty one, with the locations.
    """
    try:
        return apply_file(registry, {}, content(path), policy, datetime.now(UTC))
    except InvalidBody as error:
        return Planned([], [str(error)], [])


async def read(path: Path, keeper: RegistryKeeper) -> int:
    """Take what the file says: all of it, or nothing.

    A file that cannot be used changes nothing: the registry stays as it was, so that a slip of the pen does not stop a server
    during a case. Each row that is refused, or probably not meant as it stands, is one line in the log.

    Returns:
        How many lines were logged as refused.
    """
    planned = Planned([], [], [])
    positions: list[int] = []
    try:
        said = await asyncio.to_thread(content, path)

        def plan(registry: Registry) -> list[RegistryRecord]:
            nonlocal planned
            planned = apply_file(registry, None, said, keeper.policy, datetime.now(UTC))
            return planned.records

        positions = await keeper.change(plan, "file")
    except PlscpError as error:
        planned = Planned([], [str(error)], [])
    if planned.refused:
        _refused.add(path)
    elif path in _refused:
        _refused.discard(path)
        log.info("registry-file-recovered", file=str(path))
    for line in planned.refused:
        log.error("registry-file-refused", file=str(path), why=line)
    for line in planned.warnings:
        log.warning("registry-warning", file=str(path), why=line)
    if positions:
        log.info("registry-changed", source="file", position=positions[-1])
    return len(planned.refused)
