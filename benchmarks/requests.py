"""The two loads: E1, one entry of about 0.7 KB, and E5, five entries of three children, about 4 KB; as bytes for the wire."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset

from benchmarks.servers import STUDY
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import SYNTAXES, associate_rq, n_action, p_data, pdv

MARK: Final = "9999999999"
SYNTAX: Final = SYNTAXES[0]
ENTRIES: Final = {"E1": 1, "E5": 5}


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


def dataset(entries: int) -> Dataset:
    """Action Information with so many entries, each with MARK where the running number goes."""
    moment = events.now()
    if entries == 1:
        items = [events.note(moment, f"balloon inflated {MARK}")]
    else:
        items = [_drug(events.now(number / 1000)) for number in range(entries)]
    return events.procedural(items, study=STUDY, patient="P1")


def _drug(moment: datetime) -> Dataset:
    """A drug with three children (TID 3106)."""
    return events.at(
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
        moment,
    )


def make(name: str) -> Load:
    """A load whose entries each hold ten digits that the generator changes."""
    data = events.encoded(dataset(ENTRIES[name]), SYNTAX)
    command = p_data(pdv(1, 3, n_action(1, PROCEDURAL_EVENT_LOGGING)))
    wire = command + p_data(pdv(1, 2, data))
    offsets = tuple(match.start() for match in re.finditer(MARK.encode(), wire))
    return Load(name, data, wire, offsets, len(command))


def associate() -> bytes:
    """The association request of the loads."""
    return associate_rq("HEMO1", "PLSCP", [(PROCEDURAL_EVENT_LOGGING, SYNTAX)])


def files(load: Load, folder: Path) -> tuple[Path, Path]:
    """(association request, request) as files for the generator."""
    first, request = folder / f"{load.name}.associate", folder / f"{load.name}.request"
    first.write_bytes(associate())
    request.write_bytes(load.wire)
    return first, request
