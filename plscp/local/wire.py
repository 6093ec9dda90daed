"""Asks a Kafka broker which cluster it belongs to: a port that answers may be a stranger's."""

import socket
import struct

_METADATA, _VERSION = 3, 2  # the oldest version that names the cluster; every broker since 0.10.1 knows it
_REQUEST = struct.pack(">hhih5si", _METADATA, _VERSION, 1, 5, b"plscp", 0)
_LONGEST = 1 << 20


def cluster_id(host: str, port: int, timeout: float) -> str | None:
    """The broker's cluster id, or None when nothing that speaks Kafka answers.

    Args:
        timeout: seconds for connecting, and again for each read.
    """
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(struct.pack(">i", len(_REQUEST)) + _REQUEST)
            (length,) = struct.unpack(">i", _exactly(connection, 4))
            return _read(_exactly(connection, length)) if 0 < length < _LONGEST else None
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _exactly(connection: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length:
        more = connection.recv(length - len(got))
        if not more:
            raise ConnectionError("closed in the middle of an answer")
        got += more
    return got


def _read(answer: bytes) -> str | None:
    _, brokers = struct.unpack_from(">ii", answer)
    at = 8
    for _ in range(brokers):
        (host,) = struct.unpack_from(">h", answer, at + 4)
        at += 6 + host + 4
        (rack,) = struct.unpack_from(">h", answer, at)
        at += 2 + max(rack, 0)
    (length,) = struct.unpack_from(">h", answer, at)
    return answer[at + 2 : at + 2 + length].decode() if length >= 0 else None
