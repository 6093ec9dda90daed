"""Every bound of the listener, a row each: what is past it, the answer, what counts it, and the line that the log has of it."""

import struct
import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.config import Settings
from plscp.config.model import Dicom
from plscp.dicom.acceptor import Acceptor
from plscp.dicom.admission import refusal
from plscp.dicom.answer import PendingResponse
from plscp.dicom.association import Association
from plscp.dicom.certificates import Certificates
from plscp.dicom.fairness import BURST_SECONDS, Turns
from plscp.dicom.repeats import BETWEEN_SECONDS, MOST_NAMES
from plscp.dicom.tls import Secured
from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.dicom.wire import CONTEXTS, Transport, pdus_of, pdvs_of, request
from tests.rawscu import associate_rq, n_action, p_data, pdv
from tests.temporary import TemporaryStore
from tests.tls import certificates, hello

ADDRESSES = ("10.0.0.1", "10.0.0.2")
TIMES = 3
RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS)
COMMAND = n_action(1, PROCEDURAL_EVENT_LOGGING)
STATUS = struct.pack("<HHL", 0, 0x0900, 2)


class Guest:
    """One connection to the house."""

    def __init__(self, house: "House", address: str) -> None:
        self.transport = Transport(address)
        self.association = Association(house.acceptor)
        secure = house.certificates
        self.protocol = self.association if secure is None else Secured(secure, self.association, house.acceptor.turns)
        self.protocol.connection_made(self.transport)

    def send(self, *chunks: bytes) -> "Guest":
        """Each chunk arrives as one read, if it is read at all."""
        for chunk in chunks:
            if chunk and self.transport.reading and not self.transport.closing:
                self.protocol.data_received(chunk)
        return self

    def heard(self) -> str:
        """The last that the server said or did to it."""
        words = [_said(kind, body) for kind, body in pdus_of(bytes(self.transport.written))]
        if words and words[-1].startswith(("rejected", "aborted")):
            return words[-1]
        if self.transport.closing:
            return "closed"
        return words[-1] if words and self.transport.reading else "" if self.transport.reading else "not read"


def _said(kind: int, body: bytes) -> str:
    if kind == 4:
        [(_, _, command)] = pdvs_of(body)
        return f"status {struct.unpack_from('<H', command, command.index(STATUS) + len(STATUS))[0]:04X}"
    return {2: "accepted", 3: "rejected {1}/{2}/{3}", 7: "aborted {2}-{3}"}[kind].format(*body)


class House:
    """A server without sockets, as its settings make it, and a clock turned by hand."""

    def __init__(self, settings: Settings, clock: list[float], secure: Certificates | None) -> None:
        self.clock, self.certificates = clock, secure
        self.metrics = Metrics()
        self.store = TemporaryStore()
        keeper = RegistryKeeper(self.store, Registry(settings.matching_locations(), settings.matching_issuers()))
        handlers = Handlers(self.store, keeper, settings.profile, bounds=settings.bounds(), counters=self.metrics)
        self.acceptor = Acceptor(settings.network(), handlers.answer, counters=self.metrics)
        self.acceptor.later = lambda *_: None  # type: ignore[method-assign]
        self.acceptor.turns = Turns(self.acceptor.later)
        self._guests: list[Guest] = []

    def guest(self, address: str, *chunks: bytes) -> Guest:
        """A connection that sends this."""
        made = Guest(self, address)
        self._guests.append(made)
        return made.send(*chunks)

    def wait(self, seconds: float) -> None:
        """Time goes by, and the listener looks at its deadlines."""
        self.clock[0] += seconds
        for one in [one for one in self.acceptor._open if one.deadline <= self.clock[0]]:
            one.overdue()

    def all_leave(self) -> None:
        """Every connection is lost."""
        for guest in self._guests:
            guest.protocol.connection_lost(None)
        self._guests.clear()

    def counted(self, labels: tuple[str, ...]) -> float:
        """What the metric of associations, or of requests, says."""
        family = self.metrics.requests if labels[0] == "procedural-event-logging" else self.metrics.associations
        child = family.children.get(labels)
        return child.value if child else 0


# --- what is done, as a function of how much of it -----------------------------------------------------------------------------


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def padded(house: House, address: str, size: int) -> Guest:
    """An A-ASSOCIATE-RQ of this length, filled up with an item that nobody knows."""
    body = RQ[6:] + item(0x99, bytes(size - len(RQ) + 6 - 4))
    return house.guest(address, struct.pack(">BBL", 1, 0, len(body)) + body)


