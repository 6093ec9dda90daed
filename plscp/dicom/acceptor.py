"""The listener: accepts connections, keeps the caps and deadlines of all associations, drains them at the end."""

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from itertools import compress
from typing import Any, Final

from plscp.dicom import sockets
from plscp.dicom.admission import Caller, PeerRefusal, RefusedPeers, Rule, UserIdentity, printable, within
from plscp.dicom.association import NEVER, Association
from plscp.dicom.certificates import Certificates
from plscp.dicom.dimse import Context
from plscp.dicom.fairness import AT_ONCE_SECONDS, Accounts, AddressTurns, Turns
from plscp.dicom.handshakes import HANDSHAKES
from plscp.dicom.repeats import Repeats
from plscp.dicom.settings import NetworkCounters, NetworkSettings
from plscp.dicom.tls import listen
from plscp.dicom.upper_layer import ANSWERING
from plscp.logs import log

__all__ = ["Acceptor", "NetworkSettings"]

SWEEP_SECONDS: Final = 0.25  # between two looks at the deadlines
BACKLOG: Final = 512
ACCEPTED_AT_ONCE: Final = 8  # in one turn of the event loop; asyncio would take as many as its backlog, 0.1 ms each
MOST_NOTED: Final = 1000
MOST_TITLES: Final = 32
"""Devices of one address that are told apart in what is logged once for each, by their AE title or refused certificate: it is whatever
the peer says."""
ANSWERS_SECONDS: Final = 10.0  # for requests in hand when the server stops, where it is not told otherwise
LAST_SECONDS: Final = 1.0  # until A-ABORTs have left and connections are gone, at the end
CONNECTION_SECONDS: Final = 0.0003  # of work that a connection costs before its first byte


