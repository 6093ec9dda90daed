"""Every status that plscp answers with (PS3.7 Annex C, PS3.4 P.2.2.4, P.3.2.4, F.7.2), and what may stand beside it."""

from typing import Final, NamedTuple

PROCEDURAL_EVENT_LOGGING: Final = "1.2.840.10008.1.40"
PROCEDURAL_EVENT_LOGGING_INSTANCE: Final = "1.2.840.10008.1.40.1"
SUBSTANCE_ADMINISTRATION_LOGGING: Final = "1.2.840.10008.1.42"
SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE: Final = "1.2.840.10008.1.42.1"
INSTANCES: Final = {
    PROCEDURAL_EVENT_LOGGING: PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING: SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
}
"""The well-known SOP Instance of each SOP Class of Annex P."""
MODALITY_PERFORMED_PROCEDURE_STEP: Final = "1.2.840.10008.3.1.2.3.3"
SOP_CLASS_NAMES: Final = {
    PROCEDURAL_EVENT_LOGGING: "procedural-event-logging",
    SUBSTANCE_ADMINISTRATION_LOGGING: "substance-administration-logging",
    MODALITY_PERFORMED_PROCEDURE_STEP: "modality-performed-procedure-step",
}
"""As settings, metrics and the HTTP API name SOP Classes."""


class StatusInfo(NamedTuple):
    """One row of the table of statuses.

    Attributes:
        code: value of Status (0000,0900).
        name: the standard's name, in kebab-case: also the metric label.
        section: where the standard defines it.
        comment: whether Error Comment (0000,0902) may stand beside it.
        retriable: whether the same request may succeed later without being changed.
    """

    code: int
    name: str
    section: str
    comment: bool = False
    retriable: bool = False

    @property
    def performed(self) -> bool:
        """True for Success and Warning: the event is logged, the step is kept (PS3.7 C.4)."""
        return self.code in {0x0000, 0x0107} or self.code >> 12 == 0xB


_TABLE: Final = (
    StatusInfo(0x0000, "success", "PS3.7 C.1.1"),
    StatusInfo(0xB101, "synchronization-frame-of-reference-differs", "PS3.4 P.2.2.4", comment=True),
    StatusInfo(0xB102, "study-instance-uid-coercion", "PS3.4 P.2.2.4", comment=True),
    StatusInfo(0xB104, "ids-inconsistent-logged", "PS3.4 P.2.2.4", comment=True),
    StatusInfo(0xC101, "logging-not-available-for-study", "PS3.4 P.2.2.4", comment=True),
    StatusInfo(0xC102, "does-not-match-template", "PS3.4 P.2.2.4", comment=True),
    StatusInfo(0xC103, "cannot-match-to-current-study", "PS3.4 P.2.2.4", comment=True, retriable=True),
    StatusInfo(0xC104, "ids-inconsistent-not-logged", "PS3.4 P.2.2.4", comment=True, retriable=True),
    StatusInfo(0xC10E, "operator-not-authorized", "PS3.4 P.3.2.4", comment=True),
    StatusInfo(0xC110, "patient-not-identified", "PS3.4 P.3.2.4", comment=True, retriable=True),
    StatusInfo(0xC111, "mar-update-failed", "PS3.4 P.3.2.4", comment=True, retriable=True),
    StatusInfo(0x0110, "processing-failure", "PS3.7 C.5.21", comment=True, retriable=True),
    StatusInfo(0x0112, "no-such-sop-instance", "PS3.7 C.5.19"),
    StatusInfo(0x0115, "invalid-argument-value", "PS3.7 C.5.10"),
    StatusInfo(0x0117, "invalid-sop-instance", "PS3.7 C.5.12"),
    StatusInfo(0x0118, "no-such-sop-class", "PS3.7 C.5.20"),
    StatusInfo(0x0119, "class-instance-conflict", "PS3.7 C.5.7"),
    StatusInfo(0x0120, "missing-attribute", "PS3.7 C.5.13, PS3.4 5.4.2.1"),
    StatusInfo(0x0121, "missing-attribute-value", "PS3.7 C.5.14, PS3.4 5.4.2.1"),
    StatusInfo(0x0123, "no-such-action-type", "PS3.7 C.5.24"),
    StatusInfo(0x0124, "not-authorized", "PS3.7 C.5.25", comment=True),
    StatusInfo(0x0210, "duplicate-invocation", "PS3.7 C.5.9"),
    StatusInfo(0x0211, "unrecognized-operation", "PS3.7 C.5.23"),
    StatusInfo(0x0212, "mistyped-argument", "PS3.7 C.5.15"),
    StatusInfo(0x0213, "resource-limitation", "PS3.7 C.5.22", retriable=True),
)
STATUSES: Final[dict[int, StatusInfo]] = {row.code: row for row in _TABLE}
"""Of an N-ACTION, by code."""

_STEP_TABLE: Final = (
    StatusInfo(0x0106, "invalid-attribute-value", "PS3.7 C.5.11"),
    StatusInfo(0x0107, "attribute-list-error", "PS3.7 C.4.2"),
    StatusInfo(0x0111, "duplicate-sop-instance", "PS3.7 C.5.8"),
)
_SHARED: Final = (
    0x0000, 0x0110, 0x0112, 0x0117, 0x0118, 0x0120, 0x0121, 0x0124, 0x0210, 0x0211, 0x0212, 0x0213,
)  # fmt: skip
STEP_STATUSES: Final[dict[int, StatusInfo]] = {
    row.code: row for row in sorted((*_STEP_TABLE, *(STATUSES[code] for code in _SHARED)))
}
"""Of an N-CREATE or N-SET of a Modality Performed Procedure Step, by code."""
MAY_NO_LONGER_BE_UPDATED: Final = 0xA710
"""Error ID (0000,0903) beside 0110H: the step is completed or discontinued (PS3.4 F.7.2.2.2)."""
