"""What to do about a refused request: one line for whoever reads the log, made of the settings' own names."""

from collections.abc import Callable, Sequence
from typing import Final

from plscp.findings import Finding
from plscp.matching import comments
from plscp.network.admission import toml_key
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING

Hint = Callable[[Profile], str]
_CLASS_NAMES: Final = {True: "procedural-event-logging", False: "substance-administration-logging"}


def _table(profile: Profile) -> str:
    """A device's table as the settings file has it: a title with spaces or dots stands in quotes there."""
    return f"devices.{toml_key(profile.device.ae_title)}"


def _place(profile: Profile) -> str:
    """What a device without a place needs."""
    if not profile.configured:
        return f"add [{_table(profile)}] with its location to the settings, or have it send Patient ID"
    return f"{_table(profile)}.location is missing, or have it send Patient ID or Performed Location"


def _who_was_there(profile: Profile) -> str:
    places = " or ".join(profile.device.locations)
    where = f" in {places}" if places else " there"
    return f"open the study{where} (plscp study open, or its feed), then have it sent again"


def _clock(profile: Profile) -> str:
    return f"compare the clock of {profile.device.ae_title} with this server's: plscp status shows the difference"


def _always(text: str) -> Hint:
    return lambda _: text


_REGISTER: Final = _always("no feed, file or command has named it: plscp study open, or see the feed")
_ISSUERS: Final = _always("add the spelling to [issuers]; event issuer-unusable has it")
_WAIT: Final = _always("nothing is lost: the device sends it again; see store-failed in this log")

BY_COMMENT: Final[dict[str, Hint]] = {
    comments.NOTHING_GIVEN: _place,
    comments.NO_PLACE: _place,
    comments.UNKNOWN_STUDY: _REGISTER,
    comments.UNKNOWN_STUDY_NO_CURRENT: _REGISTER,
    comments.UNKNOWN_PATIENT: _REGISTER,
    comments.PATIENT_NOT_KNOWN: _REGISTER,
    comments.ADMISSION_NOT_KNOWN: _REGISTER,
    comments.NO_CURRENT_STUDY: _who_was_there,
    comments.NONE_AT_LOCATION: _who_was_there,
    comments.ISSUER_NOT_LISTED: _ISSUERS,
    comments.ISSUERS_CONTRADICT: _ISSUERS,
    comments.UNKNOWN_LOCATION: _always("add the name that it sends to the names of its [locations] table"),
    comments.FOREIGN_LOCATION: lambda profile: f"{_table(profile)}.location lacks that location",
    comments.SEVERAL_LOCATIONS: _always("set up the device to send Performed Location (0040,0243)"),
    comments.AMBIGUOUS_PATIENT: lambda profile: f"set {_table(profile)}.patient_id_issuer",
    comments.PATIENT_AMBIGUOUS: lambda profile: f"set {_table(profile)}.patient_id_issuer",
    comments.SEVERAL_AT_LOCATION: _always("close the study that has left: plscp study list, plscp study close"),
    comments.UNTRUSTED_SEVERAL: _always("close the study that has left: plscp study list, plscp study close"),
    comments.SEVERAL_OF_PATIENT: _always("close the study that is over: plscp study list, plscp study close"),
    comments.CLOSED: _always("open the study again (plscp study open) where the entries are of it"),
    comments.CANCELLED: _always("open the study (plscp study open) where it takes place after all"),
    comments.OPERATOR_NOT_ALLOWED: _always("operators.allowed lacks who is named, for this location and time"),
    **dict.fromkeys(
        (
            comments.IN_THE_FUTURE,
            comments.NONE_THEN_ONE_NOW,
            comments.CLOCK_DIFFERS,
            comments.TIMES_NAME_ANOTHER,
            comments.ANOTHER_MEANWHILE,
            comments.CLOCK_FAST,
            comments.FAST_SEVERAL,
        ),
        _clock,
    ),
}
"""By Error Comment of matching."""

BY_FINDING: Final[dict[str, Hint]] = {
    "data-set-too-long": _always("dicom.max_data_set is the bound"),
    "internal-error": _always("a defect of plscp: please report it with the line internal-error"),
}
"""By the code of the first refusing finding."""

BY_STATUS: Final[dict[int, Hint]] = {
    0x0110: _WAIT,
    0xC111: _WAIT,
    0x0213: _WAIT,
}


def hint(status: int, comment: str, these: Sequence[Finding], profile: Profile, sop_class: str) -> str:
    """What to do, on one line without anything that the device sent but its AE title; empty where nobody can say.

    Args:
        status, comment: as answered.
        these: findings, the first of them the reason.
    """
    if status == 0x0124 and not profile.configured:  # its table was taken out while it has an association
        return f"add [{_table(profile)}] to the settings"
    if status == 0x0124:
        lacks = _CLASS_NAMES[sop_class == PROCEDURAL_EVENT_LOGGING]
        return f'{_table(profile)}.sop_classes lacks "{lacks}"'
    found = BY_COMMENT.get(comment)
    if found is None and these:
        found = BY_FINDING.get(these[0].code)
    if found is None:
        found = BY_STATUS.get(status)
    return found(profile) if found is not None else ""
