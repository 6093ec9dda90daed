"""The log's lines about refused requests: the first of each cause at once, then how many more there were."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

from plscp.findings import Finding
from plscp.logs import debugging, log
from plscp.network.repeats import Repeats
from plscp.service.hints import hint
from plscp.service.reading import Pending
from plscp.statuses import STATUSES

MOST_FINDINGS: Final = 20


class Refusals:
    """Says which requests were refused, so that whoever stands at the console sees why and what to do.

    A cause is a status with its comment, of one device at one address. The findings are in the quarantine, and in the log at debug.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._repeats = Repeats(_say, clock=clock)

    def refused(self, pending: Pending, status: int, comment: str, these: Sequence[Finding]) -> None:
        """A request was answered with a failure."""
        refusing = [finding for finding in these if finding.refuse] or list(these)
        said = comment or (refusing[0].comment(len(refusing) - 1) if refusing else "")
        place = pending.profile.device.locations
        about: dict[str, Any] = {
            "calling_ae": pending.calling_ae,
            "status": f"{status:04X}",
            "comment": said,
            "hint": hint(status, said, refusing, pending.profile, pending.sop_class),
            "more": 0,
            "location": " ".join(place),
            "meaning": STATUSES[status].name,
            "reason": refusing[0].code if refusing else "",
            "quarantine": pending.quarantined(),
            "address": str(pending.event.assoc.requestor.address),
            **pending.about(),
        }
        self._repeats.happened((status, said, about["address"]), pending.calling_ae, **about)
        if debugging():
            log.debug("request-refused", **pending.about(), why=[f.as_json() for f in these[:MOST_FINDINGS]])

    def flush(self) -> None:
        """Say how many more there were; to be called every second or so."""
        self._repeats.flush()


def _say(about: Mapping[str, Any], more: int) -> None:
    told = {**about, "more": more}  # as it stands in the line: what matters first
    log.warning("request-refused", **{name: value for name, value in told.items() if value not in {"", 0}})
