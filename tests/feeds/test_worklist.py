"""The worklist as a feed, against pynetdicom's SCP: what is taken, that only differences are changes, and that a fault in it stops nothing."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from plscp.errors import StoreUnavailable
from plscp.feeds.worklist import WorklistFeed, WorklistSettings
from plscp.matching import changes
from plscp.matching.model import Device, Policy
from plscp.matching.records import PatientId, Study
from plscp.matching.registry import Issuers, Locations, Registry
from plscp.metrics import Metrics
from plscp.scu.sending import client_context
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.store.port import Draft, Failed, Filter, RegistryDraft
from tests import tls
from tests.feeds.worklist import WorklistScp, entry, with_bytes
from tests.matching.world import LABS, at
from tests.scu.conftest import leaking  # noqa: F401  # a fixture
from tests.serving import until
from tests.temporary import TemporaryStore

pytestmark = [pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"), pytest.mark.usefixtures("leaking")]
"""pynetdicom leaves a socket to the garbage collector where it could not connect, and where the peer has closed before."""
POLICY = Policy(patient_id_issuer="HOSP")
WHERE = {"XRAY1": ("LAB1",), "XRAY2": ("LAB2",), "ROVER": ("LAB1", "LAB2")}
SETTINGS = WorklistSettings(
    host="127.0.0.1",
    port=0,
    ae_title="WORKLIST",
    calling_ae_title="PLSCP",
    station_ae_titles=(),
    modalities=(),
    interval=60.0,
    timeout=30.0,
    past=timedelta(days=1),
    ahead=timedelta(days=2),
    entries=5000,
    timezone=None,
    server_timezone="Europe/Berlin",
)


class Failing(TemporaryStore):
    """The store, with a switch: registry changes fail."""

    failing = False

    def submit(self, draft: Draft) -> None:
        """As the store's, unless it fails."""
        if self.failing and isinstance(draft, RegistryDraft):
            draft.done(Failed(StoreUnavailable("the disk is away")))
        else:
            super().submit(draft)


class Hospital:
    """A registry on a store, and a worklist that it follows at noon."""

    def __init__(self) -> None:
        self.store = Failing()
        self.keeper = RegistryKeeper(
            self.store, Registry(Locations(LABS), Issuers({"HOSP": ["1.2.3.4"]})), policy=POLICY
        )
        self.metrics = Metrics()
        self.now = at("12:00")

    def feed(self, scp: WorklistScp, **more: Any) -> WorklistFeed:
        """A feed that asks it."""
        given = {name: more.pop(name) for name in list(more) if name != "tls"}
        return WorklistFeed(
            replace(SETTINGS, port=scp.port, **given),
            self.keeper,
            self.store,
            self.metrics,
            profile=lambda ae: Profile(Device(ae, WHERE.get(ae, ())), POLICY),
            clock=lambda: self.now,
            **more,
        )

    def polled(self, feed: WorklistFeed) -> list[str]:
        """Ask once; returns what is logged."""
        with capture_logs() as lines:
            asyncio.run(feed.poll())
        return [line["event"] for line in lines]

    def put(self, uid: str, **said: Any) -> None:
        """PUT a study."""
        body = {"study_instance_uid": uid, **said}
        asyncio.run(self.keeper.change(lambda registry: changes.put_study(registry, body, POLICY, self.now), "http"))

    def study(self, uid: str = "1.2.1") -> Study:
        """A study that must be there."""
        study = self.keeper.registry.study(uid)
        assert study is not None
        return study

    def events(self) -> list[dict[str, Any]]:
        """What the store has."""
        return [json.loads(event.payload) for event in self.store.read(Filter(kinds=("registry",)))]


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    """The hospital, and the end of its store."""
    made = Hospital()
    yield made
    made.store.close()


