"""What the HTTP API answers, as Pydantic models: handlers return them, and the OpenAPI document describes them.

They are made of the objects that they show, which may have more members. What has a default and was not given is left out.
"""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from plscp.records.parts import EventPlace, Identifier, Match, Occurred, PublishedFinding, Status
from plscp.store.chain import iso

UtcTime = Annotated[
    str,
    BeforeValidator(lambda moment: iso(moment) if isinstance(moment, int) else moment),
    Field(json_schema_extra={"format": "date-time"}),
]
"""ISO 8601; the store's microseconds since the epoch become it."""
DimseStatus = Annotated[
    Status | Literal[""], BeforeValidator(lambda status: f"{status:04X}" if isinstance(status, int) else status)
]
"""Four hexadecimal digits; empty where there is none."""
Warnings = Annotated[list[str], Field(description="What is legal and probably not meant.")]


class ApiAnswer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(from_attributes=True)


class ApiPage(ApiAnswer):
    """A part of a list."""

    next: int = Field(default=0, description="`after` of the part that follows; absent where there is none.")


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str = Field(description="One line: what is wrong, and what to do.")
    faults: list[str] = Field(default=[], description="Of the settings.")
    checks: dict[str, bool] = Field(default={}, description="Of liveness.")
    role: str = Field(default="", description="Of the token that is asked for.")


# --- the event store ---


class EventAnswer(BaseModel):
    """An event as it is published; what else it holds says the JSON Schema that is named as its `type`."""

    model_config = ConfigDict(extra="allow")

    type: str
    event_id: str
    position: int = Field(ge=1)
    recorded: AwareDatetime


class RetryAnswer(ApiAnswer):
    """A repeat of a request, which got the stored answer: when it came, and from where."""

    time: UtcTime = Field(validation_alias="arrival")
    calling_ae: str
    address: str
    association: str
    message_id: int
    transfer_syntax: str


class RawAnswer(ApiAnswer):
    """What is kept of a request as it was received."""

    length: int
    kept: int
    sha256: str


class StandingAnswer(ApiAnswer):
    """Where an entry stands that was moved: by which correction, and at which position it is published whole."""

    position: int
    correction: str
    study_instance_uid: str
    patient: Identifier


class EventWithRequest(EventAnswer):
    """One event; `retries` are the latest repeats of an entry's request, `standing` says where it was moved to."""

    standing: StandingAnswer | None = None
    raw: RawAnswer | None = None
    retries: list[RetryAnswer] = []


class EventPage(ApiPage):
    """Events in the order of their positions; `next` is always there, since more may come."""

    events: list[EventAnswer]


class RetryPage(ApiPage):
    """The repeats of one event's request, newest first."""

    retries: list[RetryAnswer]


class TimelineAnswer(ApiAnswer):
    """One study's entries by when they occurred."""

    study_instance_uid: str
    entries: list[EventAnswer]


class CorrectionPlace(ApiAnswer):
    """Under which study or patient entries stand."""

    study_instance_uid: str
    patient: Identifier


class CorrectionAnswer(ApiAnswer):
    """A correction: which events it moves or would move, from where, to where; and what became of it."""

    id: str
    status: Literal["proposed", "confirmed", "rejected", "reverted", "superseded"] = Field(
        description="superseded: another correction has moved one of its entries."
    )
    position: int
    time: UtcTime
    source: str
    what: str
    positions: list[int]
    to: CorrectionPlace
    origins: list[CorrectionPlace] = Field(alias="from")
    because: str
    calling_ae: str
    request_id: str = ""
    quarantine: str = Field(description="Id of the refused request that shows it.")
    moved: int = Field(default=0, description="Position of the first event of the correction, or 0.")
    settled: int = Field(default=0, description="Position of the last event of what became of it, or 0.")
    reverts: str = Field(default="", description="Id of the correction that this one takes back.")
    who: str = Field(default="", description="Who confirmed or rejected it.")
    why: str = ""


class MovedEntry(ApiAnswer):
    """An entry that a correction moves, or would move."""

    position: int
    event_id: str
    occurred: UtcTime
    moved_from: EventPlace
    moved_to: EventPlace


class CorrectionDone(ApiAnswer):
    """What a correction moved; of a dry run what it would move."""

    id: str
    dry_run: bool
    position: int = Field(description="Of its last event; 0 for a dry run.")
    moves: list[MovedEntry]


class CorrectionPage(ApiPage):
    """Corrections, also proposed ones, newest first."""

    corrections: list[CorrectionAnswer]


# --- feeds ---


class FeedConnection(ApiAnswer):
    """A connection to a feed's listener; `sender` is what its last message says: application and facility."""

    address: str
    sender: str
    since: UtcTime
    messages: int
    tls: str = Field(description="Version of TLS; empty without.")


class FeedSenderStatus(ApiAnswer):
    """What one sending application and facility has sent since the start; times of the last message."""

    sender: str
    last_message: UtcTime | None
    messages: int
    refused: int
    silent: bool = Field(description="It has sent nothing for longer than silent_after.")


class FeedStatus(ApiAnswer):
    """How a feed goes; what more a feed tells is its own."""

    model_config = ConfigDict(extra="allow")

    feed: str
    listening: list[str] = []
    connections: list[FeedConnection] = []
    senders: list[FeedSenderStatus] = []
    connections_refused: int = 0


