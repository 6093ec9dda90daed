"""A small world for matching tests: a registry, a clock, and short ways to say what feeds and devices say."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from plscp.matching import changes, rules, substance
from plscp.matching.layers import Forkable
from plscp.matching.model import Decision, Device, Instant, MatchQuestion, Operator, Policy, SubstanceQuestion
from plscp.matching.plan import Plan
from plscp.matching.records import PatientId, Study
from plscp.matching.registry import Issuers, Locations, Registry, microseconds
from plscp.store.port import RegistryRecord
from plscp.templates.request import Identifiers

NOON = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)
LABS = {"LAB1": ["Lab 1", "CATH^LAB1"], "LAB2": ["Lab 2"]}
POLICY = Policy(patient_id_issuer="HOSP")


def change_patient_id(
    registry: Registry, old: PatientId, new: PatientId, policy: Policy, now: datetime
) -> list[RegistryRecord]:
    """ADT A47."""
    plan = Plan(registry, policy, now)
    changes.plan_patient_id(plan, old, new)
    return plan.records


def minutes(count: float) -> timedelta:
    """A length of time."""
    return timedelta(minutes=count)


def at(clock: str) -> datetime:
    """``10:30`` or ``10:30:15`` on the day of the tests, UTC."""
    return datetime.fromisoformat(f"2024-05-14T{clock}").replace(tzinfo=UTC)


def moment(time: datetime, *, whole_minute: bool = False) -> Instant:
    """A time as a device sent it, to the second or to the minute."""
    if not whole_minute:
        return Instant(time.strftime("%Y%m%d%H%M%S"), time, time, "server")
    begin = time.replace(second=0, microsecond=0)
    return Instant(begin.strftime("%Y%m%d%H%M"), begin, begin + minutes(1) - timedelta(microseconds=1), "server")


def state_of(projection: Forkable, without: Collection[str] = ()) -> dict[str, Any]:
    """All that a projection holds, by name; dictionaries as lists, in their order."""
    values = {name: holder.value(at) for name, holder, at in projection.state() if name.split(".")[0] not in without}
    return {name: list(value.items()) if isinstance(value, Mapping) else value for name, value in values.items()}


class World:
    """A registry that is changed and asked at a time of the day.

    Attributes:
        now: what the clock shows; tests set it forward.
        log: every change applied, as (position, microseconds, change).
    """

    def __init__(
        self,
        policy: Policy = POLICY,
        labs: dict[str, list[str]] | None = None,
        issuers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.policy = policy
        self.labs = LABS if labs is None else labs
        self.registry = Registry(Locations(self.labs), Issuers(issuers))
        self.now = NOON
        self.log: list[tuple[int, int, dict[str, Any]]] = []

    # --- what feeds say

    def take(self, records: Sequence[RegistryRecord]) -> list[RegistryRecord]:
        """Apply what was planned, as the store would hand it back."""
        for record in records:
            entry = (self.registry.position + 1, microseconds(self.now), record.change)
            self.log.append(entry)
            self.registry.apply(*entry)
        return list(records)

    def plan(self, planner: Callable[..., list[RegistryRecord]], *given: Any) -> list[RegistryRecord]:
        """Plan and apply."""
        return self.take(planner(self.registry, *given, self.policy, self.now))

    def study(self, uid: str, when: str = "", **said: Any) -> list[RegistryRecord]:
        """PUT a study; `when` sets the clock; patient as an ID, (ID, issuer) or absent."""
        if when:
            self.now = at(when)
        patient = said.pop("patient", None)
        if patient is not None:
            issuer: dict[str, str] = {} if isinstance(patient, str) else {"issuer": patient[1]}
            said["patient"] = {"id": patient if isinstance(patient, str) else patient[0], **issuer}
        return self.plan(changes.put_study, {"study_instance_uid": uid, **said})

    def open(
        self, uid: str, when: str, patient: str | tuple[str, str] | None = None, location: str = "LAB1", **said: Any
    ) -> None:
        """A study is opened, by the API."""
        if patient is not None:
            said["patient"] = patient
        self.study(uid, when, location=location, status="open", **said)

    def close(self, uid: str, when: str) -> list[RegistryRecord]:
        """A study is closed."""
        self.now = at(when)
        return self.plan(changes.close_study, uid)

    def step(self, uid: str, when: str, *steps: str) -> None:
        """MPPS, as its feed will say it: which steps of a study are in progress; with none left it closes."""
        self.now = at(when)
        if steps and (self.known(uid).status != "open"):
            self.study(uid, status="open")
        study = replace(self.known(uid), steps=tuple(steps))
        self.take([RegistryRecord({"what": "study.updated", **study.as_json()}, "study", uid, "", uid)])
        if not steps:
            self.close(uid, when)

    def patient(self, patient_id: str, issuer: str = "", **said: Any) -> list[RegistryRecord]:
        """PUT a patient."""
        return self.plan(changes.put_patient, {"id": patient_id, "issuer": issuer, **said})

    def merge(self, survivor: str, prior: str, when: str = "", issuer: str = "") -> list[RegistryRecord]:
        """ADT A40."""
        if when:
            self.now = at(when)
        return self.plan(changes.merge_patient, PatientId(survivor, issuer), {"prior": {"id": prior}})

    def admission(self, admission_id: str, patient: str, **said: Any) -> list[RegistryRecord]:
        """PUT an admission."""
        return self.plan(changes.put_admission, {"id": admission_id, "patient": {"id": patient}, **said})

    def known(self, uid: str) -> Study:
        """A study that must be there."""
        study = self.registry.study(uid)
        assert study is not None
        return study

    # --- what devices ask

    def ask(
        self,
        *clocks: str,
        arrival: str = "",
        device: Device | None = None,
        whole_minutes: bool = False,
        clock_difference: timedelta | None = None,
        policy: Policy | None = None,
        given: Mapping[str, str] | None = None,
        **letters: str,
    ) -> Decision:
        """A request: its entries' times (none: one at arrival), when it arrives, and its identifiers U, P, I, Q, S, L, F."""
        if arrival:
            self.now = at(arrival)
        times = [moment(at(clock), whole_minute=whole_minutes) for clock in clocks]
        names = {
            "U": "study_instance_uid",
            "P": "patient_id",
            "I": "issuer_of_patient_id",
            "Q": "issuer_universal_entity_id",
            "S": "study_id",
            "L": "performed_location",
            "F": "synchronization_frame_of_reference_uid",
        }
        identifiers = Identifiers(**{names[letter]: value for letter, value in {**(given or {}), **letters}.items()})
        question = MatchQuestion(
            identifiers,
            device or Device("MOBILE"),
            policy or self.policy,
            times or [moment(self.now, whole_minute=whole_minutes)],
            self.now,
            clock_difference,
        )
        return rules.decide(question, self.registry)

    def administer(
        self,
        patient_id: str = "",
        admission_id: str = "",
        *,
        issuer: str = "",
        qualifier: str = "",
        name: str = "",
        issuer_of_admission_id: str = "",
        operators: Sequence[tuple[str, str]] = (("N1001", "L"),),
        allowed: Sequence[Operator] | None = None,
        device: Device | None = None,
        policy: Policy | None = None,
        time: datetime | None = None,
    ) -> Decision:
        """A Substance Administration, by default at arrival."""
        question = SubstanceQuestion(
            patient_id=patient_id,
            issuer_of_patient_id=issuer,
            issuer_universal_entity_id=qualifier,
            patient_name=name,
            admission_id=admission_id,
            issuer_of_admission_id=issuer_of_admission_id,
            operators=operators,
            device=device or Device("PUMP"),
            policy=policy or self.policy,
            time=moment(time or self.now),
            arrival=self.now,
            allowed=allowed,
        )
        return substance.decide(question, self.registry)


def codes(decision: Decision) -> set[str]:
    """The findings' codes."""
    return {finding.code for finding in decision.findings}


def outcome(decision: Decision) -> str:
    """Status, rule and study, as the tables write them: ``0000 1 1.1`` or ``C103``."""
    if decision.study_instance_uid:
        return f"{decision.status:04X} {decision.rule} {decision.study_instance_uid}"
    return f"{decision.status:04X}"
