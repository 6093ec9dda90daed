"""Associations: negotiation, stock SCUs, handlers of every kind, order, release and abort, what is heard, the end."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation, UserIdentityNegotiation

from plscp.dicom.acceptor import Acceptor
from plscp.dicom.admission import Required, refusal
from plscp.dicom.answer import SUCCESS, PendingResponse
from plscp.dicom.association import NEVER
from plscp.dicom.settings import Deadlines
from plscp.errors import CommandError
from plscp.statuses import (
    PROCEDURAL_EVENT_LOGGING,
    PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING,
)
from tests.dicom.wire import CONTEXTS, DATA, EVENTS, SETTINGS, Line, Listener, Reply, pdvs_of, request, with_receipt
from tests.rawscu import (
    ABORT,
    RELEASE_RQ,
    SYNTAXES,
    VERIFICATION,
    Aborted,
    Closed,
    RawScu,
    Rejected,
    associate_rq,
    p_data,
    pdv,
)


def patient(text: str = "P001") -> Dataset:
    """A data set of one element."""
    dataset = Dataset()
    dataset.PatientID = text
    return dataset


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listener that answers Success."""
    with Listener() as running:
        yield running


# --- negotiation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_length", [0, 32, 16384])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_stock_scu_in_every_transfer_syntax(listener: Listener, syntax: str, max_length: int) -> None:
    """pynetdicom's own SCU sends a request and reads the reply in each transfer syntax, whatever it can receive at once."""
    sent = patient("P" * 60)
    listener.handler = lambda _: (0, Reply(sent))
    ae = AE("HEMO1")
    ae.maximum_pdu_size = max_length
    ae.add_requested_context(PROCEDURAL_EVENT_LOGGING, syntax)
    ae.add_requested_context(VERIFICATION, syntax)
    association = ae.associate("127.0.0.1", listener.port, ae_title="PLSCP")
    assert association.is_established
    status, reply = association.send_n_action(sent, 1, PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE)
    assert (status.Status, reply) == (0, sent)
    association.release()
    assert association.is_released
    # On an association of its own: pynetdicom's reactor may take the answer to a second request for itself.
    association = ae.associate("127.0.0.1", listener.port, ae_title="PLSCP")
    assert association.send_c_echo().Status == 0
    association.release()
    [event] = listener.events
    assert event.context.transfer_syntax == syntax
    assert (event.assoc.requestor.ae_title, event.assoc.requestor.address) == ("HEMO1", "127.0.0.1")


def test_every_pdu_fits_the_requestors_maximum_length() -> None:
    """With a Maximum Length of 32 no PDU's variable field is longer, and the parts put together are the whole."""
    reply = Reply(patient("Q" * 50))
    with Line(handler=lambda _: (0, reply)) as line:
        line.associate(max_length=32)
        line.send(request(1))
        pdus = line.pdus()
        assert max(len(body) for _, body in pdus) == 32
        parts = [part for _, body in pdus for part in pdvs_of(body)]
        assert [control for _, control, _ in parts if control & 2] == [3, 2]
        assert b"".join(part for _, control, part in parts if not control & 1)[8:] == b"Q" * 50


def test_unknown_contexts_are_refused_one_by_one(listener: Listener) -> None:
    """Abstract syntax and transfer syntax are refused with the results 3 and 4; the others of the association work."""
    contexts = [
        ("1.2.840.10008.5.1.4.1.1.2", SYNTAXES[1]),
        (PROCEDURAL_EVENT_LOGGING, "1.2.840.10008.1.2.4.50"),
        (SUBSTANCE_ADMINISTRATION_LOGGING, SYNTAXES[0]),
    ]
    with RawScu("127.0.0.1", listener.port, contexts=contexts) as scu:
        assert scu.results == {1: 3, 3: 4, 5: 0}
        assert scu.request(SUBSTANCE_ADMINISTRATION_LOGGING, DATA).status == 0


def test_an_association_without_any_usable_context_is_still_one(listener: Listener) -> None:
    """PS3.8 lets an association have no accepted context: it is accepted, and released."""
    with RawScu("127.0.0.1", listener.port, contexts=[("1.2.3", SYNTAXES[0])]) as scu:
        assert scu.results == {1: 3}


