"""The tables of the settings: their names are a contract with operators, tests and the chart."""

from inspect import get_annotations
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from plscp.config.values import (
    AeTitle,
    Bootstrap,
    CertificateNames,
    Count,
    Deadline,
    Duration,
    File,
    FileOrNone,
    Host,
    Listener,
    Modality,
    Moment,
    Names,
    NamesByName,
    Networks,
    Port,
    Secret,
    Size,
    StoreUrl,
    TopicPrefix,
    Uid,
    Whole,
    Zone,
    duration,
    one_each,
)

SopClassName = Literal[
    "procedural-event-logging", "substance-administration-logging", "modality-performed-procedure-step"
]
Mismatch = Literal["refuse", "log"]
Hl7CharacterSet = Literal[
    "ASCII", "8859/1", "8859/2", "8859/3", "8859/4", "8859/5", "8859/6", "8859/7", "8859/8", "8859/9", "8859/15",
    "ISO IR14", "ISO IR87", "ISO IR159", "GB 18030-2000", "KS X 1001", "BIG-5", "UNICODE UTF-8",
]  # fmt: skip
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
Role = Literal["read", "feed", "operate"]
ROLES: Final[tuple[Role, ...]] = ("read", "feed", "operate")
"""Of HTTP: what each may do, the ones after it may, too."""
EVERY: Final = "every"


