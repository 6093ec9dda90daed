"""The HL7 feed on a real store: what it answers when that fails, who is silent, what is said once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from structlog.testing import capture_logs

from plscp.feeds.hl7 import STATED, Hl7Feed, Hl7Rules
from plscp.feeds.hl7_persons import Authorities
from plscp.feeds.mllp import FeedSender, MllpFrame, MllpSettings
from plscp.matching.model import Policy
from plscp.matching.registry import Issuers, Registry
from plscp.metrics import Metrics
from plscp.service.keeper import RegistryKeeper
from plscp.store import open_store
from plscp.store.port import EventStore
from tests.feeds.hl7 import message, pid, pv1
from tests.test_metrics import samples

P1 = pid("P1^^^HOSP")


Story = Callable[[Hl7Feed, EventStore, Metrics], Awaitable[None]]


def run(folder: Path, story: Story, *, silent_after: float | None = None) -> None:
    """Tell a story with a feed that is not listening."""

    async def told() -> None:
        store = open_store(f"sqlite:///{folder}/plscp.db")
        keeper = RegistryKeeper(store, Registry())
        metrics = Metrics()
        in_force = Hl7Rules(Authorities(Issuers(), Policy()), silent_after=silent_after)
        feed = Hl7Feed(MllpSettings(port=0), lambda: in_force, keeper, store, metrics=metrics)
        try:
            await feed.start()
            await story(feed, store, metrics)
            await feed.stop()
        finally:
            store.close()

    asyncio.run(told())


async def answer(feed: Hl7Feed, data: bytes) -> str:
    """What a sender gets back."""
    return (await feed._answer(MllpFrame(data, len(data)), FeedSender("10.1.2.9", 4711))).decode()


def test_a_store_that_fails_is_an_error_that_asks_for_the_message_again(tmp_path: Path) -> None:
    """AE with 207; nothing is kept of it, since it will be sent again, and it counts as failed."""

    async def story(feed: Hl7Feed, store: EventStore, metrics: Metrics) -> None:
        assert "\rMSA|AA|M1\r" in await answer(feed, message("ADT^A31", P1))
        await asyncio.to_thread(store.close)
        found = await answer(feed, message("ADT^A31", pid("P2^^^HOSP")))
        assert "\rMSA|AE|M1|nothing can be stored now" in found
        assert "|207^" in found
        counted = samples(metrics)
        assert counted["plscp_feed_messages_total", "ADT^A31", "changed", "hl7"] == 1
        assert counted["plscp_feed_messages_total", "ADT^A31", "failed", "hl7"] == 1

    run(tmp_path, story)


def test_what_is_refused_is_kept_as_it_came(tmp_path: Path) -> None:
    """Before the sender has its answer; what it was told stands beside it."""

    async def story(feed: Hl7Feed, store: EventStore, _metrics: Metrics) -> None:
        data = message("ADT^A08", pv1("W3"))
        assert "\rMSA|AE|M1|" in await answer(feed, data)
        [kept] = store.refused_messages()
        assert (kept.source, kept.peer, kept.message, kept.raw) == ("hl7", "10.1.2.9:4711", "ADT|CLINIC|M1", data)
        assert kept.why == "segment PID is missing PID^1"

    run(tmp_path, story)


def test_what_is_not_done_is_said_once(tmp_path: Path) -> None:
    """An order without a Study Instance UID, and a trigger event that concerns identity and is not read: AA, and one line each."""

    async def story(feed: Hl7Feed, _store: EventStore, _metrics: Metrics) -> None:
        with capture_logs() as lines:
            for _ in range(3):
                for data in (message("ORM^O01", P1, "ORC|NW"), message("ADT^A43", P1)):
                    assert "\rMSA|AA|M1\r" in await answer(feed, data)
        assert [line["kind"] for line in lines if line["event"] == "feed-note"] == ["ORM^O01", "ADT^A43"]

    run(tmp_path, story)


def test_a_sender_is_silent_after_its_time(tmp_path: Path) -> None:
    """And any is, while none has sent anything; without the setting nobody is watched."""

    async def story(feed: Hl7Feed, _store: EventStore, metrics: Metrics) -> None:
        assert feed.measure()[2] == {STATED: True}
        await answer(feed, message("ADT^A31", P1))
        assert samples(metrics)["plscp_feed_silent", "ADT|CLINIC", "hl7"] == 1
        [sender] = feed.status()["senders"]
        assert (sender["sender"], sender["messages"], sender["silent"]) == ("ADT|CLINIC", 1, True)

    run(tmp_path, story, silent_after=-1.0)

    async def unwatched(feed: Hl7Feed, _store: EventStore, _metrics: Metrics) -> None:
        await answer(feed, message("ADT^A31", P1))
        assert feed.measure()[2] == {}
        assert feed.status()["senders"][0]["silent"] is False

    run(tmp_path, unwatched)
