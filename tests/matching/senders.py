"""Who and what there is in the hospital of two labs: its rooms and patients, its devices and their clocks, what is told and sent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from plscp.matching.model import Device, Policy
from plscp.service.profile import Profile

POLICY: Final = Policy(patient_id_issuer="HOSP")
OWN_FRAME: Final = POLICY.synchronization_frame_of_reference_uid
ROOMS: Final = ("LAB1", "LAB2")
SLACK: Final = timedelta(minutes=5)
"""What tolerances and whole minutes may add up to."""
STALE: Final = timedelta(minutes=30)
"""Who was not heard of for so long was not there meanwhile."""
NOBODY: Final = "nobody"

PATIENTS: Final = {
    "PA": ("100", "HOSP"),
    "PB": ("200", "HOSP"),
    "PC": ("100", "OTHER"),  # PA's number at another authority
    "PD": ("300", "HOSP"),
    "PE": ("400", "HOSP"),  # PD, registered twice: known to be the same person once they are merged
}
PLACEHOLDER: Final = "UNKNOWN"
"""The Patient ID of an emergency; the person is called ?1, ?2 and so on until a merge says who it is."""
Visit = tuple[str, str]
"""An Admission ID and its issuer."""
VISITS: Final[dict[Visit, str]] = {("V7", "OTHER"): "PB", ("V8", "HOSP"): "PA"}
"""Whose they are at first; V7 is also the accession number of PA's studies."""


@dataclass(frozen=True)
class Sender:
    """A device: how it is configured, how far its clock is off (its name for no zone: an offset in each DateTime)."""

    profile: Profile
    off: timedelta = timedelta(0)
    zone: str = ""
    frame: str = OWN_FRAME
    drifts: bool = False

    @property
    def ahead(self) -> timedelta:
        """By how much what it stamps is read too late, where nothing is known of its clock."""
        guessed = timedelta(hours=2) if self.zone and self.profile.zone is None else timedelta(0)
        return max(self.off, timedelta(0)) + guessed

    def stamp(self, moment: datetime) -> str:
        """A DT as it writes it."""
        shown = moment + self.off
        if self.drifts:  # half a minute slower each hour, and set right at midnight
            shown -= timedelta(seconds=moment.hour * 30 + moment.minute / 2)
        if not self.zone:
            return shown.strftime("%Y%m%d%H%M%S+0000")
        return shown.astimezone(ZoneInfo(self.zone)).strftime("%Y%m%d%H%M%S")


def _sender(
    name: str,
    *places: str,
    off: timedelta = timedelta(0),
    zone: str = "",
    known_zone: bool = True,
    drifts: bool = False,
    applies: bool = False,
) -> Sender:
    policy = replace(POLICY, corrections="apply") if applies else POLICY
    profile = Profile(Device(name, places), policy, zone=zone if zone and known_zone else None)
    return Sender(profile, off, zone, drifts=drifts)


SENDERS: Final = {
    sender.profile.device.ae_title: sender
    for sender in (
        _sender("HEMO1", "LAB1", applies=True),
        _sender("HEMO2", "LAB2", applies=True),
        _sender("SLOW1", "LAB1", off=-timedelta(minutes=40)),
        _sender("SLOW2", "LAB2", off=-timedelta(days=3), applies=True),
        _sender("FAST1", "LAB1", off=timedelta(minutes=10), applies=True),
        _sender("DRIFT", "LAB2", off=timedelta(minutes=4), drifts=True),
        _sender("ECHO", "LAB1", "LAB2", applies=True),
        _sender("MOBILE"),
        _sender("BERLIN", "LAB1", off=timedelta(seconds=1), zone="Europe/Berlin"),
        _sender("GUESS", "LAB2", zone="Europe/Berlin", known_zone=False),
    )
}


@dataclass
class Told:
    """What feeds said of a study's time in a room."""

    uid: str
    patient: str
    room: str
    since: datetime
    until: datetime | None = None


@dataclass
class Step:
    """A procedure step that a modality has reported, and the study that it is of; mistaken by the wrong worklist entry."""

    uid: str
    study: str
    room: str
    since: datetime
    until: datetime | None = None
    mistaken: bool = False


@dataclass
class Sent:
    """A request, and the truth behind it."""

    sender: str
    room: str
    occurred: datetime
    whose: dict[str, str]  # U, P, S, L: whose (L: which room); P with an asterisk after it: without issuer
    observation: str
    stamp: str
    words: str
    measured: bool
    arrived: datetime
    again: "Sent | None" = None
    raw: bytes = b""
    arrives: bool = True


NIGHT: Final = datetime(2024, 10, 26, 23, 50, tzinfo=UTC)
"""The clocks of Berlin go back at one o'clock."""
DAY: Final = datetime(2024, 5, 14, 8, 0, tzinfo=UTC)
SUBSETS: Final[Sequence[tuple[str, ...]]] = (
    (), (), (), ("P",), ("P",), ("U",), ("U", "P"), ("L",), ("L",), ("S", "L"), ("P", "S", "L"), ("P", "L"), ("U", "L"),
)  # fmt: skip
