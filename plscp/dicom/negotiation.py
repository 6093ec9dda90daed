"""A-ASSOCIATE: the request read and the answer written with pynetdicom's codecs, negotiation by its rules (PS3.8 7.1, PS3.7 D)."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import build_context, negotiate_as_acceptor

from plscp import __version__
from plscp.dicom.admission import Rule, UserIdentity
from plscp.dicom.dimse import Context
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

VERIFICATION: Final = "1.2.840.10008.1.1"
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS: Final = "2.25.164362456850159185316504949929107551452"
"""Names this implementation (PS3.7 D.3.3.2): a UUID made once (PS3.5 B.2)."""
IMPLEMENTATION_VERSION: Final = "_".join(["PLSCP", *__version__.split(".")[:2]])
"""Tells one version from another in a device's log (PS3.7 D.3.3.2); at most 16 characters."""
TRANSFER_SYNTAXES: Final = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
"""What we take, in the order of our preference."""
_SUPPORTED: Final = [
    build_context(sop_class, list(TRANSFER_SYNTAXES))
    for sop_class in (VERIFICATION, PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING)
]
for _context in _SUPPORTED:  # the requestor is SCU only (PS3.7 D.3.3.4)
    _context.scu_role, _context.scp_role = True, False

_ITEM: Final = struct.Struct(">BxH")
_ITEM_LENGTH: Final = struct.Struct(">H")
_IDENTITY_HEAD: Final = struct.Struct(">BBH")
_APPLICATION, _CONTEXT, _ABSTRACT, _TRANSFER, _USER, _MAXIMUM_LENGTH, _IMPLEMENTATION, _ROLES, _IDENTITY = (
    0x10, 0x20, 0x30, 0x40, 0x50, 0x51, 0x52, 0x54, 0x58,
)  # fmt: skip
_NAMES: Final = {str(context.abstract_syntax).encode() for context in _SUPPORTED}
_SYNTAX_NAMES: Final = {name.encode() for name in TRANSFER_SYNTAXES}
_UID: Final = re.compile(rb"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_NOBODYS: Final = b"2.25.0"
_LEAST: Final = 68
"""Shortest body of an A-ASSOCIATE-RQ: its fixed fields (PS3.8 Table 9-11)."""
_SHORT: Final = 2048
"""Bytes of the longest proposal that is remembered."""
_REMEMBERED: Final = 256


class Unreadable(Exception):  # a condition of the wire
    """An A-ASSOCIATE-RQ that is no such thing: A-ABORT, invalid PDU parameter; `str()` names the bound that it is past, if any."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21), and its label in logs and metrics."""

    result: int
    source: int
    reason: int
    label: str


PROTOCOL_VERSION: Final = Rejection(1, 2, 2, "protocol-version")
APPLICATION_CONTEXT_NAME: Final = Rejection(1, 1, 2, "application-context")
CALLING_AE: Final = Rejection(1, 1, 3, "calling-ae-title")
CALLED_AE: Final = Rejection(1, 1, 7, "called-ae-title")
LOCAL_LIMIT: Final = Rejection(2, 3, 2, "local-limit")
REJECTIONS: Final[Mapping[Rule, Rejection]] = {
    "dicom.ae_title": CALLED_AE,
    "dicom.unknown_devices": CALLING_AE,
    # As a device that is not known: it learns nothing of the settings.
    "devices.address": Rejection(1, 1, 3, "device-address"),
    "devices.certificate": Rejection(1, 1, 3, "device-certificate"),
    "devices.username": Rejection(1, 2, 1, "user-identity"),  # PS3.7 D.3.3.7.3
    "dicom.max_associations": LOCAL_LIMIT,
    "dicom.max_associations_per_address": LOCAL_LIMIT,
}
"""What a peer that a setting refuses is told."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A readable A-ASSOCIATE-RQ.

    Attributes:
        max_length: the requestor's Maximum Length Received in bytes; 0: no limit.
        primitive: pynetdicom's, for what else is asked.
    """

    calling_ae: str
    called_ae: str
    max_length: int
    primitive: Any


def _title(raw: bytes) -> str:
    """An AE title; empty where it is none (PS3.5 AE: printable ASCII without backslash). Devices pad with NUL, too."""
    text = raw.decode("latin-1").rstrip("\0 ").lstrip(" ")
    return text if text.isascii() and text.isprintable() and "\\" not in text else ""


def _items(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Items of PS3.8 9.3.2 as (type, value)."""
    position, end = 0, len(raw)
    while position < end:
        if end - position < 4:
            raise Unreadable
        kind, length = _ITEM.unpack_from(raw, position)
        position += 4 + length
        if position > end:
            raise Unreadable
        yield kind, raw[position - length : position]


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _uid(value: bytes) -> bytes:
    """A UID without padding, or one that nobody has for what is none: pydicom would warn, in words that the peer chooses."""
    name = value.strip(b"\0 ")
    return name if not name or (len(name) <= 64 and _UID.fullmatch(name)) else _NOBODYS


def _needed(raw: bytes, max_contexts: int) -> bytes:
    """The items that matter here: pynetdicom's codecs take 0.1 ms for each, and nobody is known yet.

    Of a presentation context the transfer syntaxes that we take, or else the first; of the user information its Maximum Length,
    implementation, and the roles for our SOP Classes. Items that nobody knows are ignored, as PS3.8 9.3.1 wants it.
    """
    out: list[bytes] = []
    contexts = 0
    single = {_APPLICATION, _USER}  # one of each (PS3.8 Table 9-11)
    for kind, value in _items(raw):
        if kind in {_APPLICATION, _USER}:
            if kind not in single:
                raise Unreadable
            single.remove(kind)
        if kind == _APPLICATION:
            out.append(_item(kind, _uid(value)))
        elif kind == _CONTEXT:
            contexts += 1
            if contexts > max_contexts:
                raise Unreadable("more presentation contexts than the bound")
            if len(value) < 4:
                raise Unreadable
            out.append(_item(kind, value[:4] + _context_needed(value[4:])))
        elif kind == _USER:
            wanted: dict[tuple[int, bytes], bytes] = {}
            for inner, content in _items(value):
                if inner == _MAXIMUM_LENGTH:
                    wanted[inner, b""] = content
                elif inner == _IMPLEMENTATION:
                    wanted[inner, b""] = _uid(content)
                elif inner == _ROLES and (name := _uid(content[2:-2])) in _NAMES:
                    wanted[inner, name] = _ITEM_LENGTH.pack(len(name)) + name + content[-2:]
            out.append(_item(kind, b"".join(_item(inner, content) for (inner, _), content in wanted.items())))
    return b"".join(out)


def _context_needed(raw: bytes) -> bytes:
    abstract: list[bytes] = []
    known: dict[bytes, None] = {}
    first = b""
    for kind, value in _items(raw):
        if kind == _ABSTRACT:
            abstract.append(_item(kind, _uid(value)))
        elif kind == _TRANSFER:
            name = value.strip(b"\0 ")
            if name in _SYNTAX_NAMES:
                known[_item(kind, name)] = None
            else:
                first = first or _item(kind, _uid(name))
    transfer = b"".join(known) or first
    if len(abstract) != 1 or not transfer:
        raise Unreadable
    return abstract[0] + transfer


def read(body: bytes, max_contexts: int) -> tuple[Proposal | Rejection, UserIdentity | None]:
    """Read an A-ASSOCIATE-RQ.

    What a device said before is remembered, since pynetdicom takes 2 to 5 ms for a proposal and an answer; but not its user identity,
    which may hold a passcode.

    Args:
        body: the PDU without its six bytes of type and length.

    Returns:
        The proposal, or why it is rejected before anything else is looked at; and the user identity, where there is one.

    Raises:
        Unreadable: it breaks PS3.8 9.3.2.
    """
    if len(body) < _LEAST:
        raise Unreadable
    if not struct.unpack_from(">H", body)[0] & 1:
        return PROTOCOL_VERSION, None
    called, calling = _title(body[4:20]), _title(body[20:36])
    if not calling:
        return CALLING_AE, None
    if not called:
        return CALLED_AE, None
    identity = None
    if body.find(_IDENTITY, _LEAST) >= 0:  # most have none, and no item is looked at for it
        body, identity = _without_identity(body)
    return (_known if len(body) <= _SHORT else _proposal)(body, called, calling, max_contexts), identity


def _without_identity(body: bytes) -> tuple[bytes, UserIdentity | None]:
    """The body without User Identity sub-items, and what they said; two of them say nothing (PS3.7 D.3.3.7: at most one)."""
    rest: list[bytes] = []
    found: list[bytes] = []
    for kind, value in _items(body[_LEAST:]):
        if kind == _USER:
            inner = list(_items(value))
            found += [content for sort, content in inner if sort == _IDENTITY]
            rest.append(_item(kind, b"".join(_item(sort, content) for sort, content in inner if sort != _IDENTITY)))
        else:
            rest.append(_item(kind, value))
    if not found:
        return body, None
    return body[:_LEAST] + b"".join(rest), user_identity(found[0] if len(found) == 1 else b"")


def user_identity(value: bytes) -> UserIdentity:
    """A User Identity sub-item (PS3.7 Table D.3-14) without its type and length; of kind 0 where it cannot be read."""
    if len(value) < 4:
        return UserIdentity(0, response=False)
    kind, response, length = _IDENTITY_HEAD.unpack_from(value)
    primary, after = value[4 : 4 + length], value[4 + length :]
    secondary = after[2:]
    whole = len(primary) == length and (not after or (len(after) >= 2 and len(secondary) == int.from_bytes(after[:2])))
    return UserIdentity(kind, response == 1, primary, secondary) if whole else UserIdentity(0, response=False)


def _proposal(body: bytes, called: str, calling: str, max_contexts: int) -> Proposal | Rejection:
    """As `read`, of a body without user identity and with good titles."""
    # Titles are checked above; pynetdicom gets clean ones, since it raises on others.
    clean = body[:4] + called.encode().ljust(16) + calling.encode().ljust(16) + body[36:_LEAST]
    clean += _needed(body[_LEAST:], max_contexts)
    try:
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(struct.pack(">BxL", 1, len(clean)) + clean)
        primitive = pdu.to_primitive()
        contexts = primitive.presentation_context_definition_list
        numbers = [context.context_id for context in contexts]
        name = str(primitive.application_context_name)
        length = primitive.maximum_length_received
    except Exception as error:  # its codecs raise whatever the bytes make them raise
        raise Unreadable from error
    if not numbers or len(set(numbers)) != len(numbers):
        raise Unreadable
    if any(not context.abstract_syntax or not context.transfer_syntax for context in contexts):
        raise Unreadable
    if name != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_NAME
    return Proposal(calling, called, length or 0, primitive)


_known = lru_cache(maxsize=_REMEMBERED)(_proposal)


@lru_cache(maxsize=_REMEMBERED)
def accept(proposal: Proposal, max_length: int, confirmed: bool = False) -> tuple[bytes, Mapping[int, Context]]:
    """Negotiate; the same proposal, by identity, has the same answer.

    Args:
        max_length: our own Maximum Length Received in bytes.
        confirmed: whether the answer says that the user identity was taken (PS3.7 D.3.3.7.2).

    Returns:
        The A-ASSOCIATE-AC, and the accepted contexts by their ID.

    Raises:
        Unreadable: something that pynetdicom cannot answer.
    """
    request = proposal.primitive
    try:
        asked = {
            item.sop_class_uid: (item.scu_role, item.scp_role)
            for item in request.user_information
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
        }
        results, roles = negotiate_as_acceptor(request.presentation_context_definition_list, _SUPPORTED, asked or None)
        answer = A_ASSOCIATE()
        answer.application_context_name = APPLICATION_CONTEXT
        answer.calling_ae_title, answer.called_ae_title = proposal.calling_ae, proposal.called_ae
        answer.result, answer.result_source = 0x00, 0x01
        answer.presentation_context_definition_results_list = results
        length = MaximumLengthNotification()
        length.maximum_length_received = max_length
        implementation = ImplementationClassUIDNotification()
        implementation.implementation_class_uid = IMPLEMENTATION_CLASS
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = IMPLEMENTATION_VERSION
        taken = UserIdentityNegotiation()
        taken.server_response = b""  # of username and passcode it is empty (PS3.7 Table D.3-15)
        answer.user_information = [length, implementation, version, *roles, *([taken] if confirmed else [])]
        pdu = A_ASSOCIATE_AC()
        pdu.from_primitive(answer)
        encoded: bytes = pdu.encode()
    except Exception as error:
        raise Unreadable from error
    accepted = {
        result.context_id: Context(result.context_id, str(result.abstract_syntax), str(result.transfer_syntax[0]))
        for result in results
        if result.result == 0x00
    }
    return encoded, accepted
