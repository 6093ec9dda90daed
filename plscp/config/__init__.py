"""Every setting: one Pydantic model, read from one TOML file and the environment (contract section 6)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from importlib import resources
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError

from plscp.config import secretfile
from plscp.config.load import faults_of, nearest, read_tables
from plscp.config.model import LOOPBACK, DeviceTable, HttpTls, Matching, Overrides, Role, SettingsModel, Tls
from plscp.config.secretfile import SecretFile
from plscp.config.show import as_toml, masked, reference, schema
from plscp.content.model import Bounds
from plscp.dicom.admission import Required, certificate_name
from plscp.dicom.settings import NetworkSettings
from plscp.dicom.sockets import KNOWS_ENDS
from plscp.errors import ConfigError
from plscp.matching.model import Device, Operator, Policy
from plscp.matching.registry import Issuers, Locations, Registry
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

if TYPE_CHECKING:
    from plscp.dicom.certificates import Certificates
    from plscp.relay.settings import RelaySettings

__all__ = ["Settings", "load", "load_http", "problems", "read", "reference", "schema", "starter"]

_MOST_NAMED = 8
"""Devices that a warning names."""
_SOP_CLASSES = {
    "procedural-event-logging": PROCEDURAL_EVENT_LOGGING,
    "substance-administration-logging": SUBSTANCE_ADMINISTRATION_LOGGING,
}


class Settings(SettingsModel):
    """All settings, and what the rooms of the program take out of them."""

    # --- devices -----------------------------------------------------------------------------------------------------

    def profile(self, calling_ae: str) -> Profile:
        """How a calling AE title is treated: its table, or the defaults, with nothing that it may send where it may not associate.

        Such a device may have an association all the same: its table was taken out meanwhile.
        """
        table = self.devices.get(calling_ae) or DeviceTable()
        known = self.dicom.unknown_devices == "accept" or calling_ae in self.devices
        return Profile(
            device=Device(
                ae_title=calling_ae,
                locations=tuple(table.location),
                patient_id_issuer=table.patient_id_issuer or "",
                times=table.times,
                coerce_by_location=table.coerce_by_location,
            ),
            policy=self.policy(table),
            strict=table.validation == "strict",
            sop_classes=frozenset(_SOP_CLASSES[name] for name in table.sop_classes if known),
            zone=table.timezone,
            server_zone=self.dicom.timezone,
            operators=self.allowed_operators(),
            closes_without_release=table.closes_without_release,
            silent_after=table.silent_after,
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
        values: dict[str, Any] = {name: getattr(self.matching, name) for name in Matching.model_fields}
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
        """Who may add to the Medication Administration Record; None: anyone."""
        if self.operators is None or self.operators.policy == "any":
            return None
        return [
            Operator(o.value, o.scheme, tuple(o.locations), o.valid_from, o.valid_until) for o in self.operators.allowed
        ]

    # --- the other rooms ---------------------------------------------------------------------------------------------

    def bounds(self) -> Bounds:
        """The bounds of a data set (contract section 2, step 5)."""
        d = self.dicom
        return Bounds(data_set=d.max_data_set, depth=d.max_depth, elements=d.max_elements, value=d.max_value)

    def network(self) -> NetworkSettings:
        """What the DICOM listener is told."""
        d = self.dicom
        return NetworkSettings(
            host=d.host,
            port=d.port,
            ae_title=d.ae_title if d.called_ae == "check" else None,
            max_associations=d.max_associations,
            max_associations_per_address=d.max_associations_per_address,
            max_pdu=d.max_pdu,
            associate_request=d.max_associate_request,
            contexts=d.max_presentation_contexts,
            command_set=d.max_command_set,
            data_set=d.max_data_set,
            waiting=d.max_waiting_requests,
            first_pdu_deadline=d.first_pdu_deadline.total_seconds(),
            pdu_deadline=d.pdu_deadline.total_seconds(),
            message_deadline=d.message_deadline.total_seconds(),
            futile_share=d.futile_share,
            trusted_proxies=tuple(map(ip_network, d.trusted_proxies)),
        )

    def certificates(self) -> "Certificates | None":
        """What the TLS listener is told; None without [dicom.tls]. Raises ConfigError where a file cannot be used."""
        return _certificates("dicom.tls", self.dicom.tls)

    def http_certificates(self) -> "Certificates | None":
        """What the HTTP listener is told; None without [http.tls]. Raises ConfigError where a file cannot be used."""
        return _certificates("http.tls", self.http.tls)

    def relay(self) -> "RelaySettings | None":
        """What the relay process is told; None without [kafka].

        Raises:
            ConfigError: a password file cannot be read.
        """
        from plscp.relay.settings import KafkaSettings, RelaySettings, cursor_beside  # noqa: PLC0415  # brings kafka
        from plscp.store.files import sqlite_path  # noqa: PLC0415

        kafka = self.kafka
        if kafka is None:
            return None
        alike = kafka.model_dump(include={each.name for each in fields(KafkaSettings)})
        alike["bootstrap_servers"] = tuple(kafka.bootstrap_servers)
        reached = KafkaSettings(**alike, extra=self.kafka_options())
        return RelaySettings(
            store_url=self.store.url, cursor=cursor_beside(sqlite_path(self.store.url)), kafka=reached.checked()
        )

    def store_options(self) -> dict[str, Any]:
        """What `plscp.store.open_store` takes beside the URL."""
        from plscp.store.port import StoreLimits  # noqa: PLC0415  # brings SQLite

        s = self.store
        return {
            "limits": StoreLimits(
                queued_drafts=s.queue_requests,
                queued_bytes=s.queue_bytes,
                quarantine_bytes_per_device=s.quarantine_bytes,
                disk_reserve=s.disk_reserve,
                disk_watermark=s.disk_watermark,
            )
        }

    def tokens(self) -> list[tuple[Role, SecretFile]]:
        """The files with the tokens that /api asks for, with their roles; none: it asks for none.

        Raises:
            ConfigError: a file cannot be read, or holds no token.
        """
        return [(role, SecretFile(setting, name)) for role, setting, name in self.http.token_files()]

    def token(self) -> str | None:
        """A token for a command on this machine, of those that may do most; None where /api asks for none.

        Raises:
            ConfigError: the file cannot be read, or holds no token.
        """
        return next((secretfile.lines(setting, name)[0] for _, setting, name in self.http.token_files()), None)

    def kafka_options(self) -> dict[str, Any]:
        """security_protocol, sasl_* and ssl_* as kafka-python takes them, secrets in clear; empty without [kafka].

        Raises:
            ConfigError: a password file cannot be read.
        """
        kafka = self.kafka
        if kafka is None:
            return {}
        options: dict[str, Any] = {}
        for name in type(kafka).model_fields:
            value = getattr(kafka, name)
            if value is None or not name.startswith(("security_", "sasl_", "ssl_")):
                continue
            if name.endswith("_password_file"):
                options[name.removesuffix("_file")] = secretfile.lines(f"kafka.{name}", value, 1)[0]
            else:
                options[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
        return options

    def warnings(self) -> list[str]:
        """What is legal but probably not meant, a line each, for the log at start."""
        lines = []
        if self.operators is None:
            lines.append("operators: absent, so anyone may add to the Medication Administration Record")
        if self.dicom.unknown_devices == "refuse" and not self.devices:
            lines.append('devices: none, and dicom.unknown_devices is "refuse": every association will be rejected')
        if self.dicom.unknown_devices == "accept" and self.dicom.host not in LOOPBACK:
            lines.append('dicom.unknown_devices: "accept", and the listener is not on loopback: any machine may report')
        lines += self._public()
        if not KNOWS_ENDS and any(device.closes_without_release for device in self.devices.values()):
            lines.append(
                "devices: closes_without_release has no effect on this system, which does not tell when a peer closed"
            )
        lines += [
            f"devices.{ae_title}.{name}: has no effect: a room has many devices, and [matching] says when it turns over"
            for ae_title, device in self.devices.items()
            for name in ("room_turnover", "turnover_decides")
            if getattr(device, name) is not None
        ]
        return lines

    def _public(self) -> Iterator[str]:
        """What lets others in than those that are meant, where a listener is not on loopback."""
        alone = [ae for ae, d in self.devices.items() if not (d.address or d.certificate or d.username)]
        if alone and self.dicom.host not in LOOPBACK and self.dicom.unknown_devices == "refuse":
            more = f" and {len(alone) - _MOST_NAMED} more" if len(alone) > _MOST_NAMED else ""
            yield (
                f"devices {', '.join(alone[:_MOST_NAMED])}{more}: known by their AE title alone, and the listener is not on "
                "loopback: address, certificate or username tell a device from whoever uses its name"
            )
        http = self.http
        if http.host not in LOOPBACK and http.token_files() and http.tls is None:
            yield "http.tls: absent, and the listener is not on loopback: tokens and patients cross the network in clear"
        if http.host not in LOOPBACK and not http.token_files():
            yield 'http.authentication: "none", and the listener is not on loopback: any machine may read and change everything'

    def registry_file(self) -> tuple[list[str], list[str]]:
        """What is wrong with `[registry] file`, and what in it is probably not meant, a line each; nothing where there is none."""
        if self.registry.file is None:
            return [], []
        from plscp.feeds.registry_file import check  # noqa: PLC0415  # only `config check` asks

        path = Path(self.registry.file)
        said = check(path, Registry(self.matching_locations(), self.matching_issuers()), self.policy())
        where = f"registry.file: {path}: "
        return [where + line for line in said.refused], [where + line for line in said.warnings]

    def as_json(self) -> dict[str, Any]:
        """What is in force as JSON-able data, secrets masked."""
        return {name: masked(table) for name, table in self}

    def as_toml(self) -> str:
        """What is in force as TOML, secrets masked."""
        return as_toml(self.as_json())


def _passcode(setting: str, device: DeviceTable) -> Callable[[], str] | None:
    """How to learn the passcode that a device must give."""
    if device.passcode_file is not None:
        held = SecretFile(setting, device.passcode_file, 1)
        return lambda: held.current()[0]
    return device.passcode.get_secret_value if device.passcode is not None else None


def _certificates(section: str, tls: Tls | HttpTls | None) -> "Certificates | None":
    if tls is None:
        return None
    from plscp.dicom.certificates import Certificates, TlsSettings  # noqa: PLC0415  # brings TLS and the log

    return Certificates(TlsSettings(section=section, **tls.model_dump()))


def read(path: Path | None, environ: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """The settings and every fault of them, a line each; without settings where they cannot even be told.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    tables, faults = read_tables(path, environ)
    settings = None
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as error:
        faults += faults_of(error)
    if settings is not None:
        known = settings.locations
        faults += [
            f"{where}: no table [locations.{name}]{nearest(name, known)}"
            for where, name in settings.locations_meant()
            if name not in known
        ]
        faults += settings.certificates_unasked()
    return settings, faults


