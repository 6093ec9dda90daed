"""The acceptor's settings and what it counts: value classes."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class WireBounds:
    """How much is taken of one association, in bytes where nothing else is said."""

    pdu: int = 16382  # Maximum Length Received that is announced
    associate_request: int = 64 * 1024
    presentation_contexts: int = 128  # number
    command_set: int = 16 * 1024
    data_set: int = 1 << 20  # a longer one reaches the handler cut and marked
    waiting_requests: int = 8  # number; beyond, reading stops


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long what was begun may take, in seconds."""

    first_pdu_deadline: float = 10.0  # from the connection to the end of its A-ASSOCIATE-RQ
    pdu_deadline: float = 10.0
    message_deadline: float = 30.0
    artim: float = 10.0  # from A-ABORT, A-ASSOCIATE-RJ or A-RELEASE-RP to the connection's end


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Where to listen, whom for, and how much to take.

    Attributes:
        futile_share: share of the event loop's time that one address may take before an association is accepted, and one AE title
            at an address after that, with what leads to no accepted request; beyond, they are read more slowly; 1: never.
    """

    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str | None = "PLSCP"  # called AE title that is checked; None: any
    max_associations: int = 1000
    max_associations_per_address: int = 50
    bounds: WireBounds = WireBounds()
    deadlines: Deadlines = Deadlines()
    futile_share: float = 0.05
    # Many devices are behind each: their connections do not count against one address.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    procedure_steps: bool = False  # the Modality Performed Procedure Step SOP Class is provided


class NetworkCounters:
    """What the acceptor counts; every method must be cheap. This class counts nothing."""

    def association(self, outcome: str, reason: str) -> None:
        """An association or connection ended: outcome `released`, `aborted`, `lost`, `rejected` or `closed`; or is `slowed`, again."""

    def peer_refused(self, rule: str) -> None:
        """A setting refused a peer: its name, out of `plscp.dicom.admission.Rule`."""
