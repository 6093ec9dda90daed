"""Row 15: no value of any attribute leads to an internal error, and what is accepted can be read by consumers."""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.matching.model import Device
from plscp.records import values as records
from plscp.scu import requests as r
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store.port import Filter
from plscp.templates.values import Item
from tests.rawscu import RawScu
from tests.relay.judging import judge
from tests.scu.test_requests import administration, full
from tests.system.rows.rig import POLICY, Rig
from tests.system.rows.values import VALUES, Element, encode, kinds_of_places, places, shapes_of_sequences, tree

KINDS = (
    "note", "drug_administered", "image_acquired", "object_referenced", "staff_action", "measurement",
)  # fmt: skip
"""Kinds of entry that together have content items of every Value Type."""
INTERNAL = 4
WHEN = datetime(2024, 5, 14, 10, tzinfo=UTC)
ASSOCIATIONS = 16
SHARE = 1 if os.environ.get("PLSCP_TEST_VALUES") == "all" else 6
"""Of the values for one place each so-many-th is sent, others for the next place; of DateTimes all. PLSCP_TEST_VALUES=all sends all."""


def log(kind: str, **given: str) -> list[Element]:
    """A log with a context and two entries, since entries are compared with each other; the second is of the kind."""
    before = full("note")
    before.observation_datetime = r.moment(WHEN - timedelta(seconds=1))
    entry = full(kind, contradicting=False)
    entry.observation_datetime = r.moment(WHEN)
    if kind == "drug_administered":
        entry.observation_uid = "1.2.3.4"
        entry.dose = r.quantity("5", "mg")
        entry.dose.qualifier = r.code("114006", "DCM", "Measurement failure")
        entry.other = [
            Item(relationship="HAS PROPERTIES", value_type="DATETIME", concept=r.code("1", "99X", "Time"), text="2024"),
            Item(relationship="HAS OBS CONTEXT", value_type="UIDREF", concept=r.code("1", "99X", "UID"), text="1.2"),
        ]
    context = r.device_observer("1.2.3", "Recorder", room=r.text("Lab 1"))
    context.other = [
        Item(relationship="HAS ACQ CONTEXT", value_type="DATE", concept=r.code("1", "99X", "Date"), text="20240514"),
        Item(relationship="HAS ACQ CONTEXT", value_type="TIME", concept=r.code("1", "99X", "Time"), text="10"),
    ]
    request = r.ProcedureLogRequest(context=context, entries=[before, entry], timezone_offset="+0000", **given)
    return with_binary_numbers(tree(request.dataset(check=False)))


def with_binary_numbers(elements: list[Element]) -> list[Element]:
    """The log with measured values that have floating point, rational and private forms beside the decimal string."""
    for element in places(elements):
        if element.tag == 0x0040A300:
            assert isinstance(element.value, list)
            (measured,) = element.value
            for tag, vr, value in (
                (0x00091001, "UN", b"\x01\0"),
                (0x0040A161, "FD", pack("<d", 1.0)),
                (0x0040A162, "SL", pack("<i", 1)),
                (0x0040A163, "UL", pack("<I", 1)),
            ):
                measured.append(Element(tag, vr, value, (*element.key, tag)))
            measured.sort(key=lambda each: each.tag)
    return elements


def substance() -> list[Element]:
    """An administration with every attribute of Table P.3-2 and parameters of each Value Type."""
    made: Any = administration()
    made.administered = r.moment(WHEN)
    made.parameters += [
        Item(value_type=kind, concept=r.code("1", "99X", kind), text=text)
        for kind, text in (
            ("DATETIME", "2024"),
            ("DATE", "20240514"),
            ("TIME", "10"),
            ("PNAME", "A^B"),
            ("UIDREF", "1.2"),
        )
    ]
    made.parameters.append(Item(value_type="CODE", concept=r.code("1", "99X", "One"), code=r.code("2", "99X", "Two")))
    request = r.SubstanceAdministrationRequest(
        patient_id="PA", issuer_of_patient_id="HOSP", administration=made, timezone_offset="+0000"
    )
    return tree(request.dataset())


Case = tuple[str, list[Element], list[Element]]
"""A SOP Class, a request, and of its elements those that stand in no case before in such a place."""


def cases() -> dict[str, Case]:
    """The requests by name."""
    seen: set[tuple[int | str, ...]] = set()
    made: dict[str, Case] = {}
    for kind in KINDS:
        elements = log(kind, study_instance_uid="1.1", patient_id="PA", study_id="S1", performed_location="Lab 1")
        new = [element for element in kinds_of_places(elements) if element.key not in seen]
        seen.update(element.key for element in new)
        made[kind] = (PROCEDURAL_EVENT_LOGGING, elements, new)
    elements = log("note")
    timed = [element for element in kinds_of_places(elements) if element.vr == "DT" or len(element.key) == 3]
    made["by place"] = (PROCEDURAL_EVENT_LOGGING, elements, timed)
    elements = substance()
    made["administration"] = (SUBSTANCE_ADMINISTRATION_LOGGING, elements, kinds_of_places(elements))
    return made


CASES = cases()


