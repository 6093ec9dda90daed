"""Sending: one association to any SCP of Annex P, with pynetdicom as the SCU."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any, Final, Self, cast

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.pdu_primitives import A_ASSOCIATE, UserIdentityNegotiation
from pynetdicom.sop_class import Verification

from plscp.dicom import handshakes
from plscp.errors import CommandError
from plscp.files import why_unusable
from plscp.scu import first_line
from plscp.statuses import (
    INSTANCES,
    MODALITY_PERFORMED_PROCEDURE_STEP,
    PROCEDURAL_EVENT_LOGGING,
    STATUSES,
    STEP_STATUSES,
    SUBSTANCE_ADMINISTRATION_LOGGING,
)

VERIFICATION = str(Verification)
SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given: as a rule the user identity is missing or wrong",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""Reasons of an A-ASSOCIATE-RJ by source and number (PS3.8 Table 9-21)."""
_ACCEPTED = 0
_REJECTED = {1: "rejected for good", 2: "rejected for now"}

FIND_PENDING: Final = frozenset({0xFF00, 0xFF01})
"""Statuses of a match, with and without its optional keys (PS3.4 Table K.4-1)."""
MEDIUM: Final = 0
"""Priority (0000,0700)."""
PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before each further try to associate; together as long as a server takes to start again."""
REST_SECONDS: Final = 0.001
"""Seconds between two looks whether pynetdicom's thread is at rest; it looks around every millisecond itself."""


def quieten(association: Any) -> None:
    """Let the reactor thread of a pynetdicom association come to rest: it may take an answer for a request of the peer's.

    It says that it is paused before it is: only when it waits on the event can it take nothing.
    """
    checkpoint = association._reactor_checkpoint
    checkpoint.clear()
    while association.is_established and not checkpoint._cond._waiters:
        time.sleep(REST_SECONDS)


@dataclass(frozen=True)
class Identity:
    """The user identity that is negotiated (PS3.7 D.3.3.7).

    Attributes:
        passcode: None: the username alone.
        confirmed: whether a positive response is asked for, and an association without it is none.
    """

    username: str
    passcode: str | None = field(default=None, repr=False)
    confirmed: bool = False

    def item(self) -> UserIdentityNegotiation:
        """As pynetdicom takes it."""
        item = UserIdentityNegotiation()
        item.user_identity_type = 1 if self.passcode is None else 2
        item.positive_response_requested = self.confirmed
        item.primary_field = self.username.encode()
        item.secondary_field = (self.passcode or "").encode()
        return item


@dataclass(frozen=True)
class RemoteScp:
    """Whom to call, as whom, and how long to wait.

    Attributes:
        called, calling: AE titles.
        acse, dimse, connection: seconds for an association to be answered, for a request, and for the connection. An association may
            be silent for as long as it likes.
        pdu: Maximum Length Received that is announced; 0 is no limit.
    """

    host: str
    port: int
    called: str = "PLSCP"
    calling: str = "PLSCP_SCU"
    acse: float = 30.0
    dimse: float = 30.0
    connection: float = 10.0
    pdu: int = 16382
    tls: ssl.SSLContext | None = None
    identity: Identity | None = None


@dataclass(frozen=True)
class Answer:
    """What the SCP answered to one request: status, Error Comment, Action Reply.

    Attributes:
        status: None when no answer came.
        milliseconds: from sending to answer.
    """

    status: int | None
    comment: str = ""
    study_instance_uid: str = ""
    patient_id: str = ""
    milliseconds: float = 0.0

    @property
    def name(self) -> str:
        """The standard's name of the status, in kebab-case."""
        if self.status is None:
            return "no-answer"
        info = STATUSES.get(self.status) or STEP_STATUSES.get(self.status)
        return info.name if info is not None else "unknown-status"

    @property
    def code(self) -> str:
        """The status as four hexadecimal digits."""
        return "----" if self.status is None else f"{self.status:04X}"

    @property
    def performed(self) -> bool:
        """Whether the request is logged, or the step kept: Success or Warning."""
        return self.status is not None and (self.status in {0x0000, 0x0107} or self.status >> 12 == 0xB)

    def as_json(self) -> dict[str, Any]:
        """The answer as the commands print it with --json."""
        return {
            "status": self.code,
            "name": self.name,
            "comment": self.comment,
            "study_instance_uid": self.study_instance_uid,
            "patient_id": self.patient_id,
            "milliseconds": round(self.milliseconds, 1),
        }