@pytest.mark.parametrize(("scu", "scp", "accepted"), [(True, False, True), (True, True, True), (False, True, False)])
def test_the_requestor_is_scu_only(listener: Listener, scu: bool, scp: bool, accepted: bool) -> None:
    """Role selection: the SCU role is granted, the SCP role is not, and who wants that alone gets no context."""
    ae = AE("HEMO1")
    ae.add_requested_context(PROCEDURAL_EVENT_LOGGING, SYNTAXES[1])
    ae.add_requested_context(VERIFICATION, SYNTAXES[1])
    role = build_role(PROCEDURAL_EVENT_LOGGING, scu_role=scu, scp_role=scp)
    association = ae.associate("127.0.0.1", listener.port, ae_title="PLSCP", ext_neg=[role])
    assert association.is_established
    granted = [one for one in association.accepted_contexts if one.abstract_syntax == PROCEDURAL_EVENT_LOGGING]
    assert [(one.as_scu, one.as_scp) for one in granted] == ([(True, False)] if accepted else [])
    association.release()


def test_other_user_information_is_no_obstacle(listener: Listener) -> None:
    """User identity and extended negotiation are not answered, and the association is accepted."""
    identity = UserIdentityNegotiation()
    identity.user_identity_type = 2
    identity.primary_field, identity.secondary_field = b"user", b"secret"
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid = PROCEDURAL_EVENT_LOGGING
    extended.service_class_application_information = b"\1\2"
    ae = AE("HEMO1")
    ae.add_requested_context(PROCEDURAL_EVENT_LOGGING, SYNTAXES[1])
    association = ae.associate("127.0.0.1", listener.port, ae_title="PLSCP", ext_neg=[identity, extended])
    assert association.is_established
    association.release()


@pytest.mark.parametrize(
    ("called", "calling", "rejection"),
    [
        ("OTHER", "HEMO1", (1, 1, 7)),
        ("PLSCP", "STRANGER", (1, 1, 3)),
        ("OTHER", "STRANGER", (1, 1, 7)),
        ("plscp", "HEMO1", (1, 1, 7)),
    ],
)
def test_titles_that_are_not_wanted(called: str, calling: str, rejection: tuple[int, int, int]) -> None:
    """Called and calling AE titles are rejected permanently, with the reason of PS3.8 Table 9-21."""
    with Listener() as listener:
        listener.acceptor.admit = lambda caller: refusal(caller, {"HEMO1": Required()}, unknown=False)
        with pytest.raises(Rejected) as rejected:
            RawScu("127.0.0.1", listener.port, calling=calling, called=called).associate()
        assert rejected.value.args == rejection


def test_any_called_title_where_none_is_set() -> None:
    """Without an AE title of its own the server takes any."""
    with Listener(ae_title=None) as listener, RawScu("127.0.0.1", listener.port, called="WHOEVER") as scu:
        assert scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0


@pytest.mark.parametrize(("version", "kind", "body"), [(2, 3, (0, 1, 2, 2)), (0, 3, (0, 1, 2, 2)), (3, 2, None)])
def test_protocol_version(version: int, kind: int, body: tuple[int, ...] | None) -> None:
    """Only bit 0 of the protocol version is looked at; without it: rejected, source 2, reason 2."""
    raw = bytearray(associate_rq("HEMO1", "PLSCP", CONTEXTS))
    struct.pack_into(">H", raw, 6, version)
    with Line() as line:
        line.send(bytes(raw))
        [(sent, content)] = line.pdus()
        assert sent == kind
        assert body is None or content == bytes(body)


def test_another_application_context() -> None:
    """An application context that is not DICOM's is rejected with source 1, reason 2."""
    raw = associate_rq("HEMO1", "PLSCP", CONTEXTS).replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9")
    with Line() as line:
        line.send(raw)
        assert line.pdus() == [(3, b"\0\1\1\2")]


def test_a_context_id_twice() -> None:
    """Two presentation contexts of one ID are no A-ASSOCIATE-RQ: A-ABORT as AA-1 says."""
    raw = bytearray(associate_rq("HEMO1", "PLSCP", CONTEXTS))
    place = raw.index(b"\x20\0", raw.index(b"\x20\0", 80) + 1)
    raw[place + 4] = 1
    with Line() as line:
        line.send(bytes(raw))
        assert line.pdus() == [(7, b"\0\0\0\0")]