class Section(BaseModel):
    """One table of the file.

    Attributes:
        at_once: the settings, by name, that a running server takes over when the file is read again; `EVERY` for all of them. The
            others keep the value that they had at start, until a restart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    at_once: ClassVar[frozenset[str] | Literal["every"]] = frozenset()

    @classmethod
    def applies_at_once(cls, name: str) -> bool:
        """Whether a setting of this table needs no restart."""
        return cls.at_once == EVERY or name in cls.at_once


class Tls(Section):
    """The TLS listener of DICOM, beside the plain one; absent: plain only. TLS 1.2 at least; files that change are read again."""

    at_once = frozenset({"certificate", "private_key", "client_ca"})

    port: Port = Field(2762, description="port of the TLS listener; 0: a free one")
    certificate: File = Field(description="file with the server's certificate chain, PEM")
    private_key: File = Field(description="file with the private key, PEM, without a passphrase")
    client_ca: FileOrNone = Field(
        None, description="file with the CAs of the devices; given: client certificates are required"
    )


class Dicom(Section):
    """The DICOM listener."""

    at_once = frozenset({"unknown_devices", "trusted_proxies"})

    ae_title: AeTitle = Field("PLSCP", description="called AE title, checked")
    called_ae: Literal["check", "any"] = Field("check", description='"any" accepts every called AE title')
    host: Host = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(11112, description="port to listen on; 0: a free one, which the `listening` line names")
    unknown_devices: Literal["refuse", "accept"] = Field(
        "refuse", description="calling AE titles that [devices] does not name; refused with A-ASSOCIATE-RJ 1/1/3"
    )
    max_associations: Count = Field(1000, description="associations in all; beyond: A-ASSOCIATE-RJ 2/3/2")
    max_associations_per_address: Count = Field(
        50, description="associations per peer address; connections beyond twice that are closed at accept"
    )
    timezone: Zone = Field("UTC", description="the server's time zone: offset of times that state none")
    max_pdu: Size = Field(16382, ge=128, le=131072, description="Maximum Length Received that is announced")
    max_associate_request: Size = Field(65536, description="longest A-ASSOCIATE-RQ that is read")
    max_presentation_contexts: Count = Field(128, le=128, description="presentation contexts per A-ASSOCIATE-RQ")
    max_command_set: Size = Field(16384, description="longest command set that is read")
    max_data_set: Size = Field(1048576, description="longest data set, before and after inflating; beyond: 0213H")
    max_depth: Count = Field(32, le=60, description="deepest nesting of sequences in a data set")
    max_elements: Count = Field(20000, description="data elements in a data set")
    max_value: Size = Field(65536, description="longest single value in a data set")
    max_waiting_requests: Count = Field(8, description="requests of one association that wait; beyond, reading stops")
    futile_share: float = Field(
        0.05,
        ge=0.001,
        le=1,
        description="share of the server's time that an address may take before an association is accepted, and an AE title at "
        "an address after that, with what leads to no accepted request; beyond, they are read more slowly; 1: never",
    )
    trusted_proxies: Networks = Field(
        default_factory=list,
        description="addresses or networks of proxies and NATs with many devices behind them: their connections are not counted "
        "against one address",
    )
    first_pdu_deadline: Deadline = Field(duration("PT10S"), description="from accept to a complete A-ASSOCIATE-RQ")
    pdu_deadline: Deadline = Field(duration("PT10S"), description="from a PDU's first byte to its last")
    message_deadline: Deadline = Field(duration("PT30S"), description="from a message's first fragment to its last")
    answer_deadline: Deadline = Field(
        duration("PT10S"), description="from a request to its answer: a failure status when the store has not committed"
    )
    drain_delay: Duration = Field(
        duration("PT0S"),
        description="after SIGTERM: go on accepting for so long, while /readyz says no and whoever routes to this server learns it",
    )
    drain_grace: Duration = Field(
        duration("PT30S"),
        description="after that: accept nothing new and answer whoever is still there; then abort what is idle, and what has a request "
        "in hand when it is answered, at the latest after answer_deadline",
    )
    tls: Tls | None = Field(None, description="the TLS listener")


class Store(Section):
    """The event store."""

    url: StoreUrl = Field("sqlite:///data/plscp.db", description="sqlite:///relative/path or sqlite:////absolute/path")
    queue_requests: Count = Field(10000, description="requests that wait for the writer; beyond: 0213H")
    queue_bytes: Size = Field(67108864, description="their size; beyond: 0213H")
    disk_reserve: Size = Field(268435456, description="free disk that the quarantine never takes")
    disk_watermark: Size = Field(
        134217728, description="free disk below which every request is answered 0213H; taken again a tenth above it"
    )
    raw_retention: Duration | None = Field(
        None,
        description="requests as received are deleted when they are older, and their digests stay; absent: they are kept",
    )
    quarantine_bytes: Size = Field(
        67108864, description="raw bytes kept in quarantine per device; beyond, the oldest go and their digests stay"
    )


class Kafka(Section):
    """Kafka; absent: entries stay in the store until there is one. sasl_* and ssl_* as kafka-python names them."""

    bootstrap_servers: Annotated[list[Bootstrap], Field(min_length=1)] = Field(
        description="brokers to start from, host:port"
    )
    topic_prefix: TopicPrefix = Field("plscp", description="topics are PREFIX.procedure-log and so on")
    client_id: str = Field("plscp", min_length=1, description="client id that the broker logs")
    create_topics: bool = Field(True, description="make missing topics; otherwise they are named in an error line")
    partitions: Count = Field(6, le=10000, description="partitions of topics that are made")
    replication_factor: Annotated[Whole, Field(ge=-1, le=32767)] = Field(
        -1, description="replicas of topics that are made; -1: the broker's default"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism; GSSAPI needs the Python package gssapi"
    )
    sasl_plain_username: str | None = Field(None, description="user name for PLAIN and SCRAM")
    sasl_plain_password: Secret | None = Field(None, description="password for PLAIN and SCRAM")
    sasl_plain_password_file: FileOrNone = Field(None, description="file that holds the password instead")
    sasl_kerberos_name: str | None = Field(None, description="name of the Kerberos credentials")
    sasl_kerberos_service_name: str | None = Field(None, description="Kerberos service name")
    sasl_kerberos_domain_name: str | None = Field(None, description="Kerberos domain name")
    ssl_cafile: FileOrNone = Field(None, description="file with the CAs of the brokers, PEM")
    ssl_certfile: FileOrNone = Field(None, description="file with the client's certificate, PEM")
    ssl_keyfile: FileOrNone = Field(None, description="file with the client's private key, PEM")
    ssl_password: Secret | None = Field(None, description="password of the private key")
    ssl_password_file: FileOrNone = Field(None, description="file that holds the password instead")
    ssl_crlfile: FileOrNone = Field(None, description="file with certificate revocation lists, PEM")
    ssl_ciphers: str | None = Field(None, description="ciphers, as OpenSSL names them")
    ssl_check_hostname: bool = Field(True, description="whether the broker's certificate must name its host")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        sasl = self.security_protocol.startswith("SASL")
        if sasl and self.sasl_mechanism is None:
            raise ValueError("sasl_mechanism is missing: security_protocol says SASL")
        if sasl and self.sasl_mechanism != "GSSAPI" and not self.sasl_plain_username:
            raise ValueError(f"sasl_plain_username is missing: {self.sasl_mechanism} needs it")
        if sasl and self.sasl_mechanism != "GSSAPI" and not (self.sasl_plain_password or self.sasl_plain_password_file):
            raise ValueError(f"sasl_plain_password_file is missing: {self.sasl_mechanism} needs it")
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_certfile is missing: a private key goes with one")
        for name in ("sasl_plain_password", "ssl_password"):
            if getattr(self, name) is not None and getattr(self, name + "_file") is not None:
                raise ValueError(f"{name} is given beside {name}_file: keep one")
        return self


class HttpTls(Section):
    """TLS for the HTTP listener; absent: plain HTTP. Files that change are read again."""

    at_once = frozenset({"certificate", "private_key"})

    certificate: File = Field(description="file with the server's certificate chain, PEM")
    private_key: File = Field(description="file with the private key, PEM, without a passphrase")


class Http(Section):
    """The HTTP listener: API, health, metrics. A token file holds one token per line, all valid, and is read again when it changes."""

    at_once = frozenset({"token_file", "read_token_file", "operate_token_file", "feed_token_file"})

    host: Host = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8080, description="port to listen on; 0: a free one")
    authentication: Literal["token", "none"] = Field(
        "token",
        description='"none": without a token file, whoever reaches the address may read and change everything; "token": without one '
        "host must be loopback, and only programs on this machine are served",
    )
    token_file: FileOrNone = Field(None, description="file with tokens that may do everything that /api offers")
    read_token_file: FileOrNone = Field(
        None, description="file with tokens that may read everything, and change nothing"
    )
    operate_token_file: FileOrNone = Field(None, description="as token_file, for tokens that are kept elsewhere")
    feed_token_file: FileOrNone = Field(
        None, description="file with tokens that may read, and change patients, admissions and studies, nothing else"
    )
    probes: Listener | None = Field(
        None,
        description="host:port of a listener of its own for /livez, /readyz and /metrics alone, without a token and without TLS",
    )
    tls: HttpTls | None = Field(None, description="TLS for the HTTP listener")
    max_body: Size = Field(1048576, description="longest request body")

    def token_files(self) -> list[tuple[Role, str, str]]:
        """(role, path of the setting, file) of each token file that is given; those that may do most come first."""
        named: list[tuple[Role, str]] = [
            ("operate", "token_file"),
            ("operate", "operate_token_file"),
            ("feed", "feed_token_file"),
            ("read", "read_token_file"),
        ]
        return [(role, f"http.{name}", file) for role, name in named if (file := getattr(self, name)) is not None]

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.host not in LOOPBACK and self.authentication == "token" and not self.token_files():
            raise ValueError(f"token_file is missing: required when host is not loopback ({self.host})")
        return self


class RegistryFile(Section):
    """Patients, admissions and studies from a file."""

    file: FileOrNone = Field(
        None, description="read at start; later only differences to its previous content are changes"
    )
    publish_demographics: bool = Field(
        False, description="whether patient records carry name, birth date and sex beside the identifiers"
    )


class MppsTable(Section):
    """Modality Performed Procedure Step, on the ports of [dicom]; present: provided, to the devices whose `sop_classes` name it."""


class WorklistTls(Section):
    """TLS towards the worklist; absent: none. TLS 1.2 at least; the certificate that it shows must name the host."""

    ca: FileOrNone = Field(None, description="file with the CAs to trust, PEM; absent: those of the system")
    certificate: FileOrNone = Field(
        None, description="file with the own certificate, PEM, where the worklist asks for one"
    )
    private_key: FileOrNone = Field(
        None, description="file with its private key, PEM, without a passphrase; absent: it stands with the certificate"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.private_key is not None and self.certificate is None:
            raise ValueError("certificate is missing: a private key goes with one")
        return self


class WorklistTable(Section):
    """A Modality Worklist (PS3.4 Annex K) that is asked with C-FIND what is scheduled; present: it is asked."""

    host: Host = Field(description="host of the worklist")
    port: Annotated[Port, Field(ge=1)] = Field(104, description="port of the worklist")
    ae_title: AeTitle = Field("WORKLIST", description="AE title of the worklist")
    calling_ae_title: AeTitle | None = Field(None, description="AE title that asks; absent: dicom.ae_title")
    station_ae_titles: list[AeTitle] = Field(
        default_factory=list, description="Scheduled Station AE Titles that are asked for; absent: every one"
    )
    modalities: list[Modality] = Field(
        default_factory=list, description='modalities that are asked for, such as "XA"; absent: every one'
    )
    past: Duration = Field(duration("P1D"), description="asked for are the days from so long ago")
    ahead: Duration = Field(duration("P2D"), description="to the day that lies so far ahead")
    interval: Duration = Field(
        duration("PT1M"), description="between two queries; while the worklist is away each pause is longer, up to PT5M"
    )
    timeout: Duration = Field(duration("PT30S"), description="until an association, and each further answer, has come")
    max_entries: Count = Field(
        5000, description="entries of one query that are taken; what goes beyond is said in the log"
    )
    timezone: Zone | None = Field(None, description="offset of times that state none; absent: dicom.timezone")
    tls: WorklistTls | None = Field(None, description="TLS towards the worklist")

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        for name in ("interval", "timeout"):
            if getattr(self, name) < duration("PT1S"):
                raise ValueError(f"{name} must be at least PT1S")
        return self


class Hl7Tls(Tls):
    """The TLS listener of the HL7 feed, beside the plain one; absent: plain only. As that of DICOM."""

    port: Port = Field(2576, description="port of the TLS listener; 0: a free one")
    client_ca: FileOrNone = Field(
        None, description="file with the CAs of the senders; given: client certificates are required"
    )


class Hl7Table(Section):
    """HL7 v2 over MLLP: ADT and orders fill the registry; present: there is a listener."""

    at_once = frozenset({"senders", "character_set", "timezone", "silent_after"})

    host: Host = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(2575, description="port to listen on; 0: a free one, which the `hl7` line names")
    senders: Networks = Field(
        default_factory=list,
        description="addresses or networks that may send; required when host is not loopback: who may send may change every "
        "patient (0.0.0.0/0 and ::/0: anyone)",
    )
    max_message: Size = Field(1048576, description="longest message; beyond: AR, and its beginning is kept")
    max_connections: Count = Field(100, description="connections in all; further ones are closed")
    max_connections_per_address: Count = Field(10, description="connections per address; further ones are closed")
    message_deadline: Deadline = Field(duration("PT30S"), description="from a message's first byte to its last")
    idle_deadline: Deadline = Field(
        duration("PT12H"), description="a connection without a message is closed after so long"
    )
    answer_deadline: Deadline = Field(
        duration("PT10S"), description="from a message to its answer: AE when the store has not committed"
    )
    character_set: Hl7CharacterSet = Field(
        "UNICODE UTF-8", description="of messages that name none in MSH-18, by its name in HL7 table 0211"
    )
    timezone: Zone | None = Field(
        None, description="offset of times that state none, nor does MSH-7; absent: dicom.timezone"
    )
    silent_after: Duration | None = Field(
        None,
        description="a sender that has sent nothing for so long is shown and alerted on; absent: it is not watched",
    )
    tls: Hl7Tls | None = Field(None, description="the TLS listener")

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.host not in LOOPBACK and not self.senders:
            raise ValueError(f"senders is missing: required when host is not loopback ({self.host})")
        return self


class FeedTables(Section):
    """Feeds of the registry, each where its table is present."""

    mpps: MppsTable | None = Field(None, description="procedure steps as modalities report them")
    worklist: WorklistTable | None = Field(None, description="a Modality Worklist that is asked what is scheduled")
    hl7: Hl7Table | None = Field(None, description="ADT and orders over MLLP")


class Matching(Section):
    """The rules' defaults; a device may override each."""

    at_once = EVERY

    close_grace: Duration = Field(duration("PT30M"), description="a closed study still takes events for so long")
    clock_tolerance: Duration = Field(duration("PT2M"), description="how far a device's clock may be off")
    room_turnover: Duration = Field(
        duration("PT15M"),
        description="a study without step or sign of life in its room for so long is closed by another patient's there, "
        "once that one is confirmed",
    )
    place_match_max_age: Duration = Field(
        duration("PT6H"), description="rules 5 to 7 find no study without a sign of life for so long, nor older entries"
    )
    turnover_decides: bool = Field(
        False, description="true: a study that comes to a room needs no confirmation to close one that is quiet there"
    )
    synchronization_frame_of_reference_uid: Uid = Field(
        "1.2.840.10008.15.1.1",
        description="the server's own Synchronization Frame of Reference UID (UTC); another: B101",
    )
    patient_id_issuer: str = Field("", description="issuer of Patient IDs that come without one")
    patient_mismatch: Mismatch = Field("refuse", description="another patient's ID: C104; log: B104")
    study_id_mismatch: Mismatch = Field("log", description="another Study ID: B104; refuse: C104")
    location_mismatch: Mismatch = Field("log", description="another location: B104; refuse: C104")
    name_mismatch: Mismatch = Field(
        "log", description="another family name of an administration: finding; refuse: C110"
    )
    not_started_elsewhere: Mismatch = Field(
        "log", description="a scheduled study is named while another patient's is open there: B104; refuse: C104"
    )
    scheduled_expires: Duration = Field(
        duration("P7D"), description="a study still scheduled so long after its planned time counts as cancelled"
    )
    placeholder_patient_ids: list[str] = Field(
        ["UNKNOWN", "UNK", "TEMP", "NONE", "N/A", "0"],
        description="count as not given; compared without regard to case",
    )
    accession_as_admission: bool = Field(
        False,
        description="whether the Accession Number of a study that takes events counts as an Admission ID without issuer",
    )
    replay: Literal["automatic", "propose", "off"] = Field(
        "automatic",
        description="a refused request whose reason a registry change has removed: replayed where it names the study or patient "
        "itself and nothing speaks against it, else proposed; propose: always proposed; off: neither",
    )
    corrections: Literal["propose", "apply"] = Field(
        "propose",
        description="entries that stand under another study than rules 5 to 7 name by the stays known now: apply moves them by itself",
    )


