"""All settings in one Pydantic model, and what each room of the program is given of them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache, partial
from inspect import signature
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import tomli_w
from pydantic import Field, SecretStr, field_validator

from plscp.config import secretfile
from plscp.config.model import (
    LOOPBACK,
    DeviceTable,
    Dicom,
    FeedTables,
    Hl7Table,
    Http,
    HttpTls,
    Kafka,
    Location,
    Log,
    Matching,
    OperatorPolicy,
    Overrides,
    RegistryFile,
    Role,
    Section,
    Store,
    Tls,
)
from plscp.config.secretfile import SecretFile
from plscp.config.values import AeTitle, Names, nearest, one_each
from plscp.content.model import Bounds
from plscp.dicom.admission import Required, certificate_name
from plscp.dicom.settings import Deadlines, NetworkSettings, WireBounds
from plscp.dicom.sockets import KNOWS_ENDS
from plscp.errors import CommandError, ConfigError
from plscp.matching.model import Device, Operator, Policy
from plscp.matching.records import GENERATED_ISSUER
from plscp.matching.registry import Issuers, Locations, Registry
from plscp.service.profile import Profile
from plscp.statuses import SOP_CLASS_NAMES

if TYPE_CHECKING:
    import ssl

    from plscp.dicom.certificates import Certificates
    from plscp.feeds.hl7 import Hl7Rules
    from plscp.feeds.mllp import MllpSettings
    from plscp.feeds.worklist import WorklistSettings
    from plscp.relay.settings import RelaySettings
    from plscp.store.limits import StoreLimits

Taken = TypeVar("Taken")
TLS_LISTENERS: Final[dict[str, Callable[["Settings"], Tls | HttpTls | None]]] = {
    "dicom": lambda settings: settings.dicom.tls,
    "http": lambda settings: settings.http.tls,
    "feeds.hl7": lambda settings: settings.feeds.hl7.tls if settings.feeds.hl7 is not None else None,
}
"""Each listener that may have a table `tls`, by its own table, and which that is; None: it has none."""
_MOST_NAMED = 8
"""Devices that a warning names."""
_SOP_CLASSES = {name: uid for uid, name in SOP_CLASS_NAMES.items()}


class Settings(Section):
    """All settings as they stand in the file and the environment."""

    at_once = frozenset({"issuers", "locations", "devices", "operators"})
    secrets: ClassVar[frozenset[str]] = frozenset({"sasl_plain_password", "ssl_password", "passcode"})

    dicom: Dicom = Field(default_factory=Dicom)
    store: Store = Field(default_factory=Store)
    kafka: Kafka | None = None
    http: Http = Field(default_factory=Http)
    registry: RegistryFile = Field(default_factory=RegistryFile)
    feeds: FeedTables = Field(default_factory=FeedTables)
    matching: Matching = Field(default_factory=Matching)
    issuers: dict[str, Names] = Field(default_factory=dict)
    locations: dict[str, Location] = Field(default_factory=dict)
    devices: dict[AeTitle, DeviceTable] = Field(default_factory=dict)
    operators: OperatorPolicy | None = None
    log: Log = Field(default_factory=Log)

    @field_validator("locations")
    @classmethod
    def _one_lab_per_name(cls, value: dict[str, Location]) -> dict[str, Location]:
        one_each({table: location.names for table, location in value.items()})
        return value

    @field_validator("devices", mode="before")
    @classmethod
    def _one_table_per_device(cls, value: Any) -> Any:
        titles = [name.strip(" ") for name in value] if isinstance(value, dict) else []
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f'"{title}" is there twice')
        return value

    @field_validator("issuers")
    @classmethod
    def _one_authority_per_spelling(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        if GENERATED_ISSUER in one_each(value):
            raise ValueError(f'"{GENERATED_ISSUER}" is the issuer of the Patient IDs that plscp gives itself')
        return value

    def contradictions(self) -> list[str]:
        """A fault for each name that no [locations] table has, device with certificates while no client is asked for one, and port twice."""
        meant = [(f"devices.{ae}.location", device.location) for ae, device in self.devices.items()]
        allowed = self.operators.allowed if self.operators is not None else []
        meant += [(f"operators.allowed.{i}.locations", each.locations) for i, each in enumerate(allowed, 1)]
        faults = [
            f"{path}: no table [locations.{name}]{nearest(name, self.locations)}"
            for path, names in meant
            for name in names
            if name not in self.locations
        ]
        if self.dicom.tls is None or self.dicom.tls.client_ca is None:
            missing = "dicom.tls" if self.dicom.tls is None else "dicom.tls.client_ca"
            faults += [
                f"devices.{ae}.certificate: needs {missing}: without it no device shows a certificate"
                for ae, device in self.devices.items()
                if device.certificate
            ]
        addresses = list(self._addresses())
        for number, (path, host, port) in enumerate(addresses):
            for before, other, its in addresses[:number]:
                if port == its != 0 and (host == other or ("0.0.0.0" in {host, other} and ":" not in host + other)):  # noqa: S104
                    faults.append(f"{path}: is {port}, as {before} is: each listener needs a port of its own")
        return faults

    def _addresses(self) -> Iterator[tuple[str, str, int]]:
        """Setting, host and port of each listener."""
        tables: dict[str, Dicom | Http | Hl7Table | None] = {
            "dicom": self.dicom,
            "http": self.http,
            "feeds.hl7": self.feeds.hl7,
        }
        for name, table in tables.items():
            if table is None:
                continue
            yield f"{name}.port", table.host, table.port
            if isinstance(table.tls, Tls):
                yield f"{name}.tls.port", table.host, table.tls.port
        if self.http.probes is not None:
            host, _, port = self.http.probes.rpartition(":")
            yield "http.probes", host.strip("[]"), int(port)

    # --- devices and matching ----------------------------------------------------------------------------------------

    def profile(self, calling_ae: str) -> Profile:
        """How a calling AE title is treated: its table, or the defaults, with nothing that it may send where it may not associate.

        Such a device may have an association all the same: its table was taken out meanwhile.
        """
        table = self.devices.get(calling_ae) or DeviceTable()
        known = self.dicom.unknown_devices == "accept" or calling_ae in self.devices
        return _taken(
            Profile,
            table,
            device=_taken(
                Device,
                table,
                ae_title=calling_ae,
                locations=tuple(table.location),
                patient_id_issuer=getattr(table, "patient_id_issuer", None) or "",
            ),
            policy=self.policy(table),
            strict=table.validation == "strict",
            sop_classes=frozenset(_SOP_CLASSES[name] for name in table.sop_classes if known),
            zone=table.timezone,
            server_zone=self.dicom.timezone,
            operators=self.allowed_operators(),
            configured=calling_ae in self.devices,
        )

    def required(self) -> dict[str, Required]:
        """What each device must show before it may associate. Raises ConfigError: a passcode file cannot be used."""
        return {
            ae: Required(
                address=tuple(map(ip_network, device.address)),
                certificate=tuple(map(certificate_name, device.certificate)),
                username=device.username,
                passcode=_passcode(f"devices.{ae}.passcode_file", device),
            )
            for ae, device in self.devices.items()
        }

    def policy(self, table: DeviceTable | None = None) -> Policy:
        """`[matching]` as the rules take it, with what a device overrides."""
        values = dict(self.matching)
        for name in Overrides.model_fields:
            # The device's issuer stands in Device, where it goes before the policy's.
            if name != "patient_id_issuer" and getattr(table, name, None) is not None:
                values[name] = getattr(table, name)
        values["placeholder_patient_ids"] = frozenset(p.strip().upper() for p in values["placeholder_patient_ids"])
        return Policy(**values, publish_demographics=self.registry.publish_demographics)

    def matching_locations(self) -> Locations:
        """`[locations]` as the registry takes them."""
        return Locations({table: list(location.names) for table, location in self.locations.items()})

    def matching_issuers(self) -> Issuers:
        """`[issuers]` as the registry takes them."""
        return Issuers(self.issuers)

    def allowed_operators(self) -> list[Operator] | None:
        """Who may add to the Medication Administration Record, beside those whom feeds name; None: anyone."""
        if self.operators is None or self.operators.policy == "any":
            return None
        return [_taken(Operator, each, locations=tuple(each.locations)) for each in self.operators.allowed]

    @property
    def operators_file(self) -> str | None:
        """`[operators] file`."""
        return self.operators.file if self.operators is not None else None

    # --- the other rooms ---------------------------------------------------------------------------------------------

    def bounds(self) -> Bounds:
        """The bounds of a data set (contract section 2, step 5)."""
        return _taken(Bounds, self.dicom)

    def network(self) -> NetworkSettings:
        """What the DICOM listener is told."""
        return _taken(
            NetworkSettings,
            self.dicom,
            ae_title=self.dicom.ae_title if self.dicom.called_ae == "check" else None,
            trusted_proxies=tuple(map(ip_network, self.dicom.trusted_proxies)),
            procedure_steps=self.feeds.mpps is not None,
            bounds=_taken(WireBounds, self.dicom),
            deadlines=_taken(Deadlines, self.dicom),
        )

    def tls(self, listener: str) -> Tls | HttpTls | None:
        """The TLS table of one of `TLS_LISTENERS`; None without."""
        return TLS_LISTENERS[listener](self)

    def certificates(self, listener: str) -> "Certificates | None":
        """What a TLS listener is told; None without its table. Raises ConfigError where a file cannot be used."""
        from plscp.dicom.certificates import Certificates, TlsSettings  # noqa: PLC0415  # brings TLS and the log

        table = self.tls(listener)
        return None if table is None else Certificates(_taken(TlsSettings, table, section=f"{listener}.tls"))

    def worklist(self) -> "tuple[WorklistSettings, ssl.SSLContext | None] | None":
        """What the worklist feed is told; None without [feeds.worklist]. Raises ConfigError where a file cannot be used."""
        table = self.feeds.worklist
        if table is None:
            return None
        from plscp.feeds.worklist import WorklistSettings  # noqa: PLC0415  # brings pynetdicom
        from plscp.scu.sending import client_context  # noqa: PLC0415

        taken = _taken(
            WorklistSettings,
            table,
            calling_ae_title=table.calling_ae_title or self.dicom.ae_title,
            station_ae_titles=tuple(table.station_ae_titles),
            modalities=tuple(table.modalities),
            server_timezone=self.dicom.timezone,
        )
        if table.tls is None:
            return taken, None
        given = (table.tls.ca, table.tls.certificate, table.tls.private_key)
        ca, certificate, key = (None if file is None else Path(file) for file in given)
        try:
            return taken, client_context(ca, certificate, key, ("ca", "certificate", "private_key"))
        except CommandError as error:
            raise ConfigError(f"feeds.worklist.tls: {error}") from None

    def hl7(self) -> "MllpSettings | None":
        """What the HL7 feed's listener is told; None without [feeds.hl7]."""
        from plscp.feeds.mllp import MllpSettings  # noqa: PLC0415  # brings asyncio

        table = self.feeds.hl7
        return None if table is None else _taken(MllpSettings, table, senders=tuple(map(ip_network, table.senders)))

    def hl7_rules(self) -> "Hl7Rules":
        """How messages of the HL7 feed are read."""
        from plscp.feeds.hl7 import Hl7Rules  # noqa: PLC0415  # brings the store
        from plscp.feeds.hl7_message import CHARACTER_SETS  # noqa: PLC0415
        from plscp.feeds.hl7_persons import Authorities  # noqa: PLC0415

        table = self.feeds.hl7 or Hl7Table()
        schemes = self.operators.schemes if self.operators is not None else {}
        return Hl7Rules(
            Authorities(self.matching_issuers(), self.policy()),
            tuple(map(ip_network, table.senders)),
            CHARACTER_SETS[table.character_set],
            table.timezone or self.dicom.timezone,
            {ae: device.location[0] for ae, device in self.devices.items() if len(device.location) == 1},
            None if table.silent_after is None else table.silent_after.total_seconds(),
            {name.strip(): scheme for scheme, names in schemes.items() for name in (scheme, *names)},
        )

    def store_limits(self) -> "StoreLimits":
        """The bounds of the store."""
        from plscp.store.limits import StoreLimits  # noqa: PLC0415  # brings SQLite

        return _taken(StoreLimits, self.store)

    def relay(self) -> "RelaySettings | None":
        """What the relay process is told; None without [kafka]. Raises ConfigError: a password file cannot be read."""
        from plscp.relay.settings import KafkaSettings, RelaySettings, cursor_beside  # noqa: PLC0415  # brings kafka
        from plscp.store.files import sqlite_path  # noqa: PLC0415

        if self.kafka is None:
            return None
        reached = _taken(
            KafkaSettings,
            self.kafka,
            bootstrap_servers=tuple(self.kafka.bootstrap_servers),
            extra=self.kafka_options(),
        )
        return RelaySettings(
            store_url=self.store.url, cursor=cursor_beside(sqlite_path(self.store.url)), kafka=reached.checked()
        )

    def kafka_options(self) -> dict[str, Any]:
        """security_protocol, sasl_* and ssl_* as kafka-python takes them, secrets in clear; empty without [kafka]. Raises ConfigError."""
        options: dict[str, Any] = {}
        for name, value in self.kafka or ():
            if value is None or not name.startswith(("security_", "sasl_", "ssl_")):
                continue
            if name.endswith("_password_file"):
                options[name.removesuffix("_file")] = secretfile.lines(f"kafka.{name}", value, 1)[0]
            else:
                options[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
        return options

    def tokens(self) -> list[tuple[Role, SecretFile]]:
        """The files with the tokens that /api asks for, with their roles; none: it asks for none. Raises ConfigError, as `token` does."""
        return [(role, SecretFile(setting, name)) for role, setting, name in self.http.token_files()]

    def token(self) -> str | None:
        """A token for a command on this machine, of those that may do most; None where /api asks for none."""
        return next((secretfile.lines(setting, name)[0] for _, setting, name in self.http.token_files()), None)

    def readers(self) -> Iterator[tuple[object, Callable[[], object]]]:
        """What reads the files that a server needs to start, each with the settings that name them; each may raise ConfigError."""
        yield self.devices, self.required
        yield self.http, self.tokens
        yield self.kafka, self.relay
        for listener in TLS_LISTENERS:
            yield self.tls(listener), partial(self.certificates, listener)
        yield self.feeds.worklist, self.worklist

    # --- for people --------------------------------------------------------------------------------------------------

    def warnings(self) -> Iterator[str]:
        """What is legal but probably not meant, a line each, for the log at start."""
        dicom, http, unknown = self.dicom, self.http, self.dicom.unknown_devices
        if self.operators is None:
            yield "operators: absent, so anyone may add to the Medication Administration Record"
        if unknown == "refuse" and not self.devices:
            yield 'devices: none, and dicom.unknown_devices is "refuse": every association will be rejected'
        if unknown == "accept" and dicom.host not in LOOPBACK:
            yield 'dicom.unknown_devices: "accept", and the listener is not on loopback: any machine may report'
        alone = [ae for ae, d in self.devices.items() if not (d.address or d.certificate or d.username)]
        if alone and dicom.host not in LOOPBACK and unknown == "refuse":
            more = f" and {len(alone) - _MOST_NAMED} more" if len(alone) > _MOST_NAMED else ""
            yield (
                f"devices {', '.join(alone[:_MOST_NAMED])}{more}: known by their AE title alone, and the listener is not on "
                "loopback: address, certificate or username tell a device from whoever uses its name"
            )
        if http.host not in LOOPBACK and http.token_files() and http.tls is None:
            yield "http.tls: absent, and the listener is not on loopback: tokens and patients cross the network in clear"
        if http.host not in LOOPBACK and not http.token_files():
            yield 'http.authentication: "none", and the listener is not on loopback: any machine may read and change everything'
        if self.kafka is not None:
            for layer, prefix in (("SASL", "sasl_"), ("SSL", "ssl_")):
                given = [name for name, value in self.kafka if value != Kafka.model_fields[name].default]
                without = [name for name in given if name.startswith(prefix)]
                if without and layer not in self.kafka.security_protocol:
                    yield f'kafka.{without[0]}: has no effect: security_protocol is "{self.kafka.security_protocol}"'
        steps = [ae for ae, d in self.devices.items() if "modality-performed-procedure-step" in d.sop_classes]
        if steps and self.feeds.mpps is None:
            yield f"feeds.mpps: absent, so devices.{steps[0]} may report no procedure steps, though its sop_classes name them"
        if self.feeds.mpps is not None and not steps:
            yield 'feeds.mpps: no device may report procedure steps: sop_classes name "modality-performed-procedure-step" nowhere'
        if not KNOWS_ENDS and any(device.closes_without_release for device in self.devices.values()):
            yield "devices: closes_without_release has no effect on this system, which does not tell when a peer closed"
        for ae_title, device in self.devices.items():
            for name in ("room_turnover", "turnover_decides"):
                if getattr(device, name) is not None:
                    yield (
                        f"devices.{ae_title}.{name}: has no effect: a room has many devices, and [matching] says when it turns over"
                    )

    def registry_file(self) -> tuple[list[str], list[str]]:
        """What is wrong with the files of the registry and of operators, and what in them is probably not meant, a line each."""
        from plscp.feeds import registry_file  # noqa: PLC0415  # only `config check` asks

        files = {
            "registry": (self.registry.file, registry_file.apply_file),
            "operators": (self.operators_file, registry_file.apply_operators),
        }
        refused, warnings = [], []
        for table, (name, plan_content) in files.items():
            if name is not None:
                empty = Registry(self.matching_locations(), self.matching_issuers())
                said = registry_file.check(Path(name), empty, self.policy(), plan_content)
                refused += [f"{table}.file: {Path(name)}: {line}" for line in said.refused]
                warnings += [f"{table}.file: {Path(name)}: {line}" for line in said.warnings]
        return refused, warnings

    def as_toml(self) -> str:
        """What is in force as TOML, secrets masked."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def _taken(kind: Callable[..., Taken], table: Section, **given: Any) -> Taken:
    """A room's value class out of the settings of the same names, with or without `max_`, and of what is given because it differs."""
    for name, setting, in_seconds in _same_names(kind, type(table)):
        if name not in given:
            value = getattr(table, setting)
            given[name] = value.total_seconds() if in_seconds else value
    return kind(**given)


@cache
def _same_names(kind: Callable[..., object], table: type[Section]) -> list[tuple[str, str, bool]]:
    """(member, setting, whether the member is a number of seconds for a duration) of what both have."""
    members, settings = signature(kind).parameters, table.model_fields
    named = {setting.removeprefix("max_"): setting for setting in settings} | {setting: setting for setting in settings}
    return [
        (name, setting, settings[setting].annotation is timedelta and members[name].annotation is float)
        for name, setting in named.items()
        if name in members
    ]


def _passcode(setting: str, device: DeviceTable) -> Callable[[], str] | None:
    if device.passcode_file is not None:
        held = SecretFile(setting, device.passcode_file, 1)
        return lambda: held.current()[0]
    return device.passcode.get_secret_value if device.passcode is not None else None
