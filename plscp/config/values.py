"""The kinds of values that settings have: each refuses a wrong one with a line that shows how a right one looks."""

import json
import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Final, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from plscp.dicom.admission import certificate_name

_DURATION: Final = re.compile(
    r"P(?!$)(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?!$)(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


def duration(value: Any) -> timedelta:
    """Read an ISO 8601 duration such as ``PT30M``; years and months have no fixed length and are refused.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) <= 40 else None
    if found is None:
        raise ValueError("must be an ISO 8601 duration such as PT30M, PT10S or PT12H")
    return timedelta(**{unit: float(number) for unit, number in found.groupdict().items() if number})


def iso_duration(value: timedelta) -> str:
    """The duration as ISO 8601, in the largest units that divide it."""
    seconds = value.total_seconds()
    text = "".join(
        f"{int(part)}{unit}"
        for part, unit in ((seconds // 3600, "H"), (seconds % 3600 // 60, "M"), (seconds % 60 // 1, "S"))
        if part
    )
    if seconds % 1:
        return f"PT{seconds:g}S"
    return f"PT{text or '0S'}"


def _whole(value: Any) -> Any:
    if isinstance(value, (bool, float)):
        raise ValueError("must be a whole number")  # noqa: TRY004  # Pydantic turns ValueError into a fault
    return value


def ae_title(value: str) -> str:
    """Check an AE title, without padding. Raises ValueError."""
    title = value.strip(" ")
    if not 1 <= len(title) <= 16 or "\\" in title or not all(" " <= c <= "~" for c in title):
        raise ValueError("must be 1 to 16 printable ASCII characters without backslash (PS3.5 6.2, AE)")
    return title


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None
    return value


def _uid(value: str) -> str:
    if value and (len(value) > 64 or not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*", value)):
        raise ValueError("must be a UID (PS3.5 9.1), or empty")
    return value


def _some(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("must be an address such as 10.1.2.3, or a network such as 10.1.2.0/24") from None


def _bootstrap(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port, such as 127.0.0.1:9092")
    return value


def _listener(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host.strip("[]") or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:8081; port 0: a free one")
    return value


def _certificate(value: str) -> str:
    certificate_name(value)
    return value


def _topic_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value) or value in {".", ".."}:
        raise ValueError("must be letters, digits, dots, hyphens and underscores, as Kafka takes them in topic names")
    return value


def _store_url(value: str) -> str:
    scheme, _, rest = value.partition(":")
    if scheme in {"postgresql", "postgres"}:
        raise ValueError("must be sqlite:///path/to/file.db: PostgreSQL comes with a later version")
    fits = scheme == "sqlite" and rest.startswith("///") and len(rest) > 3 and not rest.endswith("/")
    if not fits:
        raise ValueError("must be sqlite:///path/to/file.db (four slashes for an absolute path)")
    return value


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(iso_duration),
    Field(json_schema_extra={"kind": "duration"}),
]
Whole = Annotated[int, BeforeValidator(_whole), Field(json_schema_extra={"kind": "whole number"})]
Port = Annotated[Whole, Field(ge=0, le=65535, json_schema_extra={"kind": "port"})]
Size = Annotated[Whole, Field(ge=1, json_schema_extra={"kind": "bytes"})]
Count = Annotated[Whole, Field(ge=1, json_schema_extra={"kind": "whole number"})]
AeTitle = Annotated[str, AfterValidator(ae_title), Field(json_schema_extra={"kind": "AE title"})]
Zone = Annotated[str, AfterValidator(_zone), Field(json_schema_extra={"kind": "time zone"})]
Uid = Annotated[str, AfterValidator(_uid), Field(json_schema_extra={"kind": "UID"})]
Names = Annotated[list[str], BeforeValidator(_some), Field(json_schema_extra={"kind": "text or list of text"})]
Networks = Annotated[
    list[Annotated[str, AfterValidator(_network)]],
    BeforeValidator(_some),
    Field(json_schema_extra={"kind": "network or list of networks"}),
]
Bootstrap = Annotated[str, AfterValidator(_bootstrap)]
Listener = Annotated[str, AfterValidator(_listener), Field(json_schema_extra={"kind": "host:port"})]
CertificateNames = Annotated[
    list[Annotated[str, AfterValidator(_certificate)]],
    BeforeValidator(_some),
    Field(json_schema_extra={"kind": "text or list of text"}),
]
TopicPrefix = Annotated[str, AfterValidator(_topic_prefix)]
StoreUrl = Annotated[str, AfterValidator(_store_url), Field(json_schema_extra={"kind": "URL"})]
Moment = Annotated[datetime, AfterValidator(_aware)]


def from_environment(text: str, annotation: Any) -> Any:
    """A value out of an environment variable: JSON for lists and tables, commas for lists of plain text.

    Args:
        text: the variable's value.
        annotation: the field's type.
    """
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    if _is_list(annotation):
        return [part.strip() for part in text.split(",") if part.strip()]
    if _holds(annotation, int) and re.fullmatch(r"-?\d+", text):
        return int(text)
    return text


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list or any(_is_list(a) for a in get_args(annotation))


def _holds(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_holds(a, kind) for a in get_args(annotation))