def contexts(house: House, address: str, count: int) -> Guest:
    """So many presentation contexts."""
    return house.guest(address, associate_rq("HEMO1", "PLSCP", [CONTEXTS[0]] * count))


def syntaxes(house: House, address: str, count: int) -> Guest:
    """128 presentation contexts of so many transfer syntaxes each."""
    many = item(0x30, PROCEDURAL_EVENT_LOGGING.encode()) + item(0x40, CONTEXTS[0][1].encode()) * count
    proposed = b"".join(item(0x20, bytes([2 * number + 1, 0, 0, 0]) + many) for number in range(128))
    start = RQ.index(b"\x20\0", 80)
    body = RQ[6:start] + proposed + RQ[RQ.index(b"\x50\0", start) :]
    return house.guest(address, struct.pack(">BBL", 1, 0, len(body)) + body)


def user_item(house: House, address: str, lie: int) -> Guest:
    """A user information item that is said to be so many bytes longer than it is."""
    place = RQ.index(b"\x50\0", 80)
    items = RQ[place + 4 :] + struct.pack(">BBH", 0x55, 0, 4 + lie) + b"NAME"
    body = RQ[6:place] + item(0x50, items)
    return house.guest(address, struct.pack(">BBL", 1, 0, len(body)) + body)


def connections(house: House, address: str, count: int) -> Guest:
    """So many connections from one address that send nothing; the last of them."""
    return [house.guest(address) for _ in range(count)][-1]


def scattered(house: House, address: str, count: int) -> Guest:
    """So many connections from as many addresses, this one's the first; the first of them."""
    first = house.guest(address)
    for number in range(1, count):
        house.guest(f"{address}{number}")
    return first


def associations(house: House, address: str, count: int) -> Guest:
    """So many associations from one address; the last of them."""
    return [house.guest(address, RQ) for _ in range(count)][-1]


def silent(first: bytes, then: bytes, house: House, address: str, seconds: int) -> Guest:
    """Sends this, byte by byte that, and then nothing for so long."""
    guest = house.guest(address, first, *[bytes([byte]) for byte in then])
    house.wait(seconds)
    return guest


def slow_message(house: House, address: str, seconds: int) -> Guest:
    """A data set in PDUs of one byte each, one every second."""
    guest = house.guest(address, RQ, p_data(pdv(1, 3, COMMAND)))
    for _ in range(seconds):
        guest.send(p_data(pdv(1, 0, b"x")))
        house.wait(1)
    return guest


def unread(house: House, address: str, seconds: int) -> Guest:
    """Reads no answer for so long."""
    guest = house.guest(address, RQ)
    guest.protocol.pause_writing()
    house.wait(seconds)
    return guest


def fragment(house: House, address: str, size: int) -> Guest:
    """A P-DATA-TF of this length."""
    return house.guest(address, RQ, p_data(pdv(1, 1, bytes(size - 6))))


def command_set(house: House, address: str, size: int) -> Guest:
    """A command set of this length, not ended yet."""
    parts = [bytes(100)] * (size // 100) + [bytes(size % 100)]
    return house.guest(address, RQ, *[p_data(pdv(1, 1, part)) for part in parts])


def waiting(house: House, address: str, count: int) -> Guest:
    """So many requests behind one whose answer takes its time."""
    house.acceptor.handler = lambda _: PendingResponse()
    return house.guest(address, RQ, b"".join(request(number) for number in range(1, count + 2)))


def futile(house: House, address: str, hundredths: int) -> Guest:
    """Work of so many hundredths of the credit that an address has, for nothing."""
    guest = house.guest(address, RQ)
    for _ in range(hundredths):
        guest.association.charge(BURST_SECONDS / 100)
    guest.send(request(1))  # which is not read, though a release would be
    house.clock[0] += 3600  # its debt is paid
    return guest


def element(tag: int, value: bytes) -> bytes:
    """An element in Explicit VR Little Endian, UN or SQ."""
    kind = b"SQ" if tag == 0x0040A730 else b"UN"
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, kind, 0, len(value)) + value


def data_set(make: Callable[[int], bytes], house: House, address: str, size: int) -> Guest:
    """A data set of this size, in whatever it is measured."""
    data = make(size)
    parts = [data[start : start + 8000] for start in range(0, len(data), 8000)]
    fragments = [p_data(pdv(1, 2 * (number == len(parts)), part)) for number, part in enumerate(parts, 1)]
    return house.guest(address, RQ, p_data(pdv(1, 3, COMMAND)), *fragments)