class FeedsAnswer(ApiAnswer):
    """The feeds that run."""

    feeds: list[FeedStatus]


class FeedMessageSummary(ApiAnswer):
    """A message that a feed refused: `message` identifies it in its feed, `why` is what its sender was told."""

    id: str
    feed: str
    peer: str
    message: str
    time: UtcTime
    why: str
    raw_length: int
    raw_kept: int


class FeedMessageAnswer(FeedMessageSummary):
    """A refused message as it came."""

    raw: str = Field(json_schema_extra={"contentEncoding": "base64"})


class FeedMessagePage(ApiPage):
    """Messages that feeds refused, newest first."""

    messages: list[FeedMessageSummary]


# --- the server itself ---


class HealthAnswer(ApiAnswer):
    """All is well."""

    status: Literal["live", "ready"]


class MatchAnswer(Match):
    """What a request would match: the decision as it would be published, and the answer."""

    status_name: str
    comment: str
    hint: str = Field(description="What to do about a refusal; empty where nobody can say.")
    study_instance_uid: str
    patient: Identifier
    findings: list[PublishedFinding]
    occurred: Occurred


class ReloadAnswer(ApiAnswer):
    """Paths of the settings that hold from now on, and of those that need a restart."""

    applied: list[str]
    restart: list[str]
    fault: Literal[""]


class VerdictAnswer(ApiAnswer):
    """What matters most now."""

    level: Literal["ok", "warning", "critical"]
    text: str
    all: list[str] = Field(description="Everything that is not as it should be, most severe first.")


class SettingsStatus(ApiAnswer):
    """The settings' file, since when they hold, what waits for a restart, what is wrong with the file now."""

    file: str
    loaded: UtcTime
    restart: list[str]
    fault: str


class StoreStatus(ApiAnswer):
    """The event store and its disk."""

    id: str
    position: int
    last_registry_change: int
    disk_free: int | None = Field(description="Bytes.")
    disk: Literal["ok", "low", "full"] = Field(description="low: nothing more is kept of refused requests.")
    failing: str


class RelayStatus(ApiAnswer):
    """The relay's last status line, in short; empty without Kafka or before the first."""

    reachable: bool = False
    away_since: str = ""
    pending: int = Field(default=0, description="Records not acknowledged.")
    oldest_age: float = Field(default=0, description="Seconds since the oldest of them was recorded.")
    topics: dict[str, dict[str, Any]] = {}
    restarts: int = 0
    errors: list[str] = []
    ended: bool = False


class QuarantineStatus(ApiAnswer):
    """How many refused requests are open."""

    open: int
    of_closed_cases: int
    closed_cases: list[dict[str, str | int]] = Field(description="`study_instance_uid`, and how many are `open` of it.")


class LatestRetry(RetryAnswer):
    """A repeat, and the last event of the request that it repeats."""

    position: int


class AssociationStatus(ApiAnswer):
    """An open association."""

    id: str = ""
    calling_ae: str
    address: str
    since: UtcTime
    requests: int


class DeviceStatus(ApiAnswer):
    """A device."""

    ae_title: str
    configured: bool
    location: list[str]
    open: int = Field(description="Associations.")
    last_event: UtcTime | None
    last_refusal: dict[str, str] | None = Field(description="`time`, `status` and `comment`.")
    refusals: int
    quarantine_open: int
    clock_difference: float | None = Field(description="Seconds that the device's clock is behind.")
    silent: bool


class RoomStatus(ApiAnswer):
    """A location and the studies that are there."""

    location: str
    studies: list[dict[str, str | int]] = Field(description="`study_instance_uid`, `arrived`, count of `steps`.")


class RefusedPeer(ApiAnswer):
    """A peer whose associations a setting refused: which setting, and what to do."""

    calling_ae: str
    address: str
    rule: str
    hint: str
    times: int
    first: UtcTime
    last: UtcTime


class ErrorLine(ApiAnswer):
    """A request that was refused, or a line that was logged as an error."""

    time: UtcTime | None
    what: str
    device: str
    text: str


class StatusAnswer(ApiAnswer):
    """What runs, how far it is, who is connected, and what is not as it should be: no patient."""

    verdict: VerdictAnswer
    time: UtcTime
    version: str
    ae_title: str
    draining: bool
    settings: SettingsStatus
    store: StoreStatus
    relay: RelayStatus
    registry: dict[str, int] = Field(
        description="`registry_position`, `patients`, `open_studies`, `steps_in_progress`."
    )
    quarantine_open: int
    quarantine: QuarantineStatus
    corrections_proposed: int
    requests_retried: int
    latest_retries: list[LatestRetry]
    clock_tolerance: float = Field(description="Seconds.")
    certificates: list[dict[str, str]] = Field(description="`file` of each, and when it `expires`.")
    associations: list[AssociationStatus]
    devices: list[DeviceStatus]
    rooms: list[RoomStatus]
    truncated: list[str] = Field(description="Which of these lists are longer than what is shown.")
    refused_peers: list[RefusedPeer]
    feeds: list[FeedStatus]
    last_errors: list[ErrorLine] = Field(description="Newest first.")
    kafka: Literal["absent", "starting"] | dict[str, Any] = Field(description="The relay's whole status line.")
