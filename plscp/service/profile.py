"""What the service needs to know of a sending device: `[devices.<AE>]` with the defaults of `[matching]` applied."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from plscp.matching.model import Device, Instant, Operator, Policy
from plscp.matching.times import instant
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

BOTH = frozenset({PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING})


@dataclass(frozen=True, slots=True)
class Profile:
    """How one calling AE title is treated.

    Attributes:
        strict: `validation = "strict"` (contract section 2).
        sop_classes: SOP Class UIDs the device may use (step 4).
        zone, server_zone: IANA time zone names; the device's may be None.
        silent_after: how long it may send nothing while it is connected and a case is open in its room; None: it is not watched.
        configured: whether `[devices]` has it.
        closes_without_release: an orderly end of its connection proves that the answers before it arrived (contract section 1).
        operators: who may add to the MAR, or None for anyone (step 9).
    """

    device: Device
    policy: Policy = field(default_factory=Policy)
    strict: bool = False
    sop_classes: frozenset[str] = BOTH
    zone: str | None = None
    server_zone: str = "UTC"
    operators: Sequence[Operator] | None = None
    closes_without_release: bool = False
    silent_after: timedelta | None = None
    configured: bool = True

    def instant(self, text: str, arrival: datetime, offset: str = "") -> Instant:
        """A DT as it is read for this device; `offset`: of its request. Raises ValueError as `plscp.matching.times.instant`."""
        return instant(
            text,
            request_offset=offset,
            device_zone=self.zone,
            server_zone=self.server_zone,
            arrival=arrival,
            tolerance=self.policy.clock_tolerance,
        )


Profiles = Callable[[str], Profile]
"""From a calling AE title to its profile."""
