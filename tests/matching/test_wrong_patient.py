"""Random interleavings of feeds, devices, clocks, restarts and repeats never put an event under a patient whom nothing names.

Each mutation of `MUTATIONS` breaks one rule on purpose, and the same search must then find an event on the wrong patient.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from plscp.feeds import hl7_persons
from plscp.matching import (
    changes,
    hospital,
    known_entries,
    match_context,
    plan,
    rules,
    step_changes,
    substance,
    times,
    turnover,
)
from plscp.matching.by_place import study_at
from plscp.matching.corrections import Destination, destination
from plscp.matching.match_context import Clock, MatchContext, SentIssuer, find_issuer
from plscp.matching.model import MatchQuestion, Place, SubstanceQuestion
from plscp.matching.records import PatientId, Study
from plscp.matching.registry import Registry
from plscp.matching.steps import ProcedureStep
from plscp.service import corrections as making
from plscp.service import misplaced
from plscp.service.corrections import Corrections, Order
from plscp.service.misplaced import Misplaced, PlacedRequest
from plscp.store import batch
from plscp.store.port import RegistryRecord, Stored
from tests.matching.days import Days

EXAMPLES = int(os.environ.get("PLSCP_TEST_EXAMPLES", "800"))
STEPS = 30
LEAST_STEPS = 25
"""On average, of an example."""
SEARCH = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


@pytest.mark.seeded
def test_no_event_stands_under_a_patient_whom_nothing_names() -> None:
    """Neither its identifiers nor its room when it truly occurred; in so many steps that it means something."""
    Days.steps = 0
    run_state_machine_as_test(Days, settings=SEARCH)
    assert Days.steps >= LEAST_STEPS * EXAMPLES


# --- broken on purpose -------------------------------------------------------------------------------------------------


def _statement_is_believed(question: MatchQuestion) -> Clock:
    """Row 2 as it was: naming the server's frame makes a clock known."""
    own = question.policy.synchronization_frame_of_reference_uid
    if question.given.synchronization_frame_of_reference_uid == own:
        return Clock.KNOWN
    return match_context.clock_of(question)


def _fast_clocks_are_not_corrected(question: MatchQuestion) -> Clock:
    """Row 3 as it was: what is stamped counts."""
    found = match_context.clock_of(question)
    return Clock.KNOWN if found is Clock.FAST else found


def _first_place_with_a_study(matched: MatchContext) -> Any:
    """Row 9 as it was: any of the device's locations."""
    found = [study_at(matched, place) for place in matched.device_places]
    return next((one for one in found if one is not None), None)


def _one_reading(matched: MatchContext) -> Any:
    """Row 6 as it was: the other reading of a repeated hour is not looked at."""
    return matched.spans


def _nearest_not_after(wall: datetime, where: tzinfo, latest: datetime) -> tuple[datetime, datetime | None]:
    """Row 6 as it was: a clock a second ahead goes back an hour."""
    return IN_ZONE(wall, where, latest - timedelta(minutes=2))


IN_ZONE, FIND_ISSUER, ADMITTED, ENDED = times._in_zone, find_issuer, substance._admitted, turnover._ended


def _issuer_is_not_read(patient_id: str, _sent: Any, *rest: Any) -> Any:
    """Row 1 as it was: what the request says of the issuer is ignored."""
    return FIND_ISSUER(patient_id, SentIssuer("", ""), *rest)


def _confirmed_at_once(_registry: Registry, study: Study, *_rest: Any) -> Study | None:
    """Row 5 as it was: who comes needs nobody to say so."""
    stay = study.stays[-1]
    return None if stay.confirmed else replace(study, stays=(*study.stays[:-1], stay._replace(confirmed=stay.arrived)))


def _cut_back(registry: Registry, first: Study, second: Study, place: str, now: datetime) -> Study:
    """Row 5 as it was: a stay ends when the next one's began, whatever was accepted since."""
    ended = ENDED(registry, first, second, place, now)
    stay = ended.stays[-1]
    left = max(stay.arrived, second.stays[-1].arrived)
    return replace(ended, stays=(*ended.stays[:-1], stay._replace(left=left)))


def _accession_counts(question: SubstanceQuestion, registry: Registry, admission_id: str) -> Any:
    """Row 8 as it was: an Accession Number is an Admission ID."""
    policy = replace(question.policy, accession_as_admission=True)
    return ADMITTED(replace(question, policy=policy), registry, admission_id)


DUE, LEAVE, CAME_WITH = turnover.due, step_changes._leave, changes._came_with