if TYPE_CHECKING:
    Overrides = Section
else:
    Overrides = create_model(
        "Overrides",
        __base__=Section,
        __doc__="What a device may override of [matching]; absent: as there.",
        **{
            name: (kind | None, Field(None, description="overrides [matching]"))
            for name, kind in get_annotations(Matching).items()
        },
    )


class Location(Section):
    """One lab: [locations.NAME]."""

    at_once = EVERY

    names: Names = Field(
        default_factory=list, description="names that devices, MPPS and HL7 use for it, beside the table's"
    )


class DeviceTable(Overrides):
    """One device: [devices.AE]; the table's name is the calling AE title."""

    at_once = EVERY

    address: Networks = Field(
        default_factory=list,
        description="addresses or networks that it calls from; absent: any; from others it is refused as an unknown device is",
    )
    certificate: CertificateNames = Field(
        default_factory=list,
        description='client certificates that it may have, by parts of the subject that must all be there ("CN=HEMO1,O=Clinic"), or by '
        'an alternative name ("DNS:hemo1.example", "IP:10.1.2.3", "URI:urn:hemo1"); given: only over TLS and with one of them, else '
        "refused as an unknown device is; needs dicom.tls.client_ca",
    )
    username: str | None = Field(
        None,
        min_length=1,
        description="user identity that it must negotiate (PS3.7 D.3.3.7), else A-ASSOCIATE-RJ 1/2/1; absent: none is asked for",
    )
    passcode: Annotated[Secret, Field(min_length=1)] | None = Field(
        None, description="passcode beside the username; absent: the username alone is asked for"
    )
    passcode_file: FileOrNone = Field(
        None, description="file that holds the passcode instead; read again when it changes"
    )
    location: Names = Field(
        default_factory=list, description="name of its [locations] table, or a list; absent for a mobile device"
    )
    validation: Literal["lenient", "strict"] = Field("lenient", description="how its data sets are checked")
    times: Literal["trusted", "untrusted"] = Field("trusted", description="untrusted: matched by arrival time")
    closes_without_release: bool = Field(
        False,
        description="it ends the connection after the answer, without A-RELEASE: such an end proves that the answer arrived, "
        "and equal content after it is an event of its own; Linux only; over TLS with close_notify",
    )
    silent_after: Duration | None = Field(
        None,
        description="connected, with a case open in its room, and nothing sent for so long: it is shown and alerted on as silent; "
        "absent: it is not watched",
    )
    sop_classes: list[SopClassName] = Field(
        ["procedural-event-logging", "substance-administration-logging"],
        description="what it may send; else 0124H; none: it may verify (C-ECHO) and nothing else; "
        '"modality-performed-procedure-step" has to be named, and needs [feeds.mpps]',
    )
    timezone: Zone | None = Field(None, description="offset of its times that state none")
    coerce_by_location: bool = Field(False, description="an unknown Study Instance UID alone: rules 5 to 7, B102")

    @model_validator(mode="after")
    def _identity(self) -> Self:
        if self.passcode is not None and self.passcode_file is not None:
            raise ValueError("passcode is given beside passcode_file: keep one")
        if self.username is None and (self.passcode is not None or self.passcode_file is not None):
            raise ValueError("username is missing: a passcode goes with one")
        for name in self.location:
            if self.location.count(name) > 1:  # with two it would have to say in which it is
                raise ValueError(f"location names {name} twice")
        return self


