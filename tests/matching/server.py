"""A server of the hospital of two labs: the store, the registry and what works on them, without its listeners."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from plscp.errors import Conflict, Refused
from plscp.feeds import hl7_persons
from plscp.feeds.hl7_message import read
from plscp.feeds.hl7_persons import Authorities
from plscp.matching.hospital import Step
from plscp.matching.plan import Plan
from plscp.matching.registry import Locations, Registry
from plscp.service.corrections import Corrections
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.misplaced import Misplaced
from plscp.service.reply import ActionReply
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store import open_store
from plscp.store.port import RegistryDraft, RegistryRecord
from tests.matching.senders import POLICY, SENDERS
from tests.rawscu import INSTANCE_OF, SYNTAXES
from tests.serving import until


class Server:
    """Answers requests, follows messages, and looks for what is misplaced when it is told to.

    Args:
        folder: where its store lives.
        clock: UTC.
    """

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._folder, self._clock = folder, clock
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(1))
        self._open()

    def _open(self) -> None:
        self.store = open_store(f"sqlite:///{self._folder / 'plscp.db'}")
        registry = Registry(Locations({"LAB1": ["Lab 1"], "LAB2": ["Lab 2"]}))
        self.keeper = RegistryKeeper(self.store, registry, policy=POLICY, clock=self._clock)
        self.handlers = Handlers(self.store, self.keeper, lambda ae: SENDERS[ae].profile, clock=self._clock)
        self.corrections = Corrections(self.store, self.keeper)
        self._misplaced = Misplaced(self.store, self.keeper, self.corrections, lambda ae: SENDERS[ae].profile)
        self.keeper.load()
        self._misplaced.load()
        for ae_title, arrival, difference in self.store.clocks(0):
            self.handlers.clocks.load(ae_title, arrival, difference, POLICY.clock_tolerance)

    def restart(self) -> None:
        """Another server on the same store."""
        self.store.close()
        self._open()

    def close(self) -> None:
        """End it."""
        self.store.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def settle(self) -> None:
        """Wait for what the server does by itself: first for what the store's thread has in hand, then for a turnover."""
        done = threading.Event()
        self.store.submit(RegistryDraft([], self.keeper.registry.position, 0, "test", lambda _: done.set()))
        assert done.wait(60)
        until(lambda: not self.keeper.turning_over, "the turnover", 60)

    def look(self) -> None:
        """Look for entries that are misplaced by the stays of now; a defect in it is only logged."""
        with capture_logs() as lines:
            self._loop.run_until_complete(self._misplaced.look())
        assert [line for line in lines if line["event"] == "internal-error"] == []

    # --- what it is told ---

    def takes(self, doing: Coroutine[Any, Any, Any]) -> bool:
        """Whether it does what it is asked to."""
        try:
            self._loop.run_until_complete(doing)
        except (Conflict, Refused):
            return False
        return True

    def tell(self, plan: Any) -> bool:
        """A registry change; whether the server took it."""
        return self.takes(self.keeper.change(plan, "http"))

    def hears(self, *said: Step) -> bool:
        """What a message says is one plan; whether it is acknowledged."""

        def planned(registry: Registry) -> list[RegistryRecord]:
            plan = Plan(registry, POLICY, self._clock())
            for each in said:
                each(plan)
            return plan.records

        return self.tell(planned)

    def hears_message(self, message: bytes) -> bool:
        """An ADT message; whether it is acknowledged."""
        steps = hl7_persons.plan_of(read(message, "utf-8"), Authorities(self.keeper.registry.issuers, POLICY))
        assert steps is not None
        return self.hears(*steps)

    # --- what it is sent ---

    def log(self, sender: str, raw: bytes, *, arrives: bool = True) -> tuple[int, ActionReply | None]:
        """A Procedural Event; its status and Action Reply, which arrive at the device, or are lost."""
        return self._answer(PROCEDURAL_EVENT_LOGGING, sender, raw, arrives=arrives)

    def administer(self, sender: str, raw: bytes) -> int:
        """A Substance Administration; its status."""
        return self._answer(SUBSTANCE_ADMINISTRATION_LOGGING, sender, raw, arrives=True)[0]

    def _answer(self, sop_class: str, sender: str, raw: bytes, *, arrives: bool) -> tuple[int, ActionReply | None]:
        event = SimpleNamespace(
            assoc=SimpleNamespace(requestor=SimpleNamespace(ae_title=sender, address="127.0.0.1"), id="a"),
            context=SimpleNamespace(abstract_syntax=sop_class, transfer_syntax=SYNTAXES[1]),
            request=SimpleNamespace(
                raw=raw,
                RequestedSOPClassUID=sop_class,
                RequestedSOPInstanceUID=INSTANCE_OF[sop_class],
                ActionTypeID=1,
            ),
            message_id=1,
            timestamp=self._clock(),
        )
        status, reply = self.handlers.answer(event)
        assert int(status) != 0x0110, "the server failed on the request"
        self.settle()
        if status.receipt is not None and arrives:
            self.handlers.on_delivery_confirmed([status.receipt])
        return int(status), reply if isinstance(reply, ActionReply) else None
