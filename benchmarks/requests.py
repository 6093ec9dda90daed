"""The loads, as bytes for the wire.

real: five entries of three children, codes and all else varied as a lab varies them (see `benchmarks.lab`), 5 KB.
E1: one entry of 0.7 KB, and E5: five entries of three children, 4 KB; in each request the same codes.
"""

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset

from benchmarks import lab
from benchmarks.marks import MARK, Marked, dated
from benchmarks.servers import STUDY
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import SYNTAXES, associate_rq, n_action, p_data, pdv

SYNTAX: Final = SYNTAXES[0]
LOADS: Final = ("real", "E1", "E5")
_COMMAND: Final = p_data(pdv(1, 3, n_action(1, PROCEDURAL_EVENT_LOGGING)))
_numbers = itertools.count(1_000_000_000)


@dataclass(frozen=True)
class Load:
    """One kind of request.

    Attributes:
        requests: their data sets; they are sent in turn, each time with other numbers and times.
    """

    name: str
    requests: Sequence[Marked]

    @property
    def length(self) -> int:
        """Bytes of a data set, on average."""
        return sum(len(one.raw) for one in self.requests) // len(self.requests)

    def data(self) -> Iterator[bytes]:
        """Data sets without end, no two alike."""
        for one in itertools.cycle(self.requests):
            yield one.filled(next(_numbers))


def make(name: str) -> Load:
    """The load of this name."""
    if name == "real":
        return Load(name, [Marked.of(raw) for raw in lab.requests()])
    return Load(name, [Marked.of(events.encoded(dataset(name), SYNTAX))])


def dataset(name: str) -> Dataset:
    """Action Information of E1 or E5, with marks."""
    if name == "E1":
        entries = [events.text("CONTAINS", events.NOTE, f"balloon inflated {MARK}")]
    else:
        entries = [_drug() for _ in range(5)]
    for age, entry in zip(reversed(range(len(entries))), entries, strict=True):
        entry.ObservationDateTime = dated(age)
    return events.procedural(entries, study=STUDY, patient="P1")


def _drug() -> Dataset:
    """A drug with three children (TID 3106)."""
    return events.coded(
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
    )


def associate() -> bytes:
    """The association request of the loads."""
    return associate_rq("HEMO1", "PLSCP", [(PROCEDURAL_EVENT_LOGGING, SYNTAX)])


def wire(data: bytes) -> bytes:
    """A request as it goes over the wire, in two P-DATA-TF as a stock SCU sends it."""
    return _COMMAND + p_data(pdv(1, 2, data))


def files(load: Load, folder: Path) -> tuple[Path, Path]:
    """(association request, requests) as files for the generator; `load.c` says what is in them."""
    first, requests = folder / f"{load.name}.associate", folder / f"{load.name}.requests"
    if not requests.exists():
        first.write_bytes(associate())
        with requests.open("wb") as file:
            file.write(struct.pack(">L", len(load.requests)))
            for one in load.requests:
                made = one.after(wire(one.raw)[: -len(one.raw)])
                head = (len(made.raw), len(_COMMAND), len(made.numbers), len(made.times))
                places = (*made.numbers, *itertools.chain.from_iterable(made.times))
                file.write(struct.pack(f">4L{len(places)}L", *head, *places) + made.raw)
    return first, requests