class AllowedOperator(Section):
    """One operator who may add to the Medication Administration Record."""

    at_once = EVERY

    value: str = Field(min_length=1, description="Code Value")
    scheme: str = Field(min_length=1, description="Coding Scheme Designator")
    locations: list[str] = Field(default_factory=list, description="[locations] where it is valid; absent: everywhere")
    valid_from: Moment | None = Field(None, description="from when; without offset: UTC")
    valid_until: Moment | None = Field(None, description="until when; without offset: UTC")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_from is not None and self.valid_until is not None and self.valid_until < self.valid_from:
            raise ValueError("valid_until lies before valid_from")
        return self


class OperatorPolicy(Section):
    """Who may add to the Medication Administration Record; absent: anyone, with a warning at start."""

    at_once = EVERY

    policy: Literal["any", "list"] = Field(
        "any", description="list: only those in allowed, or whom file, HTTP or HL7 name; else C10E"
    )
    allowed: list[AllowedOperator] = Field(
        default_factory=list, description="tables of value, scheme, locations, valid_from, valid_until"
    )
    file: FileOrNone = Field(
        None,
        description="file with further operators, tables of the same members in a list of the name operators; read as the registry file "
        "is: who is no longer listed is taken out",
    )
    schemes: NamesByName = Field(
        default_factory=dict,
        description="by Coding Scheme Designator as devices send it, the assigning authorities that HL7 staff messages (MFN^M02) name",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        for name in ("allowed", "file"):
            if getattr(self, name) and self.policy == "any":
                raise ValueError(f'{name} is given but policy is not "list": nobody would be refused')
        one_each(self.schemes)
        return self


class Log(Section):
    """Logs, on standard error."""

    at_once = frozenset({"level"})

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is written")
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, else JSON lines"
    )
