"""The JSON of a record that the service knows before the store gives it a position (contracts section 4)."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from plscp.findings import Finding
from plscp.matching.model import Decision, Instant
from plscp.statuses import STATUSES

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _dumps(value).encode("utf-8", "replace")


def utc(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def findings(these: Iterable[Finding]) -> bytes:
    """The members of a findings array, without brackets."""
    return b",".join(dumps(f.as_json()) for f in these)


@lru_cache(maxsize=4096)
def sender(ae_title: str, location: str, address: str) -> bytes:
    """The ``sender`` object."""
    return dumps({"ae_title": ae_title, "location": location, "address": address})


def context(decision: Decision, sent_by: bytes, inherited: bytes) -> bytes:
    """What all entries of a request share: study, patient, match, sender and the root's context; members, no braces.

    Args:
        inherited: the ``"context":{...}`` member made by the templates, or empty.
    """
    head = _dumps(
        {
            "study": {
                "study_instance_uid": decision.study_instance_uid,
                "study_id": decision.study_id,
                "accession_number": decision.accession_number,
                "location": decision.location,
            }
            if decision.study_instance_uid
            else None,
            "patient": {"id": decision.patient_id, "issuer": decision.issuer},
            "match": decision.explanation(),
        }
    ).encode("utf-8", "replace")
    return head[1:-1] + b',"sender":' + sent_by + (b"," + inherited if inherited else b"")


def entry(
    instant: Instant, observation_uid: str, typed: bytes, *, synchronized: bool, difference: timedelta | None
) -> bytes:
    """The members of one entry: observation UID, when it occurred, and its typed form."""
    head = _dumps(
        {
            "observation_uid": observation_uid or None,
            "occurred": {
                "time": utc(instant.earliest),
                "until": utc(instant.latest) if instant.latest != instant.earliest else None,
                "text": instant.text,
                "basis": instant.basis,
                "synchronized": synchronized,
                "clock_difference_seconds": round(difference.total_seconds(), 3) if difference is not None else None,
            },
        }
    ).encode("utf-8", "replace")
    return head[1:-1] + b',"entry":' + typed


def refusal(
    status: int,
    comment: str,
    these: Sequence[Finding],
    *,
    sent_by: bytes,
    sop_class: str,
    decision: Decision | None,
) -> bytes:
    """The members of a refusal record: never raw bytes."""
    head = _dumps(
        {
            "status": f"{status:04X}",
            "status_name": STATUSES[status].name,
            "comment": comment,
            "sop_class": sop_class,
            "findings": [f.as_json() for f in these],
            "match": decision.explanation() if decision is not None else None,
        }
    ).encode("utf-8", "replace")
    return head[1:-1] + b',"sender":' + sent_by