class Acceptor:
    """Accepts associations and hands their requests to a handler, in the running event loop.

    Args:
        handler: as pynetdicom's for `evt.EVT_N_ACTION`: from an event to `(status, data set or None)`, or to a
            `PendingResponse`, which is given in the event loop.
        on_delivery_confirmed: told the receipts of answers that are known to have arrived.
        admit: why a peer may not associate, or None; asked for each association.
        confirms: whether the user identity of a calling AE title was looked at: a positive response that it requests says so.
        closes_without_release: whether a device ends its connection in place of an A-RELEASE-RQ: of it an orderly end proves that
            the answers before it arrived.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        handler: Callable[[Any], Any],
        on_delivery_confirmed: Callable[[list[object]], None] = lambda _: None,
        *,
        counters: NetworkCounters | None = None,
        admit: Callable[[Caller], PeerRefusal | None] = lambda _: None,
        confirms: Callable[[str], bool] = lambda _: False,
        closes_without_release: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.settings = settings
        self.handler = handler
        self.on_delivery_confirmed = on_delivery_confirmed
        self.admit = admit
        self.confirms = confirms
        self.closes_without_release = closes_without_release
        self.draining = False  # the server stops; nothing new is accepted
        self.ending = False  # what has no request in hand is aborted
        self._hurried = False
        self._ends = dict.fromkeys(("released", "aborted", "left"), 0)
        self._counters = counters or NetworkCounters()
        self._servers: list[asyncio.Server] = []
        self._open: dict[Association, None] = {}
        self._unassociated: OrderedDict[Association, None] = OrderedDict()
        self._connections: Counter[str] = Counter()
        self._associations: Counter[str] = Counter()
        self._sweeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.accounts = Accounts(settings)
        self.turns = Turns(self.later)  # of the handshakes
        self.address_turns = AddressTurns(self.accounts, self.later)
        self._noted: dict[tuple[str, str, str], set[str]] = {}
        self._refused = RefusedPeers()
        self._repeats = Repeats(_say_refused, clock=lambda: time.monotonic())  # noqa: PLW0108  # the clock of the deadlines, which tests exchange

    async def start(self, certificates: Certificates | None = None) -> list[tuple[str, int]]:
        """Listen, as `listen`; returns each bound address and port. A handshake is within the time that the first PDU has."""
        address = (self.settings.host, self.settings.port)
        made = partial(Association, self)
        server = await listen("dicom", address, made, self.turns, certificates, backlog=ACCEPTED_AT_ONCE)
        _queue_more(server)
        self._servers.append(server)
        self._sweeper = self._sweeper or asyncio.get_running_loop().create_task(self._sweep())
        return [sock.getsockname()[:2] for sock in server.sockets]

    @property
    def associations(self) -> Sequence[Mapping[str, Any]]:
        """The associations that are open."""
        return [
            {
                "id": association.id,
                "calling_ae": association.requestor.ae_title,
                "address": association.requestor.address,
                "since": association.established.isoformat(timespec="seconds"),
                "requests": association.requests,
            }
            for association in self._open
            if association.established is not None
        ]

    @property
    def refused_peers(self) -> list[dict[str, Any]]:
        """The peers that a setting refused, as `RefusedPeers.as_list`."""
        return self._refused.as_list()

    @property
    def associated(self) -> int:
        """How many associations are open."""
        return self._associations.total()

    # --- from the associations -----------------------------------------------------------------------------------------

    def connected(self, association: Association) -> None:
        """Take a connection, close it, or close an older one that has no association yet."""
        address = association.requestor.address
        payer = self.payer(address)
        self._open[association] = None
        self._unassociated[association] = None
        self._connections[address] += 1
        if payer and self._too_many(address):
            self._unassociated.pop(association)
            association.close("connections-per-address")
            return
        if len(self._open) > 2 * self.settings.max_associations:
            oldest, _ = self._unassociated.popitem(last=False)  # one address must not lock out the others
            oldest.close("connections")
        association.deadline = association.opened + self.settings.deadlines.first_pdu_deadline
        association.charge(CONNECTION_SECONDS)
        if payer and self.accounts.rest(payer) > 0.0:
            self.slowed(association, "futile-work")
            association.rest(0.0)

    def _too_many(self, address: str) -> bool:
        """Whether an address has more connections than it may have.

        They are accepted in bursts, and those of an address in debt are not read: what has ended meanwhile goes, and does not count.
        """
        most = 2 * self.settings.max_associations_per_address
        if self._connections[address] <= most:
            return False
        waiting = [association for association in self._unassociated if association.requestor.address == address]
        ended = list(compress(waiting, sockets.gone(association.socket for association in waiting)))
        for association in ended:
            association.drop()
        return self._associations[address] + len(waiting) - len(ended) > most

    def payer(self, address: str) -> str | None:
        """Who pays for connections of this address until there is an association; nobody for those of a trusted proxy."""
        trusted = self.settings.trusted_proxies
        return None if trusted and within(address, trusted) else address

    def trust(self, proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        """Connections of these networks, and of no others, are not counted against one address from now on."""
        self.settings = replace(self.settings, trusted_proxies=tuple(proxies))

    def disconnected(self, association: Association, outcome: str, reason: str) -> None:
        """A connection is gone."""
        self._open.pop(association, None)
        self._unassociated.pop(association, None)
        association.deadline = NEVER
        address = association.requestor.address
        self.address_turns.leave(address, association.read_on)
        _less(self._connections, address)
        if association.established is not None:
            if self.draining:
                self._ends["released" if outcome == "released" else "aborted" if reason == "shutdown" else "left"] += 1
            _less(self._associations, address)
            log.info(
                "association-ended",
                association=association.id,
                calling_ae=association.requestor.ae_title,
                outcome=outcome,
                reason=reason,
                requests=association.requests,
            )
        said = association.refused or association.established is not None or outcome == "aborted"
        outcome = outcome if said or outcome == "rejected" else "closed"
        self._counters.association(outcome, reason)
        if not said:
            self._no_handshake(association, reason)
            if self._first_time(outcome, reason, association):
                about = {"calling_ae": association.requestor.ae_title, "address": address, "reason": reason}
                if association.refused_certificate:
                    log.warning("connection-closed", **about, **association.refused_certificate)
                elif outcome == "rejected":
                    log.info("association-rejected", **about)
                else:
                    log.info("connection-closed", **about)
        self._changed.set()

    def refusal(self, association: Association, called: str, identity: UserIdentity | None) -> PeerRefusal | None:
        """Why this peer gets no association, or None; that it was refused is said, counted and kept."""
        title, address = association.requestor.ae_title, association.requestor.address
        wanted = self.settings.ae_title
        if wanted not in {None, called}:
            hint = f'the device must call {wanted}, or set dicom.called_ae = "any"'
            found: PeerRefusal | None = PeerRefusal("dicom.ae_title", hint)
        else:
            secured, certificate = bool(association.secured), association.certificate
            found = self.admit(Caller(title, address, secured, certificate, identity)) or self._crowd(address)
        if found is not None:
            association.refused = True
            self._counters.peer_refused(found.rule)
            self._refused.note(title, address, found)
            told = {"calling_ae": title, "address": address, "rule": found.rule, "hint": found.hint}
            told |= {"called_ae": called} if found.rule == "dicom.ae_title" else {}
            self._repeats.happened((found.rule, address), title, **told)
        return found

    def _crowd(self, address: str) -> PeerRefusal | None:
        """The cap that a further association would go beyond."""
        settings = self.settings
        if self.associated >= settings.max_associations:
            return PeerRefusal("dicom.max_associations", f"raise dicom.max_associations ({settings.max_associations})")
        most = settings.max_associations_per_address
        if self._associations[address] >= most and self.payer(address) is not None:
            hint = f"raise dicom.max_associations_per_address ({most}), or add {printable(address)} to dicom.trusted_proxies"
            return PeerRefusal("dicom.max_associations_per_address", hint)
        return None

    def accepted(self, association: Association, contexts: Mapping[int, Context]) -> None:
        """An association was accepted."""
        self._associations[association.requestor.address] += 1
        self._unassociated.pop(association, None)
        log.info("association-accepted", **association.who(), contexts=len(contexts), **association.secured)

    def aborted(self, association: Association, what: str, source: int, reason: int) -> None:
        """An association or connection was aborted by us."""
        self._no_handshake(association, what)
        if self._first_time("aborted", what, association):
            log.warning("association-aborted", **association.who(), why=what, source=source, reason=reason)

    def slowed(self, association: Association, reason: str) -> None:
        """A connection is not read for a while: `futile-work` of its own or its address, or `waiting-requests`."""
        self._counters.association("slowed", reason)
        if self._first_time("slowed", reason, association):
            peer = association.requestor
            log.warning("peer-slowed", calling_ae=peer.ae_title, address=peer.address, reason=reason)

    @staticmethod
    def later(seconds: float, call: Callable[[], None]) -> None:
        """Call this in the event loop after so many seconds."""
        asyncio.get_running_loop().call_later(seconds, call)

    def _no_handshake(self, association: Association, cause: str) -> None:
        """Count and keep a peer that ended in the handshake of TLS: it has not said its AE title."""
        if cause in HANDSHAKES:
            shown = association.refused_certificate
            rule: Rule = "dicom.tls.client_ca" if shown else "dicom.tls"
            whose = f": {printable(shown['certificate'])}" if shown.get("certificate") else ""
            self._counters.peer_refused(rule)
            address = association.requestor.address
            self._refused.note("", address, PeerRefusal(rule, f"{cause}: {HANDSHAKES[cause]}{whose}"))

    def _first_time(self, outcome: str, reason: str, association: Association) -> bool:
        """Whether this cause is new for this peer: it is logged once, and counted each time."""
        if len(self._noted) > MOST_NOTED:
            self._noted.clear()
        titles = self._noted.setdefault((outcome, reason, association.requestor.address), set())
        title = association.requestor.ae_title or association.refused_certificate.get("certificate", "")
        if title in titles or len(titles) >= MOST_TITLES:
            return False
        titles.add(title)
        return True

    async def _sweep(self) -> None:
        """End what is overdue."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._repeats.flush()
            now = time.monotonic()
            until = now + AT_ONCE_SECONDS
            for association in [association for association in self._open if association.deadline <= now]:
                if time.monotonic() > until:  # many that were begun together are overdue together: the others first
                    await asyncio.sleep(0)
                    until = time.monotonic() + AT_ONCE_SECONDS
                if association.deadline > now:
                    continue  # it was heard of meanwhile
                try:
                    association.overdue()
                except Exception:  # a defect with one of them must not keep the others open
                    log.exception("internal-error", association=association.id)
                    association.deadline = NEVER
                    association.close()

    # --- the end -------------------------------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Accept no further connections."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def drain(self, grace: float, answers: float = ANSWERS_SECONDS) -> dict[str, int]:
        """Stop listening and go on answering; then abort what is idle, and what has a request in hand once it is answered.

        Args:
            grace: seconds in which devices may end their associations themselves; `hurry` ends them.
            answers: seconds after that in which requests in hand are answered.

        Returns:
            How associations ended meanwhile: `released` by their devices, `aborted` because the server stopped, or `left`.
        """
        self.draining = True
        self.stop_listening()
        for association in list(self._unassociated):
            association.close()
        await self._until(lambda: not self.associated or self._hurried, grace)
        self.end_idle()
        await self._until(lambda: not self.associated, answers)
        for association in list(self._open):
            self.shut(association)
        await self._until(lambda: not self._open, LAST_SECONDS)
        return self._ends

    def hurry(self) -> None:
        """Wait no longer for devices to end their associations themselves."""
        self._hurried = True
        self._changed.set()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        """Until it is done, or so much time has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()

    def end_idle(self) -> None:
        """Abort what has no request in hand; the others are aborted when theirs are answered."""
        self.ending = True
        for association in [association for association in self._open if not association.in_hand]:
            self.shut(association)

    def shut(self, association: Association) -> None:
        """Abort an association because the server stops."""
        if association.state in ANSWERING:
            log.warning("association-aborted", **association.who(), why="shutdown", in_hand=association.in_hand)
        association.end()

    def close(self) -> None:
        """Stop listening and close everything at once."""
        self.stop_listening()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for association in list(self._open):
            association.close()


def _say_refused(told: Mapping[str, Any], more: int) -> None:
    log.warning("peer-refused", **told, **({"more": more} if more else {}))


def _queue_more(server: asyncio.Server) -> None:
    """Let the kernel keep more connections than are accepted at once: asyncio has one number for both."""
    for sock in server.sockets:
        with socket.socket(fileno=os.dup(sock.fileno())) as same:
            same.listen(BACKLOG)


def _less(counter: "Counter[str]", key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
