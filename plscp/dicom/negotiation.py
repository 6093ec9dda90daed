"""A-ASSOCIATE: the request read, negotiated and answered (PS3.8 7.1, 9.3.2, 9.3.3; PS3.7 D)."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from plscp import __version__
from plscp.dicom.admission import Rule, UserIdentity
from plscp.dicom.dimse import C_ECHO_RQ, N_ACTION_RQ, N_CREATE_RQ, N_SET_RQ, Context
from plscp.dicom.pdu import ASSOCIATE_AC, InvalidPdu
from plscp.statuses import MODALITY_PERFORMED_PROCEDURE_STEP, PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

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

_ITEM: Final = struct.Struct(">BxH")
_IDENTITY_HEAD: Final = struct.Struct(">BBH")
_APPLICATION, _CONTEXT, _CONTEXT_RESULT, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAXIMUM_LENGTH, _IMPLEMENTATION, _ROLES, _VERSION_NAME = 0x51, 0x52, 0x54, 0x55
_IDENTITY, _IDENTITY_RESPONSE = 0x58, 0x59
_ACCEPTANCE, _USER_REJECTION, _NO_ABSTRACT_SYNTAX, _NO_TRANSFER_SYNTAX = 0, 1, 3, 4
"""Results of a presentation context (PS3.8 Table 9-18)."""
OPERATIONS: Final[Mapping[str, frozenset[int]]] = {
    VERIFICATION: frozenset({C_ECHO_RQ}),
    PROCEDURAL_EVENT_LOGGING: frozenset({N_ACTION_RQ}),
    SUBSTANCE_ADMINISTRATION_LOGGING: frozenset({N_ACTION_RQ}),
    MODALITY_PERFORMED_PROCEDURE_STEP: frozenset({N_CREATE_RQ, N_SET_RQ}),
}
"""Command Fields of what may be asked for, by SOP Class."""
_SOP_CLASSES: Final = {sop_class.encode(): sop_class for sop_class in OPERATIONS}
_PREFERENCE: Final = {name.encode(): place for place, name in enumerate(TRANSFER_SYNTAXES)}
_UID: Final = re.compile(rb"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_NOBODYS: Final = b"2.25.0"
_UNREADABLE: Final = "an A-ASSOCIATE-RQ that cannot be read"
_FIXED: Final = 68  # bytes of the fields before the items (PS3.8 Tables 9-11 and 9-17)


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


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as it is proposed."""

    context_id: int
    abstract_syntax: bytes
    transfer_syntax: bytes  # that we prefer; where none is accepted the first of those that we take, or of all
    result: int  # as far as roles do not matter (PS3.8 Table 9-18)


@dataclass(frozen=True, slots=True)
class AssociationProposal:
    """A readable A-ASSOCIATE-RQ."""

    calling_ae: str
    called_ae: str
    max_length: int  # the requestor's Maximum Length Received in bytes; 0: no limit
    contexts: tuple[ProposedContext, ...]
    scu_roles: Mapping[bytes, bool]  # whether the requestor would be SCU, by SOP Class of ours, where it selects roles


def _title(raw: bytes) -> str:
    """An AE title; empty where it is none (PS3.5 AE: printable ASCII without backslash). Devices pad with NUL, too."""
    text = raw.decode("latin-1").rstrip("\0 ").lstrip(" ")
    return text if text.isascii() and text.isprintable() and "\\" not in text else ""


def _items(raw: bytes, position: int = 0) -> Iterator[tuple[int, bytes]]:
    """Items of PS3.8 9.3.2 as (type, value)."""
    end = len(raw)
    while position < end:
        if end - position < 4:
            raise InvalidPdu(_UNREADABLE)
        kind, length = _ITEM.unpack_from(raw, position)
        position += 4 + length
        if position > end:
            raise InvalidPdu(_UNREADABLE)
        yield kind, raw[position - length : position]


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _uid(value: bytes) -> bytes:
    """A UID without padding, or one that nobody has for what is none: what a peer sends is not sent back unseen."""
    name = value.strip(b"\0 ")
    return name if not name or (len(name) <= 64 and _UID.fullmatch(name)) else _NOBODYS


def read(body: bytes, max_contexts: int) -> tuple[AssociationProposal | Rejection, UserIdentity | None]:
    """Read the variable field of an A-ASSOCIATE-RQ; raises InvalidPdu where it breaks PS3.8 9.3.2.

    Items that nobody knows are ignored, as PS3.8 9.3.1 wants it.

    Returns:
        The proposal, or why it is rejected before anything else is looked at; and the user identity, where there is one.
    """
    if len(body) < _FIXED:
        raise InvalidPdu(_UNREADABLE)
    if not int.from_bytes(body[:2]) & 1:
        return PROTOCOL_VERSION, None
    called, calling = _title(body[4:20]), _title(body[20:36])
    if not calling:
        return CALLING_AE, None
    if not called:
        return CALLED_AE, None
    contexts: list[ProposedContext] = []
    single: dict[int, bytes] = {}  # one of each (PS3.8 Table 9-11)
    for kind, value in _items(body, _FIXED):
        if kind == _CONTEXT:
            if len(contexts) == max_contexts:
                raise InvalidPdu("more presentation contexts than the bound")
            contexts.append(_context(value))
        elif kind in {_APPLICATION, _USER}:
            if kind in single:
                raise InvalidPdu(_UNREADABLE)
            single[kind] = value
    max_length, scu_roles, identity = _user_information(single.get(_USER, b""))
    numbers = {context.context_id for context in contexts}
    if not contexts or len(numbers) != len(contexts) or not all(number & 1 for number in numbers):
        raise InvalidPdu(_UNREADABLE)
    if not all(context.abstract_syntax for context in contexts):
        raise InvalidPdu(_UNREADABLE)
    if _uid(single.get(_APPLICATION, b"")) != APPLICATION_CONTEXT.encode():
        return APPLICATION_CONTEXT_NAME, identity
    contexts.sort(key=lambda context: context.context_id)
    return AssociationProposal(calling, called, max_length, tuple(contexts), scu_roles), identity