def test_an_entry_becomes_a_scheduled_study_once(hospital: Hospital) -> None:
    """With patient, identifiers, place and time; each change says the feed and the step; a poll that says the same takes no position."""
    with WorklistScp(entry()) as scp:
        feed = hospital.feed(scp)
        assert hospital.polled(feed) == ["registry-changed"]
        study = hospital.study()
        assert (study.status, study.study_id, study.accession_number, study.location) == (
            "scheduled",
            "S1",
            "A1",
            "LAB1",
        )
        assert study.planned == datetime(2024, 5, 14, 10, 30, tzinfo=UTC), "Berlin's clock"
        assert study.patient_id == ("P1", "HOSP")
        patient = hospital.keeper.registry.patient("P1", "HOSP")
        assert patient is not None
        assert (patient.name, patient.birth_date, patient.sex) == ("Doe^Jane", "19700101", "F")
        assert {(event["source"], event["message"]) for event in hospital.events()} == {("worklist", "SPS1")}
        position = hospital.store.head()
        assert hospital.polled(feed) == []
        assert hospital.polled(hospital.feed(scp)) == [], "nor after a restart"
        assert hospital.store.head() == position
        sender = {
            "sender": f"127.0.0.1:{scp.port}",
            "last_message": "2024-05-14T12:00:00Z",
            "messages": 1,
            "refused": 0,
            "silent": False,
        }
        assert feed.status() == {"listening": [], "connections": [], "senders": [sender], "fault": ""}


def test_what_is_asked_for(hospital: Hospital) -> None:
    """Each station with each modality, on the days by the worklist's own calendar; one association for all; an entry found twice is one."""
    hospital.now = datetime(2024, 5, 14, 22, 30, tzinfo=UTC)  # the 15th in Berlin
    with WorklistScp(entry()) as scp:
        hospital.polled(
            hospital.feed(scp, station_ae_titles=("XRAY1", "XRAY2"), modalities=("XA", "HD"), past=timedelta(0))
        )
        steps = [asked.ScheduledProcedureStepSequence[0] for asked in scp.asked]
        assert [(step.ScheduledStationAETitle, step.Modality) for step in steps] == [
            ("XRAY1", "XA"), ("XRAY1", "HD"), ("XRAY2", "XA"), ("XRAY2", "HD"),
        ]  # fmt: skip
        assert {step.ScheduledProcedureStepStartDate for step in steps} == {"20240515-20240517"}
        assert len(hospital.keeper.registry.studies()) == 1
        scp.asked.clear()
        hospital.polled(hospital.feed(scp, past=timedelta(0), ahead=timedelta(0), timezone="UTC"))
        [asked] = scp.asked
        assert asked.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == "20240514"


DIFFERENCES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # what the entry says now, what holds of the study then
    ({"station": "XRAY2"}, {"location": "LAB2"}),
    ({"station": "ROVER", "place": "Lab 2"}, {"location": "LAB2"}),
    ({"station": "ROVER", "place": "Ward 3"}, {"location": "LAB1"}),
    ({"station": "", "station_name": "CATH^LAB1"}, {"location": "LAB1"}),
    ({"clock": "1300"}, {"planned": datetime(2024, 5, 14, 11, 0, tzinfo=UTC)}),
    ({"clock": "1300", "offset": "-0500"}, {"planned": datetime(2024, 5, 14, 18, 0, tzinfo=UTC)}),
    ({"clock": None}, {"planned": datetime(2024, 5, 13, 22, 0, tzinfo=UTC)}),
    ({"procedure": "S2"}, {"study_id": "S2"}),
    ({"procedure": None}, {"study_id": "S1"}),
    ({"accession": "A2"}, {"accession_number": "A2"}),
    ({"patient": "P2"}, {"patient_id": ("P2", "HOSP")}),
    ({"status": "CANCELED"}, {"status": "cancelled"}),
    ({"status": "ARRIVED"}, {"status": "scheduled"}),
]


@pytest.mark.parametrize(("said", "holds"), DIFFERENCES)
def test_a_difference_is_a_change(hospital: Hospital, said: dict[str, Any], holds: dict[str, Any]) -> None:
    """Of a study that is scheduled, and stays so unless it is cancelled."""
    with WorklistScp(entry()) as scp:
        feed = hospital.feed(scp)
        hospital.polled(feed)
        scp.entries = [entry(**said)]
        hospital.polled(feed)
        assert {name: getattr(hospital.study(), name) for name in holds} == holds


