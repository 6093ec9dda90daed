"""An SCU in raw sockets for tests: what stock SCUs cannot send, and answers with every command element kept."""

import contextlib
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Self

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import build_context

from plscp.statuses import (
    PROCEDURAL_EVENT_LOGGING,
    PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING,
    SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
)

VERIFICATION = "1.2.840.10008.1.1"
INSTANCE_OF = {
    PROCEDURAL_EVENT_LOGGING: PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING: SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
}
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")


class Aborted(Exception):
    """The peer sent A-ABORT: (source, reason)."""


class Closed(Exception):
    """The peer closed the connection."""


class Rejected(Exception):
    """A-ASSOCIATE-RJ: (result, source, reason)."""


def element(tag: int, value: bytes) -> bytes:
    """One command element (Implicit VR Little Endian)."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def uid(value: str) -> bytes:
    """A padded UID."""
    raw = value.encode("ascii")
    return raw + b"\0" * (len(raw) % 2)


def command_set(elements: Iterable[tuple[int, bytes]]) -> bytes:
    """A command set with its group length."""
    body = b"".join(element(tag, value) for tag, value in elements)
    return element(0x00000000, struct.pack("<L", len(body))) + body


def n_action(
    message_id: int, sop_class: str, *, instance: str | None = "", action: int | None = 1, data: bool = True
) -> bytes:
    """An N-ACTION-RQ command set; `instance` empty means the class's own, None leaves it out."""
    found = INSTANCE_OF[sop_class] if instance == "" else instance
    elements = [
        (0x00000003, uid(sop_class)),
        (0x00000100, struct.pack("<H", 0x0130)),
        (0x00000110, struct.pack("<H", message_id)),
        (0x00000800, struct.pack("<H", 0x0001 if data else 0x0101)),
    ]
    if found is not None:
        elements.append((0x00001001, uid(found)))
    if action is not None:
        elements.append((0x00001008, struct.pack("<H", action)))
    return command_set(elements)


def pdv(context: int, control: int, fragment: bytes) -> bytes:
    """One presentation data value item."""
    return struct.pack(">LBB", len(fragment) + 2, context, control) + fragment


def p_data(*pdvs: bytes) -> bytes:
    """One P-DATA-TF PDU."""
    body = b"".join(pdvs)
    return struct.pack(">BBL", 4, 0, len(body)) + body


RELEASE_RQ = struct.pack(">BBLL", 5, 0, 4, 0)
ABORT = struct.pack(">BBLL", 7, 0, 4, 0)