_ENDED: Final = Answer(None, "the association is no longer open")


@dataclass(frozen=True)
class FindAnswer:
    """One response to a C-FIND request.

    Attributes:
        status: one of `FIND_PENDING` where there may be more.
        identifier: of a pending response the data set as it came, else empty.
    """

    status: int
    identifier: bytes = b""
    comment: str = ""


def sop_class_of(dataset: Dataset) -> str:
    """The SOP Class that Action Information is meant for, told by its content."""
    if "ValueType" in dataset or "ContentSequence" in dataset:
        return PROCEDURAL_EVENT_LOGGING
    return SUBSTANCE_ADMINISTRATION_LOGGING


def client_context(
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    names: tuple[str, str, str] = ("--ca", "--cert", "--key"),
) -> ssl.SSLContext:
    """A client's side of TLS 1.2 at least, which checks the SCP's certificate and that it names the host.

    Args:
        ca: PEM file of the CAs that are trusted; None: the system's.
        certificate, key: PEM files of the own certificate and of its key without a passphrase; None: none, or in the same file.
        names: what these three are called where they were given.

    Raises:
        CommandError: a file cannot be used; one line names it and says why.
    """
    of_ca, of_certificate, of_key = names
    what = f"{of_ca} {ca}"
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            what = f"{of_certificate} {certificate}" + (f", {of_key} {key}" if key is not None else "")
            context.load_cert_chain(certificate, key, password=lambda: "")  # nobody is asked on the terminal
    except (OSError, ssl.SSLError) as error:
        raise CommandError(f"{what}: {why_unusable(error)}", 2) from None
    return context


class _Connection(ssl.SSLSocket):
    """One that keeps why it failed, as `plscp.dicom.handshakes` names it: pynetdicom only logs it."""

    failure = ""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            self.failure = handshakes.cause(error, "client", agreed=self.cipher() is not None)
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        # With TLS 1.3 what the server says of a certificate comes only after the device's part of the handshake.
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            self.failure = handshakes.cause(error, "client")
            raise