@pytest.mark.parametrize("caps", [{"max_associations": 2}, {"max_associations_per_address": 2}])
def test_associations_over_a_cap_are_rejected_for_the_time_being(caps: dict[str, Any]) -> None:
    """Over a cap: 2/3/2, and an association that ends makes room."""
    with Listener(**caps) as listener:
        scu = RawScu("127.0.0.1", listener.port)
        with RawScu("127.0.0.1", listener.port), RawScu("127.0.0.1", listener.port):
            with pytest.raises(Rejected) as rejected:
                scu.associate()
            assert rejected.value.args == (2, 3, 2)
            scu.socket.close()
            assert len(listener.call(lambda: listener.acceptor.associations)) == 2
        listener.until(lambda: listener.acceptor.associated == 0)
        with RawScu("127.0.0.1", listener.port) as late:
            assert late.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0


def test_what_is_known_of_an_open_association(listener: Listener) -> None:
    """The list of associations names the device, its address, since when, and how many requests it made."""
    with RawScu("127.0.0.1", listener.port) as scu:
        scu.request(PROCEDURAL_EVENT_LOGGING, DATA)
        [known] = listener.call(lambda: list(listener.acceptor.associations))
        assert (known["calling_ae"], known["address"], known["requests"]) == ("HEMO1", "127.0.0.1", 1)


# --- handlers ------------------------------------------------------------------------------------------------------------


def broken(_: object) -> Any:
    """A handler with a defect."""
    raise ZeroDivisionError


class Unencodable:
    """A reply that fails when it is written."""

    def encode(self, *, implicit: bool, little: bool) -> bytes:
        """Fail."""
        raise ZeroDivisionError


HANDLERS: dict[str, tuple[Any, int]] = {
    "an int": (lambda _: (0xC101, None), 0xC101),
    "a Status": (lambda _: (SUCCESS, None), 0),
    "a reply": (lambda _: (0, Reply(patient())), 0),
    "an empty reply": (lambda _: (0, Reply(Dataset())), 0),
    "an exception": (broken, 0x0110),
    "None": (lambda _: None, 0x0110),
    "an int alone": (lambda _: 0, 0x0110),
    "a text as status": (lambda _: ("fine", None), 0x0110),
    "a status of 17 bits": (lambda _: (0x10000, None), 0x0110),
    "a data set as status": (lambda _: (Dataset(), None), 0x0110),
    "a reply that cannot be encoded": (lambda _: (0, Unencodable()), 0x0110),
    "a reply that is none": (lambda _: (0, "reply"), 0x0110),
}


@pytest.mark.parametrize(
    ("name", "given"),
    [(name, given) for name in HANDLERS for given in (False, True) if (name, given) != ("None", True)],
)
def test_what_a_handler_may_return(name: str, given: bool) -> None:
    """A pair, or what is given one at once; whatever else it does is answered 0110H, and the association goes on."""
    handler, status = HANDLERS[name]
    with Line() as line:
        line.associate()

        def gives(event: Any) -> PendingResponse:
            response = PendingResponse()
            response.give(handler(event))
            return response

        line.handler = gives if given else handler
        line.send(request(1))
        commands = [body for _, body in line.pdus() if body[5] == 3]
        assert len(commands) == 1
        assert struct.pack("<HHLH", 0, 0x0900, 2, status) in commands[0]
        line.handler = lambda _: (0, None)
        line.send(request(2))
        assert [answer.Status for answer in line.answers()] == [0]


def test_an_answer_that_comes_later() -> None:
    """It goes out when it is given, without a turn of the loop; what waits behind it is worked off; a second one is dropped."""
    with Line() as line:
        line.associate()
        laters = [PendingResponse(), PendingResponse()]
        given = iter(laters)
        line.handler = lambda _: next(given)
        line.send(request(1), request(2))
        assert line.answers() == []
        laters[0].give((SUCCESS, None))
        laters[0].give((0x0110, None))
        assert [(answer.MessageIDBeingRespondedTo, answer.Status) for answer in line.answers()] == [(1, 0)]
        laters[1].give((0xC102, None))
        assert [(answer.MessageIDBeingRespondedTo, answer.Status) for answer in line.answers()] == [(2, 0xC102)]


