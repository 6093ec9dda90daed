"""Checks 1 to 5 of contracts section 2: what must hold of a request before its content is looked at."""

import re
from typing import Any, Final

from plscp.errors import MissingAttribute, Refused, TooLarge
from plscp.findings import Finding
from plscp.service.profile import Profile
from plscp.statuses import (
    PROCEDURAL_EVENT_LOGGING,
    PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING,
    SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
)

INSTANCES: Final = {
    PROCEDURAL_EVENT_LOGGING: PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING: SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
}
_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
RECORD: Final = 1
"""Action Type ID of both SOP Classes (Tables P.2-2 and P.3-2)."""


def valid_uid(uid: str) -> bool:
    """Whether a UID follows PS3.5 section 9.1: 64 characters, components without leading zeros."""
    return len(uid) <= 64 and _UID.fullmatch(uid) is not None


def command(request: Any, abstract_syntax: str, profile: Profile) -> Finding | None:
    """Steps 1 to 4.

    Args:
        request: pynetdicom's N_ACTION primitive, or the acceptor's own with the same attributes.
        abstract_syntax: the presentation context's.

    Returns:
        A finding where lenient validation lets something pass.

    Raises:
        Refused: 0118H, 0117H, 0119H, 0112H, 0123H or 0124H.
    """
    sop_class = str(request.RequestedSOPClassUID or "")
    if sop_class != abstract_syntax or sop_class not in INSTANCES:
        raise Refused(0x0118, [Finding("sop-class-differs", "Requested SOP Class is not the context's", "(0000,0003)")])
    instance = str(request.RequestedSOPInstanceUID or "")
    finding = None
    if instance != INSTANCES[sop_class]:
        finding = _instance(instance, profile)
    if request.ActionTypeID != RECORD:
        raise Refused(0x0123, [Finding("action-type", "Action Type ID must be 1", "(0000,1008)")])
    if sop_class not in profile.sop_classes:
        reason = "calling AE title may not use this SOP Class"
        raise Refused(0x0124, [Finding("sop-class-not-allowed", reason)])
    return finding


def _instance(instance: str, profile: Profile) -> Finding | None:
    """Step 2 for a Requested SOP Instance UID that is not the class's own."""
    place = "(0000,1001)"
    if not instance:
        if profile.strict:
            raise Refused(0x0112, [Finding("sop-instance-absent", "Requested SOP Instance UID is absent", place)])
        return Finding("sop-instance-absent", "Requested SOP Instance UID is absent", place)
    if not valid_uid(instance):
        raise Refused(0x0117, [Finding("sop-instance-invalid", "Requested SOP Instance UID is no valid UID", place)])
    if instance in INSTANCES.values():
        raise Refused(0x0119, [Finding("class-instance-conflict", "the instance is the other SOP Class's", place)])
    raise Refused(0x0112, [Finding("no-such-instance", "the instance is not the well-known one", place)])


def data_set(request: Any) -> bytes:
    """Step 5's first half: the encoded data set.

    Raises:
        MissingAttribute: there is none (0120H).
        TooLarge: it was longer than the bound and the rest was discarded (0213H).
    """
    if getattr(request, "truncated_length", None):
        raise TooLarge([Finding("data-set-too-long", "the data set is longer than this server takes", refuse=True)])
    raw = getattr(request, "raw", None)
    if raw is None:
        stream = request.ActionInformation
        raw = stream.getvalue() if stream is not None else b""
    if not raw:
        raise MissingAttribute((), [Finding("no-data-set", "the request has no Action Information", refuse=True)])
    return bytes(raw)
