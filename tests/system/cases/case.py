"""One case while it is played: feeds and devices say what they say, and what must come of each is held against answers and Kafka."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pydicom.dataset import Dataset

from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.events import encoded, note, procedural, substance
from tests.rawscu import SYNTAXES, RawScu
from tests.serving import until
from tests.system.cases.rig import Record, Rig
from tests.system.cases.senders import ISSUER, Hospital, Modality

ROOT: Final = "1.2.826.0.1.3680043.9.7"
OWN_ID: Final = "PLSCP-"
"""How the Patient IDs begin that plscp gives."""


@dataclass
class Sent:
    """A request of a device."""

    device: str
    sop_class: str
    made: Dataset
    words: str
    quarantine: str = ""  # the item's id, once it was refused


@dataclass
class Case:
    """A case on a day of its own, in two rooms of its own.

    Studies, steps and patients are named by a number, which is unique within the case.
    """

    rig: Rig
    name: str
    hospital: Hospital
    modality: Modality
    day: datetime = field(init=False)
    began: int = field(init=False)

    def __post_init__(self) -> None:
        self.day = self.rig.next_day()
        self.began = self.rig.head()
        self._expected: list[tuple[str, str, str]] = []  # type, key, status
        self._open: dict[str, RawScu] = {}

    # --- names ---

    def study(self, number: int) -> str:
        """A Study Instance UID."""
        return f"{ROOT}.{''.join(str(ord(c)) for c in self.name)}.{number}"

    def patient(self, who: int | str) -> str:
        """A Patient ID; words stand for themselves."""
        return f"{self.name}PAT{who}" if isinstance(who, int) else who

    # --- time ---

    def at(self, clock: str) -> "Case":
        """The clock shows ``HH:MM`` or ``HH:MM:SS`` of the case's day."""
        self.rig.clock(self.moment(clock))
        return self

    def moment(self, clock: str) -> datetime:
        """That time, UTC."""
        hours, minutes, *seconds = map(int, clock.split(":"))
        return self.day + timedelta(hours=hours, minutes=minutes, seconds=sum(seconds))

    # --- feeds ---

    def adt(self, event: str, patient: int, *, prior: int | str = "", answer: str = "AA", **more: str) -> None:
        """An ADT message, acknowledged."""
        before = self.patient(prior) if prior else ""
        assert self.hospital.adt(event, self.rig.now, self.patient(patient), prior=before, **more) == answer

    def order(self, control: str, patient: int, study: int, planned: str) -> None:
        """An order for the first room."""
        said = self.hospital.order(
            control,
            self.rig.now,
            self.patient(patient),
            self.study(study),
            place=f"CATH^{self.name}LAB1",
            planned=self.moment(planned),
            accession=f"{self.name}A{study}",
        )
        assert said == "AA"

    def begins(self, device: str, step: int, study: int, patient: int | str = "", status: str = "0000") -> None:
        """MPPS IN PROGRESS."""
        who = self.patient(patient)
        said = self.modality.begin(self.name + device, self.rig.now, self._step(step), self.study(study), who)
        assert said == status

    def ends(self, device: str, step: int, reason: str = "") -> None:
        """MPPS COMPLETED; with a reason DISCONTINUED."""
        status = "DISCONTINUED" if reason else "COMPLETED"
        assert self.modality.end(self.name + device, self.rig.now, self._step(step), status, reason) == "0000"

    def _step(self, number: int) -> str:
        return f"{self.study(0)}.{number}"

    def puts(self, study: int, patient: int | None = None, *, location: str, **said: str) -> None:
        """PUT /api/v1/studies/{study_instance_uid}."""
        body: dict[str, Any] = {"study_instance_uid": self.study(study), "location": self.name + location, **said}
        if patient is not None:
            body["patient"] = {"id": self.patient(patient), "issuer": ISSUER}
        assert self.rig.serving.put(f"/api/v1/studies/{self.study(study)}", body).is_success

    def closes(self, study: int) -> None:
        """POST /api/v1/studies/{study_instance_uid}/close."""
        assert self.rig.post(f"/api/v1/studies/{self.study(study)}/close").is_success

    def until_closed(self, study: int) -> None:
        """The server's timer closes a study by itself."""
        path = f"/api/v1/studies/{self.study(study)}"
        until(lambda: self.rig.get(path)["status"] == "closed", "the turnover")

    # --- devices ---

    def sends(
        self,
        device: str,
        expected: str,
        *,
        U: int | None = None,  # noqa: N803  # as contract section 3 writes identifiers
        P: int | str = "",  # noqa: N803
        L: str = "",  # noqa: N803
        at: str = "",
        says: str = "",
        finds: str = "",
        keeping: bool = False,
    ) -> Sent:
        """A Procedural Event of one entry.

        Args:
            expected: ``STATUS``, or ``STATUS RULE STUDY PATIENT``: by which rule it was found, and what the Action Reply names.
            at: when the entry occurred; now by default.
            says: the Error Comment.
            finds: a finding of the event.
            keeping: on an association of the device's that stays.
        """
        occurred = self.moment(at) if at else self.rig.now
        words = f"{self.name} {device} {len(self._expected)}"
        made = procedural(
            [note(occurred, words)],
            study="" if U is None else self.study(U),
            patient=self.patient(P) if P else "",
            location=f"{self.name} {L}" if L else "",
        )
        sent = Sent(self.name + device, PROCEDURAL_EVENT_LOGGING, made, words)
        self._ask(sent, expected, says, finds, keeping=keeping)
        return sent

    def retried(self, sent: Sent, study: int, patient: int) -> None:
        """The device repeats what is stored by now: the stored answer, and no second event."""
        before = self.rig.head()
        with RawScu(self.rig.serving.host, self.rig.serving.port, calling=sent.device) as scu:
            response = scu.request(sent.sop_class, encoded(sent.made))
        reply = response.reply(SYNTAXES[1])
        answered = (response.status, reply.StudyInstanceUID, reply.PatientID)
        assert answered == (0, self.study(study), self.patient(patient))
        assert not [each for each in self.rig.events(before) if each["type"] in _LOGGED]

    def gives(self, device: str, expected: str, *, P: int | str = "", admission: str = "", finds: str = "") -> Sent:  # noqa: N803
        """A Substance Administration of now; ``STATUS RULE PATIENT``."""
        words = f"{self.name} drug {len(self._expected)}"
        made = substance(self.rig.now, patient=self.patient(P) if P else "", admission=admission, product=words)
        sent = Sent(self.name + device, SUBSTANCE_ADMINISTRATION_LOGGING, made, words)
        self._ask(sent, expected, "", finds)
        return sent

    def _ask(self, sent: Sent, expected: str, says: str, finds: str, *, keeping: bool = False) -> None:
        before = self.rig.head()
        scu = self._open.get(sent.device) or RawScu(self.rig.serving.host, self.rig.serving.port, calling=sent.device)
        if sent.device not in self._open:
            scu.associate()
        response = scu.request(sent.sop_class, encoded(sent.made))
        if keeping:
            self._open[sent.device] = scu
        else:
            scu.release()
            scu.socket.close()
            self._open.pop(sent.device, None)
        status, rule, *names = [*expected.split(), ""]
        answered = f"{response.status:04X}"
        assert answered == status, f"{answered} {response.comment}"
        if says:
            assert response.comment == says
        logged = sent.sop_class == PROCEDURAL_EVENT_LOGGING
        if status == "0000" or status.startswith("B"):
            study = self.study(int(names[0])) if logged else ""
            patient = names[1] if logged else names[0]
            whose = self.patient(int(patient)) if patient.isdecimal() else patient
            if logged:
                reply = response.reply(SYNTAXES[1])
                assert (reply.StudyInstanceUID, _who(reply.PatientID)) == (study, whose)
            [event] = [each for each in self.rig.events(before) if each["type"] in _LOGGED]
            self._accepted(event, [status, rule, *names], finds)
        else:
            new = [each for each in self.rig.events(before) if each["type"] == "org.plscp.request.refused.v1"]
            sent.quarantine = next(self.rig.refused(sent.device))["id"]
            if new:  # a repeat with the same outcome is counted only
                self._expected.append(("org.plscp.request.refused.v1", sent.device, status))

    def replayed(self, sent: Sent, expected: str, finds: str = "") -> None:
        """A refused request is replayed by the server itself, after a registry change that removed its reason."""

        def found() -> dict[str, Any] | None:
            entries = (each for each in self.rig.events(self.began) if each["type"] in _LOGGED)
            return next((each for each in entries if sent.words == each["entry"].get("text")), None)

        self._accepted(until(found, "the replay"), expected.split(), finds)

    def replay(self, sent: Sent, expected: str, finds: str = "") -> None:
        """Somebody has a refused request replayed: POST /api/v1/quarantine/{id}/replay."""
        before = self.rig.head()
        assert self.rig.post(f"/api/v1/quarantine/{sent.quarantine}/replay").is_success
        [event] = [each for each in self.rig.events(before) if each["type"] in _LOGGED]
        self._accepted(event, expected.split(), finds)

    def _accepted(self, event: dict[str, Any], expected: Sequence[str], finds: str) -> None:
        """Hold a new event against what is expected of it, and expect it on Kafka."""
        status, rule, *names = expected
        logged = event["type"] == "org.plscp.procedure-log.entry.v1"
        study, patient = (self.study(int(names[0])), names[1]) if logged else ("", names[0])
        whose = self.patient(int(patient)) if patient.isdecimal() else patient
        assert (event["match"]["rule"], event["match"]["status"]) == (rule, status)
        assert _who(event["patient"]["id"]) == whose
        found = {finding["code"] for finding in event["findings"]}
        assert finds in found if finds else not _NOTABLE & found
        self._expected.append((event["type"], study or whose, status))

    # --- what came of it ---

    def published(self) -> list[Record]:
        """All records of the case, from Kafka; each accepted and refused request is there once, under the right key."""
        for scu in self._open.values():
            scu.release()
            scu.socket.close()
        self._open.clear()
        found = self.rig.published(self.began)
        requests = [each for each in found if not each.type.startswith(("org.plscp.study.", "org.plscp.patient."))]
        keyed = [(each.type, _about(each), _status(each)) for each in requests]
        assert sorted(keyed) == sorted(self._expected)
        for each in requests:  # no join is needed: study and patient stand in each
            if each.type == "org.plscp.procedure-log.entry.v1":
                assert each.value["study"]["study_instance_uid"] == each.key
                assert each.value["patient"]["id"]
        return found

    def patient_records(self, what: str) -> list[dict[str, Any]]:
        """What is published of patients: changed or merged."""
        return [each.value["change"] for each in self.published() if each.type == f"org.plscp.patient.{what}.v1"]

    def study_records(self, number: int) -> list[str]:
        """What became of a study, as its topic says it."""
        uid = self.study(number)
        found = [each for each in self.published() if each.key == uid and each.type.startswith("org.plscp.study.")]
        return [each.type.split(".")[-2] for each in found]


_LOGGED: Final = frozenset({"org.plscp.procedure-log.entry.v1", "org.plscp.medication-administration.v1"})
_NOTABLE: Final = frozenset({"study-not-started", "superseded-id", "before-opening", "after-closing", "in-the-future"})


def _who(patient: str) -> str:
    """A Patient ID; of those that plscp gives only how they begin."""
    return OWN_ID if patient.startswith(OWN_ID) else patient


def _about(record: Record) -> str:
    """Study, patient or device; a patient's key stays as it was first seen, and is no more than that."""
    is_patient = record.type == "org.plscp.medication-administration.v1"
    return _who(record.value["patient"]["id"]) if is_patient else record.key


def _status(record: Record) -> str:
    return str(record.value.get("status") or record.value["match"]["status"])
