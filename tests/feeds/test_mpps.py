"""Procedure steps over real associations: what opens, moves and closes a study, and each status of PS3.4 F.7.2."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid
from pynetdicom.dsutils import encode
from structlog.testing import capture_logs

from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.errors import InvalidArgument, Refused
from plscp.feeds.step_data import created_step, step_update
from plscp.service.handlers import LARGE_BYTES
from plscp.statuses import MAY_NO_LONGER_BE_UPDATED, STEP_STATUSES
from plscp.statuses import MODALITY_PERFORMED_PROCEDURE_STEP as MPPS
from tests.feeds.modality import PROFILES, StepServer, created, ended, scheduled
from tests.rawscu import SYNTAXES, VERIFICATION, RawScu, Response, command_set, uid
from tests.serving import until

U1, U2 = (f"1.2.826.0.1.3680043.9.3811.8.{n}" for n in (1, 2))


def create_rq(message_id: int, instance: str | None, sop_class: str = MPPS, field: int = 0x0140) -> bytes:
    """An N-CREATE-RQ command set."""
    named = [] if instance is None else [(0x00001000, uid(instance))]
    return command_set(
        [
            (0x00000002, uid(sop_class)),
            (0x00000100, field.to_bytes(2, "little")),
            (0x00000110, message_id.to_bytes(2, "little")),
            (0x00000800, b"\1\0"),
            *named,
        ]
    )


def set_rq(message_id: int, instance: str) -> bytes:
    """An N-SET-RQ command set."""
    return command_set(
        [
            (0x00000003, uid(MPPS)),
            (0x00000100, b"\x20\1"),
            (0x00000110, message_id.to_bytes(2, "little")),
            (0x00000800, b"\1\0"),
            (0x00001001, uid(instance)),
        ]
    )


def without_data(command: bytes) -> bytes:
    """The same command set, with a Command Data Set Type that says that no data set follows."""
    return command.replace(b"\0\0\0\10\2\0\0\0\1\0", b"\0\0\0\10\2\0\0\0\1\1")


def raw(server: StepServer, calling: str = "XA1", syntax: str = SYNTAXES[1]) -> RawScu:
    """A modality in raw sockets: pynetdicom keeps no Attribute Identifier List of a response."""
    return RawScu(server.host, server.port, calling=calling, contexts=[(MPPS, syntax)])


def tags_of(response: Response) -> list[int]:
    """Attribute Identifier List (0000,1005)."""
    found = response.command.get("AttributeIdentifierList") or []
    return [int(tag) for tag in ([found] if isinstance(found, int) else found)]


def encoded(data: Any, syntax: str = SYNTAXES[1]) -> bytes:
    raw = encode(data, syntax == SYNTAXES[0], syntax != SYNTAXES[2], deflated=syntax == SYNTAXES[3])
    assert raw is not None
    return bytes(raw)


@pytest.fixture
def server() -> Iterator[StepServer]:
    with StepServer() as running:
        yield running


def test_a_step_opens_its_study_and_the_last_one_closes_it(server: StepServer) -> None:
    """N-CREATE opens the study where the station is, for the patient named; N-SET COMPLETED closes it, at the times stated."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=20)
    with server.modality() as xa:
        answer = xa.create(created(U1, started=began))
        assert answer.status == 0
        study = server.study(U1)
        assert (study.status, study.location, study.opened) == ("open", "LAB1", began)
        assert study.steps == (answer.instance,)
        assert study.patient_id == ("P1", "HOSP")
        over = began + timedelta(minutes=15)
        assert xa.set(ended(when=over), answer.instance).status == 0
    study = server.study(U1)
    assert (study.status, study.closed, study.steps) == ("closed", over, ())
    assert server.step(answer.instance).status == "COMPLETED"


def test_two_devices_with_a_step_each_of_one_study(server: StepServer) -> None:
    """The study stays open until both are over; a step after that opens it again."""
    with server.modality() as xa, server.modality("CART") as cart:
        first = xa.create(created(U1)).instance
        second = cart.create(created(U1, station="CART", PerformedLocation="Lab 1")).instance
        assert server.study(U1).steps == (first, second)
        assert xa.set(ended(), first).status == 0
        assert server.study(U1).status == "open"
        assert cart.set(ended(), second).status == 0
        assert server.study(U1).status == "closed"
        assert xa.create(created(U1)).status == 0
        assert server.study(U1).status == "open"