# --- order, reading, release and abort -----------------------------------------------------------------------------------


def test_requests_are_answered_in_order_one_at_a_time() -> None:
    """Requests sent without waiting are worked off one after the other, and answered in their order."""
    with Line() as line:
        line.associate()
        responses = [PendingResponse() for _ in range(5)]
        waiting = list(responses)
        line.handler = lambda _: waiting.pop(0)
        line.send(b"".join(request(i) for i in range(1, 6)))
        for number, response in enumerate(responses, 1):
            assert (len(line.events), line.pdus()) == (number, [])
            line.resolve(response)
            assert [answer.MessageIDBeingRespondedTo for answer in line.answers()] == [number]


@pytest.mark.parametrize("together", [False, True])
def test_reading_stops_while_eight_wait(together: bool) -> None:
    """While eight wait behind the one in hand nothing more is taken, not even of what one read brought; then all is."""
    with Line() as line:
        line.associate()
        first = PendingResponse()
        line.handler = lambda event: first if event.message_id == 1 else (0, None)
        requests = [request(i) for i in range(1, 31)]
        line.send(*([b"".join(requests)] if together else requests))
        assert not line.transport.reading
        assert len(line.association._waiting) == 8
        line.resolve(first)
        line.turn()
        assert [answer.MessageIDBeingRespondedTo for answer in line.answers()] == list(range(1, 31))
        assert line.transport.reading


def test_a_peer_that_reads_no_answers_is_not_served_until_it_does() -> None:
    """While answers pile up no further request reaches the handler; when the peer reads again, they do."""
    with Line() as line:
        line.associate()
        line.association.pause_writing()
        line.send(request(1), request(2))
        assert line.events == []
        line.association.resume_writing()
        line.turn()
        assert [answer.MessageIDBeingRespondedTo for answer in line.answers()] == [1, 2]


def test_an_abort_while_the_handler_works() -> None:
    """The peer aborts: nothing is sent, what waits is dropped, and the handler's work is not cancelled."""
    with Line() as line:
        line.associate()
        response = PendingResponse()
        line.handler = lambda _: response
        line.send(request(1) + request(2))
        line.send(ABORT)
        assert line.lost
        line.resolve(response, (with_receipt("r1"), None))
        assert (line.pdus(), line.heard, len(line.events)) == ([], [], 1)


def test_a_lost_connection_while_the_handler_works() -> None:
    """The same when the connection just goes."""
    with Line() as line:
        line.associate()
        response = PendingResponse()
        line.handler = lambda _: response
        line.send(request(1) + request(2) + RELEASE_RQ)
        line.association.eof_received()
        line.turn()
        line.resolve(response)
        assert (line.pdus(), line.state, len(line.events)) == ([], 1, 1)


def test_a_release_waits_for_all_that_came_before_it() -> None:
    """Every request before an A-RELEASE-RQ is answered before the release is."""
    with Line() as line:
        line.associate()
        first = PendingResponse()
        line.handler = lambda event: first if event.message_id == 1 else (0, None)
        line.send(request(1) + request(2) + request(3) + RELEASE_RQ)
        line.resolve(first)
        assert [kind for kind, _ in line.pdus()] == [4, 4, 4, 6]


def test_release_and_abort_over_sockets_while_a_commit_runs(listener: Listener) -> None:
    """As above with real sockets and a commit in another thread: the answer first; after an abort nothing breaks."""
    go = threading.Event()

    def commit(response: PendingResponse) -> None:
        assert go.wait(60)
        listener.loop.call_soon_threadsafe(response.give, (SUCCESS, None))

    def handler(_: Any) -> PendingResponse:
        response = PendingResponse()
        commits.append(threading.Thread(target=commit, args=[response]))
        commits[-1].start()
        return response

    commits: list[threading.Thread] = []
    listener.handler = handler
    released, aborted = (RawScu("127.0.0.1", listener.port).associate() for _ in range(2))
    for scu in (released, aborted):
        scu.send(PROCEDURAL_EVENT_LOGGING, DATA)
    listener.until(lambda: len(listener.events) == 2)
    released.socket.sendall(RELEASE_RQ)
    aborted.abort()
    listener.until(lambda: listener.acceptor.associated == 1)
    go.set()
    assert released.response().status == 0
    assert released.pdu()[0] == 6
    released.socket.close()
    for each in commits:
        each.join(60)


