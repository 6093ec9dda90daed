"""A hospital of two labs with a truth of its own, told to a real server by feeds and devices, and what the server may make of it.

The truth: who lies where when, what each device's clock shows, when an event occurred. The server hears of it late, early, wrong or not
at all. `Hospital.judge` says of each answer whether the patient under whom the event stands was named by any of its identifiers, or by
its room at the time when it truly occurred.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset

from plscp.errors import Conflict
from plscp.matching import changes
from plscp.matching.model import Device, Policy
from plscp.matching.registry import Locations, Registry
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.service.reply import ActionReply
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, STATUSES, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store import open_store
from plscp.store.port import RegistryDraft
from tests.events import encoded, procedural, substance, text
from tests.rawscu import INSTANCE_OF, SYNTAXES
from tests.serving import until

POLICY: Final = Policy(patient_id_issuer="HOSP")
OWN_FRAME: Final = POLICY.synchronization_frame_of_reference_uid
ROOMS: Final = ("LAB1", "LAB2")
SLACK: Final = timedelta(minutes=5)
"""What tolerances and whole minutes may add up to."""
NOBODY: Final = "nobody"

PATIENTS: Final = {
    "PA": ("100", "HOSP"),
    "PB": ("200", "HOSP"),
    "PC": ("100", "OTHER"),  # PA's number at another authority
    "PD": ("300", "HOSP"),
}
VISITS: Final = {("V7", "OTHER"): "PB"}
"""Admission IDs; V7 is also the accession number of PA's studies."""


@dataclass(frozen=True)
class Sender:
    """A device: how it is configured, how far its clock is off (its name for no zone: an offset in each DateTime)."""

    profile: Profile
    off: timedelta = timedelta(0)
    zone: str = ""
    frame: str = OWN_FRAME
    drifts: bool = False

    @property
    def ahead(self) -> timedelta:
        """By how much what it stamps is read too late, where nothing is known of its clock."""
        guessed = timedelta(hours=2) if self.zone and self.profile.zone is None else timedelta(0)
        return max(self.off, timedelta(0)) + guessed

    def stamp(self, moment: datetime) -> str:
        """A DT as it writes it."""
        shown = moment + self.off
        if self.drifts:  # half a minute slower each hour, and set right at midnight
            shown -= timedelta(seconds=moment.hour * 30 + moment.minute / 2)
        if not self.zone:
            return shown.strftime("%Y%m%d%H%M%S+0000")
        return shown.astimezone(ZoneInfo(self.zone)).strftime("%Y%m%d%H%M%S")


def _sender(
    name: str,
    *places: str,
    off: timedelta = timedelta(0),
    zone: str = "",
    known_zone: bool = True,
    drifts: bool = False,
) -> Sender:
    profile = Profile(Device(name, places), POLICY, zone=zone if zone and known_zone else None)
    return Sender(profile, off, zone, drifts=drifts)


SENDERS: Final = {
    sender.profile.device.ae_title: sender
    for sender in (
        _sender("HEMO1", "LAB1"),
        _sender("HEMO2", "LAB2"),
        _sender("SLOW1", "LAB1", off=-timedelta(minutes=40)),
        _sender("SLOW2", "LAB2", off=-timedelta(days=3)),
        _sender("FAST1", "LAB1", off=timedelta(minutes=10)),
        _sender("DRIFT", "LAB2", off=timedelta(minutes=4), drifts=True),
        _sender("ECHO", "LAB1", "LAB2"),
        _sender("MOBILE"),
        _sender("BERLIN", "LAB1", off=timedelta(seconds=1), zone="Europe/Berlin"),
        _sender("GUESS", "LAB2", zone="Europe/Berlin", known_zone=False),
    )
}


@dataclass
class Told:
    """What feeds said of a study's time in a room."""

    uid: str
    patient: str
    room: str
    since: datetime
    until: datetime | None = None


