"""What sends to the server in these cases beside devices: a hospital's HL7 feed over MLLP, and a modality that reports its steps."""

import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Final

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityPerformedProcedureStep

ISSUER: Final = "HOSP"
_START, _END = b"\x0b", b"\x1c\x0d"
_numbers = count(1)


class Hospital:
    """A sender of HL7 v2: one connection, which waits for each acknowledgement.

    Args:
        address: of the server's listener.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=60)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def send(self, kind: str, structure: str, now: datetime, segments: Sequence[str]) -> str:
        """One message; the acknowledgement code (HL7 table 0008), with the texts of its ERR segments."""
        control = f"MSG{next(_numbers):06}"
        msh = f"MSH|^~\\&|HIS|{ISSUER}|PLSCP|CATHLAB|{_ts(now)}||{kind}^{structure}|{control}|P|2.5.1"
        self._socket.sendall(_START + "\r".join([msh, *segments, ""]).encode() + _END)
        answer = b""
        while not answer.endswith(_END):
            received = self._socket.recv(65536)
            assert received, "the listener has ended the connection"
            answer += received
        fields = [segment.split("|") for segment in answer.strip(_START + _END).decode().split("\r") if segment]
        msa = next(segment for segment in fields if segment[0] == "MSA")
        assert msa[2] == control
        errors = [segment[8] for segment in fields if segment[0] == "ERR" and len(segment) > 8]
        return " ".join([msa[1], *errors])

    def adt(
        self,
        event: str,
        now: datetime,
        patient: str,
        *,
        prior: str = "",
        name: str = "",
        visit: str = "",
        bed: str = "",
    ) -> str:
        """An ADT message: PID of a patient, MRG of a prior ID, PV1 of a visit with its bed."""
        structure = {"A40": "ADT_A39", "A47": "ADT_A30", "A02": "ADT_A02", "A04": "ADT_A01", "A08": "ADT_A01"}[event]
        segments = [f"EVN|{event}|{_ts(now)}", _pid(patient, name)]
        if prior:
            segments.append(f"MRG|{prior}^^^{ISSUER}^MR")
        if visit or bed:
            fields = ["PV1", "1", "I", bed, *[""] * 15, f"{visit}^^^{ISSUER}^VN" if visit else ""]
            segments.append("|".join(fields))
        return self.send(f"ADT^{event}", structure, now, segments)

    def order(
        self, control: str, now: datetime, patient: str, study: str, *, place: str, planned: datetime, accession: str
    ) -> str:
        """An order (ORM^O01) with the Study Instance UID that was made for it (IHE: ZDS)."""
        obr = ["OBR", "1", accession, accession, "CATH^Coronary angiography^L", *[""] * 13, accession, f"RP{accession}"]
        obr += [""] * (36 - len(obr)) + [_ts(planned)]
        segments = [
            _pid(patient),
            f"PV1|1|I|{place}",
            f"ORC|{control}|{accession}|{accession}",
            "|".join(obr),
            f"ZDS|{study}^100^Application^DICOM",
        ]
        return self.send("ORM^O01", "ORM_O01", now, segments)


def _ts(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S+0000")


def _pid(patient: str, name: str = "") -> str:
    return f"PID|1||{patient}^^^{ISSUER}^MR||{name}||19700101|F"


class Modality:
    """An SCU of Modality Performed Procedure Step: pynetdicom's, an association for each request.

    Args:
        address: of the server's DICOM port.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._host, self._port = address

    def begin(
        self, ae_title: str, now: datetime, step: str, study: str, patient: str = "", *, accession: str = ""
    ) -> str:
        """N-CREATE: a step of a study is IN PROGRESS (PS3.4 Table F.7.2-1); the status."""
        scheduled = Dataset()
        scheduled.StudyInstanceUID = study
        scheduled.ReferencedStudySequence = []
        scheduled.AccessionNumber = accession
        scheduled.RequestedProcedureID = scheduled.RequestedProcedureDescription = ""
        scheduled.ScheduledProcedureStepID = scheduled.ScheduledProcedureStepDescription = ""
        scheduled.ScheduledProtocolCodeSequence = []
        said = Dataset()
        said.ScheduledStepAttributesSequence = [scheduled]
        said.PatientName = said.PatientBirthDate = said.PatientSex = ""
        said.PatientID = patient
        said.ReferencedPatientSequence = []
        said.PerformedProcedureStepID = "1"
        said.PerformedStationAETitle = ae_title
        said.PerformedStationName = said.PerformedLocation = ""
        said.PerformedProcedureStepStartDate, said.PerformedProcedureStepStartTime = _date(now)
        said.PerformedProcedureStepStatus = "IN PROGRESS"
        said.PerformedProcedureStepDescription = said.PerformedProcedureTypeDescription = ""
        said.ProcedureCodeSequence = []
        said.PerformedProcedureStepEndDate = said.PerformedProcedureStepEndTime = ""
        said.Modality, said.StudyID = "XA", ""
        said.PerformedProtocolCodeSequence, said.PerformedSeriesSequence = [], []
        return self._ask(ae_title, lambda scu: scu.send_n_create(said, ModalityPerformedProcedureStep, step))

    def end(self, ae_title: str, now: datetime, step: str, status: str = "COMPLETED", reason: str = "") -> str:
        """N-SET: a step is COMPLETED or DISCONTINUED, for a reason of CID 9300; the status."""
        said = Dataset()
        said.PerformedProcedureStepStatus = status
        said.PerformedProcedureStepEndDate, said.PerformedProcedureStepEndTime = _date(now)
        series = Dataset()
        series.PerformingPhysicianName = series.OperatorsName = series.RetrieveAETitle = ""
        series.SeriesInstanceUID, series.ProtocolName, series.SeriesDescription = f"{step}.1", "XA", ""
        series.ReferencedImageSequence, series.ReferencedNonImageCompositeSOPInstanceSequence = [], []
        said.PerformedSeriesSequence = [series]
        if reason:
            code = Dataset()
            code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = reason, "DCM", _REASONS[reason]
            said.PerformedProcedureStepDiscontinuationReasonCodeSequence = [code]
        return self._ask(ae_title, lambda scu: scu.send_n_set(said, ModalityPerformedProcedureStep, step))

    def _ask(self, ae_title: str, request: Callable[[Association], tuple[Dataset, Dataset | None]]) -> str:
        scu = AE(ae_title)
        scu.add_requested_context(ModalityPerformedProcedureStep)
        association = scu.associate(self._host, self._port, ae_title="PLSCP")
        assert association.is_established
        try:
            status, _ = request(association)
            return f"{status.Status:04X}"
        finally:
            association.release()


_REASONS: Final[Mapping[str, str]] = {
    "110500": "Doctor canceled procedure",
    "110514": "Incorrect worklist entry selected",
}


def _date(moment: datetime) -> tuple[str, str]:
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