# --- what is heard -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("further", "heard"),
    [
        (b"\4", ["r1"]),
        (request(2), ["r1"]),
        (b"\5", ["r1"]),
        (RELEASE_RQ, ["r1"]),
        (ABORT, []),
        (b"", []),
        (b"\2", []),
        (b"GET / HTTP/1.1", []),
        (associate_rq("HEMO1", "PLSCP", CONTEXTS), []),
    ],
)
def test_what_proves_that_an_answer_arrived(further: bytes, heard: list[str]) -> None:
    """The first byte of a further message or of an A-RELEASE-RQ proves it; an abort or anything else does not."""
    with Line() as line:
        line.associate()
        answers = ["r1"]
        line.handler = lambda _: (with_receipt(answers.pop()) if answers else 0, None)
        line.send(request(1))
        assert line.heard == []
        line.send(further)
        assert line.heard == heard


@pytest.mark.parametrize("before", range(1, len(request(2)) + 1, 7))
def test_a_message_begun_before_the_answer_proves_nothing(before: int) -> None:
    """Bytes of a message whose first byte was read before the answer was written prove nothing; the next message does."""
    second = request(2)
    with Line() as line:
        line.associate()
        response = PendingResponse()
        line.handler = lambda event: response if event.message_id == 1 else (with_receipt(event.message_id), None)
        line.send(request(1) + second[:before])
        line.resolve(response, (with_receipt(1), None))
        line.send(second[before:])
        assert line.heard == []
        line.send(b"\4")
        assert line.heard == [1, 2]


def test_messages_of_one_read_prove_nothing_about_each_other() -> None:
    """Requests that were read together were begun before any of them was answered, also when answered at once."""
    with Line(handler=lambda event: (with_receipt(event.message_id), None)) as line:
        line.associate()
        line.send(request(1) + request(2) + request(3) + RELEASE_RQ)
        assert line.heard == []


def test_an_answer_after_the_release_proves_nothing() -> None:
    """An answer that goes out in Sta8 is followed by nothing that would prove it."""
    with Line() as line:
        line.associate()
        response = PendingResponse()
        line.handler = lambda _: response
        line.send(request(1), RELEASE_RQ)
        line.resolve(response, (with_receipt(1), None))
        line.send(ABORT)
        assert line.heard == []


# --- deadlines -----------------------------------------------------------------------------------------------------------

HASTY = Deadlines(first_pdu_deadline=0.02, pdu_deadline=0.02, message_deadline=0.02, artim=5.0)


@pytest.mark.parametrize("first", [b"", b"\1", associate_rq("HEMO1", "PLSCP", CONTEXTS)[:-1]])
def test_no_association_request_in_time(first: bytes) -> None:
    """A connection without a complete A-ASSOCIATE-RQ is closed without a PDU."""
    with Listener(deadlines=HASTY) as listener:
        scu = RawScu("127.0.0.1", listener.port, timeout=60).connect()
        scu.socket.sendall(first)
        with pytest.raises(Closed):
            scu.pdu()
        scu.socket.close()


@pytest.mark.parametrize(
    "begun",
    [request(1)[:1], request(1)[:40], p_data(pdv(EVENTS, 1, b"\0")), request(1) + request(2)[:-3], RELEASE_RQ[:7]],
)
def test_what_was_begun_must_end(begun: bytes) -> None:
    """A PDU or a message that does not end in time ends the association: A-ABORT of the provider."""
    with Listener(deadlines=Deadlines(first_pdu_deadline=3600.0, pdu_deadline=0.02, message_deadline=0.02)) as listener:
        scu = RawScu("127.0.0.1", listener.port, timeout=60).associate()
        scu.socket.sendall(begun)
        with pytest.raises(Aborted) as aborted:
            everything(scu)
        assert aborted.value.args == (2, 0)
        scu.socket.close()


def everything(scu: RawScu) -> None:
    """Read PDUs until one is an abort or nothing comes any more."""
    while True:
        scu.pdu()


