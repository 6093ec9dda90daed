"""Feeds as one: the server starts, stops and asks them together."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.errors import CommandError
from plscp.feeds.running import Feed, Feeds


class Told:
    """A feed that notes what it is told."""

    def __init__(self, name: str, said: list[str], *, fails: str = "") -> None:
        self.name, self._said, self._fails = name, said, fails

    def _note(self, what: str) -> None:
        self._said.append(f"{self.name} {what}")
        if self._fails == what:
            raise CommandError("cannot", 3) if what == "start" else ValueError("a defect")

    async def start(self) -> None:
        """Note it."""
        self._note("start")

    async def stop(self) -> None:
        """Note it."""
        self._note("stop")

    def status(self) -> dict[str, Any]:
        """Something of its own."""
        return {"is": self.name}

    def settings_changed(self) -> None:
        """Note it."""
        self._note("settings")


def test_every_feed_is_started_told_and_stopped() -> None:
    """In their order; the status has each by its name."""
    said: list[str] = []
    made: list[Feed] = [Told("hl7", said), Told("worklist", said)]
    feeds = Feeds(made)

    async def run() -> None:
        await feeds.start()
        feeds.settings_changed()
        await feeds.stop()

    asyncio.run(run())
    assert said == [f"{name} {what}" for what in ("start", "settings", "stop") for name in ("hl7", "worklist")]
    assert feeds.status() == {"hl7": {"is": "hl7"}, "worklist": {"is": "worklist"}}


def test_a_feed_that_cannot_start_says_so() -> None:
    """The error reaches who started them; the ones after it are not begun."""
    said: list[str] = []
    with pytest.raises(CommandError):
        asyncio.run(Feeds([Told("hl7", said, fails="start"), Told("worklist", said)]).start())
    assert said == ["hl7 start"]


def test_a_defect_in_one_feeds_end_keeps_no_other_from_its_own() -> None:
    """It is logged as a defect, and the server goes on ending."""
    said: list[str] = []
    with capture_logs() as lines:
        asyncio.run(Feeds([Told("hl7", said, fails="stop"), Told("worklist", said)]).stop())
    assert said == ["hl7 stop", "worklist stop"]
    assert [(line["event"], line["where"]) for line in lines] == [("internal-error", "feeds.hl7")]
