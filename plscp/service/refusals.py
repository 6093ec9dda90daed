"""The log's lines about refused requests: the first of each cause at once, then how many more there were; and what to do about it."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

from plscp.dicom.admission import toml_key
from plscp.dicom.repeats import Repeats
from plscp.findings import Finding
from plscp.logs import debugging, log
from plscp.matching import comments
from plscp.service import reply
from plscp.service.profile import Profile
from plscp.service.steps import Pending
from plscp.statuses import SOP_CLASS_NAMES, STATUSES

MOST_FINDINGS: Final = 20

_CLOCK: Final = (
    "compare the times that {title} sent (plscp quarantine explain) with their arrival: "
    "its clock is wrong, or they have no offset: set {table}.timezone"
)
_NEVER_NAMED: Final = "no feed, file or command has named it: plscp study open, or see the feed"
_LACKS_SPELLING: Final = (
    "add that spelling to [issuers]: plscp quarantine show has it, and the log line issuer-unusable"
)
_OPEN_IT: Final = "open the study{room} (plscp study open, or its feed), then plscp quarantine replay, where it is not replayed by itself"
_CLOSE_LEFT: Final = "close the study that has left: plscp study list, plscp study close"
_WHOSE: Final = "look which patient is on the table: {title} may have another selected"
_SENT_AGAIN: Final = "nothing is lost: the device sends it again; see store-failed in this log"
HINTS: Final[dict[str | int, str]] = {
    comments.NOTHING_GIVEN: "{place}",
    comments.NO_PLACE: "{place}",
    comments.UNKNOWN_STUDY: _NEVER_NAMED,
    comments.UNKNOWN_STUDY_NO_CURRENT: _NEVER_NAMED,
    comments.UNKNOWN_PATIENT: _NEVER_NAMED,
    comments.PATIENT_NOT_KNOWN: "no feed, file or command has named it: plscp patient add, or see the feed",
    comments.ADMISSION_NOT_KNOWN: _NEVER_NAMED,
    comments.NO_CURRENT_STUDY: _OPEN_IT,
    comments.NONE_AT_LOCATION: _OPEN_IT,
    comments.ISSUER_NOT_LISTED: _LACKS_SPELLING,
    comments.ISSUERS_CONTRADICT: _LACKS_SPELLING,
    comments.UNKNOWN_LOCATION: "add the name that it sends to the names of its [locations] table",
    comments.FOREIGN_LOCATION: "{table}.location lacks that location",
    comments.SEVERAL_LOCATIONS: "set up the device to send Performed Location (0040,0243)",
    comments.AMBIGUOUS_PATIENT: "set {table}.patient_id_issuer",
    comments.SEVERAL_AT_LOCATION: _CLOSE_LEFT,
    comments.UNTRUSTED_SEVERAL: _CLOSE_LEFT,
    comments.SEVERAL_OF_PATIENT: "close the study that is over: plscp study list, plscp study close",
    comments.CLOSED: "open the study again (plscp study open) where the entries are of it",
    comments.CANCELLED: "open the study (plscp study open) where it takes place after all",
    comments.PATIENT_CONTRADICTS: _WHOSE,
    comments.BOTH_CONTRADICT: _WHOSE,
    comments.UNKNOWN_AT_LOCATION: f"{_WHOSE}, or that ID is not registered: plscp room list, plscp patient add",
    comments.UNKNOWN_FOR_STUDY: f"{_WHOSE}, or that ID is not registered: plscp study show, plscp patient add",
    comments.OPERATOR_NOT_ALLOWED: "operators.allowed lacks who is named, for this location and time",
    comments.IN_THE_FUTURE: _CLOCK,
    comments.NONE_THEN_ONE_NOW: _CLOCK,
    comments.CLOCK_DIFFERS: _CLOCK,
    comments.TIMES_NAME_ANOTHER: _CLOCK,
    comments.ANOTHER_MEANWHILE: _CLOCK,
    comments.CLOCK_FAST: _CLOCK,
    comments.TOO_OLD_BY_A_SLOW_CLOCK: _CLOCK,
    comments.FAST_SEVERAL: _CLOCK,
    "data-set-too-long": "dicom.max_data_set is the bound",
    "internal-error": "a defect of plscp: please report it with the line internal-error",
    0x0110: _SENT_AGAIN,
    0xC111: _SENT_AGAIN,
    0x0213: _SENT_AGAIN,
}
"""What to do, by Error Comment of matching, by code of the first refusing finding, or by status; the first that is here counts."""


def hint(status: int, comment: str, these: Sequence[Finding], profile: Profile, sop_class: str) -> str:
    """What to do, on one line without anything that the device sent but its AE title; empty where nobody can say."""
    title, rooms = profile.device.ae_title, " or ".join(profile.device.locations)
    table = f"devices.{toml_key(title)}"
    if not title and not profile.configured:
        return "say which device: plscp match --device, its calling AE title"
    if status == 0x0124 and not profile.configured:  # its table was taken out while it has an association
        return f"add [{table}] to the settings"
    if status == 0x0124:
        return f'{table}.sop_classes lacks "{SOP_CLASS_NAMES[sop_class]}"'
    place = f"{table}.location is missing, or have it send Patient ID or Performed Location"
    if not profile.configured:
        place = f"add [{table}] with its location to the settings, or have it send Patient ID"
    keys: list[str | int] = [comment, these[0].code if these else "", status]
    found = next((HINTS[key] for key in keys if key in HINTS), "")
    return found.format(table=table, title=title, place=place, room=f" in {rooms}" if rooms else " there")


class Refusals:
    """Says which requests were refused, so that whoever stands at the console sees why and what to do.

    A cause is a status with its comment, of one device at one address. The findings are in the quarantine, and in the log at debug.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._repeats = Repeats(_say, clock=clock)

    def refused(
        self, pending: Pending, status: int, comment: str, these: Sequence[Finding], quarantine: str = ""
    ) -> None:
        """A request was answered with a failure; `quarantine`: what people type to see it there, if it is kept."""
        why = reply.refusing(these)
        place = pending.profile.device.locations
        about: dict[str, Any] = {
            "calling_ae": pending.calling_ae,
            "status": f"{status:04X}",
            "comment": comment,
            "hint": hint(status, comment, why, pending.profile, pending.sop_class),
            "more": 0,
            "location": " ".join(place),
            "meaning": STATUSES[status].name,
            "reason": why[0].code if why else "",
            "quarantine": quarantine,
            "address": pending.address,
            **pending.about(),
        }
        self._repeats.happened((status, comment, about["address"]), pending.calling_ae, **about)
        if debugging():
            log.debug("request-refused", **pending.about(), why=[f.as_json() for f in these[:MOST_FINDINGS]])

    def flush(self) -> None:
        """Say how many more there were; to be called every second or so."""
        self._repeats.flush()


def _say(about: Mapping[str, Any], more: int) -> None:
    told = {**about, "more": more}  # as it stands in the line: what matters first
    log.warning("request-refused", **{name: value for name, value in told.items() if value not in {"", 0}})
