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

from plscp.errors import Conflict, Refused
from plscp.matching import changes, hospital, step_changes
from plscp.matching.hospital import Step as Said
from plscp.matching.model import Device, Policy
from plscp.matching.plan import Plan
from plscp.matching.records import PatientId
from plscp.matching.registry import Locations, Registry
from plscp.matching.step_changes import StepBegun, StepSaid, StepStudy
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.service.reply import ActionReply
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, STATUSES, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store import open_store
from plscp.store.port import RegistryDraft, RegistryRecord
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
    "PE": ("400", "HOSP"),  # PD, registered twice: known to be the same person once they are merged
}
PLACEHOLDER: Final = "UNKNOWN"
"""The Patient ID of an emergency; the person is called ?1, ?2 and so on until a merge says who it is."""
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
class Step:
    """A procedure step that a modality has reported, and the study that it is of."""

    uid: str
    study: str
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
    ids: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: {who: [one] for who, one in PATIENTS.items()})
    same: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
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
        except (Conflict, Refused):
            return False
        return True

    def _hears(self, *said: Said) -> bool:
        """An HL7 message: what it says is one plan; whether it is acknowledged."""

        def planned(registry: Registry) -> list[RegistryRecord]:
            plan = Plan(registry, POLICY, self.now)
            for each in said:
                each(plan)
            return plan.records

        return self._tell(planned)

    def _put(self, uid: str, patient: str, **more: Any) -> bool:
        number, issuer = self._id(patient)
        body = {
            "study_instance_uid": uid,
            "study_id": f"S{patient[1:]}",
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
        who = self.who(patient)
        return next((one for one in self.told if one.patient == who and one.until is None), None)

    def who(self, patient: str) -> str:
        """The person, as far as feeds have said that two are one."""
        return self.same.get(patient, patient)

    def _id(self, patient: str) -> tuple[str, str]:
        """The identifier that a sender uses for a person: after a change every other one still has the old one."""
        known = self.ids.get(patient, [(PLACEHOLDER, "")])
        return known[-1 - self._count % len(known)]

    def arrive(self, room: str, patient: str, *, telling: Literal["now", "late", "never"]) -> None:
        """A patient is truly brought in; whoever was there is gone. Feeds may say so."""
        patient = self.who(patient)
        for other in ROOMS:
            if self.occupant(other, self.now) == patient:
                self.lies_in[other].append((NOBODY, self.now))
        self.lies_in[room].append((patient, self.now))
        self.log.append(f"{patient} arrives in {room}, told {telling}")
        if telling != "never" and patient[0] != "?":
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
        patient = self.who(patient)
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
        patient = self.who(patient)
        number, issuer = self._id(patient)
        order: dict[str, Any] = {
            "study_instance_uid": uid,
            "study_id": f"S{patient[1:]}",
            "accession_number": "V7" if patient == "PA" else f"A{uid[-1]}",
            "patient": {"id": number, "issuer": issuer},
            "location": room,
        }
        if self._hears(lambda plan: hospital.plan_order(plan, order, order["patient"], renews=True)):
            self.scheduled[uid] = patient
            self.cancelled.discard(uid)
            self.log.append(f"told: {uid} scheduled for {patient} in {room}")

    def cancel(self, uid: str) -> None:
        """An order is cancelled."""
        if self._hears(lambda plan: hospital.cancel_order(plan, {"study_instance_uid": uid})):
            self.scheduled.pop(uid, None)
            self.cancelled.add(uid)
            self.log.append(f"told: {uid} cancelled")

    # --- what modalities report ---

    def emergency(self, room: str) -> None:
        """Somebody whom nobody knows is brought in, and the modality has a placeholder."""
        self._count += 1
        patient = f"?{self._count}"
        self.arrive(room, patient, telling="never")
        self.begin_step(room, patient)

    def begin_step(self, room: str, patient: str, *, late: bool = False, again: bool = False) -> None:
        """A modality of the room begins a step of a patient's study: of the open one, or of one of its own.

        Args:
            late: the message comes three minutes after the step began.
            again: the study that was open last goes on.
        """
        patient = self.who(patient)
        before = self.current(patient)
        last = next((one for one in reversed(self.told) if one.patient == patient), None)
        goes_on = before or (last if again else None)
        uid = goes_on.uid if goes_on else f"1.{len(self.told) + 1}"
        began = self.now - timedelta(minutes=3 if late else 0)
        self._count += 1
        number, issuer = self._id(patient)
        said = StepBegun(
            f"5.{self._count}",
            False,
            (StepStudy(uid, "", f"S{patient[1:]}"),),
            number,
            issuer,
            "XRAY",
            "XRAY",
            room,
            began,
        )
        if not self._tell(lambda registry: step_changes.begin_step(registry, said, POLICY, self.now)):
            return
        self.steps.append(Step(said.sop_instance_uid, uid, room, self.now))
        self.cancelled.discard(uid)
        if before is None or before.room != room:
            if before is not None:
                before.until = self.now
            self.told.append(Told(uid, patient, room, self.now if before else began))
        if patient[0] == "?" and patient not in self.ids:
            study = self.keeper.registry.study(uid)
            assert study is not None
            assert study.patient_id.issuer == "plscp", "\n".join(self.log)
            self.ids[patient] = [(study.patient_id.id, study.patient_id.issuer)]
        self.log.append(f"told: step {said.sop_instance_uid} of {uid} of {patient} begins in {room}, late {late}")

    def end_step(self, step: Step, status: Literal["COMPLETED", "DISCONTINUED"], reason: str = "") -> None:
        """A modality says that a step is over; the study closes with its last one."""
        said = StepSaid(step.uid, status, self.now, reason)
        if not self._tell(lambda registry: step_changes.set_step(registry, said, POLICY, self.now)):
            return
        step.until = self.now
        self.log.append(f"told: step {step.uid} of {step.study} {status} {reason}")
        if not any(one.study == step.study and one.until is None for one in self.steps):
            for one in self.told:
                if one.uid == step.study and one.until is None:
                    one.until = self.now

    # --- who is who ---

    def change_id(self, patient: str) -> None:
        """A47: a person has another number from now on; half of all senders still use the old one."""
        if self.who(patient) != patient or patient[0] == "?":
            return
        (number, issuer), self._count = self.ids[patient][-1], self._count + 1
        new = (f"{number[:3]}N{self._count}", issuer)
        old_id, new_id = PatientId(number, issuer), PatientId(*new)
        if self._hears(lambda plan: hospital.change_id(plan, old_id, new_id)):
            self.ids[patient].append(new)
            self.log.append(f"told: {patient} has {new} now")

    def merge(self, survivor: str, prior: str) -> None:
        """A40: two known persons are one."""
        kept, gone = PatientId(*self.ids[survivor][-1]), PatientId(*self.ids[prior][-1])
        if self.who(prior) == prior and self._hears(lambda plan: hospital.merge(plan, kept, gone)):
            self._became(prior, survivor)

    def merge_emergency(self, survivor: str) -> None:
        """A40 whose prior ID is the placeholder: who the emergency is. Where several or none came with it, nothing may move."""
        came = {one.patient for one in self.told if one.until is None and one.patient[0] == "?"}
        kept, placeholder = PatientId(*self.ids[survivor][-1]), PatientId(PLACEHOLDER, "HOSP")
        self._hears(lambda plan: hospital.merge(plan, kept, placeholder))
        moved = {who for who in self.ids if who[0] == "?" and who not in self.same and self._named_by(who) == kept}
        assert moved <= came, "\n".join([*self.log, f"{moved} moved into {survivor}, but {came} came"])
        assert len(came) == 1 or not moved, "\n".join([*self.log, f"{moved} of {came} moved into {survivor}"])
        for prior in moved:
            self._became(prior, survivor)

    def _named_by(self, patient: str) -> PatientId:
        """The identifier that a person has by now in the registry."""
        found = self.keeper.registry.owner(PatientId(*self.ids[patient][0]))
        assert found is not None
        return found.current

    def _became(self, prior: str, survivor: str) -> None:
        """What is known of one is known of the other."""
        self.log.append(f"told: {prior} is {survivor}")
        for name, who in [(prior, prior), *self.same.items()]:
            if who == prior:
                self.same[name] = survivor
        for room in ROOMS:
            self.lies_in[room] = [(self.who(one), since) for one, since in self.lies_in[room]]
        for one in self.told:
            one.patient = self.who(one.patient)
        self.scheduled = {uid: self.who(one) for uid, one in self.scheduled.items()}
        self.signs = [(self.who(one), room, when) for one, room, when in self.signs]
        self.stands_under = {uid: self.who(one) for uid, one in self.stands_under.items()}

    def admit(self, visit: tuple[str, str]) -> None:
        """A visit of another hospital."""
        number, issuer = self._id(VISITS[visit])
        body = {"id": visit[0], "issuer": visit[1], "patient": {"id": number, "issuer": issuer}}
        if self._tell(lambda registry: changes.put_admission(registry, body, POLICY, self.now)):
            self.visits[visit] = VISITS[visit]
            self.log.append(f"told: visit {visit} of {VISITS[visit]}")

    # --- what devices send -------------------------------------------------------------------------------------------

    def study_of(self, patient: str) -> str:
        """A study of the patient to name: the open one, else the scheduled one, else the last one."""
        patient = self.who(patient)
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
        named = self._id(patient.rstrip("*")) if patient else ("", "")
        if named[1] == "plscp":
            named = (PLACEHOLDER, "")
        dataset = procedural(
            [entry],
            study=(uid or self.study_of(whose["U"])) if "U" in whose else "",
            patient=named[0],
            study_id=f"S{whose['S'][1:]}" if "S" in whose else "",
            location=whose.get("L", ""),
            frame=SENDERS[sent.sender].frame,
        )
        if named[1] and not patient.endswith("*"):
            dataset.IssuerOfPatientID = named[1]
        before = {"slip": self._is_slip(sent, str(dataset.StudyInstanceUID)), "two": self._two_against_one(sent)}
        owed = self._is_owed(sent, str(dataset.StudyInstanceUID))
        status, reply = self._answer(PROCEDURAL_EVENT_LOGGING, sent.sender, dataset)
        self.log.append(
            f"{sent.sender} in {sent.room} {whose} occurred {sent.occurred:%H:%M:%S} stamped {sent.stamp}"
            f"{' again' if sent.again else ''}: {status:04X} {reply.study_instance_uid if reply else ''}"
        )
        assert not owed or STATUSES[status].performed, "its step is in progress, or has just ended\n" + "\n".join(
            self.log
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
            dataset.PatientID, dataset.IssuerOfPatientID = self._id(patient)
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
        allowed = {self.who(one) for one in allowed}
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
        found = (who for who, known in self.ids.items() if (number, issuer) in known)
        return self.who(next(found, f"{number} of {issuer}"))

    def _under(self, uid: str) -> str:
        study = self.keeper.registry.study(uid)
        assert study is not None
        return self._person(study.patient_id.id, study.patient_id.issuer)

    def _named_by_patient_id(self, sent: Sent) -> str:
        """P as sent, or the authority's that the settings name where none was sent; nobody by a placeholder."""
        patient = sent.whose.get("P", "")
        if not patient or patient[0] == "?":
            return ""
        return self._person(self.ids[patient[:2]][0][0], "HOSP") if patient.endswith("*") else self.who(patient)

    def _room_names(self, room: str, moment: datetime) -> set[str]:
        """Whom a room names at a true time: who is told to be there, but for doubt about another one."""
        there = [
            one
            for one in self.told
            if one.room == room and one.since <= moment + SLACK and (one.until is None or one.until >= moment - SLACK)
        ]
        names = set()
        for one in there:
            others = [
                other
                for other in there
                if other.patient != one.patient and _sure(other, moment) and not self._is_gone(other, one)
            ]
            # Where two are told to be there, the newer one must have been named from there, and the other not since.
            alive = any(self._is_alive(other, moment) for other in others)
            if not alive and (not others or self._is_confirmed(one)):
                names.add(one.patient)
        return names | ({self.occupant(room, moment)} - {NOBODY})

    def _is_confirmed(self, one: Told) -> bool:
        """Whether who came to a room was named from there, or had a step there."""
        named = any(who == one.patient and where == one.room and when >= one.since for who, where, when in self.signs)
        return named or any(step.study == one.uid and step.room == one.room for step in self.steps)

    def _is_alive(self, one: Told, moment: datetime) -> bool:
        """Whether who is told to be in a room was named from there at a time or later, or had a step in progress."""
        named = any(who == one.patient and where == one.room and when >= moment for who, where, when in self.signs)
        return named or any(
            step.study == one.uid and (step.until is None or step.until >= moment) for step in self.steps
        )

    def _is_gone(self, one: Told, newest: Told) -> bool:
        """Whether somebody between the two came to the room for certain, after whom nothing more was heard of the first."""
        return any(
            other.room == one.room
            and other.patient not in {one.patient, newest.patient}
            and one.since <= other.since <= newest.since
            and self._is_confirmed(other)
            and not self._is_alive(one, other.since)
            for other in self.told
        )

    def _is_slip(self, sent: Sent, uid: str) -> bool:
        """A scheduled study named from a room where another patient's is open."""
        study = self.keeper.registry.study(uid)
        if "U" not in sent.whose or study is None or study.status != "scheduled":
            return False
        places = SENDERS[sent.sender].profile.device.locations
        rooms = {sent.whose["L"]} if "L" in sent.whose else set(places)
        there = self.keeper.registry.studies(status="open")
        return any(one.location in rooms and one.patient != study.patient for one in there)

    def _is_owed(self, sent: Sent, uid: str) -> bool:
        """Whether a study must take the request: it alone is named, and a step of it is in progress or has ended within the grace."""
        steps = [step for step in self.steps if step.study == uid]
        if sent.again is not None or set(sent.whose) != {"U"} or not steps or uid in self.cancelled:
            return False
        last = [step.until for step in steps if step.until is not None]
        return len(last) < len(steps) or self.now - max(last) < POLICY.close_grace

    def _two_against_one(self, sent: Sent) -> bool:
        """Study ID and location of one patient whose study is open there, Patient ID of another."""
        whose = sent.whose
        if not {"P", "S", "L"} <= set(whose) or self._named_by_patient_id(sent) in {"", self.who(whose["S"])}:
            return False
        theirs = self.current(whose["S"])
        known = self.keeper.registry.study(theirs.uid) if theirs is not None else None
        return known is not None and (known.status, known.location, known.study_id) == (
            "open",
            whose["L"],
            f"S{whose['S'][1:]}",
        )

    def _judge(self, sent: Sent, status: int, reply: ActionReply, named_uid: str, *, slip: bool, two: bool) -> None:
        story = "\n".join(self.log)
        patient = self._under(reply.study_instance_uid)
        allowed = self._room_names(sent.room, sent.occurred)
        if not sent.measured:
            # A clock of which nothing is known may be fast, and its late event then looks punctual: the contract's own limit.
            allowed |= self._room_names(sent.room, min(sent.occurred + SENDERS[sent.sender].ahead, self.now))
        whose = sent.whose
        by_id = self._named_by_patient_id(sent)
        if by_id:
            assert patient == by_id, f"stands under {patient}, Patient ID is of {by_id}\n{story}"
            allowed.add(by_id)
        if "S" in whose:
            allowed.add(self.who(whose["S"]))
        if "U" in whose and self.keeper.registry.study(named_uid) is not None:
            allowed.add(self._under(named_uid))
        if sent.again is None:  # what is stored already stays where it stands
            assert reply.study_instance_uid not in self.cancelled, f"the study was cancelled\n{story}"
        if patient in self.ids:
            current = self.ids[patient][-1][0]
            assert reply.patient_id == current, f"the reply carries {reply.patient_id}, not {current}\n{story}"
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
