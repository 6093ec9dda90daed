"""The tree of errors.

::

    PlscpError
    ├── Refused(status)          a request that is answered with a failure status; carries findings
    │   ├── MissingAttribute         0120H, with the Attribute Identifier List
    │   ├── MissingAttributeValue    0121H
    │   ├── InvalidArgument          0115H
    │   ├── TooLarge                 0213H, past a bound of the data set
    │   └── DoesNotMatchTemplate     C102
    ├── StoreError               answered with 0110H, C111 or 0213H; `fatal` says whether the process must end
    │   ├── StoreFull                disk or quota: roll back, 0213H, go on
    │   ├── StoreBusy                the writer's queue is over its bound: 0213H
    │   ├── StoreUnavailable         locked, lost connection, serialisation: roll back, go on
    │   ├── StoreBroken              I/O error or failed fsync: failure statuses, then exit
    │   └── StoreNotOpened           at start: newer version, second server, read-only, not a store: one line, exit
    ├── Conflict                 a registry change that contradicts what is known (HTTP 409)
    ├── InvalidBody              a body of HTTP or of the registry file that cannot be read: one line (HTTP 422)
    ├── BrokenMessage            an HL7 message that cannot be read or kept: AE or AR with its place
    ├── ConfigError              settings that cannot be used: one line, exit status 2
    ├── RelayError               the relay cannot go on by itself: one line, exit status 3
    │   ├── Unreachable              no broker answers
    │   └── CursorUnchanged          what was asked of the relay's cursor cannot be done: exit status 1
    └── CommandError             a command that failed: one line, exit status 1 (or as given)
        └── HttpProblem              the server that a command asked answered with a problem document
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from plscp.findings import Finding
from plscp.statuses import STATUSES, STEP_STATUSES, StatusInfo

DEFECT: Final = 70
INTERRUPTED: Final = 130
EXIT_STATUSES: Final = {
    0: "done; of serve: it was told to stop, and did",
    1: "it failed, or the answer is no: a failure status, a refused association, not all well",
    2: "wrong usage or settings, or a file that cannot be read",
    3: "a server, store or broker cannot be reached or opened",
    DEFECT: "a defect of plscp; PLSCP_DEBUG=1 shows where",
    INTERRUPTED: "interrupted",
}
"""What the exit status of each command means."""


class PlscpError(Exception):
    """Anything that plscp raises on purpose; `str()` is one line that says what to do."""

    exit_status: ClassVar[int] = 1
    label: ClassVar[str] = "error"
    retriable: ClassVar[bool] = False


class Refused(PlscpError):
    """A request that gets a failure status.

    Attributes:
        info: the status, with its name, section and what may stand beside it.
        findings: why; the first refusing one gives the Error Comment.
        kinds: of the request's entries, as far as they were read before it was refused.
    """

    def __init__(self, status: int, findings: Sequence[Finding] = ()) -> None:
        self.info: StatusInfo = STATUSES.get(status) or STEP_STATUSES[status]
        self.kinds: tuple[str, ...] = ()
        self.findings = tuple(findings)
        super().__init__(findings[0].comment() if findings else self.info.name)

    @property
    def status(self) -> int:
        """Value of Status (0000,0900)."""
        return self.info.code


class MissingAttribute(Refused):
    """0120H: mandatory attributes are absent (PS3.4 5.4.2.1)."""

    def __init__(self, tags: Sequence[int], findings: Sequence[Finding] = ()) -> None:
        super().__init__(0x0120, findings)
        self.tags = tuple(tags)


class MissingAttributeValue(Refused):
    """0121H: Type 1 attributes without a value (PS3.4 5.4.2.1)."""

    def __init__(self, tags: Sequence[int], findings: Sequence[Finding] = ()) -> None:
        super().__init__(0x0121, findings)
        self.tags = tuple(tags)


class InvalidArgument(Refused):
    """0115H: the data set does not decode, or a named attribute's value breaks its VR, VM or characters."""

    def __init__(self, findings: Sequence[Finding] = ()) -> None:
        super().__init__(0x0115, findings)


class TooLarge(Refused):
    """0213H: the data set is past a bound, before or after inflating."""

    def __init__(self, findings: Sequence[Finding] = ()) -> None:
        super().__init__(0x0213, findings)


class DoesNotMatchTemplate(Refused):
    """C102: the content violates PS3.3 C.17.3, A.35.7.3 or a template of PS3.16."""

    def __init__(self, findings: Sequence[Finding] = ()) -> None:
        super().__init__(0xC102, findings)


class StoreError(PlscpError):
    """The event store cannot do what was asked; nothing of it was kept."""

    fatal: ClassVar[bool] = False
    label = "store-error"


class StoreFull(StoreError):
    """No room: the transaction is rolled back and the server goes on."""

    label, retriable = "store-full", True


class StoreBusy(StoreError):
    """The writer's queue is over its bound."""

    label, retriable = "store-busy", True


class StoreUnavailable(StoreError):
    """The store does not answer now; rolled back, the server goes on and probes."""

    label, retriable = "store-unavailable", True


class StoreBroken(StoreError):
    """An I/O error or failed fsync: the handle cannot be trusted, recovery is a restart."""

    fatal, label = True, "store-broken"


class StoreNotOpened(StoreError):
    """The store cannot be opened for writing; the line says why and what to do."""

    fatal, label = True, "store-not-opened"
    exit_status = 3


class Conflict(PlscpError):
    """A registry change contradicts what is known."""

    label = "conflict"


class InvalidBody(PlscpError):
    """A body of HTTP or of the registry file that is not what it should be."""

    label = "invalid-body"


class BrokenMessage(PlscpError):
    """An HL7 message that cannot be read or kept.

    Attributes:
        code: of HL7 table 0357 (v2.8.2 2.C.2.112).
        place: segment, its sequence, field, repetition and component, as an ERL (2.A.28) has them; as far as they are known.
        rejected: AR: it is no message that could be read; else AE.
    """

    label = "broken-message"

    def __init__(self, what: str, code: int, place: tuple[str | int, ...] = (), *, rejected: bool = False) -> None:
        super().__init__(what)
        self.code, self.place, self.rejected = code, place, rejected


class ConfigError(PlscpError):
    """Settings that cannot be used."""

    exit_status, label = 2, "config"


class RelayError(PlscpError):
    """The relay cannot go on by itself."""

    label, exit_status = "relay", 3


class Unreachable(RelayError):
    """No broker answers; `str()` is the cause on one line."""

    label, retriable = "broker-unreachable", True


class CursorUnchanged(RelayError):
    """What an operator asked of the relay's cursor cannot be done: it stays as it is."""

    label, exit_status = "cursor-unchanged", 1


class CommandError(PlscpError):
    """A command failed; `exit_status` may be given."""

    label = "command"

    def __init__(self, message: str, exit_status: int = 1) -> None:
        super().__init__(message)
        self.exit_status = exit_status  # type: ignore[misc]  # per instance on purpose


class HttpProblem(CommandError):
    """The server that a command asked answered with a problem document (RFC 9457): `status` of HTTP, and its members."""

    def __init__(self, detail: str, status: int, problem: Mapping[str, Any], exit_status: int = 1) -> None:
        super().__init__(detail, exit_status)
        self.status, self.problem = status, problem
