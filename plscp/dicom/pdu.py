"""PDUs as bytes (PS3.8 9.3); A-ASSOCIATE-RQ and -AC are in `negotiation`."""

import struct
from typing import Final

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

HEADER: Final = struct.Struct(">BxL")  # PDU type and length
PDV: Final = struct.Struct(">LBB")  # item length, presentation context ID, message control header

RELEASE_RP_PDU: Final = struct.pack(">BxLL", RELEASE_RP, 4, 0)

SERVICE_USER, SERVICE_PROVIDER = 0, 2
NOT_SPECIFIED, UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 1, 2, 6

COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 Annex E.2)."""


class InvalidPdu(Exception):  # a condition of the wire
    """What arrived breaks PS3.8 or PS3.7: A-ABORT, invalid PDU parameter; `str()` says what is wrong."""


def reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BxLxBBB", ASSOCIATE_RJ, 4, result, source, reason)


def abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 9.3.8)."""
    return struct.pack(">BxLxxBB", ABORT, 4, source, reason)


def p_data(context_id: int, kind: int, payload: bytes, max_length: int) -> bytes:
    """A command set (of kind COMMAND) or data set (0) as P-DATA-TF PDUs; a Maximum Length Received of 0 is no limit (PS3.8 D.1)."""
    size = len(payload)
    if not max_length or size + 6 <= max_length:
        return struct.pack(">BxLLBB", P_DATA_TF, size + 6, size + 2, context_id, kind | LAST) + payload
    room = max(max_length - 6 & ~1, 2)  # fragments are even; into less than 8 bytes none fits, and 8 is sent then
    parts = [payload[start : start + room] for start in range(0, size, room)]
    return b"".join(
        struct.pack(">BxLLBB", P_DATA_TF, len(part) + 6, len(part) + 2, context_id, kind) + part for part in parts[:-1]
    ) + p_data(context_id, kind, parts[-1], 0)
