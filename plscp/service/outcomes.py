"""The failure statuses of a request, with what may stand beside them (contracts section 2)."""

from typing import Final

from plscp.errors import MissingAttribute, Refused, StoreBusy, StoreError, StoreFull
from plscp.network.answer import Status
from plscp.statuses import PROCEDURAL_EVENT_LOGGING

ERROR_IDS: Final = {"store-unavailable": 1, "store-broken": 2, "answer-deadline": 3, "internal": 4, "store-error": 5}
"""Error ID (0000,0903) of 0110H, by the error's label."""
INTERNAL: Final = 0x0110


def comment(refused: Refused) -> str:
    """Error Comment of a refusal: its first refusing finding, with how many more there are."""
    refusing = [f for f in refused.findings if f.refuse] or list(refused.findings)
    return refusing[0].comment(len(refusing) - 1) if refusing else ""


def failure(refused: Refused) -> Status:
    """The status of a refused request."""
    status = Status(refused.status)
    if refused.info.comment:
        status.comment = comment(refused)
    if refused.status == INTERNAL:
        status.error_id = ERROR_IDS["internal"]
    if isinstance(refused, MissingAttribute):
        status.attributes = refused.tags
    return status


def store_failure(sop_class: str, error: StoreError) -> Status:
    """The status of a request that the store could not take: 0213H where there is no room for it."""
    return Status(0x0213) if isinstance(error, StoreFull | StoreBusy) else not_done(sop_class, error.label)


def not_done(sop_class: str, label: str) -> Status:
    """Step 10's failure: C111 for administrations, 0110H with its Error ID for procedural events."""
    if sop_class != PROCEDURAL_EVENT_LOGGING:
        status = Status(0xC111)
    else:
        status = Status(0x0110)
        status.error_id = ERROR_IDS.get(label, ERROR_IDS["store-error"])
    status.comment = f"not recorded, please send again: {label}"
    return status
