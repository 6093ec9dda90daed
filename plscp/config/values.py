"""The kinds of values that settings have: each refuses a wrong one with a line that shows how a right one looks."""

import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from plscp.dicom.admission import certificate_name

MASK: Final = "***"
"""In place of a secret."""
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")
_DURATION: Final = re.compile(
    r"P(?!$)(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?!$)(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_LONGEST: Final = timedelta(36500)
"""A duration: any time of now stays within the calendar with it."""
_NO_HOST: Final = re.compile(r"[\s\0/@\[\]]")


def duration(value: Any) -> timedelta:
    """Read an ISO 8601 duration such as ``PT30M``. Raises ValueError, also for years and months, which have no fixed length."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) <= 40 else None
    if found is None:
        raise ValueError("must be an ISO 8601 duration such as PT30M, PT10S or PT12H")
    try:
        length = timedelta(**{unit: float(number) for unit, number in found.groupdict().items() if number})
    except OverflowError:
        length = timedelta.max
    if length > _LONGEST:
        raise ValueError(f"must be at most P{_LONGEST.days}D")
    return length


def iso_duration(value: timedelta) -> str:
    """The duration as ISO 8601, in the largest units that divide it."""
    seconds = value.total_seconds()
    if seconds % 1:
        return f"PT{seconds:g}S"
    parts = ((seconds // 3600, "H"), (seconds % 3600 // 60, "M"), (seconds % 60, "S"))
    return "PT" + ("".join(f"{part:.0f}{unit}" for part, unit in parts if part) or "0S")


def _some_time(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than PT0S")
    return value


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


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("must be an address such as 10.1.2.3, or a network such as 10.1.2.0/24") from None


def host(value: str) -> str:
    """Check that a host's name or address can be one; whether it is known, the resolver says. Raises ValueError."""
    try:
        fits = (
            bool(value.encode("idna")) and not _NO_HOST.search(value) and (":" not in value or bool(ip_address(value)))
        )
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("must be a host's name or address, without a port")
    return value


def _uid(value: str) -> object:
    return not value or (len(value) <= 64 and re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*", value))


def _broker(value: str) -> object:
    name, _, port = value.rpartition("://")[2].rpartition(":")  # kafka-python passes over a protocol
    return host(name.strip("[]")) and port.isdigit() and 0 < int(port) < 65536


def _listener(value: str) -> object:
    name, _, port = value.rpartition(":")
    return host(name.strip("[]")) and port.isascii() and port.isdigit() and int(port) <= 65535


def _moment(value: Any) -> datetime:
    if type(value) is date:
        value = datetime.combine(value, time())
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment.astimezone(UTC)  # where everybody compares it
    except (ValueError, TypeError, OverflowError):
        raise ValueError("must be a date and time such as 2026-11-26T08:00:00+01:00") from None
    return moment


def _if(fits: Callable[[str], object], message: str) -> AfterValidator:
    """Text that fits, as it is; else, or where looking at it raises, a fault with this message."""

    def check(value: str) -> str:
        try:
            good = fits(value)
        except (OSError, ValueError, KeyError):
            good = False
        if not good:
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _certificate(value: str) -> str:
    certificate_name(value)  # which says what is wrong
    return value


def _store_url(value: str) -> str:
    scheme, _, rest = value.partition(":")
    if scheme in {"postgresql", "postgres"}:
        raise ValueError("must be sqlite:///path/to/file.db: PostgreSQL comes with a later version")
    odd = rest.endswith(("/", "/:memory:")) or "?" in rest or "\0" in unquote(rest)
    if scheme != "sqlite" or not rest.startswith("///") or len(rest) <= 3 or odd:
        raise ValueError("must be sqlite:///path/to/file.db (four slashes for an absolute path)")
    return value


def _without_password(url: str) -> str:
    url = re.sub(r"(//[^/:@]*):[^@]*@", rf"\1:{MASK}@", url)
    return re.sub(r"(?i)(password=)[^&\s]*", rf"\1{MASK}", url)


def _file(value: str | None) -> str | None:
    if value is not None and (not value or "\0" in value):
        raise ValueError("must be the name of a file")
    return value


def _text_or_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _kind(words: str) -> Any:
    """What the reference of the settings calls such values."""
    return Field(json_schema_extra={"kind": words})


@dataclass(frozen=True)
class InFolder:
    """Marks a setting that names a file: a relative name in the settings file counts from that file's folder."""

    place: Callable[[Path, str], str]


def _store_in(folder: Path, url: str) -> str:
    name = url.removeprefix("sqlite:///")
    relative = name not in {url, ""} and not name.startswith("/") and folder != Path()
    return f"sqlite:///{quote(str(folder))}/{name}" if relative else url


Duration = Annotated[
    timedelta, BeforeValidator(duration), PlainSerializer(iso_duration, when_used="json"), _kind("duration")
]
Deadline = Annotated[Duration, AfterValidator(_some_time)]
Host = Annotated[str, Field(min_length=1), AfterValidator(host)]
Whole = Annotated[int, BeforeValidator(_whole), _kind("whole number")]
Port = Annotated[Whole, Field(ge=0, le=65535), _kind("port")]
Size = Annotated[Whole, Field(ge=1), _kind("bytes")]
Count = Annotated[Whole, Field(ge=1), _kind("whole number")]
AeTitle = Annotated[str, AfterValidator(ae_title), _kind("AE title")]
Modality = Annotated[str, _if(re.compile(r"[A-Z0-9_ ]{1,16}").fullmatch, 'must be a code such as "XA" (PS3.5 6.2, CS)')]
Zone = Annotated[str, _if(ZoneInfo, "must be an IANA time zone such as Europe/Berlin"), _kind("time zone")]
Uid = Annotated[str, _if(_uid, "must be a UID (PS3.5 9.1), or empty"), _kind("UID")]
Names = Annotated[list[str], BeforeValidator(_text_or_list), _kind("text or list of text")]
NamesByName = Annotated[dict[str, Names], _kind("table of lists of text")]
Network = Annotated[str, AfterValidator(_network)]
Networks = Annotated[list[Network], BeforeValidator(_text_or_list), _kind("network or list of networks")]
Bootstrap = Annotated[str, _if(_broker, "must be host:port, such as 127.0.0.1:9092")]
Listener = Annotated[
    str, _if(_listener, "must be host:port, such as 127.0.0.1:8081; port 0: a free one"), _kind("host:port")
]
CertificateNames = Annotated[
    list[Annotated[str, AfterValidator(_certificate)]],
    BeforeValidator(_text_or_list),
    _kind("text or list of text"),
]
TopicPrefix = Annotated[
    str,
    _if(_TOPIC.fullmatch, "must be letters, digits, dots, hyphens and underscores, as Kafka takes them in topic names"),
]
StoreUrl = Annotated[
    str,
    AfterValidator(_store_url),
    PlainSerializer(_without_password, when_used="json"),
    InFolder(_store_in),
    _kind("URL"),
]
_IN_FOLDER = InFolder(lambda folder, name: str(folder / name))
File = Annotated[str, AfterValidator(_file), _IN_FOLDER]
FileOrNone = Annotated[str | None, AfterValidator(_file), _IN_FOLDER]
Secret = Annotated[SecretStr, PlainSerializer(lambda _: MASK, return_type=str, when_used="json")]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(datetime.isoformat, when_used="json"),
]


def one_each(names: dict[str, list[str]]) -> set[str]:
    """Every name, the tables' own included; each must stand for one table."""
    owner: dict[str, str] = {}
    for table, others in names.items():
        for name in {table.strip(), *(name.strip() for name in others)}:
            if not name:
                raise ValueError(f"{table} has an empty name")
            if owner.setdefault(name, table) != table:
                raise ValueError(f'"{name}" names both {owner[name]} and {table}')
    return set(owner)


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean "port"?`` or nothing."""
    names = list(known)
    found = difflib.get_close_matches(name, names, 1, 0.6) or [n for n in names if n.startswith(name[:4])][:1]
    return f'; did you mean "{found[0]}"?' if found else ""


def from_environment(text: str, annotation: Any) -> Any:
    """A value of a field's type out of an environment variable: JSON for lists and tables, commas for lists of plain text."""
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    if holds(annotation, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    if holds(annotation, int) and re.fullmatch(r"-?[0-9]{1,40}", text):
        return int(text)
    return text


def holds(annotation: Any, kind: Any) -> bool:
    """Whether a type is one, or says so somewhere within."""
    return (
        annotation is kind or get_origin(annotation) is kind or any(holds(each, kind) for each in get_args(annotation))
    )
