"""The protocol alone, without sockets and without an event loop: bytes in, indications out, and bytes to send."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from plscp.dicom.negotiation import CALLED_AE, Rejection
from plscp.dicom.settings import WireBounds
from plscp.dicom.upper_layer import (
    AbortIndication,
    AssociateIndication,
    DataIndication,
    Indication,
    ProviderAbortIndication,
    ReleaseIndication,
    State,
    UnwantedIndication,
    UpperLayer,
)
from tests.dicom.stimuli import streams
from tests.dicom.wire import CONTEXTS, DATA, ECHO, EVENTS, pdus_of, request
from tests.rawscu import ABORT, RELEASE_RQ, VERIFICATION, associate_rq, command_set, n_action, p_data, pdv, uid

RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS, 4096)
PLACES = st.lists(st.integers(0, 1 << 16), max_size=6)
BOUNDS = WireBounds(pdu=600, associate_request=1024, command_set=200)


class Talk:
    """An association as somebody without a network has it: every message is answered, every release confirmed.

    Attributes:
        said: what was indicated, in words that can be compared.
        sent: bytes to the peer.
    """

    def __init__(self, reject: Rejection | None = None) -> None:
        self.layer = UpperLayer(BOUNDS)
        self.said: list[Any] = []
        self.sent = b""
        self._reject = reject

    def hear(self, *chunks: bytes) -> "Talk":
        """Bytes from the peer."""
        for chunk in chunks:
            self.layer.receive(chunk)
            while (found := self.layer.next()) is not None:
                self._take(found)
        return self

    def _take(self, found: Indication) -> None:
        layer = self.layer
        if isinstance(found, AssociateIndication):
            proposal = found.proposal if self._reject is None else self._reject
            if isinstance(proposal, Rejection):
                self.sent += layer.reject(proposal)
            else:
                self.sent += layer.accept(proposal)[0]
            self.said.append(found)
        elif isinstance(found, DataIndication):
            for message in found.messages:
                command = message.command
                self.said.append((message.context.context_id, command.field, command.message_id, message.raw))
                if command.asks:
                    self.sent += layer.respond(message, 0x0210 if message.repeated else command.fault)
        elif isinstance(found, ReleaseIndication):
            self.sent += layer.release()
            self.said.append(found)
        else:
            if isinstance(found, ProviderAbortIndication | UnwantedIndication):
                self.sent += found.answer
            self.said.append(found)


def cut(raw: bytes, places: Sequence[int]) -> list[bytes]:
    """Bytes in pieces."""
    marks = sorted({place % (len(raw) + 1) for place in places})
    return [raw[a:b] for a, b in zip([0, *marks], [*marks, len(raw)], strict=True) if a < b]


def kinds(raw: bytes) -> list[int]:
    """Types of the PDUs in these bytes."""
    return [kind for kind, _ in pdus_of(raw)]


ECHOED = p_data(
    pdv(ECHO, 3, command_set([(2, uid(VERIFICATION)), (0x100, b"\x30\0"), (0x110, b"\7\0"), (0x800, b"\1\1")]))
)
WHOLE = RQ + request(1) + ECHOED + request(2) + RELEASE_RQ


@settings(deadline=None)
@given(PLACES)
def test_a_whole_association_however_its_bytes_are_cut(places: list[int]) -> None:
    """Proposal, requests, echo, release: each is indicated once, in order, and answered; then the connection's end is waited for."""
    talk = Talk().hear(*cut(WHOLE, places))
    proposed, *said = talk.said
    assert isinstance(proposed, AssociateIndication)
    assert said == [
        (EVENTS, 0x0130, 1, DATA),
        (ECHO, 0x0030, 7, b""),
        (EVENTS, 0x0130, 2, DATA),
        ReleaseIndication(),
    ]
    assert (kinds(talk.sent), talk.layer.state) == ([2, 4, 4, 4, 6], State.STA13)
    talk.layer.lose()
    assert (talk.layer.state, talk.layer.upcoming) == (State.STA1, None)


@settings(deadline=None)
@given(streams, PLACES)
@example(WHOLE + ABORT + RQ, [])
@example(RQ + ABORT + WHOLE, [1])
@example(RQ + p_data(pdv(EVENTS, 3, n_action(1, CONTEXTS[0][0]))) + RELEASE_RQ + ABORT, [])
@example(b"\0\0\0\0\0\0" * 3 + RQ * 2, [])
def test_however_bytes_are_cut_the_same_is_indicated_and_sent(raw: bytes, places: list[int]) -> None:
    """Whole, in pieces, byte by byte: the same indications, the same bytes to send, the same state."""
    talks = [Talk().hear(*pieces) for pieces in ([raw], cut(raw, places), [raw[i : i + 1] for i in range(len(raw))])]
    found = [(talk.said, talk.sent, talk.layer.state) for talk in talks]
    assert found[0] == found[1] == found[2]
    kinds(talks[0].sent)  # they are whole PDUs


def indicated(how: Callable[[Talk], Any], before: bytes = RQ) -> tuple[Any, list[int], State]:
    """What comes of it: indication or bytes, PDUs sent, state."""
    talk = Talk().hear(before)
    talk.sent = b""
    found = how(talk)
    if isinstance(found, Talk):
        found = found.said[-1]
    return found, kinds(talk.sent), talk.layer.state


def test_a_rejection() -> None:
    """AE-8: A-ASSOCIATE-RJ, and what comes after it is passed over."""
    talk = Talk(CALLED_AE).hear(RQ + request(1))
    assert (talk.sent, talk.layer.state) == (b"\3\0\0\0\0\4\0\1\1\7", State.STA13)
    assert talk.said[1:] == [UnwantedIndication()] * 2


def test_ends() -> None:
    """The peer's A-ABORT, ours, one for a broken rule, and one for what did not come in time."""
    assert indicated(lambda talk: talk.hear(ABORT + request(1))) == (AbortIndication(), [], State.STA1)
    assert indicated(lambda talk: talk.layer.abort()) == (ABORT, [], State.STA13)
    found, sent, state = indicated(lambda talk: talk.hear(b"\x63\0\0\0\0\1?"))
    assert (found.what, found.source, found.reason, sent, state) == ("an unrecognized PDU type", 2, 1, [7], State.STA13)
    found, sent, state = indicated(lambda talk: talk.layer.abort_for(0, "late"), b"")
    assert (found.what, found.answer, sent, state) == ("late", ABORT, [], State.STA13)


def test_what_waits_is_worked_off_when_it_is_asked_for() -> None:
    """One PDU at a time: whoever asks may stop in between, and sees what is next and whether it came with the last read."""
    layer = UpperLayer(BOUNDS)
    layer.receive(RQ)
    found = layer.next()
    assert isinstance(found, AssociateIndication)
    assert not isinstance(found.proposal, Rejection)
    layer.accept(found.proposal)
    layer.receive(request(1) + RELEASE_RQ[:1])
    assert (layer.upcoming, layer.upcoming_is_new, layer.message_is_open) == (4, True, False)
    layer.next()
    assert layer.message_is_open
    layer.next()
    assert (layer.upcoming, layer.unread, layer.message_is_open, layer.next()) == (5, 1, False, None)
    layer.receive(RELEASE_RQ[1:])
    assert (layer.upcoming, layer.upcoming_is_new) == (5, False)
    assert layer.next() == ReleaseIndication()
