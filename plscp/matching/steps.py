"""Performed procedure steps, as modalities report them: what the registry holds of each (PS3.3 B.17.2, PS3.4 F.7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from plscp.matching.layers import Forkable
from plscp.matching.records import Json, utc_moment, utc_text

StepStatus = Literal["IN PROGRESS", "COMPLETED", "DISCONTINUED"]
"""Performed Procedure Step Status (0040,0252)."""
IN_PROGRESS: Final = "IN PROGRESS"


@dataclass(frozen=True, slots=True)
class ProcedureStep:
    """One performed procedure step.

    Attributes:
        status: as the modality said it last.
        studies: Study Instance UIDs that it belongs to; several for a group case.
        location: where it was, by the name of its lab; empty where that is not known.
        started: UTC, as stated unless in the future.
        ended: when its studies were no longer held open by it; None while it is in progress. A step that an operator has ended
            keeps the status that the modality said.
        reason: of a discontinued one: Code Value and Coding Scheme Designator, ``110514^DCM``; ``operator`` where one ended it.
    """

    sop_instance_uid: str
    status: StepStatus
    studies: tuple[str, ...]
    calling_ae: str
    station_ae_title: str
    location: str
    started: datetime
    ended: datetime | None = None
    reason: str = ""

    @property
    def in_progress(self) -> bool:
        """Whether it holds its studies open."""
        return self.ended is None

    @property
    def station(self) -> str:
        """The AE title of the device that performs it."""
        return self.station_ae_title or self.calling_ae

    def as_json(self) -> Json:
        """As it is stored and shown."""
        return {
            "sop_instance_uid": self.sop_instance_uid,
            "status": self.status,
            "studies": list(self.studies),
            "calling_ae": self.calling_ae,
            "station_ae_title": self.station_ae_title,
            "location": self.location,
            "started": utc_text(self.started),
            "ended": utc_text(self.ended),
            "reason": self.reason,
        }


def step_from(change: Mapping[str, Any]) -> ProcedureStep:
    """A step out of a change."""
    started = utc_moment(change["started"])
    assert started is not None
    return ProcedureStep(
        sop_instance_uid=change["sop_instance_uid"],
        status=change["status"],
        studies=tuple(change["studies"]),
        calling_ae=change["calling_ae"],
        station_ae_title=change["station_ae_title"],
        location=change["location"],
        started=started,
        ended=utc_moment(change["ended"]),
        reason=change["reason"],
    )


class Steps(Forkable):
    """Every step that was reported, by its SOP Instance UID: an ended one must go on being told from one that never was."""

    def __init__(self) -> None:
        self._steps: dict[str, ProcedureStep] = {}
        self._of_study: dict[str, tuple[str, ...]] = {}
        self._in_progress: dict[str, int] = {}  # their positions, in the order in which they began

    def apply(self, position: int, change: Mapping[str, Any]) -> ProcedureStep:
        """Apply a change of kind ``step.changed``, which has the step's whole new state; returns the step."""
        step = step_from(change)
        if step.sop_instance_uid not in self._steps:  # its studies stay the same
            for study in step.studies:
                self._of_study[study] = (*self._of_study.get(study, ()), step.sop_instance_uid)
        self._steps[step.sop_instance_uid] = step
        if step.in_progress:
            self._in_progress.setdefault(step.sop_instance_uid, position)
        else:
            self._in_progress.pop(step.sop_instance_uid, None)
        return step

    def get(self, sop_instance_uid: str) -> ProcedureStep | None:
        """A step, or None for one that was never reported."""
        return self._steps.get(sop_instance_uid)

    def of_study(self, study_instance_uid: str) -> list[ProcedureStep]:
        """The steps of a study, in the order in which they were first reported."""
        return [self._steps[uid] for uid in self._of_study.get(study_instance_uid, ())]

    def in_progress(self) -> list[ProcedureStep]:
        """The steps that hold studies open, in the order in which they began."""
        return [self._steps[uid] for uid in self._in_progress]

    def all(self) -> list[ProcedureStep]:
        """Every step, in the order in which they were first reported."""
        return list(self._steps.values())