class Sender:
    """Sends requests, some at the same time, and judges each answer.

    Attributes:
        statuses: how often each was answered.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._read = rig.store.head()[0]
        self.statuses: Counter[int] = Counter()

    def send(self, sop_class: str, requests: Iterable[bytes], calling: str = "BOUNDS") -> None:
        """Each on an association of some: the server itself fails at none of them, and the associations live on."""
        waiting: deque[tuple[RawScu, bytes]] = deque()
        for raw in requests:
            scu = self._answered(waiting) if len(waiting) == ASSOCIATIONS else self._rig.scu(calling).associate()
            scu.send(sop_class, raw)
            waiting.append((scu, raw))
        while waiting:
            scu = self._answered(waiting)
            scu.release()
            scu.socket.close()

    def _answered(self, waiting: deque[tuple[RawScu, bytes]]) -> RawScu:
        scu, raw = waiting.popleft()
        answer = scu.response()
        assert answer.status != 0x0110 or answer.command.get("ErrorID") != INTERNAL, raw
        assert answer.comment.isascii()
        self.statuses[answer.status] += 1
        return scu

    def read(self) -> int:
        """How many records there are since the last time; each is what its published class and schema say."""
        number = 0
        while found := self._rig.store.read(Filter(after=self._read, limit=500)):
            for event in found:
                if event.type in records.RECORDS:
                    judge(event.type, event.payload)
                    number += 1
            self._read = found[-1].position
        return number


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server with a study of PA at 09:00."""
    profiles = [
        Profile(Device("HEMO1", ("LAB1",)), POLICY),
        Profile(Device("BOUNDS", ("LAB1",)), POLICY),  # another device than those whose requests are taken as they are
        Profile(Device("STRICT", ("LAB1",)), POLICY, strict=True),
        Profile(Device("BERLIN", ("LAB1",)), POLICY, zone="Europe/Berlin"),
        Profile(Device("ARRIVAL", ("LAB1",), times="untrusted"), POLICY),
    ]
    with Rig(tmp_path_factory.mktemp("rig"), *profiles) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1", study_id="S1")
        rig.admission("A1", "PA")
        rig.clock("10:00:01")
        yield rig


@pytest.fixture
def sender(rig: Rig) -> Sender:
    """Sends to the server."""
    return Sender(rig)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("calling", ["HEMO1", "STRICT", "BERLIN", "ARRIVAL"])
def test_row_15_the_requests_are_taken_as_they_are(sender: Sender, name: str, calling: str) -> None:
    """What is refused below is refused for what was put into it."""
    sop_class, elements, _ = CASES[name]
    sender.send(sop_class, [encode(elements)], calling)
    assert [*sender.statuses] in ([0], [0xB101])
    assert sender.read() == (2 if sop_class == PROCEDURAL_EVENT_LOGGING else 1)


@pytest.mark.parametrize("name", CASES)
def test_row_15_every_bound_of_its_vr_in_every_attribute(sender: Sender, name: str) -> None:
    """In the root, in content items of each Value Type, in codes and references; one at a time."""
    sop_class, elements, new = CASES[name]

    def requests() -> Iterator[bytes]:
        for number, element in enumerate(new):
            was = element.value
            values = VALUES[element.vr] if not isinstance(was, list) else ()
            for value in values if element.vr == "DT" else values[number % SHARE :: SHARE]:
                element.value = value
                yield encode(elements)
            element.value = was

    sender.send(sop_class, requests())
    assert len(sender.statuses) > 1
    assert sender.read() > 0


@pytest.mark.parametrize("name", CASES)
def test_row_15_every_attribute_absent_twice_or_another_sequence(sender: Sender, name: str) -> None:
    """Absent; twice; as a sequence where there is none; empty, doubled, deep, cut off."""
    sop_class, elements, new = CASES[name]

    def requests() -> Iterator[bytes]:
        for number, element in enumerate(new):
            for raw in [b"", *shapes_of_sequences(element)][number % SHARE :: SHARE]:
                element.raw = raw
                yield encode(elements)
                element.raw = None

    sender.send(sop_class, requests())
    assert len(sender.statuses) > 1
    assert sender.read() > 0


@pytest.mark.parametrize("name", CASES)
def test_row_15_every_vr_in_every_attribute(sender: Sender, name: str) -> None:
    """A VR that is not the attribute's, with an extreme value of its own."""
    sop_class, elements, new = CASES[name]

    def requests() -> Iterator[bytes]:
        for number, element in enumerate(new):
            was = element.vr, element.value
            for vr, values in [*VALUES.items()][number % SHARE :: SHARE]:
                element.vr, element.value = vr, values[number % len(values)]
                yield encode(elements)
            element.vr, element.value = was

    sender.send(sop_class, requests())
    assert len(sender.statuses) > 1
    assert sender.read() > 0


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_row_15_several_values_at_once(rig: Rig, data: st.DataObject) -> None:
    """Any attributes together, by each way of matching, in both profiles, from each kind of clock."""
    sop_class, elements, _ = CASES[data.draw(st.sampled_from([*CASES]))]
    leaves = [element for element in places(elements) if not isinstance(element.value, list)]
    deciding = [element for element in leaves if element.vr in {"DT", "UI"} or len(element.key) == 3]

    def request(changes: int) -> bytes:
        changed: list[tuple[Element, Any]] = []
        for _ in range(changes):
            element = data.draw(st.sampled_from(leaves) | st.sampled_from(deciding))
            changed.append((element, element.value))
            element.value = data.draw(st.sampled_from(VALUES[element.vr]) | st.binary(max_size=20))
        raw = encode(elements)
        for element, was in reversed(changed):
            element.value = was
        return raw

    sender = Sender(rig)
    calling = data.draw(st.sampled_from(["HEMO1", "STRICT", "BERLIN", "ARRIVAL", "MOBILE"]))
    sender.send(
        sop_class, [request(changes) for changes in data.draw(st.lists(st.integers(1, 4), max_size=8))], calling
    )
    sender.read()
