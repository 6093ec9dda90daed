"""The HL7 conformance statement: prose in `conformance_hl7.md`, its tables and numbers out of the program."""

from importlib import resources
from typing import Final

from plscp import __version__
from plscp.config.model import Hl7Table, Hl7Tls
from plscp.config.values import iso_duration
from plscp.feeds import hl7_orders, hl7_persons, hl7_staff
from plscp.feeds.hl7_message import CHARACTER_SETS
from plscp.reference.conformance import filled, table

MEANT: Final[dict[str, str]] = {
    "A01": "admitted: person, visit active, bed",
    "A02": "transferred: person, bed",
    "A03": "discharged: person, visit discharged",
    "A04": "registered: person, visit active, bed",
    "A05": "pre-admitted: person, visit active",
    "A06": "outpatient to inpatient: person, visit, bed",
    "A07": "inpatient to outpatient: person, visit, bed",
    "A08": "updated: person, visit, bed; discharged where PV1-45 says so",
    "A09": "departing: where to, as the visit's bed",
    "A10": "arriving: where, as the visit's bed",
    "A11": "admission cancelled: the visit names nobody any more",
    "A12": "transfer cancelled: the bed before it",
    "A13": "discharge cancelled: visit active",
    "A17": "two patients swap beds",
    "A18": "merged: MRG-1 (else MRG-4) into PID-3",
    "A24": "linked: an ID that is not known names the known patient; of two known ones a merge is proposed",
    "A28": "person added",
    "A31": "person updated",
    "A34": "merged: as A18",
    "A36": "merged: as A18, and the account of MRG-3",
    "A37": "unlinked: the ID that is not the current one is given anew",
    "A38": "pre-admission cancelled: as A11",
    "A40": "merged: as A18, for each PID with its MRG",
    "A45": "visits moved: MRG-5 and PV1-19 belong to the patient of PID-3",
    "A47": "the ID of MRG-1 is that of PID-3 from now on; the old one goes on naming the patient",
}
"""Of each trigger event of ADT that is read: what it does."""
_ORDERS: Final = "order: person; study scheduled, changed or cancelled"
_STAFF: Final = "staff master file: operators taken in, changed or taken out"


def statement_hl7() -> str:
    """The statement in Markdown."""
    settings = Hl7Table()
    rows = [(f"ADT^{event}", MEANT[event]) for event in sorted(hl7_persons.EVENTS)]
    rows += [(kind, _ORDERS) for kind in sorted(hl7_orders.KINDS)]
    rows += [(kind, _STAFF) for kind in sorted(hl7_staff.KINDS)]
    values = {
        "version": __version__,
        "port": str(settings.port),
        "tls_port": str(Hl7Tls.model_fields["port"].default),
        "connections": str(settings.max_connections),
        "connections_per_address": str(settings.max_connections_per_address),
        "message": f"{settings.max_message:,}",
        "message_deadline": iso_duration(settings.message_deadline),
        "idle_deadline": iso_duration(settings.idle_deadline),
        "answer_deadline": iso_duration(settings.answer_deadline),
        "character_sets": ", ".join(CHARACTER_SETS),
        "messages": table(rows),
        "cancels": ", ".join(sorted(hl7_orders.CANCELS)),
    }
    text = resources.files("plscp.reference").joinpath("conformance_hl7.md").read_text("utf-8")
    return filled(text, values.__getitem__)
