"""A Modality Worklist SCP, pynetdicom's, that answers what a test says; and entries for it."""

import ssl
import threading
from collections.abc import Iterator
from typing import Any, Self

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt

from plscp.scu.worklist import WORKLIST
from tests.rawscu import SYNTAXES

STEP_FIELDS = {"station": "ScheduledStationAETitle", "day": "ScheduledProcedureStepStartDate", "clock": "ScheduledProcedureStepStartTime",
    "step": "ScheduledProcedureStepID", "place": "ScheduledProcedureStepLocation", "status": "ScheduledProcedureStepStatus",
    "station_name": "ScheduledStationName", "modality": "Modality"}  # fmt: skip
FIELDS = {"study": "StudyInstanceUID", "patient": "PatientID", "issuer": "IssuerOfPatientID", "name": "PatientName", "birth": "PatientBirthDate",
    "sex": "PatientSex", "procedure": "RequestedProcedureID", "accession": "AccessionNumber", "offset": "TimezoneOffsetFromUTC",
    "charset": "SpecificCharacterSet"}  # fmt: skip


def entry(study: str = "1.2.1", patient: str = "P1", *, universal: str = "", **said: Any) -> Dataset:
    """An entry of a worklist; what is None is left out."""
    defaults: dict[str, Any] = {"issuer": "HOSP", "name": "Doe^Jane", "birth": "19700101", "sex": "F", "procedure": "S1", "accession": "A1",
        "day": "20240514", "clock": "1230", "step": "SPS1", "station": "XRAY1"}  # fmt: skip
    given = defaults | {"study": study, "patient": patient} | said
    made, step = Dataset(), Dataset()
    for target, names in ((made, FIELDS), (step, STEP_FIELDS)):
        for short, keyword in names.items():
            if given.get(short) is not None:
                setattr(target, keyword, given[short])
    made.ScheduledProcedureStepSequence = [step]
    if universal:
        qualifier = Dataset()
        qualifier.UniversalEntityID = universal
        qualifier.UniversalEntityIDType = "ISO"
        made.IssuerOfPatientIDQualifiersSequence = [qualifier]
    return made


def with_bytes(made: Dataset, keyword: str, value: bytes) -> Dataset:
    """The entry with an element as these bytes, whatever they are; for an SCP that says no VRs."""
    made[Tag(keyword)] = DataElement(Tag(keyword), "OB", value + b" " * (len(value) % 2))
    return made


class WorklistScp:
    """The SCP on a free port of loopback.

    Attributes:
        entries: what it answers; each query gets all of them.
        status: of the last response.
        asked: the identifiers that it was asked.
        cancelled: how many queries it was asked to end.
        hold: no further answer is given before it is set.
        released: set when an association has ended, however.
    """

    def __init__(
        self, *entries: Dataset, tls: ssl.SSLContext | None = None, heeds_cancel: bool = True, says_vr: bool = True
    ) -> None:
        self.entries = list(entries)
        self.status, self.comment = 0, ""
        self.asked: list[Dataset] = []
        self.cancelled = 0
        self.hold, self.held, self.released = threading.Event(), threading.Event(), threading.Event()
        self.hold.set()
        self._tls, self._heeds_cancel = tls, heeds_cancel
        self._syntaxes = list(SYNTAXES) if says_vr else [ImplicitVRLittleEndian]
        self.port = 0

    def start(self) -> Self:
        """Listen, where it did before or on a free port."""
        ae = AE("WORKLIST")
        ae.require_called_aet = True
        ae.add_supported_context(WORKLIST, self._syntaxes)
        self._server = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            ssl_context=self._tls,
            evt_handlers=[
                (evt.EVT_C_FIND, self._find),
                *((what, self._ended) for what in (evt.EVT_RELEASED, evt.EVT_ABORTED)),
            ],
        )
        self.port = self._server.server_address[1]
        return self

    def stop(self) -> None:
        """Listen no more."""
        self.hold.set()
        self._server.shutdown()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ended(self, _event: Any) -> None:
        self.released.set()

    def _find(self, event: Any) -> Iterator[tuple[Any, Dataset | None]]:
        self.asked.append(event.identifier)
        for made in self.entries:
            if event.is_cancelled:
                self.cancelled += 1
                if self._heeds_cancel:
                    yield 0xFE00, None
                    return
            self.held.set()
            self.hold.wait(60)
            yield 0xFF00, made
        last = Dataset()
        last.Status = self.status
        if self.comment:
            last.ErrorComment = self.comment
        yield last, None