def test_a_peer_that_never_closes_is_closed() -> None:
    """ARTIM: after its release the connection is closed, even where the peer stays."""
    with Listener(deadlines=Deadlines(artim=0.02)) as listener:
        scu = RawScu("127.0.0.1", listener.port, timeout=60).associate()
        scu.release()
        with pytest.raises(Closed):
            scu.pdu()
        scu.socket.close()


def test_silence_between_messages_has_no_deadline() -> None:
    """An association is watched only while a PDU or a message is under way."""
    with Line() as line:
        line.associate()
        association = line.association
        assert association.deadline == NEVER
        line.send(request(1)[:10])
        assert association.deadline < NEVER
        line.send(request(1)[10:])
        assert association.deadline == NEVER


def test_the_clock_of_a_pdu_runs_from_its_own_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not start again with each byte, and a stream that is always cut inside a PDU has no deadline of its own."""
    now = [1000.0]
    monkeypatch.setattr("plscp.dicom.association.time.monotonic", lambda: now[0])
    with Line() as line:
        line.associate()
        one = request(1, b"")
        line.send(one[:10])
        begun = line.association.deadline
        now[0] += 6
        line.send(one[10:20])
        assert line.association.deadline == begun == 1010
        line.send(one[20:] + one[:10])
        assert line.association.deadline == 1016


def test_our_own_pause_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """While reading is paused because requests wait no clock runs, and afterwards it starts again."""
    now = [1000.0]
    monkeypatch.setattr("plscp.dicom.association.time.monotonic", lambda: now[0])
    with Line() as line:
        line.associate()
        first = PendingResponse()
        line.handler = lambda event: first if event.message_id == 1 else (0, None)
        line.send(b"".join(request(i) for i in range(1, 10)) + request(10)[:-4])
        assert (line.transport.reading, line.association.deadline) == (False, NEVER)
        now[0] += 600
        line.resolve(first)
        assert line.association.deadline == 1610
        line.send(request(10)[-4:])
        assert line.association.deadline == NEVER


def test_answers_that_nobody_reads_have_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not read its answers is given the time of a PDU."""
    monkeypatch.setattr("plscp.dicom.association.time.monotonic", lambda: 1000.0)
    with Line() as line:
        line.associate()
        line.association.pause_writing()
        assert line.association.deadline == 1010
        line.association.overdue()
        assert line.pdus() == [(7, b"\0\0\2\0")]


# --- beginning and end ---------------------------------------------------------------------------------------------------


def test_a_taken_port_is_one_line() -> None:
    """A port that is taken is a CommandError of one line with the exit status 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        acceptor = Acceptor(replace(SETTINGS, port=port), lambda _: (0, None))
        with pytest.raises(CommandError) as error:
            asyncio.run(acceptor.start())
    assert "\n" not in str(error.value)
    assert str(port) in str(error.value)
    assert error.value.exit_status == 3


def test_draining_finishes_what_is_in_hand() -> None:
    """Drain: no new connections; a request in hand is answered and its association may be released; it ends when all have."""
    with Listener() as listener:
        response = PendingResponse()
        listener.handler = lambda _: response
        scu = RawScu("127.0.0.1", listener.port).associate()
        silent = RawScu("127.0.0.1", listener.port).connect()
        listener.until(lambda: len(listener.acceptor._open) == 2)
        scu.send(PROCEDURAL_EVENT_LOGGING, DATA)
        listener.until(lambda: listener.events)
        drained = asyncio.run_coroutine_threadsafe(listener.acceptor.drain(600), listener.loop)
        with pytest.raises(Closed):
            silent.pdu()
        with pytest.raises(ConnectionError):
            RawScu("127.0.0.1", listener.port).connect()
        listener.call(lambda: response.give((0, None)))
        assert scu.response().status == 0
        assert not drained.done()
        scu.release()
        scu.socket.close()
        silent.socket.close()
        drained.result(60)


def test_draining_aborts_what_stays() -> None:
    """At the end of the grace time an association that is still there gets an A-ABORT of the service user."""
    with Listener() as listener:
        scu = RawScu("127.0.0.1", listener.port).associate()
        asyncio.run_coroutine_threadsafe(listener.acceptor.drain(0.05), listener.loop).result(60)
        with pytest.raises(Aborted) as aborted:
            scu.pdu()
        assert aborted.value.args == (0, 0)
        scu.socket.close()
