"""A Modality Performed Procedure Step, reported as an X-ray system does: N-CREATE when it begins, N-SET when it ends (PS3.4 F.7.2)."""

from datetime import UTC, datetime
from typing import Literal

from pydicom.dataset import Dataset

from plscp.scu.pci_case import CaseSubject

FinalStatus = Literal["COMPLETED", "DISCONTINUED"]


def _clock(moment: datetime) -> tuple[str, str]:
    """DA and TM in UTC."""
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y%m%d"), utc.strftime("%H%M%S.%f")


def step_begun(subject: CaseSubject, station: str, moment: datetime) -> Dataset:
    """The data set of an N-CREATE: every attribute of Type 1 and 2 (PS3.4 Table F.7.2-1).

    Args:
        station: AE title of the X-ray system.
        moment: when it began.
    """
    scheduled = Dataset()
    scheduled.StudyInstanceUID = subject.study_instance_uid
    scheduled.ReferencedStudySequence = []
    for keyword in (
        "AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription", "ScheduledProcedureStepID",
        "ScheduledProcedureStepDescription",
    ):  # fmt: skip
        setattr(scheduled, keyword, "")
    scheduled.ScheduledProtocolCodeSequence = []
    data = Dataset()
    data.ScheduledStepAttributesSequence = [scheduled]
    data.PatientID, data.IssuerOfPatientID = subject.patient_id, subject.issuer
    data.PatientName = data.PatientBirthDate = data.PatientSex = ""
    data.ReferencedPatientSequence = []
    data.PerformedProcedureStepID = "1"
    data.PerformedStationAETitle, data.PerformedStationName = station, ""
    data.PerformedLocation = subject.location
    data.PerformedProcedureStepStartDate, data.PerformedProcedureStepStartTime = _clock(moment)
    data.TimezoneOffsetFromUTC = "+0000"
    data.PerformedProcedureStepStatus = "IN PROGRESS"
    data.PerformedProcedureStepDescription = data.PerformedProcedureTypeDescription = ""
    data.PerformedProcedureStepEndDate = data.PerformedProcedureStepEndTime = ""
    data.Modality, data.StudyID = "XA", subject.study_id
    data.ProcedureCodeSequence, data.PerformedProtocolCodeSequence, data.PerformedSeriesSequence = [], [], []
    data.PerformedProcedureStepDiscontinuationReasonCodeSequence = []
    return data


def step_ended(status: FinalStatus, moment: datetime) -> Dataset:
    """The data set of an N-SET that ends a step at a moment (PS3.4 Table F.7.2-1, column N-SET)."""
    data = Dataset()
    data.PerformedProcedureStepStatus = status
    data.PerformedProcedureStepEndDate, data.PerformedProcedureStepEndTime = _clock(moment)
    data.TimezoneOffsetFromUTC = "+0000"
    data.PerformedSeriesSequence = []
    return data
