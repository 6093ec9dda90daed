"""A Modality Worklist SCP is asked with C-FIND what is scheduled (PS3.4 Annex K)."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from pydicom.dataset import Dataset

from plscp.errors import CommandError
from plscp.scu.encoding import data_set, encode
from plscp.scu.sending import FIND_PENDING, RemoteScp, ScuAssociation

WORKLIST: Final = "1.2.840.10008.5.1.4.31"
"""Modality Worklist Information Model - FIND."""
SUCCESS, CANCELLED = 0x0000, 0xFE00
KEYS: Final = (
    "TimezoneOffsetFromUTC", "AccessionNumber", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "RequestedProcedureID",
)  # fmt: skip
STEP_KEYS: Final = (
    "ScheduledProcedureStepStartTime", "ScheduledStationName", "ScheduledProcedureStepLocation", "ScheduledProcedureStepID",
    "ScheduledProcedureStepStatus",
)  # fmt: skip
"""What is to be given, of the entry and of its Scheduled Procedure Step (PS3.4 Table K.6-1)."""
AFTER_CANCEL_ANSWERS: Final = 1000
"""That an SCP may still send once it was asked to end; beyond, the association is aborted."""


@dataclass(frozen=True)
class WorklistKeys:
    """What is matched (PS3.4 Table K.6-1); an empty text matches everything.

    Attributes:
        first_day, last_day: of the Scheduled Procedure Step Start Date, both included, as the SCP's clocks show it.
    """

    station_ae_title: str
    modality: str
    first_day: date
    last_day: date


@dataclass
class WorklistAnswers:
    """What an SCP has answered.

    Attributes:
        identifiers: of each match the data set as it came.
        transfer_syntax: which all of them are in.
        cut: there were more than were asked for.
    """

    identifiers: list[bytes] = field(default_factory=list)
    transfer_syntax: str = ""
    cut: bool = False


class WorklistQuery:
    """One association with a worklist SCP; made, asked and forgotten. `ask` blocks: call it on a thread of its own."""

    def __init__(self, peer: RemoteScp) -> None:
        self._association = ScuAssociation(peer, [WORKLIST])
        self._turn = threading.Lock()
        self._ended = False

    def ask(self, queries: Sequence[WorklistKeys], most: int) -> WorklistAnswers:
        """Ask one query after the other on one association.

        Args:
            most: matches in all; beyond, the SCP is asked to end, and what came is given.

        Raises:
            CommandError: there is no association, it was lost, or a query failed; one line says why. Nothing is given then: whoever
                asks again learns all of it.
        """
        self._association.open()
        try:
            with self._turn:
                if self._ended:
                    raise CommandError("it was told to end")
            found = WorklistAnswers(transfer_syntax=self._association.syntax_of(WORKLIST))
            for message_id, keys in enumerate(queries, 1):
                self._one(keys, message_id, found, most)
                if found.cut:
                    break
        except BaseException:
            self._association.abort()
            raise
        self._association.close()
        return found

    def _one(self, keys: WorklistKeys, message_id: int, found: WorklistAnswers, most: int) -> None:
        after_cancel = 0
        for answer in self._association.find(encode(request(keys), found.transfer_syntax), WORKLIST, message_id):
            if answer.status in FIND_PENDING:
                if not found.cut and len(found.identifiers) < most:
                    found.identifiers.append(answer.identifier)
                    continue
                if not found.cut:
                    found.cut = True
                    self._association.cancel_find(WORKLIST, message_id)
                after_cancel += 1
                if after_cancel > AFTER_CANCEL_ANSWERS:
                    self._association.abort()
                    return
            elif answer.status != SUCCESS and not (found.cut and answer.status == CANCELLED):
                comment = f": {answer.comment}" if answer.comment else ""
                raise CommandError(f"the query failed with status {answer.status:04X}{comment}")

    def end(self) -> None:
        """Have `ask` end soon, from any thread: it raises CommandError. May take until the connection is gone."""
        with self._turn:
            self._ended = True
        self._association.abort()


def request(keys: WorklistKeys) -> Dataset:
    """The identifier of a query: what is matched, and empty what is to be given (PS3.4 K.6.1.2.2)."""
    days = sorted({f"{day:%Y%m%d}" for day in (keys.first_day, keys.last_day)})
    step = data_set(
        Modality=keys.modality,
        ScheduledStationAETitle=keys.station_ae_title,
        ScheduledProcedureStepStartDate="-".join(days),
        **dict.fromkeys(STEP_KEYS, ""),
    )
    return data_set(
        ScheduledProcedureStepSequence=[step],
        IssuerOfPatientIDQualifiersSequence=[data_set(UniversalEntityID="", UniversalEntityIDType="")],
        **dict.fromkeys(KEYS, ""),
    )