@pytest.mark.parametrize("status", ["open", "closed", "cancelled"])
def test_a_study_that_began_or_was_cancelled_is_never_set_back(hospital: Hospital, status: str) -> None:
    """Whatever the worklist says then, also right after a restart: what it knows better of an open one is only what was not known."""
    place = {} if status == "cancelled" else {"location": "LAB2"}
    hospital.put(
        "1.2.1", patient={"id": "P1", "issuer": "HOSP"}, status="open" if status == "closed" else status, **place
    )
    if status == "closed":
        hospital.put("1.2.1", status="closed")
    before = hospital.study()
    with WorklistScp(entry()) as scp:
        assert hospital.polled(hospital.feed(scp)) == ([] if status == "cancelled" else ["registry-changed"])
        after = hospital.study()
        ids: dict[str, Any] = {} if status == "cancelled" else {"study_id": "S1", "accession_number": "A1"}
        assert after == replace(before, **ids)
        scp.entries = [entry(procedure="S9", accession="A9", clock="1500", status="CANCELED")]
        hospital.polled(hospital.feed(scp))
        assert hospital.study() == after


def test_what_vanishes_is_left_alone_and_what_others_said_since_stays(hospital: Hospital) -> None:
    """A worklist that repeats itself changes nothing back; that an entry is not cancelled any more is a difference."""
    with WorklistScp(entry(), entry("1.2.2", "P2", step="SPS2")) as scp:
        feed = hospital.feed(scp)
        hospital.polled(feed)
        hospital.put("1.2.1", location="LAB2")
        hospital.put("1.2.2", status="cancelled")
        assert hospital.polled(feed) == []
        assert (hospital.study().location, hospital.study("1.2.2").status) == ("LAB2", "cancelled")
        scp.entries = [entry("1.2.2", "P2", step="SPS2", status="CANCELLED")]
        assert hospital.polled(feed) == []
        assert hospital.study().status == "scheduled"
        scp.entries = [entry("1.2.2", "P2", step="SPS2")]
        hospital.polled(feed)
        assert hospital.study("1.2.2").status == "scheduled"


def test_a_study_of_several_steps_begins_with_its_earliest(hospital: Hospital) -> None:
    """It is cancelled when all of them are."""
    steps: list[dict[str, Any]] = [
        {"step": "B", "station": "XRAY2", "clock": "1400", "accession": None},
        {"step": "A", "station": "XRAY1", "clock": "1300", "procedure": None},
        {"step": "C", "station": "XRAY2", "clock": "1200", "status": "CANCELED"},
    ]
    with WorklistScp(*(entry(**step) for step in steps)) as scp:
        feed = hospital.feed(scp)
        hospital.polled(feed)
        study = hospital.study()
        assert (study.location, study.study_id, study.accession_number) == ("LAB1", "S1", "A1")
        assert study.planned == datetime(2024, 5, 14, 11, 0, tzinfo=UTC)
        assert {event["message"] for event in hospital.events()} == {"A"}
        scp.entries = [entry(**step | {"status": "CANCELED"}) for step in steps]
        hospital.polled(feed)
        assert hospital.study().status == "cancelled"


def test_a_patient_who_is_known_keeps_what_the_registration_said(hospital: Hospital) -> None:
    """Only what is not known is taken; an ID that was merged away names the survivor, in whichever spelling of the authority."""
    asyncio.run(
        hospital.keeper.change(
            lambda registry: changes.put_patient(registry, {"id": "P1", "name": "Roe^Jane"}, POLICY, hospital.now),
            "http",
        )
    )
    with WorklistScp(entry(issuer=None, universal="1.2.3.4")) as scp:
        hospital.polled(hospital.feed(scp))
        patient = hospital.keeper.registry.patient("P1", "HOSP")
        assert patient is not None
        assert (patient.name, patient.birth_date) == ("Roe^Jane", "19700101")
        assert hospital.study().patient_id == ("P1", "HOSP")


def test_an_id_that_was_merged_away_brings_nobody_else_a_study(hospital: Hospital) -> None:
    """Under another name and birth date it is given out again: no new study comes under the survivor."""
    said = {"id": "P1", "issuer": "HOSP", "name": "Muster^Maria", "birth_date": "19600102"}
    asyncio.run(
        hospital.keeper.change(lambda registry: changes.put_patient(registry, said, POLICY, hospital.now), "http")
    )
    prior = {"prior": {"id": "P7", "issuer": "HOSP"}}
    merge = partial(
        changes.merge_patient, survivor_id=PatientId("P1", "HOSP"), body=prior, policy=POLICY, now=hospital.now
    )
    asyncio.run(hospital.keeper.change(merge, "http"))
    with WorklistScp(entry("1.2.1", "P7"), entry("1.2.2", "P7", name="Muster^Maria", birth="19600102")) as scp:
        assert "worklist-entry-refused" in hospital.polled(hospital.feed(scp))
    assert hospital.keeper.registry.study("1.2.1") is None
    assert hospital.study("1.2.2").patient_id.id == "P1"


