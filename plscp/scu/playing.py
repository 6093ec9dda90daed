"""Playing a case: every device on an association of its own, all at once, with the case's pauses shrunk."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from plscp.errors import CommandError
from plscp.scu.pci_case import Request, by_device
from plscp.scu.requests import times
from plscp.scu.sending import Answer, Association


@dataclass(frozen=True)
class Played:
    """One request of the case and what came of it.

    Attributes:
        sent: the DateTime of its last entry.
    """

    request: Request
    answer: Answer
    sent: datetime

    @property
    def times(self) -> list[str]:
        """The DateTime of each entry, as sent."""
        return times(self.sent, self.request.count)

    @property
    def as_expected(self) -> bool:
        """Whether the answer is the one that the case is written for."""
        return self.answer.status == self.request.expect


def play(
    requests: Sequence[Request],
    connect: Callable[[str], Association],
    *,
    speed: float,
    told: Callable[[Played], None],
    stop: threading.Event | None = None,
) -> list[Played]:
    """Send every request at its time and wait for its answer before the device's next one.

    Args:
        requests: the case.
        connect: makes the association of a calling AE title, not opened yet.
        speed: how many of the case's seconds pass in one; every DateTime is that of sending all the same.
        told: called with each answer, from the devices' threads, one at a time.
        stop: set it to end early, between two requests.

    Returns:
        What was sent, in the order of the answers. Raises CommandError when a device gets no association.
    """
    ending = stop or threading.Event()
    one_at_a_time = threading.Lock()
    played: list[Played] = []
    devices = by_device(requests)
    associations = {device: connect(device) for device in devices}

    def run(device: str, started: float) -> None:
        for request in devices[device]:
            if ending.wait(max(started + request.at / speed - time.monotonic(), 0)):
                return
            sent = datetime.now(UTC)
            answer = associations[device].send(request.dataset(sent), request.sop_class)
            with one_at_a_time:
                played.append(Played(request, answer, sent))
                told(played[-1])

    try:
        for association in associations.values():
            association.open()
        with ThreadPoolExecutor(len(devices), thread_name_prefix="device") as pool:
            started = time.monotonic()
            running = [pool.submit(run, device, started) for device in devices]
            try:
                for device_run in running:
                    device_run.result()
            except BaseException:
                ending.set()
                raise
    finally:
        for association in associations.values():
            association.close()
    return played


def check(played: Sequence[Played], case: Sequence[Request]) -> None:
    """Raise CommandError, one line, unless every request got the kind of answer that it was written for.

    Args:
        played: what came of it.
        case: what was to be sent. A request that is written to be refused may be accepted by a laxer SCP.
    """
    silent = [one for one in played if one.answer.status is None]
    if silent or len(played) < len(case):
        raise CommandError(f"{len(case) - len(played) + len(silent)} of {len(case)} requests got no answer")
    refused = [one for one in played if not one.answer.performed and one.request.expect >> 12 != 0xC]
    if refused:
        first = refused[0]
        raise CommandError(
            f"{len(refused)} of {len(case)} requests were refused, the first with {first.answer.code} {first.answer.name}"
            + (f": {first.answer.comment}" if first.answer.comment else "")
        )
