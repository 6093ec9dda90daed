"""The feeds that run beside the DICOM listener: started with it, stopped with it, told of settings that have changed."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from plscp.logs import log

JsonObject = dict[str, Any]


class Feed(Protocol):
    """What fills the registry by itself for as long as the server runs. All of it is called on the event loop."""

    @property
    def name(self) -> str:
        """What settings, status and log call it: ``hl7``, ``worklist``."""

    async def start(self) -> None:
        """Begin. Raises CommandError: it cannot, and one line says why."""

    async def stop(self) -> None:
        """Take nothing new, finish what is in hand, end; within a bounded time. Safe to call twice, and without `start`."""

    def status(self) -> JsonObject:
        """How it goes, JSON-able, without patients."""

    def settings_changed(self) -> None:
        """Other settings hold from now on: what it asks for each time is new already, what it holds it has to look at."""


class Feeds:
    """Every feed of a server that the settings ask for."""

    def __init__(self, feeds: Sequence[Feed] = ()) -> None:
        self._feeds = tuple(feeds)

    async def start(self) -> None:
        """Begin, one after the other. Raises CommandError: one cannot; those before it run, and `stop` ends them."""
        for feed in self._feeds:
            await feed.start()

    async def stop(self) -> None:
        """End every feed, all at once; safe to call twice, and without `start`."""
        ends = await asyncio.gather(*(feed.stop() for feed in self._feeds), return_exceptions=True)
        for feed, end in zip(self._feeds, ends, strict=True):
            if isinstance(end, Exception):  # a defect in one of them must not keep the server from its own end
                log.error("internal-error", where=f"feeds.{feed.name}", exc_info=end)

    def status(self) -> Mapping[str, JsonObject]:
        """How each goes, by its name."""
        return {feed.name: feed.status() for feed in self._feeds}

    def settings_changed(self) -> None:
        """Tell every feed that other settings hold from now on."""
        for feed in self._feeds:
            feed.settings_changed()