def associate_rq(
    calling: str,
    called: str,
    contexts: Sequence[tuple[str, str]],
    max_length: int = 16384,
    identity: UserIdentityNegotiation | None = None,
) -> bytes:
    """An encoded A-ASSOCIATE-RQ."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title = calling
    primitive.called_ae_title = called
    items = []
    for number, (abstract, transfer) in enumerate(contexts):
        context = build_context(abstract, transfer)
        context.context_id = 2 * number + 1
        items.append(context)
    primitive.presentation_context_definition_list = items
    length = MaximumLengthNotification()
    length.maximum_length_received = max_length
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = "1.2.826.0.1.3680043.9.3811.9.9"
    primitive.user_information = [length, implementation, *([] if identity is None else [identity])]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    encoded: bytes = pdu.encode()
    return encoded


def user_identity(username: str, passcode: str | None = None, *, response: bool = False) -> UserIdentityNegotiation:
    """A user identity: username, or username and passcode."""
    item = UserIdentityNegotiation()
    item.user_identity_type = 1 if passcode is None else 2
    item.positive_response_requested = response
    item.primary_field = username.encode()
    item.secondary_field = (passcode or "").encode()
    return item


@dataclass
class Response:
    """One DIMSE response."""

    command: Dataset
    data: bytes

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return int(self.command.Status)

    @property
    def comment(self) -> str:
        """Error Comment (0000,0902), or empty."""
        return str(self.command.get("ErrorComment", ""))

    def reply(self, syntax: str = SYNTAXES[1]) -> Dataset:
        """The Action Reply."""
        dataset: Dataset = decode(
            BytesIO(self.data), syntax == SYNTAXES[0], syntax != SYNTAXES[2], deflated=syntax == SYNTAXES[3]
        )
        return dataset


@dataclass
class RawScu:
    """A raw association; a context manager that releases at its end.

    Args:
        contexts: (abstract syntax, transfer syntax) pairs; by default both SOP Classes in Explicit VR Little Endian.
        identity: the user identity that is negotiated, if any.

    Attributes:
        confirmed: whether the A-ASSOCIATE-AC has a user identity response.
    """

    host: str
    port: int
    calling: str = "HEMO1"
    called: str = "PLSCP"
    contexts: Sequence[tuple[str, str]] = (
        (PROCEDURAL_EVENT_LOGGING, SYNTAXES[1]),
        (SUBSTANCE_ADMINISTRATION_LOGGING, SYNTAXES[1]),
        (VERIFICATION, SYNTAXES[1]),
    )
    timeout: float = 60.0
    max_length: int = 16384
    source: tuple[str, int] | None = None
    identity: UserIdentityNegotiation | None = None
    confirmed: bool = False
    _buffer: bytes = field(default=b"", repr=False)
    _message: int = 0

    def connect(self) -> Self:
        """Open the connection only."""
        self.socket = socket.create_connection((self.host, self.port), self.timeout, source_address=self.source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def associate(self) -> Self:
        """Open an association; raises Rejected, Aborted or Closed."""
        self.connect()
        try:
            return self._associate()
        except BaseException:
            self.socket.close()
            raise

    def _associate(self) -> Self:
        self.socket.sendall(associate_rq(self.calling, self.called, self.contexts, self.max_length, self.identity))
        kind, body = self.pdu()
        if kind == 3:
            raise Rejected(body[1], body[2], body[3])
        assert kind == 2, kind
        accept = A_ASSOCIATE_AC()
        accept.decode(struct.pack(">BBL", kind, 0, len(body)) + body)
        self.confirmed = accept.user_information.user_identity is not None
        self.results = {item.context_id: item.result for item in accept.presentation_context}
        return self

    def __enter__(self) -> Self:
        return self.associate()

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError, Closed, Aborted):
            if exc[0] is None:
                self.release()
        self.socket.close()

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise Closed
            self._buffer += chunk
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def pdu(self) -> tuple[int, bytes]:
        """The next PDU: (type, body); raises Aborted for A-ABORT."""
        kind, _, length = struct.unpack(">BBL", self._take(6))
        body = self._take(length)
        if kind == 7:
            raise Aborted(body[2], body[3])
        return kind, body

    def context(self, sop_class: str) -> int:
        """Presentation context ID of a SOP Class."""
        return 2 * [abstract for abstract, _ in self.contexts].index(sop_class) + 1

    def send(self, sop_class: str, data: bytes, *, message_id: int | None = None, command: bytes | None = None) -> int:
        """Send one request without waiting; returns its Message ID."""
        self._message += 1
        number = self._message if message_id is None else message_id
        rq = n_action(number, sop_class, data=bool(data)) if command is None else command
        self.socket.sendall(self.message(sop_class, rq, data))
        return number

    def message(self, sop_class: str, command: bytes, data: bytes) -> bytes:
        """The PDUs of one request."""
        context = self.context(sop_class)
        out = p_data(pdv(context, 3, command))
        for start in range(0, len(data), 16000):
            part = data[start : start + 16000]
            out += p_data(pdv(context, 2 if start + 16000 >= len(data) else 0, part))
        return out

    def response(self) -> Response:
        """The next complete response."""
        parts = {1: b"", 0: b""}
        command: Dataset | None = None
        while True:
            kind, body = self.pdu()
            assert kind == 4, kind
            while body:
                length, _, control = struct.unpack(">LBB", body[:6])
                parts[control & 1] += body[6 : 4 + length]
                body = body[4 + length :]
                if control == 3:
                    command = decode(BytesIO(parts[1]), True, True)
                if command is not None and (control == 2 or command.CommandDataSetType == 0x0101):
                    return Response(command, parts[0])

    def request(self, sop_class: str, data: bytes, **given: int | bytes | None) -> Response:
        """Send one request and wait for its answer."""
        self.send(sop_class, data, **given)  # type: ignore[arg-type]
        return self.response()

    def release(self) -> None:
        """A-RELEASE, waiting for its answer."""
        self.socket.sendall(RELEASE_RQ)
        while self.pdu()[0] != 6:
            pass

    def abort(self) -> None:
        """A-ABORT and close."""
        self.socket.sendall(ABORT)
        self.socket.close()
