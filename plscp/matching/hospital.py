"""What a hospital's messages say of persons, visits and orders, as steps of one plan (contract section 3).

A step takes the plan and returns a note where something of what was said is not done: a line for the log, without patients. It raises
Conflict for what the registry forbids, and InvalidBody for what cannot be an identifier; nothing of the message is taken then.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from plscp.errors import Conflict
from plscp.matching.bodies import AdmissionBody, PatientBody, PatientRef, parse
from plscp.matching.changes import end_study, plan_admission, plan_merge, plan_patient, plan_patient_id, plan_study
from plscp.matching.corrections import MERGE, proposal_id, proposed
from plscp.matching.model import Place
from plscp.matching.plan import Plan
from plscp.matching.records import OrderNumbers, Patient, PatientId
from plscp.store.port import RegistryRecord

Step = Callable[[Plan], str]
"""Plans one thing that a message says; returns a note, or nothing."""
JsonBody = Mapping[str, Any]
UNNUMBERED: Final = OrderNumbers()
MOST_ORDERS: Final = 100
"""Orders of a study that are remembered, the newest."""
_DEMOGRAPHICS: Final = ("name", "birth_date", "sex")


# --- persons -------------------------------------------------------------------------------------------------------------


def plan_person(plan: Plan, said: JsonBody, *, registers: bool = False) -> str:
    """Plan what a message says of a person, whichever of the person's IDs comes first in it.

    An ID that was merged away or changed goes on naming the one who has it by now, and so does another ID of a known person. Only where
    a person is registered under an ID that was merged away, and is visibly not the one who has it, the ID is given anew: hospitals use
    IDs of emergencies again, and the next patient must not become the one before.

    Args:
        said: a `PatientBody`; its ID may be a placeholder: then nothing is said of anybody.
        registers: the message registers a person (A01, A04, A05, A28).

    Raises:
        Conflict: somebody is registered under another ID of a known person, and is visibly not that person.
    """
    body = parse(PatientBody, said)
    if not plan.usable(body.id):
        return "the Patient ID is a placeholder: it names nobody"
    current = plan.identifier(body.id, body.issuer)
    known = plan.known(body.id, body.issuer) or _by_another_id(plan, body)
    if known is None or plan.means_current(known, current):
        plan_patient(plan, said, anew=False)
        return ""
    former = plan.is_former(known, current)
    same = _same_person(known, body)
    if former and registers and same is not True:
        plan_patient(plan, said, anew=True)
        return "an ID that was merged away or changed is given anew, to a new patient"
    if same is False:
        if registers:
            raise Conflict("the Patient ID is another ID of a patient with another name or birth date")
        return "an ID that is not the current one comes with another name or birth date: these are not taken"
    others = [PatientRef(id=one.id, issuer=one.issuer) for one in known.other_ids]
    others += [PatientRef(id=body.id, issuer=body.issuer), *body.other_ids]
    mine = {
        **known.current.as_json(),
        "other_ids": [one.model_dump() for one in others if plan.identifier(one.id, one.issuer) != known.current],
    }
    plan_patient(plan, mine | {name: said[name] for name in _DEMOGRAPHICS if name in said}, anew=False)
    return ""


def _by_another_id(plan: Plan, body: PatientBody) -> Patient | None:
    """The one known patient whom one of the other IDs names: the first ID is new, and hers as well.

    Not of somebody who has an ID of the same authority already, or another name or birth date: numbers of insurances stand for families.
    """
    found = {patient.number: patient for other in body.other_ids if (patient := plan.known(other.id, other.issuer))}
    if len(found) != 1:
        return None
    [patient] = found.values()
    spell = plan.view.issuers.spell
    authority = spell(plan.identifier(body.id, body.issuer).issuer)
    has_one = authority in {spell(one.issuer) for one in (patient.current, *patient.other_ids)}
    return None if has_one or _same_person(patient, body) is False else patient


def require_nobody_else(plan: Plan, person: JsonBody) -> None:
    """For what is new under a Patient ID that a message names: it must not come under somebody who is visibly another person.

    Raises Conflict: the ID is a known patient's, though not the current one, and her name or birth date is another.
    """
    body = parse(PatientBody, person)
    known = plan.known(body.id, body.issuer) if plan.usable(body.id) else None
    if known is None or plan.means_current(known, plan.identifier(body.id, body.issuer)):
        return
    if _same_person(known, body) is False:
        raise Conflict("the Patient ID names a patient with another name or birth date by now")


def _same_person(known: Patient, said: PatientBody) -> bool | None:
    """Whether birth date and family name are the same; None where there is nothing to compare."""
    pairs = [(known.birth_date, said.birth_date), (_family_name(known.name), _family_name(said.name))]
    both = [(mine, theirs) for mine, theirs in pairs if mine and theirs]
    return all(mine == theirs for mine, theirs in both) if both else None


def _family_name(name: str) -> str:
    return name.partition("^")[0].strip(" ").casefold()


def merge(plan: Plan, survivor: PatientId, prior: PatientId) -> str:
    """Plan a merge (A18, A34, A36, A40); one of a placeholder that fits nobody, or several, is proposed, and nothing moves.

    One that turns a merge around, made in the wrong direction before, makes the ID that survives now the current one again. One of an
    ID that was the survivor's and is another's by now is proposed as well: an old message that comes again must not make one of the two.
    """
    known = plan.known(*survivor) if plan.usable(prior.id) else None
    if known is not None and plan.gave_away(known, prior):
        because = "the prior Patient ID was the survivor's and was given anew since"
        _propose_merge(plan, survivor, prior, because)
        return f"{because}: a merge is proposed"
    if known is not None and plan.is_former(known, plan.identifier(*survivor)):
        again = not plan.means_current(known, plan.identifier(*survivor))
        if again and plan.means_current(known, plan.identifier(*prior)):
            plan_patient_id(plan, prior, survivor)
            return ""
    try:
        plan_merge(plan, survivor, prior)
    except Conflict as error:
        if plan.usable(prior.id):
            raise
        _propose_merge(plan, survivor, prior, str(error))
        return f"{error}: proposed"
    return ""


def change_id(plan: Plan, old: PatientId, new: PatientId) -> str:
    """Plan that a patient has another ID (A47); an old one that is not known is kept all the same: devices will send it."""
    if plan.usable(old.id) and plan.known(*old) is not None:
        plan_patient_id(plan, old, new)
        return ""
    return merge(plan, new, old)


def link(plan: Plan, one: PatientId, other: PatientId) -> str:
    """Plan that two identifiers name the same person (A24), so that it can be undone (A37).

    One that is not known yet becomes one more of the known patient's. Where two patients are known it is proposed to merge them: what
    stands under the one and the other could not be told apart again.
    """
    first, second = plan.known(*one), plan.known(*other)
    if first is not None and second is not None:
        if first.number == second.number:
            return ""
        because = "two known patients are linked"
        _propose_merge(plan, one, other, because)
        return f"{because}: a merge is proposed"
    if first is None and second is not None:
        one, other = other, one
    plan_merge(plan, one, other)
    return ""


def unlink(plan: Plan, one: PatientId, other: PatientId) -> str:
    """Plan that two identifiers name two persons (A37): the one that is not the current one is given anew."""
    first, second = plan.known(*one), plan.known(*other)
    if first is None or second is None or first.number != second.number:
        return ""
    apart = one if plan.means_current(first, plan.identifier(*other)) else other
    plan_patient(plan, apart.as_json(), anew=True)
    return ""


def _propose_merge(plan: Plan, survivor: PatientId, prior: PatientId, because: str) -> None:
    to = plan.identifier(*survivor)
    place = Place("", *to)
    what = {"what": MERGE, "to": place.as_json(), "prior": PatientId(*prior).as_json()}
    change = what | proposed(MERGE, place, because, origins=[Place("", *prior)])
    plan.propose(RegistryRecord.proposal(change, to.key, proposal_id(what), f"org.plscp.{MERGE}.v1"))


# --- visits --------------------------------------------------------------------------------------------------------------


def plan_visit(plan: Plan, said: JsonBody, person: JsonBody, *, may_move: bool = False) -> str:
    """Plan a visit: its patient, bed and status. A bed moves no study.

    Args:
        said: an `AdmissionBody`; one that is not known, of nobody that the message names, cannot be kept.
        person: a `PatientBody`: what the message says of the patient.
    """
    body = parse(AdmissionBody, said)
    named = body.patient is not None and plan.usable(body.patient.id)
    if not plan.view.admissions_named(body.id, body.issuer):
        if not named:
            return "a visit that is not known comes without a usable Patient ID"
        require_nobody_else(plan, person)
    plan_admission(plan, said, may_move=may_move)
    return ""


def move_visit(plan: Plan, said: JsonBody, person: JsonBody, prior: PatientId | None) -> str:
    """Plan that a visit belongs to another patient (A45), be it known or not.

    Raises Conflict where the visit is known as that of a third patient than `prior` and the one whom it names.
    """
    body = parse(AdmissionBody, said)
    if prior is not None:
        for admission in plan.view.admissions_named(body.id, body.issuer):
            sides = (prior.as_json(), said["patient"])
            if not any(is_whose(plan, side, admission.patient) for side in sides):
                raise Conflict("the visit that is moved is neither patient's")
    return plan_visit(plan, said, person, may_move=True)


# --- orders --------------------------------------------------------------------------------------------------------------


def plan_order(
    plan: Plan,
    said: JsonBody,
    person: JsonBody,
    *,
    renews: bool,
    numbers: OrderNumbers = UNNUMBERED,
    replaced: bool = False,
) -> str:
    """Plan what an order says of its study: that it is scheduled, for whom, where and when.

    A study that was opened is where its steps and the API say, and has the Study ID that came with them.

    Args:
        said: a `StudyBody` without status.
        person: a `PatientBody`: what the message says of the patient.
        renews: a new order, or one in place of another: it takes back a cancellation.
        replaced: others have taken the order's place.
    """
    known = plan.view.study(said["study_instance_uid"])
    if known is None or not is_whose(plan, said["patient"], known.patient):
        require_nobody_else(plan, person)
    body = dict(said)
    if known is None or (known.status == "cancelled" and renews):
        body["status"] = "scheduled"
    elif known.status in {"open", "closed"}:
        for name in ("location", "planned", *(["study_id"] if known.study_id else [])):
            body.pop(name, None)
    elif known.status == "cancelled":
        return "the study is cancelled: the order is not renewed"
    stand = known.orders if known is not None and known.status != "cancelled" else ()
    plan_study(plan, body, orders=_without(stand, numbers) if replaced else _with(stand, numbers))
    return ""


def _with(orders: tuple[OrderNumbers, ...], numbers: OrderNumbers) -> tuple[OrderNumbers, ...]:
    """A study's orders with one more, or with a number that is new of one that is known."""
    same = [index for index, one in enumerate(orders) if one.is_same(numbers)]
    if not same:
        return (*orders, numbers)[-MOST_ORDERS:] if any(numbers) else orders
    [index, *more] = same
    if more:
        return orders
    both = OrderNumbers(*(new or old for new, old in zip(numbers, orders[index], strict=True)))
    return (*orders[:index], both, *orders[index + 1 :])