def nested(depth: int) -> bytes:
    """A data set of Content Sequences, so many of them deep."""
    data = b""
    for _ in range(depth):
        data = element(0x0040A730, struct.pack("<HHL", 0xFFFE, 0xE000, len(data)) + data)
    return data


# --- the table -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    """One row.

    Attributes:
        setting: of [dicom]; where there are two rows of one, two things are bounded by it. Empty: it cannot be set.
        given: its value, as it stands in the file.
        past: does something in a measure; the guest that it happens to.
        most: the last measure that is within the bound.
        answer: what the guest past it hears.
        counted: labels of `plscp_associations_total`, or of `plscp_requests_total`.
        logged: the event, the field that names the cause, and the cause.
        secure: over TLS.
    """

    setting: str
    given: Any
    past: Callable[[House, str, int], Guest]
    most: int
    answer: str
    counted: tuple[str, ...]
    logged: tuple[str, str, str]
    secure: bool = False


def aborted(reason: str, why: str) -> tuple[str, tuple[str, str], tuple[str, str, str]]:
    """A-ABORT of the provider (PS3.8 Table 9-26)."""
    return f"aborted {reason}", ("aborted", reason), ("association-aborted", "why", why)


def closed(reason: str) -> tuple[str, tuple[str, str], tuple[str, str, str]]:
    """Closed without a PDU."""
    return "closed", ("closed", reason), ("connection-closed", "reason", reason)


def slowed(answer: str, reason: str) -> tuple[str, tuple[str, str], tuple[str, str, str]]:
    """Not read for a while."""
    return answer, ("slowed", reason), ("peer-slowed", "reason", reason)


def refused(status: str, finding: str) -> tuple[str, tuple[str, str], tuple[str, str, str]]:
    """Answered with a failure."""
    return f"status {status}", ("procedural-event-logging", status), ("request-refused", "reason", finding)


def limit(rule: str) -> tuple[str, tuple[str, str], tuple[str, str, str]]:
    """Rejected by a cap."""
    return "rejected 2/3/2", ("rejected", "local-limit"), ("peer-refused", "rule", rule)


BOUNDS = [
    # connections and associations
    Bound("max_associations", 4, associations, 4, *limit("dicom.max_associations")),
    Bound("max_associations", 3, scattered, 6, *closed("connections")),
    Bound("max_associations_per_address", 4, associations, 4, *limit("dicom.max_associations_per_address")),
    Bound("max_associations_per_address", 2, connections, 4, *closed("connections-per-address")),
    # A-ASSOCIATE-RQ
    Bound("first_pdu_deadline", "PT5S", partial(silent, b"", RQ[:-1]), 4, *closed("no-associate-request")),
    Bound(
        "first_pdu_deadline", "PT5S", partial(silent, b"", hello()[:-1]), 4, *closed("no-tls-handshake"), secure=True
    ),
    Bound("max_associate_request", 600, padded, 600, *aborted("0-0", "an A-ASSOCIATE-RQ longer than the bound")),
    Bound("max_associate_request", 65536, syntaxes, 20, *aborted("0-0", "an A-ASSOCIATE-RQ longer than the bound")),
    Bound("max_presentation_contexts", 5, contexts, 5, *aborted("0-0", "more presentation contexts than the bound")),
    Bound("", None, user_item, 0, *aborted("0-0", "an A-ASSOCIATE-RQ that cannot be read")),
    # PDUs and messages
    Bound("max_pdu", 4096, fragment, 4096, *aborted("2-6", "a P-DATA-TF longer than the bound")),
    Bound("pdu_deadline", "PT3S", partial(silent, RQ, p_data(pdv(1, 3, COMMAND))[:-1]), 2, *aborted("2-0", "a PDU that does not end")),
    Bound("pdu_deadline", "PT3S", unread, 2, *aborted("2-0", "answers that nobody reads")),
    Bound("message_deadline", "PT6S", slow_message, 5, *aborted("2-0", "a message that does not end")),
    Bound("max_command_set", 300, command_set, 300, *aborted("2-6", "a command set longer than the bound")),
    Bound("max_waiting_requests", 3, waiting, 2, *slowed("not read", "waiting-requests")),
    Bound("futile_share", 0.1, futile, 100, *slowed("not read", "futile-work")),
    # data sets: the checks' bounds, which the listener leaves to them
    Bound("max_data_set", 9012, partial(data_set, lambda size: element(0x00111000, bytes(size))), 9000, *refused("0213", "data-set-too-long")),
    Bound("max_depth", 4, partial(data_set, nested), 4, *refused("C102", "too-deep")),
    Bound("max_elements", 7, partial(data_set, lambda count: b"".join(element(0x00111000 + number, b"") for number in range(count))), 7, *refused("C102", "too-many-elements")),
    Bound("max_value", 100, partial(data_set, lambda size: element(0x00111000, bytes(size))), 100, *refused("C102", "value-too-long")),
]  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is turned."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def house(request: pytest.FixtureRequest, clock: list[float], tmp_path: Path) -> Iterator[House]:
    """The server with one setting of a row, or with none."""
    row: Bound | None = getattr(request, "param", None)
    # Here nobody is kept from associating, and who may not associate may send nothing either.
    given = {row.setting: row.given} if row and row.setting else {}
    settings = Settings.model_validate({"dicom": {"unknown_devices": "accept", **given}})
    made = House(settings, clock, certificates(tmp_path) if row and row.secure else None)
    yield made
    made.all_leave()
    made.store.close()


ROWS = pytest.mark.parametrize(
    ("house", "row"),
    [(row, row) for row in BOUNDS],
    indirect=["house"],
    ids=[f"{row.setting}-{row.counted[1]}" for row in BOUNDS],
)


def cause(line: MutableMapping[str, Any], field: str) -> str:
    """The cause that a line names; of a refusal, its first finding."""
    return str(line[field])


@ROWS
def test_within_the_bound_nothing_is_said(house: House, row: Bound) -> None:
    """As much as the setting lets through is neither answered, nor counted, nor logged as past it."""
    event, field, why = row.logged
    with capture_logs() as lines:
        heard = row.past(house, ADDRESSES[0], row.most).heard()
        house.all_leave()
    if row.answer != "status C102":  # which these data sets get all the same: they hold nothing
        assert heard != row.answer
        assert not house.counted(row.counted)
    assert why not in [cause(line, field) for line in lines if line["event"] == event]


@ROWS
def test_past_the_bound(house: House, row: Bound) -> None:
    """One more, and it is answered; each time counts; the log has a line for each peer."""
    event, field, why = row.logged
    with capture_logs() as lines:
        for address in ADDRESSES * TIMES:
            assert row.past(house, address, row.most + 1).heard() == row.answer
            house.all_leave()
    assert house.counted(row.counted) == TIMES * len(ADDRESSES)
    said = [line for line in lines if line["event"] == event and cause(line, field) == why]
    assert [line["address"] for line in said] == [*ADDRESSES]


def test_every_bound_has_its_row() -> None:
    """Whatever [dicom] bounds is in the table; `answer_deadline` is the store's, and has its tests with the handlers."""
    bounds = {name for name in Dicom.model_fields if name.startswith("max_") or name.endswith("_deadline")}
    assert {row.setting for row in BOUNDS} - {""} == bounds - {"answer_deadline"} | {"futile_share"}


def test_titles_without_end_do_not_fill_the_log(house: House) -> None:
    """A peer that calls itself by ever another name has so many lines for one cause, one for all others, and no more; each time counts.

    A minute later a line says how many there were; the line of the first says which setting would let it in.
    """
    house.acceptor.admit = lambda caller: refusal(caller, {}, unknown=False)
    with capture_logs() as lines:
        for number in range(MOST_NAMES + 20):
            assert (
                house.guest(ADDRESSES[0], associate_rq(f"PEER{number}", "PLSCP", CONTEXTS)).heard() == "rejected 1/1/3"
            )
            house.all_leave()
        said = [line for line in lines if line["event"] == "peer-refused"]
        assert len(said) == MOST_NAMES + 1
        assert said[0]["hint"] == "add [devices.PEER0] to the settings"
        house.clock[0] += BETWEEN_SECONDS
        house.acceptor._repeats.flush()
    assert [line.get("more") for line in lines if line["event"] == "peer-refused"] == [None] * (MOST_NAMES + 1) + [19]
    assert house.counted(("rejected", "calling-ae-title")) == MOST_NAMES + 20
    assert house.metrics.refused_peers.child("dicom.unknown_devices").value == MOST_NAMES + 20