def test_one_step_of_several_studies(server: StepServer) -> None:
    """The group case: each study opens and closes with the step, and without a usable ID they are one patient's."""
    with server.modality() as xa:
        answer = xa.create(created(U1, U2, U1, patient=""))
        assert answer.status == 0
        assert server.step(answer.instance).studies == (U1, U2)
        assert server.study(U1).patient == server.study(U2).patient
        assert server.study(U1).patient_id.issuer == "plscp"
        assert xa.set(ended("DISCONTINUED"), answer.instance).status == 0
    assert {server.study(uid).status for uid in (U1, U2)} == {"closed"}


def test_a_placeholder_is_a_patient_of_its_own_each_time(server: StepServer) -> None:
    """Two emergencies under one placeholder are two patients."""
    with server.modality() as xa:
        for each in (U1, U2):
            step = xa.create(created(each, patient="UNKNOWN")).instance
            assert xa.set(ended(), step).status == 0
    assert server.study(U1).patient != server.study(U2).patient


def test_the_device_moves_its_study(server: StepServer) -> None:
    """A new step in another lab moves the study there."""
    with server.modality() as xa, server.modality("XA2") as other:
        xa.create(created(U1))
        other.create(created(U1, station="XA2"))
    study = server.study(U1)
    assert [stay.location for stay in study.stays] == ["LAB1", "LAB2"]
    assert study.location == "LAB2"


PLACES = [
    ("XA1", "XA1", "", "", "LAB1", False),
    ("XA1", "XA1", "Lab 1", "", "LAB1", False),
    ("XA1", "XA1", "Lab 2", "", "LAB1", True),  # the installed device is where it is installed
    ("XA1", "XA2", "", "", "LAB2", False),  # the station, not who reports for it
    ("XA1", "NOBODY", "", "", "LAB1", False),  # no table: who reports
    ("CART", "CART", "Lab 2", "", "LAB2", False),
    ("CART", "CART", "", "", "", True),
    ("CART", "CART", "Lab 7", "", "", True),
    ("NOWHERE", "NOBODY", "Lab 2", "", "LAB2", False),
    ("NOWHERE", "NOBODY", "Lab 7", "", "Lab 7", False),
    ("NOWHERE", "NOBODY", "", "STATION 2", "LAB2", False),
    ("NOWHERE", "NOBODY", "", "", "", True),
]


@pytest.mark.parametrize("row", PLACES)
def test_where_a_step_is(server: StepServer, row: tuple[str, str, str, str, str, bool]) -> None:
    """The station's location in `[devices]` goes first, then Performed Location, then the station's name; else it is not known."""
    calling, station, location, name, place, warned = row
    server.put_study(U1, patient={"id": "P1"}, location="LAB2")
    data = created(U1, station=station, PerformedLocation=location, PerformedStationName=name)
    with capture_logs() as lines, server.modality(calling) as xa:
        assert xa.create(data).status == 0
    assert any(line["event"] == "procedure-step-warning" for line in lines) is warned
    study = server.study(U1)
    assert study.location == place
    assert [stay.location for stay in study.stays] == ([place] if place else [])