def _context(value: bytes) -> ProposedContext:  # PS3.8 Table 9-13
    if len(value) < 4:
        raise InvalidPdu(_UNREADABLE)
    abstract: list[bytes] = []
    proposed: list[bytes] = []
    known: list[bytes] = []
    for kind, content in _items(value, 4):
        if kind == _TRANSFER:
            name = content.strip(b"\0 ")
            if name in _PREFERENCE:
                known.append(name)
            elif not proposed:
                proposed.append(_uid(name))
        elif kind == _ABSTRACT:
            abstract.append(_uid(content))
    first = (known or proposed or [b""])[0]
    if len(abstract) != 1 or not first:
        raise InvalidPdu(_UNREADABLE)
    if abstract[0] not in _SOP_CLASSES:
        return ProposedContext(value[0], abstract[0], first, _NO_ABSTRACT_SYNTAX)
    if not known:
        return ProposedContext(value[0], abstract[0], first, _NO_TRANSFER_SYNTAX)
    return ProposedContext(value[0], abstract[0], min(known, key=_PREFERENCE.__getitem__), _ACCEPTANCE)


def _user_information(value: bytes) -> tuple[int, Mapping[bytes, bool], UserIdentity | None]:
    """Of a User Information item (PS3.7 D.3.3) the Maximum Length, the SCU roles of our SOP Classes, and the user identity."""
    maximum_length, identities = bytes(4), []
    roles: dict[bytes, bytes] = {}  # SCU role, SCP role
    for kind, content in _items(value):
        if kind == _MAXIMUM_LENGTH:
            maximum_length = content
        elif kind == _ROLES and (name := _uid(content[2:-2])) in _SOP_CLASSES:
            roles[name] = content[-2:]
        elif kind == _IDENTITY:
            identities.append(content)
    if len(maximum_length) != 4 or any(role > 1 for both in roles.values() for role in both):
        raise InvalidPdu(_UNREADABLE)
    identity = None
    if identities:  # two of them say nothing (PS3.7 D.3.3.7: at most one)
        identity = user_identity(identities[0] if len(identities) == 1 else b"")
    return int.from_bytes(maximum_length), {name: bool(both[0]) for name, both in roles.items()}, identity


def user_identity(value: bytes) -> UserIdentity:
    """A User Identity sub-item (PS3.7 Table D.3-14) without its type and length; of kind 0 where it cannot be read."""
    if len(value) < 4:
        return UserIdentity(0, response=False)
    kind, response, length = _IDENTITY_HEAD.unpack_from(value)
    primary, after = value[4 : 4 + length], value[4 + length :]
    secondary = after[2:]
    whole = len(primary) == length and (not after or (len(after) >= 2 and len(secondary) == int.from_bytes(after[:2])))
    return UserIdentity(kind, response == 1, primary, secondary) if whole else UserIdentity(0, response=False)


def accept(
    proposal: AssociationProposal, max_length: int, *, confirmed: bool = False, steps: bool = True
) -> tuple[bytes, Mapping[int, Context]]:
    """Negotiate: the requestor is SCU only (PS3.7 D.3.3.4).

    Args:
        max_length: our own Maximum Length Received in bytes.
        confirmed: whether the answer says that the user identity was taken (PS3.7 D.3.3.7.2).
        steps: whether the Modality Performed Procedure Step SOP Class is provided.

    Returns:
        The A-ASSOCIATE-AC, and the accepted contexts by their ID.
    """
    items = [_item(_APPLICATION, APPLICATION_CONTEXT.encode())]
    accepted: dict[int, Context] = {}
    roles: set[bytes] = set()
    for context in proposal.contexts:
        name, syntax, result = context.abstract_syntax, context.transfer_syntax, context.result
        if not steps and _SOP_CLASSES.get(name) == MODALITY_PERFORMED_PROCEDURE_STEP:
            result = _NO_ABSTRACT_SYNTAX
        if result == _ACCEPTANCE and not proposal.scu_roles.get(name, True):
            result = _USER_REJECTION
        if result == _ACCEPTANCE:
            accepted[context.context_id] = Context(context.context_id, _SOP_CLASSES[name], syntax.decode())
            roles |= proposal.scu_roles.keys() & {name}
        items.append(_item(_CONTEXT_RESULT, bytes((context.context_id, 0, result, 0)) + _item(_TRANSFER, syntax)))
    user = [
        _item(_MAXIMUM_LENGTH, max_length.to_bytes(4)),
        _item(_IMPLEMENTATION, IMPLEMENTATION_CLASS.encode()),
        _item(_VERSION_NAME, IMPLEMENTATION_VERSION.encode()),
        *(_item(_ROLES, len(name).to_bytes(2) + name + b"\1\0") for name in sorted(roles)),
    ]
    if confirmed:
        user.append(_item(_IDENTITY_RESPONSE, bytes(2)))  # of username and passcode it is empty (PS3.7 Table D.3-15)
    titles = proposal.called_ae.encode().ljust(16) + proposal.calling_ae.encode().ljust(16)
    body = b"\0\1\0\0" + titles + bytes(32) + b"".join((*items, _item(_USER, b"".join(user))))
    return struct.pack(">BxL", ASSOCIATE_AC, len(body)) + body, accepted