def test_a_placeholder_is_nobody(hospital: Hospital) -> None:
    """The study gets a patient of its own, once."""
    with WorklistScp(entry(patient="UNKNOWN")) as scp:
        hospital.polled(hospital.feed(scp))
        hospital.polled(hospital.feed(scp))
        assert hospital.study().patient_id == ("PLSCP-1", "plscp")
        assert len(hospital.keeper.registry.patients()) == 1


def test_text_is_read_in_the_character_set_of_the_entry(hospital: Hospital) -> None:
    """One that does not decode is left out of a name, and is no identifier at all."""
    latin = with_bytes(entry(charset="ISO_IR 100"), "PatientName", "Müller^Jörg".encode("latin-1"))
    utf8 = with_bytes(entry("1.2.2", "P2", charset="ISO_IR 192"), "PatientName", "Øst^Åse ".encode())
    torn = with_bytes(entry("1.2.3", "P3", charset="ISO_IR 192"), "PatientName", "Müller".encode("latin-1"))
    with WorklistScp(latin, utf8, torn, says_vr=False) as scp:
        hospital.polled(hospital.feed(scp))
        patients = (hospital.keeper.registry.patient(f"P{number}", "HOSP") for number in (1, 2, 3))
        assert [patient and patient.name for patient in patients] == ["Müller^Jörg", "Øst^Åse", ""]


