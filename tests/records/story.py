"""One of every record that is published or kept, of fixed inputs: `python -m tests.records.story FILE` writes their bytes, a line each.

What differs from run to run is told apart by its first appearance: ids of requests and changes, and the time of the commit.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.matching import changes
from plscp.matching.bodies import parse
from plscp.matching.corrections import CorrectionBody, SettleBody
from plscp.matching.model import Device, Policy
from plscp.records.parts import BARRIER, RelayStarted, reduced
from plscp.service.profile import Profile
from plscp.store.port import Delivered, Expunge, Filter
from plscp.store.relay_view import RelayView
from tests import events
from tests.store.drafts import ignore, send
from tests.system.rows.rig import Rig, at

U1, U2, U3 = (f"1.2.826.0.1.3680043.9.7.4.{n}" for n in (1, 2, 3))
PRIVATE = ("FLUSH", "99SHOP", "Catheter flushed")
ODD = 'a "quoted" \\ back\u00e9 \u9234 \U0001f600 \u2028 line\r\nfeed'
PUBLISHING = Policy(patient_id_issuer="HOSP", publish_demographics=True)


def coded_item(relationship: str, value_type: str, concept: tuple[str, str, str], **members: Any) -> Dataset:
    """A content item with any members."""
    made = events.item(relationship, value_type, concept)
    for keyword, value in members.items():
        setattr(made, keyword, value)
    return made


def reference(sop_class: str) -> Items:
    """A Referenced SOP Sequence."""
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = sop_class, "1.2.3.4"
    return Items([made])


def several_kinds() -> list[Dataset]:
    """Entries of typed kinds, with odd codes, numbers and texts, and one that no template describes."""
    note = events.note(at("10:00:00"), ODD)
    note.ObservationUID = "1.2.3.1"
    drug = events.drug(at("10:00:01"), "1E+16")
    drug.ContentSequence.append(
        events.coded("HAS PROPERTIES", ("G-C340", "SRT", "Route of administration"), ("58100008", "SCT", "IA"))
    )
    drug.ContentSequence.append(events.number("HAS PROPERTIES", ("118565006", "SCT", "Volume"), "8.50", "ml"))
    device = events.coded("CONTAINS", ("371876007", "SCT", "Placed"), ("65818007", "SCT", "Stent"))
    device.ContentSequence = [
        events.number("HAS PROPERTIES", ("81827009", "SCT", "Diameter"), "-0", "mm"),
        events.number("HAS PROPERTIES", ("410668003", "SCT", "Length"), "18", "mm"),
        events.text("HAS PROPERTIES", PRIVATE, "left"),
    ]
    person = coded_item("CONTAINS", "PNAME", ("122041", "DCM", "Staff enters"), PersonName="Doe^Jane")
    image = coded_item(
        "CONTAINS", "IMAGE", ("121139", "DCM", "Image"), ReferencedSOPSequence=reference("1.2.840.10008.5.1.4.1.1.12.1")
    )
    untyped = coded_item("CONTAINS", "PNAME", PRIVATE, PersonName="Doe^Jim")
    untyped.ContentSequence = [events.coded("HAS PROPERTIES", PRIVATE, PRIVATE)]
    untyped.add_new(0x00090010, "LO", "SHOP")
    untyped.add_new(0x00091001, "UN", b"\0\1\2\3")
    device, person, image = (events.at(each, at("10:00:02")) for each in (device, person, image))
    untyped.ObservationDateTime = "202405141000"  # a whole minute, in the server's time zone
    return [untyped, note, drug, device, person, image]


def drug_sheet() -> Dataset:
    """An administration with parameters."""
    made = events.substance(at("10:10"), patient="PA", product="Heparin\\Liquemin \u00fc", admission="V1")
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SubstanceAdministrationNotes = 'a "quoted" note \u00fc \u9234 \U0001f600'
    dose = events.item("", "NUMERIC", ("122092", "DCM", "Undiluted dose administered"))
    del dose.RelationshipType
    dose.NumericValue = "5000"
    dose.MeasurementUnitsCodeSequence = events.code("[iU]", "UCUM", "[iU]")
    other = events.item("", "TEXT", PRIVATE)
    del other.RelationshipType
    other.TextValue = "x"
    made.SubstanceAdministrationParameterSequence = [dose, other]
    return made


def told(rig: Rig) -> list[str]:
    """What feeds and devices say, one after the other; the ids of the corrections that follow."""
    rig.clock("09:00")
    rig.study(U1, "PA", location="LAB1", study_id="S 1", accession_number="A1")
    rig.study(U2, "PB", location="LAB2", status="scheduled", planned="2024-05-14T11:00:00+02:00")
    rig.patient("PA", name="M\u00fcller^\u9234", birth_date="19700101", sex="F", other_ids=[{"id": "X", "issuer": "O"}])
    rig.patient("PC", name='Quo"te^Jane')
    rig.policy = PUBLISHING
    rig.patient("PC", sex="M")
    rig.merge("PA", "PC")
    rig.admission("V1", "PA", location="WARD", status="active")
    rig.study(U3, "PB", location="LAB2", study_id="S3")
    rig.clock("10:01")
    log = events.procedural(several_kinds(), study=U1, patient="PA")
    log.SpecificCharacterSet = "ISO_IR 192"
    assert str(rig.send(log)).startswith("0000")
    rig.store.submit(Delivered([rig.events()[-1].request_id]))
    assert str(rig.send(log)).startswith("0000")  # the note is not added again
    first = events.note(at("10:00:05"), "first")
    first.ObservationUID = "1.2.3.2"
    for words in ("first", "second"):
        first.TextValue = words
        assert str(rig.send(events.procedural([first], study=U1))).startswith("0000")
    again = events.note(at("10:00:06"), "cumulative")
    for more in range(2):
        entries = [again, *[events.note(at(f"10:00:0{7 + n}"), f"more {n}") for n in range(more)]]
        assert str(rig.send(events.procedural(entries, study=U1))).startswith("0000")
    warned = events.procedural([events.note(at("10:02"), "warned")], study="1.2.3.99", patient="PC", study_id="S 1")
    assert str(rig.send(warned, when="10:03")).startswith("B102")
    assert str(rig.send(drug_sheet(), substance=True, when="10:11")).startswith("0000")
    unknown = events.procedural([events.note(at("10:12"), "whose")], patient="P9", location="Lab 1")
    assert str(rig.send(unknown, when="10:13")) == "C104"
    nested = events.procedural([events.at(events.item("CONTAINS", "CONTAINER", PRIVATE), at("10:14")), first], study=U1)
    assert str(rig.send(nested, when="10:15")) == "C102"
    assert str(rig.send(events.substance(at("10:15"), patient="P9"), substance=True)) == "C110"
    first.TextValue = "second"
    assert str(rig.send(events.procedural([first], patient="PB"), when="10:16")) == "C104"
    rig.close(U1)
    rig.change(lambda registry: changes.cancel_study(registry, U2, rig.policy, rig.now))
    rig.settle()
    moment = int(at("10:02").timestamp() * 1_000_000)
    send(rig.store, Expunge(moment, moment + 3_600_000_000, ignore))
    return corrected(rig)


def corrected(rig: Rig) -> list[str]:
    """Corrections by hand, of an entry and of an administration, and one taken back; their ids."""
    ids = []
    said: dict[str, Any] = {"why": 'a "slip"', "who": "Doe^J\u00e4ne"}
    logged, administered = (
        next(event.position for event in rig.events() if event.topic == topic)
        for topic in ("procedure-log", "medication-administration")
    )
    for position, to in (
        (logged, {"study_instance_uid": U3}),
        (administered, {"patient": {"id": "PB", "issuer": "HOSP"}}),
    ):
        body = parse(CorrectionBody, said | {"positions": [position], "to": to})
        ids.append(rig.run(rig.corrections.make(body, "Doe^J\u00e4ne (operate)")).id)
    known = rig.store.proposal(ids[-1])
    assert known is not None
    return [*ids, rig.run(rig.corrections.revert(known, parse(SettleBody, said), "operate")).id]


def lines() -> list[bytes]:
    """The values, in order of position, then each that has a topic in its reduced form, and a barrier."""
    seen: dict[bytes, bytes] = {}

    def told_apart(found: re.Match[bytes]) -> bytes:
        return seen.setdefault(found[0], b"%032x" % (len(seen) + 1))

    with tempfile.TemporaryDirectory() as folder:
        profile = Profile(Device("HEMO1", ("LAB1",)), Policy(patient_id_issuer="HOSP"))
        with Rig(Path(folder), profile) as rig:
            corrections = told(rig)
            whole = [event.payload for event in rig.store.read(Filter(limit=-1))]
        view = RelayView.open(f"sqlite:///{Path(folder) / 'plscp.db'}")
        short = [reduced(record.value, record.position) for record in view.records(0, 1000)]
        view.close()
    barrier = RelayStarted(type=BARRIER, store="6f1c4b3e-0d51-4b0e-9a8f-3f1f8a6f2d10").encoded()
    at_commit = [re.sub(rb'"recorded":"[^"]*"', b'"recorded":"2024-05-14T12:00:00.000Z"', v) for v in (*whole, *short)]
    ids = b"|".join(correction.encode() for correction in corrections)
    named = re.compile(rb"\b(?:[0-9a-f]{32}|%b)\b" % ids)
    return [*(named.sub(told_apart, value) for value in at_commit), barrier]


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(b"".join(line + b"\n" for line in lines()))