class _Handshake:
    """What pynetdicom takes for a context: it keeps the connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._connection: _Connection | None = None

    def wrap_socket(self, sock: socket.socket, **given: Any) -> ssl.SSLSocket:
        self._context.sslsocket_class = _Connection
        self._connection = cast("_Connection", self._context.wrap_socket(sock, **given))
        return self._connection

    @property
    def failure(self) -> str:
        """Why it failed, in a word and in words; empty where nothing is known."""
        found = self._connection.failure if self._connection is not None else ""
        return f"{found}: {handshakes.HANDSHAKES[found]}" if found in handshakes.HANDSHAKES else found


def _name_of(sop_class: str) -> str:
    return str(UID(sop_class).name).removesuffix(" SOP Class")


class ScuAssociation:
    """An association, opened and released as a context manager; `syntaxes` are proposed, the best first."""

    def __init__(
        self,
        peer: RemoteScp,
        sop_classes: Sequence[str] = (PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING),
        syntaxes: Sequence[str] = SYNTAXES,
    ) -> None:
        self.peer = peer
        self._ae = AE(ae_title=peer.calling)
        self._ae.acse_timeout, self._ae.dimse_timeout, self._ae.connection_timeout = (
            peer.acse,
            peer.dimse,
            peer.connection,
        )
        self._ae.network_timeout = None  # devices are silent for hours
        self._ae.maximum_pdu_size = peer.pdu
        for sop_class in sop_classes:
            self._ae.add_requested_context(sop_class, list(syntaxes))
        self._association: Any = None
        self._message_ids = cycle(range(1, 65536))

    def open(self) -> Self:
        """Connect and negotiate; raises CommandError, one line, when there is no association."""
        where = f"{self.peer.host}:{self.peer.port}"
        secure = _Handshake(self.peer.tls) if self.peer.tls is not None else None
        try:
            association = self._ae.associate(
                self.peer.host,
                self.peer.port,
                ae_title=self.peer.called,
                max_pdu=self.peer.pdu,
                ext_neg=[self.peer.identity.item()] if self.peer.identity is not None else None,
                tls_args=(secure, self.peer.host) if secure is not None else None,
            )
        except OSError as error:
            raise CommandError(f"no association with {where}: {error.strerror}", 3) from error
        if association.is_established:
            self._association = association
            self._check_confirmed(where)
            return self
        primitive = association.acceptor.primitive
        if primitive is None and not association.is_rejected:
            # Where the peer rejects and closes before pynetdicom looks whether it is connected, the answer is left in its queue.
            left = association.dul.receive_pdu(wait=False)
            primitive = left if isinstance(left, A_ASSOCIATE) else None
        if primitive is not None and primitive.result in _REJECTED:
            result, source, reason = primitive.result, primitive.result_source, primitive.diagnostic
            raise CommandError(
                f"{where} {_REJECTED[result]} the association of {self.peer.calling} with {self.peer.called} "
                f"({result}/{source}/{reason}: {_REASONS.get((source, reason), 'reason not in the standard')})"
            )
        if primitive is not None and primitive.result == _ACCEPTED:  # pynetdicom aborts where no context is left
            proposed = ", ".join(_name_of(each.abstract_syntax) for each in self._ae.requested_contexts)
            raise CommandError(
                f"no association with {where}: {self.peer.called} takes none of what was proposed: {proposed}"
            )
        if association.is_aborted and primitive is None:
            why = "nothing answers there, or it closed the connection"
            if secure is None:
                why += ", as one that wants TLS does"
            elif secure.failure:
                why = secure.failure
            raise CommandError(f"no association with {where}: {why}", 3)
        raise CommandError(f"no association with {where}: it was aborted")

    def _check_confirmed(self, where: str) -> None:
        """Release, and raise CommandError, where the SCP was to confirm the user identity and did not."""
        if self.peer.identity is None or not self.peer.identity.confirmed:
            return
        items = self._association.acceptor.primitive.user_information
        if not any(isinstance(item, UserIdentityNegotiation) for item in items):
            self.close()
            raise CommandError(f"{where} took the association but did not confirm the user identity (PS3.7 D.3.3.7)")

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, identifier: bytes, sop_class: str, message_id: int) -> Iterator[FindAnswer]:
        """Send one C-FIND request (PS3.7 9.1.2), its identifier encoded in `syntax_of`, and give each response as it comes.

        Raises:
            CommandError: a response is none, no further one came in time, or the association was aborted.
        """
        quieten(self._association)
        request = C_FIND()
        request.MessageID, request.AffectedSOPClassUID, request.Priority = message_id, UID(sop_class), MEDIUM
        request.Identifier = BytesIO(identifier)
        dimse, context = self._association.dimse, self._context_of(sop_class)
        dimse.send_msg(request, context.context_id)
        pending = True
        while pending:
            _, response = dimse.get_msg(block=True)
            if response is None:
                raise CommandError("the association was aborted, or no further answer came in time")
            if not isinstance(response, C_FIND) or not response.is_valid_response:
                raise CommandError("what it answered is no C-FIND response")
            pending = response.Status in FIND_PENDING
            raw = response.Identifier.getvalue() if pending and response.Identifier is not None else b""
            yield FindAnswer(int(response.Status), raw, str(response.ErrorComment or ""))

    def cancel_find(self, sop_class: str, message_id: int) -> None:
        """Ask the SCP to end a C-FIND (PS3.7 9.3.2.3); further responses may come before the last one."""
        self._association.send_c_cancel(message_id, context_id=self._context_of(sop_class).context_id)

    def syntax_of(self, sop_class: str) -> str:
        """The transfer syntax that the SCP chose. Raises CommandError: it does not take the SOP Class."""
        return str(self._context_of(sop_class).transfer_syntax[0])

    def _context_of(self, sop_class: str) -> Any:
        for context in self._association.accepted_contexts:
            if context.abstract_syntax == sop_class:
                return context
        raise CommandError(f"{self.peer.called} does not take {_name_of(sop_class)}")

    def abort(self) -> None:
        """End it at once, from any thread: whoever waits for an answer has none; it may take until the connection is gone."""
        if self._association is not None and self._association.is_established:
            self._association.dimse.msg_queue.put((None, None))
            self._association.abort()

    def close(self) -> None:
        """Release, where there still is something to release."""
        if self._association is not None and self._association.is_established:
            self._association.release()

    @property
    def is_open(self) -> bool:
        """Whether further requests can be sent."""
        return self._association is not None and bool(self._association.is_established)

    def send(self, dataset: Dataset, sop_class: str) -> Answer:
        """Send one N-ACTION request of Action Type 1 and wait for its answer; CommandError: the SCP did not accept the SOP Class."""
        return self._ask(sop_class, "send_n_action", dataset, 1, sop_class, INSTANCES[sop_class])

    def until_answered(
        self, send: Callable[[], Answer], said: Callable[[str], None], ending: threading.Event
    ) -> Answer:
        """Send; where no answer comes, associate again after a growing pause and send again, as devices do.

        Args:
            said: told in words why, and what comes next.
            ending: set it to try no further.

        Returns:
            The answer; without status where none came on the last association either, or there was none.
        """
        answer = send()
        for pause in PAUSES_SECONDS:
            if answer.status is not None:
                break
            said(f"{answer.comment}: associating again in {pause:g} s, to send it again")
            if ending.wait(pause):
                break
            try:
                self.open()
                answer = send()
            except CommandError as error:
                answer = Answer(None, str(error))
        return answer

    def create_step(self, dataset: Dataset, sop_instance_uid: str) -> Answer:
        """N-CREATE a Modality Performed Procedure Step and wait for the answer; as `send`."""
        mpps = MODALITY_PERFORMED_PROCEDURE_STEP
        return self._ask(mpps, "send_n_create", dataset, mpps, sop_instance_uid)

    def set_step(self, dataset: Dataset, sop_instance_uid: str) -> Answer:
        """N-SET a Modality Performed Procedure Step and wait for the answer; as `send`."""
        mpps = MODALITY_PERFORMED_PROCEDURE_STEP
        return self._ask(mpps, "send_n_set", dataset, mpps, sop_instance_uid)

    def _ask(self, sop_class: str, operation: str, *arguments: Any) -> Answer:
        """Send with the next Message ID by a method of pynetdicom's, and wait."""
        if not self.is_open:
            return _ENDED
        quieten(self._association)
        started = time.perf_counter()
        try:
            status, reply = getattr(self._association, operation)(*arguments, next(self._message_ids))
        except RuntimeError:  # it has ended since
            return _ENDED
        except ValueError as error:
            raise CommandError(
                f"{self.peer.called} does not take {_name_of(sop_class)}: {first_line(error)}"
            ) from error
        took = (time.perf_counter() - started) * 1000
        if "Status" not in status:
            return Answer(None, "no answer came in time, or the association was aborted", milliseconds=took)
        told = reply or Dataset()
        study, patient = (str(told.get(keyword, "") or "") for keyword in ("StudyInstanceUID", "PatientID"))
        return Answer(int(status.Status), str(status.get("ErrorComment", "") or ""), study, patient, took)

    def echo(self) -> Answer:
        """Send one C-ECHO; the association must have been opened for Verification."""
        started = time.perf_counter()
        quieten(self._association)
        try:
            status = self._association.send_c_echo(next(self._message_ids))
        except RuntimeError:
            return _ENDED
        took = (time.perf_counter() - started) * 1000
        return Answer(int(status.Status) if "Status" in status else None, milliseconds=took)