REFUSED: list[tuple[str, dict[str, Any], int, tuple[int, ...]]] = [
    ("no scheduled step", {"ScheduledStepAttributesSequence": None}, 0x0120, (0x00400270,)),
    ("no item of it", {"ScheduledStepAttributesSequence": []}, 0x0121, ()),
    ("no status", {"PerformedProcedureStepStatus": None}, 0x0120, (0x00400252,)),
    ("an empty status", {"PerformedProcedureStepStatus": ""}, 0x0121, ()),
    ("another status", {"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106, ()),
    ("an empty study", {"ScheduledStepAttributesSequence": scheduled("")}, 0x0121, ()),
    ("two Patient IDs", {"PatientID": ["P1", "P2"]}, 0x0106, ()),
    ("an authority nobody knows", {"IssuerOfPatientID": "ELSEWHERE"}, 0x0110, ()),
]


@pytest.mark.parametrize(("_what", "more", "status", "tags"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_names_patient_and_study_is_checked(
    server: StepServer, _what: str, more: dict[str, Any], status: int, tags: tuple[int, ...]
) -> None:
    """Nothing is changed, and what was refused is kept to be looked at."""
    with raw(server) as xa:
        answer = xa.request(MPPS, encoded(created(U1, **more)), command=create_rq(1, U2))
    assert (answer.status, tags_of(answer)) == (status, list(tags))
    with server.keeper.lock:
        assert server.keeper.registry.study(U1) is None
    [kept] = server.store.refused_messages()
    assert (kept.source, kept.message, kept.raw_length > 0) == ("mpps", U2, True)
    assert kept.peer.startswith("XA1 127.0.0.1:")


def test_old_modalities_are_not_refused_for_what_nothing_rests_on(server: StepServer) -> None:
    """Type 1 attributes of no use here may be absent, unless the profile is strict; a time that is none is that of arrival."""
    names = (
        "PerformedProcedureStepID",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "Modality",
    )
    bare = created(U1, station="STRICT", **dict.fromkeys(names))
    with server.modality() as xa, server.modality("STRICT") as strict:
        assert strict.create(bare).status == 0x0120
        before = datetime.now(UTC)
        assert xa.create(bare).status == 0
        assert xa.create(created(U2, PerformedProcedureStepStartTime="10")).status == 0
    assert all((server.study(each).opened or before) >= before for each in (U1, U2))


def test_times(server: StepServer) -> None:
    """The offset of the data set goes before the device's; a time in the future is now; an untrusted device's is that of arrival."""
    with server.modality("BERLIN") as berlin:
        data = created(U1, station="BERLIN", TimezoneOffsetFromUTC=None)
        data.PerformedProcedureStepStartDate, data.PerformedProcedureStepStartTime = "20240110", "1000"
        assert berlin.create(data).status == 0
        other = created(f"{U1}.2", station="BERLIN", TimezoneOffsetFromUTC="-0500")
        other.PerformedProcedureStepStartDate, other.PerformedProcedureStepStartTime = "20240110", "1000"
        assert berlin.create(other).status == 0
    assert server.study(U1).opened == datetime(2024, 1, 10, 9, 0, tzinfo=UTC)
    assert server.study(f"{U1}.2").opened == datetime(2024, 1, 10, 15, 0, tzinfo=UTC)
    before = datetime.now(UTC)
    with server.modality() as xa, server.modality("NOCLOCK") as untrusted:
        step = xa.create(created(U2, started=before + timedelta(hours=3)))
        assert step.status == 0
        assert xa.set(ended(when=before + timedelta(hours=4)), step.instance).status == 0
        third = f"{U2}.3"
        assert untrusted.create(created(third, station="NOCLOCK", started=before - timedelta(hours=3))).status == 0
    after = datetime.now(UTC)
    study = server.study(U2)
    assert before <= (study.opened or after) <= (study.closed or before) <= after
    assert (server.study(third).opened or before) >= before


def test_a_repeat_is_harmless(server: StepServer) -> None:
    """The same N-CREATE again: 0111; the same N-SET: 0110 with Error ID A710; nothing changes."""
    instance = generate_uid()
    with server.modality() as xa:
        data = created(U1)
        assert xa.create(data, instance).status == 0
        assert xa.create(data, instance).status == 0x0111
        assert server.study(U1).steps == (instance,)
        over = ended()
        assert xa.set(over, instance).status == 0
        closed = server.study(U1)
        again = xa.set(over, instance)
        assert (again.status, again.error_id) == (0x0110, MAY_NO_LONGER_BE_UPDATED)
        assert "may no longer be updated" in again.comment
        assert xa.set(ended(), generate_uid()).status == 0x0112
    assert server.study(U1) == closed
    assert not server.store.refused_messages()


def test_a_step_without_uid_gets_one(server: StepServer) -> None:
    """The response says the UID that the SCP has made (PS3.7 10.1.5.1.4); the same content again is the same step."""
    data = encoded(created(U1))
    with raw(server) as scu:
        first = scu.request(MPPS, data, command=create_rq(1, None))
        second = scu.request(MPPS, data, command=create_rq(2, None))
    made = str(first.command.AffectedSOPInstanceUID)
    assert (first.status, first.command.CommandField) == (0, 0x8140)
    assert str(first.command.AffectedSOPClassUID) == MPPS
    assert made.startswith("2.25.")
    assert (second.status, second.command.AffectedSOPInstanceUID) == (0, made)
    assert server.study(U1).steps == (made,)


@pytest.mark.parametrize(
    ("status", "command"),
    [
        (0x0117, create_rq(1, "1.2.x")),
        (0x0118, create_rq(1, U1, "1.2.840.10008.1.40")),
        (0x0211, create_rq(1, U1, field=0x0110)),
        (0x0211, create_rq(1, U1, field=0x0130)),
    ],
    ids=["0117", "0118", "0211 N-GET", "0211 N-ACTION"],
)
def test_commands_that_are_none(server: StepServer, status: int, command: bytes) -> None:
    """Each gets its status, with the response that belongs to its command."""
    with raw(server) as scu:
        response = scu.request(MPPS, encoded(created(U1)), command=command)
    assert response.status == status


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_transfer_syntaxes(server: StepServer, syntax: str) -> None:
    """All that the logging classes take."""
    with raw(server, syntax=syntax) as scu:
        assert scu.request(MPPS, encoded(created(U1), syntax), command=create_rq(1, U2)).status == 0
    assert server.study(U1).status == "open"


def test_a_data_set_that_cannot_be_used(server: StepServer) -> None:
    """Absent, too long, cut off: each is answered, and the association goes on."""
    with raw(server) as scu:
        assert scu.request(MPPS, b"\x08\x00\x05\x00CS\xff\xff", command=create_rq(1, U2)).status == 0x0110
        assert scu.request(MPPS, bytes(200_001), command=create_rq(2, U2)).status == 0x0213
        large = created(U1)
        large.PerformedSeriesSequence = scheduled(*[U1] * 1500)
        assert len(encoded(large)) > LARGE_BYTES
        assert scu.request(MPPS, encoded(large), command=create_rq(3, U2)).status == 0


def test_message_ids_and_many_at_once(server: StepServer) -> None:
    """Requests that do not wait are answered in their order; one with a Message ID that is outstanding gets 0210."""
    server.store.held = []
    numbers = [1, 1, 2, 3]
    with raw(server) as scu:
        data = encoded(created(U1))
        scu.socket.sendall(
            b"".join(scu.message(MPPS, create_rq(number, f"1.2.{each}"), data) for each, number in enumerate(numbers))
        )
        until(lambda: server.store.held, "the first, which is not answered before the others are read")
        server.store.release()
        answers = [scu.response() for _ in numbers]
    assert [(answer.command.MessageIDBeingRespondedTo, answer.status) for answer in answers] == [
        (1, 0), (1, 0x0210), (2, 0), (3, 0),
    ]  # fmt: skip
    assert server.study(U1).steps == ("1.2.0", "1.2.2", "1.2.3")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data: st.DataObject) -> None:
    """Whatever is changed in a data set, it says something or is refused with a status of N-CREATE and N-SET."""
    creates = data.draw(st.booleans())
    content = bytearray(encoded(created(U1, IssuerOfPatientID="HOSP") if creates else ended(reason=("110514", "DCM"))))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        decoded = decode(bytes(content), SYNTAXES[1], calling_ae="XA1", sop_class=MPPS, bounds=Bounds())
    except InvalidArgument:
        return
    status = 0
    try:
        read = created_step if creates else step_update
        read(decoded.root.elements, PROFILES["STRICT"], datetime(2024, 5, 14, 12, tzinfo=UTC), [])
    except Refused as refused:
        status = refused.status
    assert status in STEP_STATUSES


def test_a_device_that_may_not(server: StepServer) -> None:
    """A device whose `sop_classes` do not name it gets 0124; without `[feeds.mpps]` the SOP Class is not accepted at all."""
    with server.modality("HEMO1") as hemo:
        answer = hemo.create(created(U1))
    assert (answer.status, answer.comment) == (
        0x0124,
        "this device may not report procedure steps: see its sop_classes",
    )
    with StepServer(provided=False) as without:
        contexts = [(MPPS, SYNTAXES[1]), (VERIFICATION, SYNTAXES[1])]
        with RawScu(without.host, without.port, calling="XA1", contexts=contexts) as scu:
            assert scu.results == {1: 3, 3: 0}


def test_another_patient_than_the_studys(server: StepServer) -> None:
    """Never a silent replacement: refused and kept; where entries stand under the study, a correction is proposed."""
    server.put_study(U1, patient={"id": "P1"}, status="open", location="LAB1")
    before = server.study(U1)
    with server.modality() as xa:
        answer = xa.create(created(U1, patient="P2"))
    assert (answer.status, answer.comment) == (0x0110, "Patient ID is not that of the study's patient")
    assert server.study(U1) == before
    assert len(server.store.refused_messages()) == 1


def test_of_what_is_refused_only_the_refusal_is_told(server: StepServer) -> None:
    """A warning says that a step was taken with something left out: of one that was refused there is none."""
    odd: dict[str, Any] = {"PerformedLocation": "Lab 2", "PerformedProcedureStepStartTime": "10"}
    with capture_logs() as lines, server.modality() as xa:
        assert xa.create(created(U1, IssuerOfPatientID="ELSEWHERE", **odd)).status == 0x0110
        assert xa.create(created(U1, PerformedProcedureStepStatus="COMPLETED", **odd)).status == 0x0106
        step = xa.create(created(U1, **odd)).instance
        assert xa.set(ended(PerformedProcedureStepEndTime="10"), step).status == 0
        assert xa.set(ended(PerformedProcedureStepEndTime="10"), step).status == 0x0110
    told = [line["event"] for line in lines if line["event"].startswith("procedure-step")]
    refused, taken, warning = "procedure-step-refused", "procedure-step", "procedure-step-warning"
    assert told == [refused, refused, taken, warning, warning, taken, warning, refused]


def test_an_update_may_not_change_patient_or_studies(server: StepServer) -> None:
    """It ends the step all the same: 0107 with the attributes that stay as they are (PS3.7 C.4.2)."""
    with raw(server) as xa:
        assert xa.request(MPPS, encoded(created(U1)), command=create_rq(1, "1.2.1")).status == 0
        data = encoded(ended(PatientID="P2", ScheduledStepAttributesSequence=scheduled(U2)))
        answer = xa.request(MPPS, data, command=set_rq(2, "1.2.1"))
        assert (answer.status, tags_of(answer)) == (0x0107, [0x00100020, 0x00400270])
        assert server.study(U1).status == "closed"
        assert xa.request(MPPS, encoded(created(U1)), command=create_rq(3, "1.2.2")).status == 0
        data = encoded(ended(PatientID="P1", ScheduledStepAttributesSequence=scheduled(U1)))
        assert xa.request(MPPS, data, command=set_rq(4, "1.2.2")).status == 0


def test_the_wrong_worklist_entry(server: StepServer) -> None:
    """DISCONTINUED with reason 110514 proposes a correction without target, and the study was never in that room."""
    with server.modality() as xa:
        step = xa.create(created(U1)).instance
        assert xa.set(ended("DISCONTINUED", reason=("110514", "DCM")), step).status == 0
    study = server.study(U1)
    assert study.status == "closed"
    assert study.stays[0].left == study.stays[0].arrived
    [proposal] = server.store.proposals()
    assert proposal.change["step"] == step
    assert proposal.change["from"][0]["study_instance_uid"] == U1
    assert proposal.change["to"]["study_instance_uid"] == ""


def test_what_an_update_lacks(server: StepServer) -> None:
    """An N-SET has no 0120 (PS3.7 10.1.3.1.9): what it must say and does not is 0121."""
    bare = ended()
    del bare.PerformedProcedureStepEndTime
    bare.PerformedProcedureStepEndDate = ""
    with raw(server) as xa, raw(server, calling="STRICT") as strict:
        assert xa.request(MPPS, encoded(created(U1)), command=create_rq(1, U2)).status == 0
        assert xa.request(MPPS, b"", command=without_data(set_rq(2, U2))).status == 0x0121
        assert xa.request(MPPS, b"", command=without_data(create_rq(3, f"{U2}.1"))).status == 0x0120
        assert strict.request(MPPS, encoded(bare), command=set_rq(1, U2)).status == 0x0121
        assert server.step(U2).in_progress
        assert xa.request(MPPS, encoded(bare), command=set_rq(4, U2)).status == 0


def test_steps_that_never_end_are_said_in_one_line(server: StepServer) -> None:
    """A modality that sends no N-SET leaves more of them open each day: the log does not grow with them."""
    with server.modality() as xa:
        for number in range(5):
            assert xa.create(created(f"{U1}.{number}", patient=f"P{number}")).status == 0
        with capture_logs() as lines:
            assert xa.create(created(U2, patient="P9")).status == 0
    [line] = [line for line in lines if line["event"] == "procedure-step-warning"]
    assert "and 4 others" in line["why"]


def test_a_store_that_does_not_answer(server: StepServer) -> None:
    """The modality gets a failure at the answer deadline; what is committed later is found again by its repeat."""
    with StepServer(answer_deadline=0.05) as hanging:
        hanging.store.held = []
        with hanging.modality() as xa:
            late = xa.create(created(U1), U2)
            assert (late.status, late.error_id) == (0x0110, 3)
            hanging.store.release()
            hanging.put_study(f"{U1}.9", patient={"id": "P9"})  # after it in the queue: both are committed
            assert xa.create(created(U1), U2).status in {0x0111, 0x0110}
        assert hanging.study(U1).steps == (U2,)
