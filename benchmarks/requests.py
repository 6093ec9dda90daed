"""The two loads: E1, one entry of about 0.7 KB, and E5, five entries of three children, about 4 KB; as bytes for the wire."""

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import STUDY
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import SYNTAXES, associate_rq, n_action, p_data, pdv

MARK = "9999999999"


@dataclass(frozen=True)
class Load:
    """One kind of request: its bytes, and where the running number goes.

    Attributes:
        first_part: length of the first of the two writes of a stock SCU (the command's P-DATA-TF).
    """

    name: str
    data: bytes
    wire: bytes
    offsets: tuple[int, ...]
    first_part: int


def make(name: str, entries: int) -> Load:
    """A load whose entries each hold ten digits that the generator changes."""
    moment = events.now()
    items = []
    for number in range(entries):
        if entries == 1:
            entry = events.note(moment, f"balloon inflated {MARK}")
        else:
            entry = events.at(
                events.coded(
                    "CONTAINS",
                    ("122083", "DCM", "Drug administered"),
                    ("84812008", "SCT", "Heparin"),
                    events.text("HAS PROPERTIES", ("121145", "DCM", "Description of Material"), f"vial {MARK}"),
                    events.number("HAS PROPERTIES", ("122092", "DCM", "Undiluted dose administered"), "5000", "[iU]"),
                    events.coded(
                        "HAS PROPERTIES",
                        ("410675002", "SCT", "Route of administration"),
                        ("47625008", "SCT", "Intravenous route"),
                    ),
                ),
                events.now(number / 1000),
            )
        items.append(entry)
    dataset = events.procedural(items, study=STUDY, patient="P1")
    data = events.encoded(dataset, SYNTAXES[0])
    command = p_data(pdv(1, 3, n_action(1, PROCEDURAL_EVENT_LOGGING)))
    wire = command + p_data(pdv(1, 2, data))
    offsets = tuple(match.start() for match in re.finditer(MARK.encode(), wire))
    return Load(name, data, wire, offsets, len(command))


def files(load: Load, folder: Path) -> tuple[Path, Path]:
    """(association request, request) as files for the generator."""
    associate, request = folder / f"{load.name}.associate", folder / f"{load.name}.request"
    associate.write_bytes(associate_rq("HEMO1", "PLSCP", [(PROCEDURAL_EVENT_LOGGING, SYNTAXES[0])]))
    request.write_bytes(load.wire)
    return associate, request