@dataclass
class Sent:
    """A request, and the truth behind it."""

    sender: str
    room: str
    occurred: datetime
    whose: dict[str, str]  # U, P, S, L: whose (L: which room); P with an asterisk after it: without issuer
    observation: str
    stamp: str
    words: str
    measured: bool
    again: "Sent | None" = None


@dataclass
class Hospital:
    """The truth, the server, and what was told.

    Args:
        folder: where the server's store lives.
        start: UTC.
    """

    folder: Path
    start: datetime
    now: datetime = field(init=False)
    lies_in: dict[str, list[tuple[str, datetime]]] = field(default_factory=lambda: {room: [] for room in ROOMS})
    told: list[Told] = field(default_factory=list)
    scheduled: dict[str, str] = field(default_factory=dict)
    signs: list[tuple[str, str, datetime]] = field(default_factory=list)
    stands_under: dict[str, str] = field(default_factory=dict)
    visits: dict[tuple[str, str], str] = field(default_factory=dict)
    arrivals: dict[str, list[tuple[datetime, bool]]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.now = self.start
        self._loop = asyncio.new_event_loop()
        self._open()

    # --- the server --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.store = open_store(f"sqlite:///{self.folder / 'plscp.db'}")
        registry = Registry(Locations({"LAB1": ["Lab 1"], "LAB2": ["Lab 2"]}))
        self.keeper = RegistryKeeper(self.store, registry, policy=POLICY, clock=lambda: self.now)
        self.handlers = Handlers(self.store, self.keeper, lambda ae: SENDERS[ae].profile, clock=lambda: self.now)
        self.keeper.load()
        for ae_title, arrival, difference in self.store.clocks(0):
            self.handlers.clocks.load(ae_title, arrival, difference, POLICY.clock_tolerance)

    def restart(self) -> None:
        """Another server on the same store."""
        self.store.close()
        self._open()
        self.log.append("restart")

    def close(self) -> None:
        """End it."""
        self.store.close()
        self._loop.close()

    def pass_minutes(self, minutes: float) -> None:
        """Time passes, and the server looks at its rooms."""
        self.now += timedelta(minutes=minutes)
        self.log.append(f"{self.now:%H:%M:%S}")
        self.keeper.turn_over_rooms()
        self._settle()

    def _settle(self) -> None:
        """Wait for what the server does by itself: first for what the store's thread has in hand, then for a turnover."""
        done = threading.Event()
        self.store.submit(RegistryDraft([], self.keeper.registry.position, 0, "test", lambda _: done.set()))
        assert done.wait(60)
        until(lambda: not self.keeper.turning_over, "the turnover", 60)

    def _tell(self, plan: Any) -> bool:
        """A registry change; whether the server took it."""
        try:
            self._loop.run_until_complete(self.keeper.change(plan, "http"))
        except Conflict:
            return False
        return True

    def _put(self, uid: str, patient: str, **more: Any) -> bool:
        number, issuer = PATIENTS[patient]
        body = {
            "study_instance_uid": uid,
            "study_id": f"S{patient[-1]}",
            "accession_number": "V7" if patient == "PA" else f"A{uid[-1]}",
            "patient": {"id": number, "issuer": issuer},
            **more,
        }
        return self._tell(lambda registry: changes.put_study(registry, body, POLICY, self.now))

    # --- who lies where ----------------------------------------------------------------------------------------------

    def occupant(self, room: str, moment: datetime) -> str:
        """Who truly lay there."""
        found = NOBODY
        for patient, since in self.lies_in[room]:
            if since <= moment:
                found = patient
        return found

    def current(self, patient: str) -> Told | None:
        """The patient's study that feeds say is open."""
        return next((one for one in self.told if one.patient == patient and one.until is None), None)

    def arrive(self, room: str, patient: str, *, telling: Literal["now", "late", "never"]) -> None:
        """A patient is truly brought in; whoever was there is gone. Feeds may say so."""
        for other in ROOMS:
            if self.occupant(other, self.now) == patient:
                self.lies_in[other].append((NOBODY, self.now))
        self.lies_in[room].append((patient, self.now))
        self.log.append(f"{patient} arrives in {room}, told {telling}")
        if telling != "never":
            opened = self.now - timedelta(minutes=3) if telling == "late" else None
            self.tell_open(room, patient, opened)

    def leave(self, room: str, *, telling: bool) -> None:
        """Whoever lies there goes; feeds may say so."""
        patient = self.occupant(room, self.now)
        self.lies_in[room].append((NOBODY, self.now))
        self.log.append(f"{patient} leaves {room}, told {telling}")
        study = self.current(patient)
        if telling and study is not None:
            self.tell_closed(study)

    def tell_open(self, room: str, patient: str, opened: datetime | None = None) -> None:
        """A feed says that a patient's study is open there, true or not yet true."""
        before = self.current(patient)
        uid = before.uid if before else f"1.{len(self.told) + 1}"
        stated = {} if before or opened is None else {"opened": opened.isoformat()}
        if before is not None and before.room == room:
            return
        if self._put(uid, patient, location=room, status="open", **stated):
            if before is not None:
                before.until = self.now
            self.told.append(Told(uid, patient, room, opened if stated and opened else self.now))
            self.log.append(f"told: {uid} of {patient} open in {room} {stated}")

    def tell_closed(self, study: Told) -> None:
        """A feed says that a study is closed."""
        if self._tell(lambda registry: changes.close_study(registry, study.uid, POLICY, self.now)):
            study.until = self.now
            self.log.append(f"told: {study.uid} closed")

    def schedule(self, room: str, patient: str) -> None:
        """An order; or one for a study that was another patient's."""
        uid = f"2.{room[-1]}"
        if self._put(uid, patient, location=room, status="scheduled"):
            self.scheduled[uid] = patient
            self.log.append(f"told: {uid} scheduled for {patient} in {room}")

    def admit(self, visit: tuple[str, str]) -> None:
        """A visit of another hospital."""
        number, issuer = PATIENTS[VISITS[visit]]
        body = {"id": visit[0], "issuer": visit[1], "patient": {"id": number, "issuer": issuer}}
        if self._tell(lambda registry: changes.put_admission(registry, body, POLICY, self.now)):
            self.visits[visit] = VISITS[visit]
            self.log.append(f"told: visit {visit} of {VISITS[visit]}")

    # --- what devices send -------------------------------------------------------------------------------------------

    def study_of(self, patient: str) -> str:
        """A study of the patient to name: the open one, else the scheduled one, else the last one."""
        open_one = self.current(patient)
        if open_one is not None:
            return open_one.uid
        planned = [uid for uid, whose in self.scheduled.items() if whose == patient]
        last = [one.uid for one in self.told if one.patient == patient]
        return (planned or last[-1:] or ["1.99"])[0]

    def report(self, sender: str, room: str, delay: timedelta, whose: dict[str, str], uid: str = "") -> Sent:
        """An event that truly occurred in a room so long ago, sent now; `uid` goes before the study of `whose` U."""
        self._count += 1
        occurred = self.now - delay
        observation = f"1.2.{self._count}"
        lately = [
            when for when, late in self.arrivals.get(sender, []) if not late and self.now - when < timedelta(minutes=50)
        ]
        measured = len(lately) + (not delay) >= 2
        stamp = SENDERS[sender].stamp(occurred)
        sent = Sent(sender, room, occurred, whose, observation, stamp, f"note {self._count}", measured)
        self._send(sent, uid)
        self.arrivals.setdefault(sender, []).append((self.now, bool(delay)))
        return sent

    def report_again(self, before: Sent, patient: str) -> Sent:
        """The same entry, now for another patient."""
        sent = Sent(
            before.sender,
            before.room,
            before.occurred,
            {"P": patient},
            before.observation,
            before.stamp,
            before.words,
            before.measured,
            before,
        )
        self._send(sent)
        return sent

    def _send(self, sent: Sent, uid: str = "") -> None:
        whose = sent.whose
        entry = text("CONTAINS", ("121174", "DCM", "Procedure Note"), sent.words)
        entry.ObservationDateTime, entry.ObservationUID = sent.stamp, sent.observation
        patient = whose.get("P", "")
        named = PATIENTS.get(patient.rstrip("*"), ("", ""))
        dataset = procedural(
            [entry],
            study=(uid or self.study_of(whose["U"])) if "U" in whose else "",
            patient=named[0],
            study_id=f"S{whose['S'][-1]}" if "S" in whose else "",
            location=whose.get("L", ""),
            frame=SENDERS[sent.sender].frame,
        )
        if named[1] and not patient.endswith("*"):
            dataset.IssuerOfPatientID = named[1]
        before = {"slip": self._is_slip(sent, str(dataset.StudyInstanceUID)), "two": self._two_against_one(sent)}
        status, reply = self._answer(PROCEDURAL_EVENT_LOGGING, sent.sender, dataset)
        self.log.append(
            f"{sent.sender} in {sent.room} {whose} occurred {sent.occurred:%H:%M:%S} stamped {sent.stamp}"
            f"{' again' if sent.again else ''}: {status:04X} {reply.study_instance_uid if reply else ''}"
        )
        if reply is not None and STATUSES[status].performed:
            self._judge(sent, status, reply, str(dataset.StudyInstanceUID), **before)

    def administer(
        self, sender: str, *, patient: str = "", visit: tuple[str, str] | None = None, issuer: bool = True
    ) -> None:
        """A drug given now, for a patient or a visit."""
        self._count += 1
        dataset = substance(self.now, product=f"Drug {self._count}", admission=visit[0] if visit else "")
        dataset.SubstanceAdministrationDateTime = SENDERS[sender].stamp(self.now)  # by the clock of its log entries
        if patient:
            dataset.PatientID, dataset.IssuerOfPatientID = PATIENTS[patient]
        if visit and issuer:
            item = Dataset()
            item.LocalNamespaceEntityID = visit[1]
            dataset.IssuerOfAdmissionIDSequence = [item]
        head = self.store.head()[0]
        status, _ = self._answer(SUBSTANCE_ADMINISTRATION_LOGGING, sender, dataset)
        self.log.append(f"{sender} administers to {patient} {visit}: {status:04X}")
        if not STATUSES[status].performed:
            return
        allowed = {patient} if patient else {self.visits[one] for one in self.visits if visit and one[0] == visit[0]}
        for position in range(head + 1, self.store.head()[0] + 1):
            event = self.store.event(position)
            if event is not None and event.kind == "entry":
                assert self._person(*event.key.partition("|")[::2][::-1]) in allowed, "\n".join(self.log)

    def _answer(self, sop_class: str, sender: str, dataset: Dataset) -> tuple[int, ActionReply | None]:
        raw = encoded(dataset)
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
            timestamp=self.now,
        )
        status, reply = self.handlers.answer(event)
        self._settle()
        if status.receipt is not None:
            self.handlers.on_delivery_confirmed([status.receipt])
        return int(status), reply if isinstance(reply, ActionReply) else None

    # --- what may come of it -----------------------------------------------------------------------------------------

    def _person(self, number: str, issuer: str) -> str:
        return next(
            (name for name, identity in PATIENTS.items() if identity == (number, issuer)), f"{number} of {issuer}"
        )

    def _under(self, uid: str) -> str:
        study = self.keeper.registry.study(uid)
        assert study is not None
        return self._person(study.patient_id.id, study.patient_id.issuer)

    def _named_by_patient_id(self, sent: Sent) -> str:
        """P as sent, or the authority's that the settings name where none was sent."""
        patient = sent.whose.get("P", "")
        return self._person(PATIENTS[patient[:2]][0], "HOSP") if patient.endswith("*") else patient

    def _room_names(self, room: str, moment: datetime) -> set[str]:
        """Whom a room names at a true time: who is told to be there, but for doubt about another one."""
        there = [
            one
            for one in self.told
            if one.room == room and one.since <= moment + SLACK and (one.until is None or one.until >= moment - SLACK)
        ]
        names = set()
        for one in there:
            others = [other for other in there if other.patient != one.patient and _sure(other, moment)]
            # Where two are told to be there, the newer one must have been named from there, and the other not since.
            alive = [
                other
                for other in others
                if any(who == other.patient and where == room and when >= moment for who, where, when in self.signs)
            ]
            confirmed = any(
                who == one.patient and where == room and when >= one.since for who, where, when in self.signs
            )
            if not alive and (not others or confirmed):
                names.add(one.patient)
        return names | ({self.occupant(room, moment)} - {NOBODY})

    def _is_slip(self, sent: Sent, uid: str) -> bool:
        """A scheduled study named from a room where another patient's is open."""
        study = self.keeper.registry.study(uid)
        if "U" not in sent.whose or study is None or study.status != "scheduled":
            return False
        places = SENDERS[sent.sender].profile.device.locations
        rooms = {sent.whose["L"]} if "L" in sent.whose else set(places)
        there = self.keeper.registry.studies(status="open")
        return any(one.location in rooms and one.patient != study.patient for one in there)

    def _two_against_one(self, sent: Sent) -> bool:
        """Study ID and location of one patient whose study is open there, Patient ID of another."""
        whose = sent.whose
        if not {"P", "S", "L"} <= set(whose) or self._named_by_patient_id(sent) == whose["S"]:
            return False
        theirs = self.current(whose["S"])
        known = self.keeper.registry.study(theirs.uid) if theirs is not None else None
        return known is not None and known.status == "open" and known.location == whose["L"]

    def _judge(self, sent: Sent, status: int, reply: ActionReply, named_uid: str, *, slip: bool, two: bool) -> None:
        story = "\n".join(self.log)
        patient = self._under(reply.study_instance_uid)
        allowed = self._room_names(sent.room, sent.occurred)
        if not sent.measured:
            # A clock of which nothing is known may be fast, and its late event then looks punctual: the contract's own limit.
            allowed |= self._room_names(sent.room, min(sent.occurred + SENDERS[sent.sender].ahead, self.now))
        whose = sent.whose
        if "P" in whose:
            by_id = self._named_by_patient_id(sent)
            assert patient == by_id, f"stands under {patient}, Patient ID is of {by_id}\n{story}"
            allowed.add(by_id)
        if "S" in whose:
            allowed.add(whose["S"])
        if "U" in whose and self.keeper.registry.study(named_uid) is not None:
            allowed.add(self._under(named_uid))
        assert patient in allowed, f"stands under {patient}, but only {allowed} are named\n{story}"
        assert not (slip and status == 0), f"a worklist slip without a warning\n{story}"
        assert not (two and reply.study_instance_uid), f"Study ID and location are another patient's\n{story}"
        self.stands_under.setdefault(reply.study_instance_uid, patient)
        place = whose.get("L") or next(iter(SENDERS[sent.sender].profile.device.locations), "")
        if {"U", "P", "S"} & set(whose) and sent.again is None and place == sent.room:
            self.signs.append((patient, sent.room, sent.occurred))

    def check(self) -> None:
        """No study with events is another patient's now."""
        for uid, patient in self.stands_under.items():
            assert self._under(uid) == patient, f"{uid} had events of {patient}\n" + "\n".join(self.log)


def _sure(one: Told, moment: datetime) -> bool:
    return one.since <= moment - SLACK and (one.until is None or one.until >= moment + SLACK)


NIGHT: Final = datetime(2024, 10, 26, 23, 50, tzinfo=UTC)
"""The clocks of Berlin go back at one o'clock."""
DAY: Final = datetime(2024, 5, 14, 8, 0, tzinfo=UTC)
SUBSETS: Final[Sequence[tuple[str, ...]]] = (
    (), (), (), ("P",), ("P",), ("U",), ("U", "P"), ("L",), ("L",), ("S", "L"), ("P", "S", "L"), ("P", "L"), ("U", "L"),
)  # fmt: skip