REFUSED: list[tuple[str, Callable[[], Dataset], str]] = [
    ("no study", lambda: entry(study=None), "Study Instance UID: is missing"),  # type: ignore[arg-type]
    ("not a UID", lambda: with_bytes(entry(), "StudyInstanceUID", b"1.2.x1"), "Study Instance UID: not a UID (PS3.5 9.1)"),
    ("Patient ID", lambda: with_bytes(entry(charset="ISO_IR 192"), "PatientID", b"P\xe4 "),
        "Patient ID: does not decode in the character set that the entry names"),
    ("two authorities", lambda: entry(universal="9.9"),
        "Issuer of Patient ID and its qualifiers name two authorities: [issuers] may lack that they are one"),
    ("no sequence", lambda: with_bytes(entry(), "ScheduledProcedureStepSequence", b"\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00"),
        "the entry does not decode: "),
    ("too long an ID", lambda: entry(accession="A\tB"), "study: accession_number: neither backslash nor control characters"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_an_entry_that_cannot_be_read_is_refused_by_itself(
    hospital: Hospital, made: Callable[[], Dataset], why: str
) -> None:
    """It is said, counted and kept once, without the patient in the log; the entry beside it is taken."""
    with WorklistScp(made(), entry("1.2.2", "P2", step="SPS2"), says_vr=False) as scp:
        feed = hospital.feed(scp)
        with capture_logs() as lines:
            asyncio.run(feed.poll())
        [refused] = [line for line in lines if line["event"] == "worklist-entry-refused"]
        assert refused["why"].startswith(why)
        assert "P1" not in str(lines)
        assert hospital.study("1.2.2").patient_id.id == "P2"
        assert hospital.keeper.registry.study("1.2.1") is None
        assert "worklist-entry-refused" not in hospital.polled(feed)
        assert feed.status()["senders"][0]["refused"] == 1
    [kept] = hospital.store.refused_messages()
    assert (kept.source, kept.peer, kept.why) == ("worklist", f"127.0.0.1:{scp.port}", refused["why"])
    assert hospital.metrics.worklist_refused.child().value == 1


def test_another_patient_than_that_of_an_open_study_is_refused_until_that_is_mended(hospital: Hospital) -> None:
    """Said, counted and kept once; looked at again with each poll."""
    hospital.put("1.2.1", patient={"id": "P7", "issuer": "HOSP"}, status="open", location="LAB1")
    with WorklistScp(entry()) as scp:
        feed = hospital.feed(scp)
        assert hospital.polled(feed) == ["worklist-entry-refused"]
        assert hospital.polled(feed) == []
        assert hospital.study().patient_id.id == "P7"
        [kept] = hospital.store.refused_messages()
        assert (kept.message, kept.why) == (
            "SPS1",
            "the study is open under another patient: changing that is a correction",
        )
        assert hospital.keeper.registry.patient("P1", "HOSP") is None, "nothing of it is taken"
        scp.entries = [entry(patient="P7")]
        assert hospital.polled(feed) == ["registry-changed"]
        assert feed.status()["senders"][0]["refused"] == 0
        scp.entries = [entry(), entry(patient="P7", step="SPS2")]
        with capture_logs() as lines:
            asyncio.run(feed.poll())
        assert [line.get("why") for line in lines] == ["entries of one study name different patients"]


def test_a_time_that_cannot_be_read_does_not_keep_a_study_out(hospital: Hospital) -> None:
    """It is planned for now, and a warning says so; so is a Requested Procedure ID that is too long for a Study ID."""
    hospital.now = datetime.now(UTC)
    made = with_bytes(entry(day="20240230"), "RequestedProcedureID", b"R" * 17)
    with WorklistScp(made, says_vr=False) as scp, capture_logs() as lines:
        asyncio.run(hospital.feed(scp).poll())
    assert hospital.study().planned == hospital.now
    assert hospital.study().study_id == ""
    assert [line["why"].partition(":")[0] for line in lines if line["event"] == "registry-warning"] == [
        "Scheduled Procedure Step Start Date and Time",
        "Requested Procedure ID has more than 16 characters",
    ]


def test_an_scp_that_is_away_is_said_once_and_asked_less_often(hospital: Hospital) -> None:
    """Each pause is twice as long, up to five minutes; what is known stays."""
    scp = WorklistScp(entry()).start()
    feed = hospital.feed(scp)
    hospital.polled(feed)
    scp.stop()
    pauses = []
    assert hospital.polled(feed) == ["worklist-away"]
    for _ in range(4):
        pauses.append(feed.pause)
        assert hospital.polled(feed) == []
    assert pauses == [60.0, 120.0, 240.0, 300.0]
    assert feed.status()["senders"][0]["silent"]
    assert feed.status()["fault"].startswith(f"no association with 127.0.0.1:{scp.port}")
    assert hospital.study().status == "scheduled"
    scp.entries.append(entry("1.2.2", "P2"))
    with scp:
        assert hospital.polled(feed) == ["worklist-back", "registry-changed"]
    assert (feed.pause, feed.status()["fault"]) == (60.0, "")
    polls = {outcome: hospital.metrics.worklist_polls.child(outcome).value for outcome in ("done", "failed", "cut")}
    assert polls == {"done": 2, "failed": 5, "cut": 0}


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0x0122])
def test_of_a_query_that_fails_nothing_is_taken(hospital: Hospital, status: int) -> None:
    """The line says with which status, and what the SCP says of it."""
    with WorklistScp(entry()) as scp:
        scp.status, scp.comment = status, "the database is away"
        with capture_logs() as lines:
            asyncio.run(hospital.feed(scp).poll())
    [line] = lines
    assert (line["event"], line["why"]) == (
        "worklist-away",
        f"the query failed with status {status:04X}: the database is away",
    )
    assert hospital.keeper.registry.study("1.2.1") is None


def test_other_refusals_are_said_too(hospital: Hospital) -> None:
    """An AE title that the SCP does not know, and an SCP that is none of worklists."""
    with WorklistScp() as scp:
        feed = hospital.feed(scp, ae_title="NOBODY")
        assert hospital.polled(feed) == ["worklist-away"]
        assert "called AE title not recognized" in feed.status()["fault"]