def _without(orders: tuple[OrderNumbers, ...], numbers: OrderNumbers) -> tuple[OrderNumbers, ...]:
    return tuple(one for one in orders if one.is_another(numbers))


def cancel_order(plan: Plan, said: JsonBody, numbers: OrderNumbers = UNNUMBERED) -> str:
    """Plan that an order is cancelled, before its study was performed; what has begun is ended by its steps.

    The study is cancelled with the last of its orders. One that is not known yet is kept as cancelled. Raises Conflict where it is
    another patient's.
    """
    uid = said["study_instance_uid"]
    known = plan.view.study(uid)
    named = said.get("patient")
    came_without = known is not None and plan.view.patient_number(known.patient).generated
    if (
        known is not None
        and not came_without
        and named is not None
        and plan.usable(named["id"])
        and not is_whose(plan, named, known.patient)
    ):
        raise Conflict("the order that is cancelled is of another patient's study")
    if known is None:
        plan_study(plan, {**said, "status": "cancelled"})
    elif known.status != "cancelled" and (stand := _without(known.orders, numbers)):
        plan_study(plan, {"study_instance_uid": uid}, orders=stand)
        return "an order of the study is cancelled while another one stands: the study goes on"
    elif known.steps:
        return "the order is cancelled while a step of its study is in progress: the study goes on"
    elif known.status == "closed":
        return "the order is cancelled when its study is closed already: it stays as it is"
    else:
        end_study(plan, uid, "cancelled")
    return ""


def is_whose(plan: Plan, named: Mapping[str, str], number: int) -> bool:
    """Whether a Patient ID with its issuer names the patient of a number."""
    patient = plan.known(named["id"], named["issuer"])
    return patient is not None and patient.number == number


def place_of(plan: Plan, names: Iterable[str]) -> str:
    """The first of these names that a `[locations]` entry lists; a bed or a ward that none lists is no lab."""
    return next((name for name in names if plan.view.locations.resolve(name) is not None), "")
