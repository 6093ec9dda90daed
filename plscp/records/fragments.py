"""The JSON of a record that the service knows before the store gives it a position (contracts section 4)."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as quoted
from typing import Any, Final

from plscp.findings import Finding
from plscp.matching.known import Move, Place
from plscp.matching.model import Decision, Instant
from plscp.statuses import STATUSES
from plscp.store.port import RegistryRecord

PROPOSED_TYPE: Final = "org.plscp.correction.proposed.v1"
_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _dumps(value).encode("utf-8", "replace")


def utc(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def findings(these: Sequence[Finding]) -> bytes:
    """The members of a findings array, without brackets."""
    return b",".join(map(_finding, these)) if these else b""


@lru_cache(maxsize=1024)
def _finding(finding: Finding) -> bytes:
    """A device that does something its own way does it in every request."""
    return dumps(finding.as_json())


@lru_cache(maxsize=4096)
def sender(ae_title: str, location: str, address: str) -> bytes:
    """The ``sender`` object."""
    return dumps({"ae_title": ae_title, "location": location, "address": address})


def context(decision: Decision, sent_by: bytes, inherited: bytes) -> bytes:
    """What all entries of a request share: study, patient, match, sender and the root's context; members, no braces.

    Args:
        inherited: the ``"context":{...}`` member made by the templates, or empty.
    """
    head = decision.published
    if not head:
        members = {
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
        head = decision.published = dumps(members)[1:-1]
    return head + b',"sender":' + sent_by + (b"," + inherited if inherited else b"")


@lru_cache(maxsize=256)
def given_study(context: bytes) -> str:
    """The Study Instance UID that a stored request gave, out of its `context`; empty where it gave none."""
    match = json.loads(b"{" + context + b"}").get("match") or {}
    return str((match.get("given") or {}).get("study_instance_uid", ""))


def proposal(move: Move, *, because: str, calling_ae: str, request_id: str, identity: bytes) -> RegistryRecord:
    """A proposed correction: kept, not published. The same events to the same place are the same proposal."""
    target = _place(move.target)
    what = {"positions": move.positions, "to": target}
    change = {
        "what": "proposal.move",
        **what,
        "from": [_place(origin) for origin in move.origins],
        "because": because,
        "calling_ae": calling_ae,
        "request_id": request_id,
        "quarantine": identity.hex()[:16],
    }
    key = move.origins[0].study_instance_uid or f"{move.origins[0].issuer}|{move.origins[0].patient_id}"
    return RegistryRecord(change, None, key, PROPOSED_TYPE, sha256(dumps(what)).hexdigest()[:16])


def _place(place: Place) -> dict[str, Any]:
    return {
        "study_instance_uid": place.study_instance_uid,
        "patient": {"id": place.patient_id, "issuer": place.issuer},
    }


def entry(
    instant: Instant, time: str, observation_uid: str, typed: bytes, *, synchronized: bool, difference: timedelta | None
) -> bytes:
    """The members of one entry: observation UID, when it occurred, and its typed form.

    Args:
        time: when it occurred at the earliest, as `utc` says it.
    """
    uid = quoted(observation_uid) if observation_uid else "null"
    until = f'"{utc(instant.latest)}"' if instant.latest != instant.earliest else "null"
    apart = round(difference.total_seconds(), 3) if difference is not None else "null"
    head = (
        f'"observation_uid":{uid},"occurred":{{"time":"{time}","until":{until},"text":{quoted(instant.text)},'
        f'"basis":"{instant.basis}","synchronized":{"true" if synchronized else "false"},'
        f'"clock_difference_seconds":{apart}}},"entry":'
    )
    return head.encode("utf-8", "replace") + typed


def refusal(
    status: int,
    comment: str,
    these: Sequence[Finding],
    *,
    sent_by: bytes,
    sop_class: str,
    decision: Decision | None,
    kinds: Sequence[str] = (),
) -> bytes:
    """The members of a refusal record: never raw bytes.

    Args:
        kinds: of the request's entries, as far as they could be read.
    """
    head = _dumps(
        {
            "status": f"{status:04X}",
            "status_name": STATUSES[status].name,
            "comment": comment,
            "sop_class": sop_class,
            "findings": [f.as_json() for f in these],
            "match": decision.explanation() if decision is not None else None,
            "entry_kinds": list(dict.fromkeys(kinds)),
        }
    ).encode("utf-8", "replace")
    return head[1:-1] + b',"sender":' + sent_by