@pytest.mark.parametrize("heeds_cancel", [True, False])
def test_more_entries_than_are_taken(hospital: Hospital, heeds_cancel: bool) -> None:
    """The SCP is asked to end; what came is taken, and one line says that there is more."""
    entries = [entry(f"1.2.{number}", f"P{number}", step=f"S{number}") for number in range(1, 12)]
    with WorklistScp(*entries, heeds_cancel=heeds_cancel) as scp:
        feed = hospital.feed(scp, entries=3)
        assert hospital.polled(feed) == ["worklist-cut", "registry-changed"]
        assert len(hospital.keeper.registry.studies()) == 3
        assert hospital.polled(feed) == []
        assert feed.status()["fault"] == "there are more than 3 entries: the others are not known"
        scp.entries = entries[:3]
        assert hospital.polled(feed) == []
        assert feed.status()["fault"] == ""


def test_an_scp_that_never_ends_is_left(hospital: Hospital) -> None:
    """After a thousand further entries the association is aborted."""
    with WorklistScp(*[entry()] * 1100, heeds_cancel=False) as scp:
        feed = hospital.feed(scp, entries=2)
        assert hospital.polled(feed)[0] == "worklist-cut"
        assert scp.released.wait(60)


def test_a_store_that_does_not_take_it_is_asked_again(hospital: Hospital) -> None:
    """Nothing is remembered that was not kept."""
    with WorklistScp(entry()) as scp:
        feed = hospital.feed(scp)
        hospital.store.failing = True
        assert hospital.polled(feed) == ["store-failed"]
        hospital.store.failing = False
        assert hospital.polled(feed) == ["registry-changed"]


def test_over_tls(hospital: Hospital, tmp_path: Path) -> None:
    """The SCP's certificate must be trusted and name the host, else it is away."""
    made = tls.write(tmp_path, client_ca="hospital")
    context = tls.certificates(tmp_path, client_ca="hospital").context
    leaf = tls.device()
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    names = ("ca", "certificate", "private_key")
    assert made.client_ca is not None
    trusting = client_context(Path(made.client_ca), tmp_path / "own.pem", None, names)
    with WorklistScp(entry(), tls=context) as scp:
        assert hospital.polled(hospital.feed(scp, tls=trusting)) == ["registry-changed"]
        for wrong in (client_context(None, None, None, names), None):
            assert hospital.polled(hospital.feed(scp, tls=wrong)) == ["worklist-away"]


# --- for as long as the server runs ----------------------------------------------------------------------------------------


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In an event loop, for a minute at most."""

    async def limited() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(limited())


def test_it_asks_again_and_again_until_it_is_stopped(hospital: Hospital) -> None:
    """After each interval."""
    with WorklistScp(entry()) as scp:

        async def scenario() -> None:
            feed = hospital.feed(scp, interval=0.001)
            await feed.start()
            await asyncio.to_thread(until, lambda: len(scp.asked) >= 3, "three queries")
            await feed.stop()
            await feed.stop()
            count = len(scp.asked)
            await asyncio.sleep(0)
            assert len(scp.asked) == count

        run(scenario)
    assert hospital.study().status == "scheduled"


def test_it_ends_in_the_middle_of_a_query(hospital: Hospital) -> None:
    """The association is aborted, and nobody waits for the rest; one that never began ends as well."""
    with WorklistScp(entry(), entry("1.2.2")) as scp:
        scp.hold.clear()

        async def scenario() -> None:
            feed = hospital.feed(scp)
            await feed.stop()
            feed = hospital.feed(scp)
            await feed.start()
            await asyncio.to_thread(until, scp.held.is_set, "the query")
            with capture_logs() as lines:
                await feed.stop()
            assert lines == []

        run(scenario)
        scp.hold.set()
        assert scp.released.wait(60)
    assert hospital.keeper.registry.studies() == []


def test_the_event_loop_has_its_turn_between_the_studies(hospital: Hospital) -> None:
    """While hundreds of entries are taken others are served: the loop turns at least once for each study."""
    with WorklistScp(*(entry(f"1.2.{number}", "P1", step=f"S{number}") for number in range(1, 301))) as scp:

        async def scenario() -> None:
            turns = 0

            async def turning() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            feed = hospital.feed(scp)
            await feed.poll()  # they are known
            again = hospital.feed(scp)
            beside = asyncio.get_running_loop().create_task(turning())
            answers = await again._ask()
            assert answers is not None
            turns = 0
            await again._take(answers)
            beside.cancel()
            assert turns >= 300

        run(scenario)
    assert len(hospital.keeper.registry.studies()) == 300