def problems(path: Path | None, environ: Mapping[str, str]) -> list[str]:
    """Every fault of the settings, a line each; empty where they can be used.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    settings, faults = read(path, environ)
    if settings is not None and not faults:
        for read_files in (
            settings.required,
            settings.tokens,
            settings.kafka_options,
            settings.relay,
            settings.certificates,
            settings.http_certificates,
        ):
            try:
                read_files()
            except ConfigError as error:
                if str(error) not in faults:  # the relay's settings hold Kafka's options too
                    faults.append(str(error))
        faults += settings.registry_file()[0]
    return faults


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Args:
        path: the TOML file, or None for defaults and environment alone.
        environ: as `os.environ`.

    Raises:
        ConfigError: one line: the first fault with the setting's path, and how many more there are.
    """
    settings, faults = read(path, environ)
    if settings is None or faults:
        raise _faulty(path, faults)
    return settings


def load_http(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read [http] alone, whatever the other tables are: for those who ask a server that goes on with the settings before.

    Raises:
        ConfigError: one line: the file cannot be read or is not TOML, or the fault is in [http].
    """
    tables, _ = read_tables(path, environ)
    try:
        return Settings.model_validate({"http": tables["http"]} if "http" in tables else {})
    except ValidationError as error:
        raise _faulty(path, faults_of(error)) from None


def _faulty(path: Path | None, faults: list[str]) -> ConfigError:
    more = f" (and {len(faults) - 1} more: plscp config check)" if len(faults) > 1 else ""
    return ConfigError((f"{path}: " if path is not None else "") + faults[0] + more)


def starter() -> str:
    """The commented file that `plscp config init` writes."""
    return resources.files("plscp.config").joinpath("starter.toml").read_text("utf-8")