class _WithoutSteps:
    """A registry whose studies have no step in progress."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def study(self, uid: str) -> Study | None:
        """The study without its steps."""
        found = self._registry.study(uid)
        return None if found is None else replace(found, steps=())


def _steps_keep_nobody(registry: Any, *rest: Any) -> Any:
    """Row 12: a study with a step in progress is turned over like any other."""
    return DUE(_WithoutSteps(registry), *rest)  # type: ignore[arg-type]


def _first_of_several(planned: Any, placeholder: str) -> Any:
    """Row 13: a merge whose prior ID is a placeholder takes the first patient who came with it."""
    numbers = dict.fromkeys(study.patient for study in planned.view.studies(status="open"))
    came = [one for one in map(planned.view.patient_number, numbers) if one.generated]
    return came[0] if came else CAME_WITH(planned, placeholder)


def _survivor_goes(planned: Any, survivor: PatientId, prior: PatientId) -> None:
    """Row 13: the two of a merge are exchanged."""
    known = planned.view.owner(prior)
    MERGE_PATIENTS(planned, *((survivor, prior) if known is None else (prior, survivor)))


MERGE_PATIENTS, CHANGE_ID = changes.plan_merge, changes.plan_patient_id


def _changes_another(planned: Any, old: PatientId, new: PatientId) -> None:
    """Row 17: the ID is looked up without its issuer."""
    found = planned.view.named(old.id, "")
    CHANGE_ID(planned, found[-1].current if found else old, new)


def _first_end_closes(planned: Any, uid: str, step: ProcedureStep, *rest: Any, **more: Any) -> None:
    """Row 14: a study closes with the first of its steps."""
    study = planned.view.study(uid)
    if study is not None and len(study.steps) > 1 and step.sop_instance_uid in study.steps:
        planned.study("study.updated", replace(study, steps=(step.sop_instance_uid,)))
    LEAVE(planned, uid, step, *rest, **more)


def _ends_at_once(planned: Any, uid: str, step: ProcedureStep, moment: datetime, **more: Any) -> None:
    """Row 15: a study whose step has ended has no grace."""
    LEAVE(planned, uid, step, moment, **more)
    study = planned.view.study(uid)
    if study is not None and study.status == "closed":
        planned.study("study.cancelled", replace(study, status="cancelled"))


CAME_FROM, ANSWER, PLAN_ADMISSION = Corrections._came_from, batch._answer, changes.plan_admission
DESTINATION, SWAP, MATCHES, NAMED = destination, hl7_persons._swap, rules.decide, misplaced._named


def _forgets_one(self: Corrections, proposal: Any) -> Any:
    """Row 18: what is moved back is not all that was moved."""
    came_from = CAME_FROM(self, proposal)
    return dict([*came_from.items()][: max(1, len(came_from) - 1)])


def _whoever_has_it(registry: Registry, place: Place, *position: Any) -> Destination:
    """Row 19: of a study and a patient that do not fit each other the study counts."""
    return DESTINATION(registry, place._replace(patient_id="") if place.study_instance_uid else place, *position)


def _as_it_was(outcome: Any, record: Any, entries: int = 0, **_moved: Any) -> Stored:
    """Row 20: a retry hears where its entries stood at first."""
    return ANSWER(outcome, record, entries)


def _any_of_several(request: PlacedRequest, registry: Registry) -> str:
    """Row 21: where the rules find several studies by place, one of them is enough to move an entry."""
    found = MATCHES(request.question, registry)
    others = [one.what for one in found.candidates if one.what != request.study_instance_uid]
    return NAMED(request, registry) or (others[0] if others else "")


def _moved_before_too(self: Misplaced, uid: str) -> list[PlacedRequest]:
    """Row 21: what people have moved is looked at, too."""
    found = (self._as_decided(uid, [one]) for one in self._store.timeline(uid))
    return [request for request in found if request is not None]


def _stays_with_its_patient(planned: Any, said: Any, *, may_move: bool = False) -> Any:
    """Row 22: a visit that is moved stays with its patient."""
    return PLAN_ADMISSION(planned, {name: said[name] for name in said if name != "patient" or not may_move})


def _half_a_swap(*message: Any) -> Any:
    """Row 23: the first of two beds alone is taken."""
    return [*SWAP(*message)][:2]


def _merged_at_once(planned: Any, survivor: PatientId, prior: PatientId, _because: str) -> None:
    """Row 24: of two known patients who are linked one becomes the other."""
    MERGE_PATIENTS(planned, survivor, prior)


@dataclass(frozen=True)
class Mutation:
    """A rule of contract section 3, broken: what is replaced in which modules, and where the search begins."""

    row: int
    name: str
    replaced: tuple[tuple[Any, str, Any], ...]
    by_device: str = ""
    by_night: bool | None = None


def _without(contradicts: Callable[[MatchContext, Study], bool]) -> tuple[tuple[Any, str, Any], ...]:
    """One row of the table of contradictions never holds."""
    table = tuple(
        row._replace(contradicts=lambda *_: False) if row.contradicts is contradicts else row
        for row in rules.CONTRADICTIONS
    )
    assert table != rules.CONTRADICTIONS
    return ((rules, "CONTRADICTIONS", table),)


FEEDS_ROW = 12
CORRECTIONS_ROW = 18
"""From these rows on the rules are about what feeds say, and about what is corrected; those before are found sooner without them."""
MUTATIONS = [
    Mutation(1, "the issuer is not read", ((match_context, "find_issuer", _issuer_is_not_read), (substance, "find_issuer", _issuer_is_not_read))),
    Mutation(2, "a statement is believed", ((match_context.MatchContext, "clock", property(lambda self: _statement_is_believed(self.question))),), "SLOW1"),
    Mutation(3, "fast clocks are not corrected", (
        (match_context.MatchContext, "clock", property(lambda self: _fast_clocks_are_not_corrected(self.question))),
        (match_context.MatchContext, "spans", property(lambda self: [(t.earliest, t.latest) for t in self.question.times])),
    ), "FAST1"),
    Mutation(4, "what is known is Success for anybody", ((known_entries, "_contradicts", lambda *_: False),)),
    Mutation(5, "a turnover without confirmation", ((turnover, "_confirmed", _confirmed_at_once),), "HEMO1"),
    Mutation(5, "a stay cut back to the next one's opening", ((turnover, "_ended", _cut_back), (turnover, "lived_on", lambda *_: None)), "HEMO1"),
    Mutation(6, "one reading of a repeated hour", ((match_context.MatchContext, "readings", property(_one_reading)), (times, "_in_zone", _nearest_not_after)), "BERLIN", by_night=True),
    Mutation(7, "entries are forgotten", (
        (Registry, "has_entries", lambda *_: False), (plan, "RegistryRecord", lambda *record: RegistryRecord(*record[:5])),
    )),
    Mutation(8, "an Accession Number is an Admission ID", ((substance, "_admitted", _accession_counts),)),
    Mutation(9, "any of the device's locations", ((rules, "TABLE", tuple(
        row._replace(find=_first_place_with_a_study) if row.rule == "7" else row for row in rules.TABLE)),), "ECHO"),
    Mutation(10, "a worklist slip is not noticed", _without(rules._not_started_elsewhere)),
    Mutation(11, "two against one is not noticed", _without(rules._both_are_anothers)),
    Mutation(12, "a step in progress keeps nobody in the room", ((turnover, "due", _steps_keep_nobody),), "HEMO1"),
    Mutation(13, "a placeholder is the first one's who came with it", ((changes, "_came_with", _first_of_several),)),
    Mutation(13, "who survives a merge is exchanged", ((hospital, "plan_merge", _survivor_goes),)),
    Mutation(14, "a study closes with the first of its steps", ((step_changes, "_leave", _first_end_closes),)),
    Mutation(15, "a step that is over ends its study at once", ((step_changes, "_leave", _ends_at_once),)),
    Mutation(16, "a cancelled order is matched", ((rules, "TABLE", tuple(
        row for row in rules.TABLE if row.find is not rules.named_and_over)),)),
    Mutation(17, "an ID that was changed is another patient's", ((hospital, "plan_patient_id", _changes_another),)),
    Mutation(18, "a revert forgets an entry", ((Corrections, "_came_from", _forgets_one),)),
    Mutation(19, "a correction does not ask whose the study is", ((making, "destination", _whoever_has_it),)),
    Mutation(20, "a retry hears where its entries stood", ((batch, "_answer", _as_it_was),)),
    Mutation(21, "one of several studies is enough to move an entry", ((misplaced, "_named", _any_of_several),), "HEMO1"),
    Mutation(21, "what people have moved is moved by itself", (
        (Misplaced, "_placed", _moved_before_too), (misplaced, "Order", lambda *order, **_: Order(*order)),
    ), "HEMO1"),
    Mutation(22, "a visit that is moved stays with its patient", ((hospital, "plan_admission", _stays_with_its_patient),)),
    Mutation(23, "half a swap", ((hl7_persons, "_swap", _half_a_swap),)),
    Mutation(24, "who is linked is merged at once", ((hospital, "_propose_merge", _merged_at_once),)),
    Mutation(24, "who is unlinked is still linked", ((hospital, "unlink", lambda *_: ""),)),
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"row {mutation.row}: {mutation.name}")
def test_the_search_finds_each_rule_that_is_broken_on_purpose(mutation: Mutation) -> None:
    """Else it would say nothing about the rule."""
    with ExitStack() as broken:
        for where, name, instead in mutation.replaced:
            broken.enter_context(mock.patch.object(where, name, instead))
        broken.enter_context(mock.patch.object(Days, "by_device", mutation.by_device))
        broken.enter_context(mock.patch.object(Days, "by_night", mutation.by_night))
        broken.enter_context(mock.patch.object(Days, "fed", mutation.row >= FEEDS_ROW))
        broken.enter_context(mock.patch.object(Days, "corrected", mutation.row >= CORRECTIONS_ROW))
        search = settings(SEARCH, max_examples=2000, phases=[Phase.generate], report_multiple_bugs=False)
        with pytest.raises(AssertionError):
            run_state_machine_as_test(Days, settings=search)
