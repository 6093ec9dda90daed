"""Settings: every key's good and bad values, unknown keys, the environment, secrets, what the rooms are given."""

import json
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaProducer

from plscp.config import Settings, load, problems, reference, starter
from plscp.config.model import Hl7Table, Kafka, Matching, Overrides, WorklistTable
from plscp.config.values import duration, iso_duration
from plscp.content.model import Bounds
from plscp.dicom.settings import Deadlines, NetworkSettings, WireBounds
from plscp.errors import ConfigError
from plscp.matching.model import Policy
from plscp.statuses import MODALITY_PERFORMED_PROCEDURE_STEP, PROCEDURAL_EVENT_LOGGING
from plscp.store.files import sqlite_path
from plscp.store.limits import StoreLimits
from tests import tls

CONTRACT = """
[dicom]
ae_title = "PLSCP"
host = "127.0.0.1"
port = 11112
unknown_devices = "refuse"
max_associations = 1000
max_associations_per_address = 50
timezone = "Europe/Berlin"

[dicom.tls]
port = 2762
certificate = "server.pem"
private_key = "server.key"
client_ca = "devices-ca.pem"

[store]
url = "sqlite:///data/plscp.db"

[kafka]
bootstrap_servers = ["127.0.0.1:9092"]
topic_prefix = "plscp"
security_protocol = "PLAINTEXT"

[http]
host = "127.0.0.1"
port = 8080
token_file = "api-token"

[registry]
file = "current.toml"

[matching]
close_grace = "PT30M"
clock_tolerance = "PT2M"
room_turnover = "PT15M"
place_match_max_age = "PT12H"
synchronization_frame_of_reference_uid = "1.2.840.10008.15.1.1"
patient_id_issuer = "HOSP"
patient_mismatch = "refuse"
study_id_mismatch = "log"
location_mismatch = "log"
placeholder_patient_ids = ["UNKNOWN", "UNK", "TEMP", "NONE", "N/A", "0"]
accession_as_admission = false

[issuers]
HOSP = ["Hospital", "1.2.840.99999.1"]

[locations.LAB1]
names = ["Lab 1", "CATH^LAB1"]

[devices.HEMO1]
location = "LAB1"
validation = "lenient"
times = "trusted"
sop_classes = ["procedural-event-logging", "substance-administration-logging"]

[operators]
policy = "list"
allowed = [{ value = "N1001", scheme = "L", locations = ["LAB1"] }]
"""

HOST = "must be a host's name or address, without a port"
MOMENT = "must be a date and time such as 2026-11-26T08:00:00+01:00"
CENTURY = "must be at most P36500D"
WHOLE = "must be a whole number"
DURATION = "must be an ISO 8601 duration such as PT30M, PT10S or PT12H"
MISMATCH = 'must be "refuse" or "log"'
BOOL = "must be true or false"

# (section, key as TOML, good values, bad value, what is said about it)
KEYS = [
    ("dicom", "ae_title", ['"PLSCP"', '"A B"'], '"a title that is too long"', "1 to 16 printable ASCII"),
    ("dicom", "ae_title", ['"X"'], '"A\\\\B"', "without backslash"),
    ("dicom", "ae_title", ['"X"'], "5", "must be text"),
    ("dicom", "called_ae", ['"check"', '"any"'], '"all"', 'must be "check" or "any"'),
    ("dicom", "host", ['"127.0.0.1"', '"0.0.0.0"'], '""', "must not be empty"),
    ("dicom", "host", ['"::1"', '"fe80::1%eth0"', '"plscp_1.lab"'], '"127.0.0.1:104"', HOST),
    ("dicom", "host", ['"localhost."'], '"a..b"', HOST),
    ("dicom", "host", ['"München.example"'], '" 127.0.0.1"', HOST),
    ("http", "host", [], '"a\\u0000b"', HOST),
    ("http", "host", [], '"[::1]"', HOST),
    ("http", "probes", ['"[::1]:0"', '":::0"'], '"a..b:1"', "must be host:port"),
    ("http", "probes", ['"localhost:1"'], '"http://localhost:1"', "must be host:port"),
    ("feeds.hl7", "host", [], '"a b"', HOST),
    ("feeds.worklist", "host", ['"ris"'], f'"{"a" * 64}"', HOST),
    ("matching", "close_grace", ['"P36500D"'], '"P99999999999W"', CENTURY),
    ("store", "raw_retention", ['"P100W"'], '"P36500DT1S"', CENTURY),
    ("feeds.worklist", "past", ['"P1D"'], '"P999999D"', CENTURY),
    ("matching", "close_grace", ['"PT30M"'], '"PT\u0663\u0660M"', DURATION),
    ("dicom", "futile_share", ["0.5"], '"half"', "must be a number"),
    ("dicom", "answer_deadline", ['"PT0.1S"'], '"PT0S"', "must be longer than PT0S"),
    ("dicom", "first_pdu_deadline", ['"PT0.1S"'], '"PT0S"', "must be longer than PT0S"),
    ("dicom", "pdu_deadline", ['"PT0.1S"'], '"PT0S"', "must be longer than PT0S"),
    ("dicom", "message_deadline", ['"PT0.1S"'], '"PT0S"', "must be longer than PT0S"),
    ("feeds.hl7", "message_deadline", ['"PT0.1S"'], '"PT0S"', "must be longer than PT0S"),
    ("feeds.hl7", "idle_deadline", ['"PT0.1S"'], '"PT0S"', "must be longer than PT0S"),
    ("feeds.hl7", "answer_deadline", ['"PT0.1S"'], '"PT0S"', "must be longer than PT0S"),
    ("dicom", "port", ["0", "11112", "65535"], "65536", "must be at most 65535"),
    ("dicom", "port", ["1"], '"eleven"', WHOLE),
    ("dicom", "port", ["1"], "true", WHOLE),
    ("dicom", "unknown_devices", ['"refuse"', '"accept"'], '"ask"', 'must be "refuse" or "accept"'),
    ("dicom", "max_associations", ["1", "5000"], "0", "must be at least 1"),
    ("dicom", "max_associations_per_address", ["1", "50"], "-1", "must be at least 1"),
    ("dicom", "timezone", ['"Europe/Berlin"', '"UTC"'], '"Berlin"', "must be an IANA time zone"),
    ("dicom", "timezone", ['"UTC"'], '"../etc/passwd"', "must be an IANA time zone"),
    ("dicom", "max_pdu", ["128", "131072"], "127", "must be at least 128"),
    ("dicom", "max_associate_request", ["65536"], "1.5", WHOLE),
    ("dicom", "max_presentation_contexts", ["1", "128"], "129", "must be at most 128"),
    ("dicom", "max_command_set", ["16384"], "0", "must be at least 1"),
    ("dicom", "max_data_set", ["1048576"], "0", "must be at least 1"),
    ("dicom", "max_depth", ["32"], "61", "must be at most 60"),
    ("dicom", "max_elements", ["20000"], "0", "must be at least 1"),
    ("dicom", "max_value", ["65536"], "0", "must be at least 1"),
    ("dicom", "max_waiting_requests", ["8"], "0", "must be at least 1"),
    ("dicom", "futile_share", ["0.05", "1"], "0", "must be at least 0.001"),
    (
        "dicom",
        "trusted_proxies",
        ['"10.1.2.3"', '["10.1.2.0/24", "fd00::/8"]'],
        '"10.1.2.3/24"',
        "must be an address such as",
    ),
    ("dicom", "first_pdu_deadline", ['"PT10S"'], '"10s"', DURATION),
    ("dicom", "pdu_deadline", ['"PT10S"'], "10", DURATION),
    ("dicom", "message_deadline", ['"PT30S"'], '"P1M"', DURATION),
    ("dicom", "answer_deadline", ['"PT0.5S"', '"P1DT2H"'], '"P"', DURATION),
    ("dicom", "drain_delay", ['"PT0S"', '"PT5S"'], '"PT"', DURATION),
    ("dicom", "drain_grace", ['"PT0S"', '"P1W"'], '"PT"', DURATION),
    ("store", "disk_watermark", ["1"], "0", "must be at least 1"),
    ("store", "raw_retention", ['"P90D"'], '"90 days"', DURATION),
    ("http", "authentication", ['"token"', '"none"'], '"off"', 'must be "token" or "none"'),
    ("http", "read_token_file", ['"read"'], "5", "must be text"),
    ("http", "operate_token_file", ['"operate"'], "5", "must be text"),
    ("http", "feed_token_file", ['"feed"'], "5", "must be text"),
    ("http", "probes", ['"127.0.0.1:8081"', '"0.0.0.0:8081"'], '"8081"', "must be host:port"),
    ("devices.HEMO1", "address", ['"10.1.2.3"', '["10.1.2.0/24"]'], '"10.1.2.3/24"', "must be an address such as"),
    ("devices.HEMO1", "certificate", ['"CN=HEMO1"', '["DNS:hemo1.example"]'], "5", "must be a list"),
    ("devices.HEMO1", "username", ['"hemo"'], '""', "must not be empty"),
    (
        "store",
        "url",
        ['"sqlite:///data/plscp.db"', '"sqlite:////var/plscp.db"'],
        '"data/plscp.db"',
        "must be sqlite:///",
    ),
    ("store", "url", ['"sqlite:////var/lib/plscp.db"'], '"mysql://root:secret@host/db"', "must be sqlite:///"),
    ("store", "url", ['"sqlite:///plscp.db"'], '"memory://"', "must be sqlite:///"),
    (
        "store",
        "url",
        ['"sqlite:///a%20b.db"'],
        '"postgresql://plscp:secret@host/db"',
        "PostgreSQL comes with a later version",
    ),
    ("store", "url", ['"sqlite:///a%3Fb.db"'], '"sqlite:///a.db?mode=ro"', "must be sqlite:///"),
    ("store", "url", ['"sqlite:///a.db"'], '"sqlite:///:memory:"', "must be sqlite:///"),
    ("store", "url", ['"sqlite:///a.db"'], '"sqlite:///a%00.db"', "must be sqlite:///"),
    ("store", "queue_requests", ["1"], "0", "must be at least 1"),
    ("store", "queue_bytes", ["1"], "0", "must be at least 1"),
    ("store", "disk_reserve", ["1"], "0", "must be at least 1"),
    ("store", "quarantine_bytes", ["1"], "0", "must be at least 1"),
    ("kafka", "topic_prefix", ['"cath.lab_1-x"'], '"a b"', "as Kafka takes them"),
    ("kafka", "client_id", ['"me"'], '""', "must not be empty"),
    ("kafka", "create_topics", ["true", "false"], '"perhaps"', BOOL),
    ("kafka", "partitions", ["1", "6"], "0", "must be at least 1"),
    ("kafka", "replication_factor", ["-1", "3"], "-2", "must be at least -1"),
    ("kafka", "security_protocol", ['"PLAINTEXT"', '"SSL"'], '"TLS"', 'must be "PLAINTEXT", "SSL", "SASL_PLAINTEXT"'),
    ("kafka", "sasl_mechanism", ['"PLAIN"', '"SCRAM-SHA-512"'], '"MD5"', 'must be "PLAIN"'),
    ("kafka", "ssl_check_hostname", ["false"], "3", BOOL),
    ("kafka", "ssl_cafile", ['"ca.pem"'], "[]", "must be text"),
    ("http", "host", ['"127.0.0.1"', '"::1"', '"localhost"'], '"0.0.0.0"', "token_file: is missing"),
    ("http", "port", ["0", "8080"], "-1", "must be at least 0"),
    ("http", "max_body", ["1"], "0", "must be at least 1"),
    ("http", "token_file", ['"api-token"'], "1", "must be text"),
    ("registry", "file", ['"current.toml"'], "1", "must be text"),
    ("registry", "publish_demographics", ["true"], '"perhaps"', BOOL),
    ("matching", "close_grace", ['"PT30M"'], '"30 min"', DURATION),
    ("matching", "clock_tolerance", ['"PT2M"'], '"-PT2M"', DURATION),
    ("matching", "room_turnover", ['"PT15M"'], "900", DURATION),
    ("matching", "place_match_max_age", ['"PT12H"'], '"P1Y"', DURATION),
    ("matching", "turnover_decides", ["true", "false"], '"perhaps"', BOOL),
    ("matching", "synchronization_frame_of_reference_uid", ['"1.2.3"', '""'], '"1.02"', "must be a UID"),
    ("matching", "patient_id_issuer", ['"HOSP"'], "1", "must be text"),
    ("matching", "patient_mismatch", ['"refuse"', '"log"'], '"warn"', MISMATCH),
    ("matching", "study_id_mismatch", ['"refuse"', '"log"'], '"warn"', MISMATCH),
    ("matching", "location_mismatch", ['"refuse"', '"log"'], '"warn"', MISMATCH),
    ("matching", "name_mismatch", ['"refuse"', '"log"'], '"warn"', MISMATCH),
    ("matching", "placeholder_patient_ids", ['["X"]', "[]"], '"X"', "must be a list"),
    ("matching", "accession_as_admission", ["true", "false"], '"perhaps"', BOOL),
    ("matching", "corrections", ['"propose"', '"apply"'], '"never"', 'must be "propose" or "apply"'),
    ("feeds.worklist", "port", ["104"], "0", "must be at least 1"),
    ("feeds.worklist", "ae_title", ['"RIS"'], '""', "must be 1 to 16"),
    ("feeds.worklist", "calling_ae_title", ['"PLSCP2"'], "5", "must be text"),
    ("feeds.worklist", "station_ae_titles", ['["XRAY1"]'], '"XRAY1"', "must be a list"),
    ("feeds.worklist", "modalities", ['["XA", "HD"]'], '["xa"]', 'must be a code such as "XA"'),
    ("feeds.worklist", "past", ['"PT0S"'], '"1 day"', DURATION),
    ("feeds.worklist", "ahead", ['"P7D"'], "7", DURATION),
    ("feeds.worklist", "interval", ['"PT30S"'], '"PT0.5S"', "must be at least PT1S"),
    ("feeds.worklist", "timeout", ['"PT30S"'], '"PT0S"', "must be at least PT1S"),
    ("feeds.worklist", "max_entries", ["1"], "0", "must be at least 1"),
    ("feeds.worklist", "timezone", ['"Europe/Berlin"'], '"Berlin"', "must be an IANA time zone"),
    ("feeds.worklist.tls", "ca", [], "5", "must be text"),
    ("feeds.worklist.tls", "certificate", [], "5", "must be text"),
    ("feeds.worklist.tls", "private_key", [], '"k"', "certificate: is missing"),
    (
        "matching",
        "replay",
        ['"automatic"', '"propose"', '"off"'],
        '"always"',
        'must be "automatic", "propose" or "off"',
    ),
    ("feeds.hl7", "host", ['"127.0.0.1"', '"::1"'], '"0.0.0.0"', "senders: is missing"),
    ("feeds.hl7", "port", ["0", "2575"], "65536", "must be at most 65535"),
    ("feeds.hl7", "senders", ['"10.1.2.3"', '["10.1.2.0/24"]'], '"10.1.2.3/24"', "must be an address such as"),
    ("feeds.hl7", "max_message", ["1048576"], "0", "must be at least 1"),
    ("feeds.hl7", "max_connections", ["1"], "0", "must be at least 1"),
    ("feeds.hl7", "max_connections_per_address", ["1"], "0", "must be at least 1"),
    ("feeds.hl7", "message_deadline", ['"PT30S"'], '"30s"', DURATION),
    ("feeds.hl7", "idle_deadline", ['"PT12H"'], "12", DURATION),
    ("feeds.hl7", "answer_deadline", ['"PT10S"'], '"P"', DURATION),
    ("feeds.hl7", "character_set", ['"8859/1"', '"UNICODE UTF-8"'], '"latin1"', 'must be "ASCII"'),
    ("feeds.hl7", "timezone", ['"Europe/Berlin"'], '"Berlin"', "must be an IANA time zone"),
    ("feeds.hl7", "silent_after", ['"PT30M"'], "30", DURATION),
    ("locations.LAB9", "names", ['["Lab 9"]', '"Lab 9"'], "[1]", "must be text"),
    (
        "devices.D",
        "location",
        ['"LAB1"', '["LAB1", "LAB2"]'],
        '"LAB"',
        'no table [locations.LAB]; did you mean "LAB',
    ),
    ("devices.D", "validation", ['"lenient"', '"strict"'], '"soft"', 'must be "lenient" or "strict"'),
    ("devices.D", "times", ['"trusted"', '"untrusted"'], '"no"', 'must be "trusted" or "untrusted"'),
    ("devices.D", "sop_classes", ['["procedural-event-logging"]'], '["mpps"]', 'must be "procedural-event-logging"'),
    ("devices.D", "sop_classes", ["[]"], '"mpps"', "must be a list"),
    ("devices.D", "timezone", ['"Asia/Tokyo"'], '"Tokyo"', "must be an IANA time zone"),
    ("devices.D", "coerce_by_location", ["true"], '"maybe"', BOOL),
    ("devices.D", "closes_without_release", ["true", "false"], '"never"', BOOL),
    ("devices.D", "close_grace", ['"PT1H"'], '"1h"', DURATION),
    ("devices.D", "patient_mismatch", ['"log"'], '"x"', MISMATCH),
    ("feeds.worklist", "host", [], '""', "must not be empty"),
    ("operators", "policy", ['"any"', '"list"'], '"none"', 'must be "any" or "list"'),
    ("operators", "file", [], "5", "must be text"),
    ("operators", "schemes", ["{ L = 'HOSP' }"], "['HOSP']", "must be a table"),
    ("log", "level", ['"debug"', '"error"'], '"loud"', 'must be "debug"'),
    ("log", "format", ['"auto"', '"json"', '"console"'], '"xml"', 'must be "auto", "json" or "console"'),
]

BASE = '[locations.LAB1]\n[locations.LAB2]\n[kafka]\nbootstrap_servers = ["k:9092"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "plscp.toml"
    path.write_text(text, "utf-8")
    return path


def table(section: str, key: str, value: str) -> str:
    line = f"{key} = {value}\n"
    if key == "certificate" and section.startswith("devices."):  # which devices show only where they are asked for it
        line += "[dicom.tls]\ncertificate = 'c'\nprivate_key = 'k'\nclient_ca = 'a'\n"
    if section == "feeds.worklist" and key != "host":
        line += "host = 'ris'\n"
    elif section == "feeds.worklist.tls":
        line += "[feeds.worklist]\nhost = 'ris'\n"
    return BASE + line if section == "kafka" else f"{BASE}[{section}]\n{line}"


@pytest.mark.parametrize("row", KEYS, ids=lambda row: f"{row[0]}.{row[1]}")
def test_each_setting(tmp_path: Path, row: tuple[str, str, list[str], str, str]) -> None:
    """Good values are taken; a bad one is refused in one line that names the setting and shows what is right."""
    section, key, good, bad, said = row
    for value in good:
        load(written(tmp_path, table(section, key, value)), {})
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, table(section, key, bad)), {})
    line = str(caught.value)
    assert "\n" not in line
    assert said in line
    assert line.startswith(f"{tmp_path}/plscp.toml: {section}.")
    if "is missing" not in said:
        assert f": {section}.{key}" in line
    assert "secret" not in line


def test_every_setting_is_in_the_table() -> None:
    """No setting is added without a row of good and bad values; those without any bad text are listed here."""
    free = {"tls", "bootstrap_servers", "allowed"}
    worklist = WorklistTable(host="ris")
    free |= {name for name in Kafka.model_fields if name.startswith(("sasl_", "ssl_"))} | set(Overrides.model_fields)
    listed = {(section if section.startswith("feeds.") else section.split(".")[0], key) for section, key, *_ in KEYS}
    for section, model in {"dicom": Settings().dicom, "store": Settings().store, "http": Settings().http,
                           "matching": Settings().matching, "log": Settings().log, "feeds.worklist": worklist,
                           "feeds.hl7": Hl7Table()}.items():  # fmt: skip
        for name in set(type(model).model_fields) - free:
            assert (section, name) in listed, f"{section}.{name}"


def test_contract_example(tmp_path: Path) -> None:
    """The example of the contract is taken as it stands, with its values."""
    settings = load(written(tmp_path, CONTRACT), {})
    assert settings.dicom.tls is not None
    assert settings.dicom.tls.port == 2762
    assert settings.devices["HEMO1"].location == ["LAB1"]
    assert settings.kafka is not None
    assert settings.kafka.bootstrap_servers == ["127.0.0.1:9092"]
    assert settings.http.token_file == str(tmp_path / "api-token")
    assert settings.registry.file == str(tmp_path / "current.toml")
    assert settings.store.url == f"sqlite:///{tmp_path}/data/plscp.db"


def test_defaults_are_the_rooms_defaults(tmp_path: Path) -> None:
    """Without settings, the policy and the bounds are what the rooms themselves start from."""
    settings = load(None, {})
    assert settings.policy() == Policy()
    assert settings.bounds() == Bounds()
    assert (settings.dicom.host, settings.dicom.port, settings.http.port) == ("127.0.0.1", 11112, 8080)


UNKNOWN = [
    ("[dicm]\n", 'dicm: no such setting; did you mean "dicom"?'),
    ("[dicom]\nprot = 1\n", 'dicom.prot: no such setting; did you mean "port"?'),
    ("[dicom.tls]\ncertificate='a'\nprivate_key='b'\nca='c'\n", "dicom.tls.ca: no such setting"),
    ("[matching]\nclose_grase = 'PT1M'\n", 'matching.close_grase: no such setting; did you mean "close_grace"?'),
    ("[devices.H]\nlocations = 'LAB1'\n", 'devices.H.locations: no such setting; did you mean "location"?'),
    ("[kafka]\nbootstrap_servers=['k:1']\nssl_cafiles='x'\n", 'kafka.ssl_cafiles: no such setting; did you mean "ssl_cafile"?'),
    ("[operators]\nallowed=[{value='1',scheme='L',loc=1}]\n", 'operators.allowed.1.loc: no such setting; did you mean "locations"?'),
    ("zzz = 1\n", "zzz: no such setting"),
    ("folder = '/'\n", "folder: no such setting"),
    ("dicom = 3\n", 'dicom: must be a table, not "3"'),
    ("[kafka]\n", "kafka.bootstrap_servers: is missing"),
    ("[kafka]\nbootstrap_servers = []\n", "kafka.bootstrap_servers: must have a value at least"),
    ("[kafka]\nbootstrap_servers = ['k:1', 'h']\n", 'kafka.bootstrap_servers.2: must be host:port, such as 127.0.0.1:9092, not "h"'),
    ("[kafka]\nbootstrap_servers=['[::1]:9092', 'SSL://k:9092', 'a b:9092']\n", 'kafka.bootstrap_servers.3: must be host:port, such as 127.0.0.1:9092, not "a b:9092"'),
    ("[kafka]\nbootstrap_servers=['a..b:9092']\n", "kafka.bootstrap_servers.1: must be host:port"),
    ("[kafka]\nbootstrap_servers=['k:1']\nsecurity_protocol='SASL_SSL'\n", "kafka.sasl_mechanism: is missing: security_protocol says SASL"),
    ("[kafka]\nbootstrap_servers=['k:1']\nsecurity_protocol='SASL_SSL'\nsasl_mechanism='PLAIN'\n", "kafka.sasl_plain_username: is missing: PLAIN needs it"),
    ("[kafka]\nbootstrap_servers=['k:1']\nssl_password='a'\nssl_password_file='b'\n", "kafka.ssl_password: is given beside ssl_password_file"),
    ("[devices.THIS-IS-LONGER-THAN-16]\n", "devices.THIS-IS-LONGER-THAN-16: must be 1 to 16"),
    ("[locations.A]\nnames=['x']\n[locations.B]\nnames=['x ']\n", 'locations: "x" names both A and B'),
    ("[locations.A]\nnames=[' ']\n", "locations: A has an empty name"),
    ("[issuers]\nA=['x']\nB='x '\n", 'issuers: "x" names both A and B'),
    ("[issuers]\nA=['']\n", "issuers: A has an empty name"),
    ("[issuers]\nA=['plscp']\n", 'issuers: "plscp" is the issuer of the Patient IDs that plscp gives itself'),
    ("[issuers]\nA=5\n", "issuers.A: must be a list"),
    ("[operators]\nallowed=[{value='1',scheme='L'}]\n", 'operators.allowed: is given but policy is not "list"'),
    ("[operators]\npolicy='list'\nallowed=[{value='1',scheme='L',valid_from='soon'}]\n", f'operators.allowed.1.valid_from: {MOMENT}, not "soon"'),
    ("[operators]\npolicy='list'\nallowed=[{value='1',scheme='L',valid_from=20260101}]\n", f"operators.allowed.1.valid_from: {MOMENT}"),
    ("[operators]\npolicy='list'\nallowed=[{value='1',scheme='L',valid_from=07:30:00}]\n", f"operators.allowed.1.valid_from: {MOMENT}"),
    ("[operators]\npolicy='list'\nallowed=[{value='1',scheme='L',valid_until=0001-01-01T00:00:00+14:00}]\n", f"operators.allowed.1.valid_until: {MOMENT}"),
    ("[operators]\npolicy='list'\nallowed=[{value='1',scheme='L',valid_from=2026-02-01,valid_until='2026-01-01'}]\n", "operators.allowed.1.valid_until: lies before valid_from"),
    ("[operators]\npolicy='list'\nallowed=[{value='1',scheme='L',locations=['Q']}]\n", "operators.allowed.1.locations: no table [locations.Q]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), UNKNOWN)
def test_unknown_and_incomplete(tmp_path: Path, text: str, said: str) -> None:
    """Unknown keys are refused with the nearest known name, incomplete tables with what is missing."""
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), {})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_faults_are_counted(tmp_path: Path) -> None:
    """The line names the first fault and counts the others; all of them can be had."""
    path = written(tmp_path, "[dicom]\nport = 'x'\nhosd = 1\n[matching]\nclose_grace = 1\n")
    with pytest.raises(ConfigError, match=r"dicom\.port: .*\(and 2 more: plscp config check\)"):
        load(path, {})
    assert [line.split(":")[0] for line in problems(path, {})] == ["dicom.port", "dicom.hosd", "matching.close_grace"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[dicom\n", "Expected ']' at the end of a table declaration (at line 1, column 7)"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"port = " + b"9" * 5000, "holds a number with too many digits, or tables or lists nested too deeply"),
        (b"a = " + b"[" * 3000, "holds a number with too many digits, or tables or lists nested too deeply"),
        (None, "No such file or directory"),
    ],
)
def test_unreadable_file(tmp_path: Path, content: bytes | None, said: str) -> None:
    """What cannot be read is named with its file, in one line."""
    path = tmp_path / "plscp.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value) == f"{path}: {said}"


def test_what_editors_of_other_systems_write(tmp_path: Path) -> None:
    """A byte order mark and lines that end with CRLF change nothing, in the settings and in a file of secrets."""
    path = tmp_path / "plscp.toml"
    path.write_bytes(b"\xef\xbb\xbf[http]\r\nport = 99\r\ntoken_file = 'token'\r\n")
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfsecret\r\n")
    found = load(path, {})
    assert (found.http.port, found.token()) == (99, "secret")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["x\\ny\\u001b[31m"]\nz = 1\n', "x?y?[31m: no such setting"),
        ('[devices."A\\nB"]\n', 'devices.A?B: must be 1 to 16 printable ASCII characters without backslash (PS3.5 6.2, AE), not "A?B"'),
        ('[devices.H]\nlocation = "A\\nB"\n', "devices.H.location: no table [locations.A?B]"),
        (f"[{'k' * 5000}]\n", f"{'k' * 40}...: no such setting"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_can_be_printed(tmp_path: Path, text: str, said: str) -> None:
    """Whatever characters the names in the file have, and however long they are."""
    assert problems(written(tmp_path, text), {}) == [said]


FILES = [
    ("[dicom.tls]\ncertificate = {}\nprivate_key = 'k'\n", "dicom.tls.certificate"),
    ("[http]\ntoken_file = {}\n", "http.token_file"),
    ("[registry]\nfile = {}\n", "registry.file"),
    ("[kafka]\nbootstrap_servers = ['k:1']\nssl_password_file = {}\n", "kafka.ssl_password_file"),
    ("[devices.H]\nusername = 'u'\npasscode_file = {}\n", "devices.H.passcode_file"),
]


@pytest.mark.parametrize(("text", "setting"), FILES)
@pytest.mark.parametrize("name", ['""', '"a\\u0000b"'])
def test_what_no_file_can_be_called(tmp_path: Path, text: str, setting: str, name: str) -> None:
    """A name that is empty, or has a NUL, is a fault of the setting."""
    [line] = problems(written(tmp_path, text.replace("{}", name)), {})
    assert line.startswith(f"{setting}: must be the name of a file")


ENVIRONMENT = [
    ("PLSCP_DICOM__PORT", "4242", lambda s: s.dicom.port == 4242),
    ("PLSCP_DICOM__AE_TITLE", "1234", lambda s: s.dicom.ae_title == "1234"),
    ("PLSCP_MATCHING__CLOSE_GRACE", "PT1H", lambda s: s.matching.close_grace == timedelta(hours=1)),
    ("PLSCP_KAFKA__BOOTSTRAP_SERVERS", "a:1, b:2", lambda s: s.kafka.bootstrap_servers == ["a:1", "b:2"]),
    ("PLSCP_KAFKA__BOOTSTRAP_SERVERS", '["a:1"]', lambda s: s.kafka.bootstrap_servers == ["a:1"]),
    ("PLSCP_DEVICES__HEMO1__VALIDATION", "strict", lambda s: s.devices["HEMO1"].validation == "strict"),
    ("PLSCP_ISSUERS__EAST", "East Clinic,1.2.3", lambda s: s.issuers["EAST"] == ["East Clinic", "1.2.3"]),
    ("PLSCP_LOCATIONS__LAB2__NAMES", "Lab 2,L2", lambda s: s.locations["LAB2"].names == ["Lab 2", "L2"]),
    ("PLSCP_OPERATORS__ALLOWED", '[{"value":"1","scheme":"L"}]', lambda s: s.operators.allowed[0].value == "1"),
    ("PLSCP_HTTP__TOKEN_FILE", "t", lambda s: s.http.token_file == "t"),
    ("PLSCP_DICOM__TLS__PORT", "99", lambda s: s.dicom.tls.port == 99),
    ("PLSCP_CONFIG", "ignored", lambda s: s.dicom.port == 11112),
    ("PLSCP_PORT_11112_TCP_ADDR", "ignored", lambda s: s.dicom.port == 11112),
]


@pytest.mark.parametrize(("variable", "value", "holds"), ENVIRONMENT)
def test_environment(tmp_path: Path, variable: str, value: str, holds: object) -> None:
    """PLSCP_SECTION__KEY goes over the file; variables without a double underscore are no settings."""
    settings = load(written(tmp_path, CONTRACT), {variable: value})
    assert callable(holds)
    assert holds(settings)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PLSCP_DICOM__PROT", "1", 'PLSCP_DICOM__PROT: no such setting; did you mean "port"?'),
        ("PLSCP_DICOM__PORT__X", "1", "PLSCP_DICOM__PORT__X: no such setting: dicom.port is not a table"),
        ("PLSCP_DICOM__PORT", "x", 'dicom.port: must be a whole number, not "x"'),
        ("PLSCP_KAFKA__SSL_PASSWORD", "hunter2", "kafka.bootstrap_servers: is missing"),
        ("PLSCP_OPERATORS__ALLOWED", "[broken", "operators.allowed: must be a list"),
        ("PLSCP_OPERATORS__ALLOWED", "[" * 100_000, "operators.allowed: must be a list"),
        ("PLSCP_ISSUERS__HOSP", "M\udcfcnchen", "PLSCP_ISSUERS__HOSP: is not UTF-8 text"),
        ("PLSCP_DICOM__PORT", "9" * 5000, f'dicom.port: must be a whole number, not "{"9" * 40}"'),
    ],
)
def test_bad_environment(variable: str, value: str, said: str) -> None:
    """A variable that names no setting, or has a bad value, is refused in one line."""
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: value})
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """`config show` in both forms, repr and errors hold no secret; kafka-python gets it."""
    (tmp_path / "password").write_text("open-sesame-2\n")
    text = (
        '[kafka]\nbootstrap_servers = ["k:9093"]\n'
        'security_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\nsasl_plain_username = "u"\n'
        'sasl_plain_password = "open-sesame-1"\nssl_password_file = "password"\n'
    )
    settings = load(written(tmp_path, text), {})
    shown = settings.as_toml() + json.dumps(settings.model_dump(mode="json")) + repr(settings.kafka)
    assert "open-sesame" not in shown
    assert tomllib.loads(settings.as_toml())["kafka"]["sasl_plain_password"] == "***"
    assert settings.kafka_options() == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "u",
        "sasl_plain_password": "open-sesame-1",
        "ssl_password": "open-sesame-2",
        "ssl_check_hostname": True,
    }
    with pytest.raises(ConfigError) as caught:
        load(None, {"PLSCP_KAFKA__BOOTSTRAP_SERVERS": "k:1", "PLSCP_KAFKA__SASL_PLAIN_PASSWORD": '["open-sesame-4"]'})
    assert "kafka.sasl_plain_password: must be text" in str(caught.value)
    assert "open-sesame" not in str(caught.value)


def test_kafka_python_names() -> None:
    """Every sasl_* and ssl_* option of kafka-python that text can express is a setting."""
    theirs = {name for name in KafkaProducer.DEFAULT_CONFIG if name.startswith(("sasl_", "ssl_"))}
    assert theirs - {"ssl_context", "sasl_oauth_token_provider"} <= set(Kafka.model_fields)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("", "must hold lines of text"),
        ("\n \n", "lines"),
        ("a\x07b", "lines of text"),
        ("abc\n # the old one\n", "a line begins with #: each line is a token, none is a comment"),
    ],
)
def test_token_file(tmp_path: Path, content: str | None, said: str) -> None:
    """A token file that cannot be used is one line, from the check as from the server; several tokens are a line each."""
    path = written(tmp_path, '[http]\nhost = "0.0.0.0"\ntoken_file = "token"\n')
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(ConfigError, match=f"http.token_file: .*{said}"):
        load(path, {}).token()
    assert said in problems(path, {})[0]
    (tmp_path / "token").write_text("abc\nnext one\n")
    assert load(path, {}).token() == "abc"
    assert [(role, file.current()) for role, file in load(path, {}).tokens()] == [("operate", ("abc", "next one"))]
    assert problems(path, {}) == []


def test_network(tmp_path: Path) -> None:
    """The listener gets its bounds and deadlines; the defaults are its own."""
    assert load(None, {}).network() == NetworkSettings()
    text = (
        "[dicom]\nae_title='A'\nhost='0.0.0.0'\nport=1\nmax_associations=2\nmax_associations_per_address=3\nmax_pdu=128\n"
        "max_associate_request=4\nmax_presentation_contexts=5\nmax_command_set=6\nmax_data_set=7\nmax_waiting_requests=8\n"
        "first_pdu_deadline='PT9S'\npdu_deadline='PT10.5S'\nmessage_deadline='PT11S'\n"
    )
    path = written(tmp_path, text)
    expected = NetworkSettings("0.0.0.0", 1, "A", 2, 3, WireBounds(128, 4, 5, 6, 7, 8), Deadlines(9.0, 10.5, 11.0))
    assert load(path, {}).network() == expected
    assert load(path, {"PLSCP_DICOM__CALLED_AE": "any"}).network().ae_title is None


def test_relay(tmp_path: Path) -> None:
    """The relay gets the store, a cursor beside it and Kafka's settings under kafka-python's names; without [kafka] nothing."""
    assert load(None, {}).relay() is None
    folder = tmp_path / "a b%25"
    folder.mkdir()
    tls.authority("hospital").cert_pem.write_to_path(folder / "ca.pem")
    text = (
        "[kafka]\nbootstrap_servers=['k:1','k:2']\ntopic_prefix='lab'\npartitions=3\nreplication_factor=2\n"
        "create_topics=false\nsecurity_protocol='SSL'\nssl_cafile='ca.pem'\nssl_password='p'\n"
    )
    relay = load(written(folder, text), {}).relay()
    assert relay is not None
    assert relay.cursor == folder / "data" / "plscp-relay.db"
    assert sqlite_path(relay.store_url) == folder / "data" / "plscp.db"
    assert relay.kafka.bootstrap_servers == ("k:1", "k:2")
    assert (relay.kafka.topic_prefix, relay.kafka.partitions, relay.kafka.replication_factor) == ("lab", 3, 2)
    assert relay.kafka.create_topics is False
    assert relay.kafka.extra == {
        "security_protocol": "SSL",
        "ssl_cafile": str(folder / "ca.pem"),
        "ssl_password": "p",
        "ssl_check_hostname": True,
    }


def test_store_limits(tmp_path: Path) -> None:
    """The store gets its bounds; the defaults are the store's own."""
    assert load(None, {}).store_limits() == StoreLimits()
    text = "[store]\nqueue_requests=1\nqueue_bytes=2\ndisk_reserve=3\nquarantine_bytes=4\ndisk_watermark=5\n"
    limits = load(written(tmp_path, text), {}).store_limits()
    assert (limits.queue_requests, limits.queue_bytes) == (1, 2)
    assert (limits.disk_reserve, limits.quarantine_bytes, limits.disk_watermark) == (3, 4, 5)


def test_profiles(tmp_path: Path) -> None:
    """A device gets its own table over [matching]; an unknown one the defaults, and only where it is allowed."""
    text = CONTRACT + (
        '[devices.MOBILE]\nvalidation = "strict"\ntimes = "untrusted"\nclose_grace = "PT1H"\npatient_id_issuer = "DEV"\n'
        'timezone = "Asia/Tokyo"\nsop_classes = ["procedural-event-logging"]\ncoerce_by_location = true\n'
        'placeholder_patient_ids = ["foo "]\naccession_as_admission = true\n'
    )
    settings = load(written(tmp_path, text), {})
    mobile, hemo, stranger = settings.profile("MOBILE"), settings.profile("HEMO1"), settings.profile("STRANGER")
    assert mobile.strict
    assert mobile.device.times == "untrusted"
    assert mobile.device.coerce_by_location
    assert mobile.device.patient_id_issuer == "DEV"
    assert mobile.device.locations == ()
    assert mobile.policy.patient_id_issuer == "HOSP"
    assert mobile.policy.close_grace == timedelta(hours=1)
    assert mobile.policy.placeholder_patient_ids == {"FOO"}
    assert mobile.policy.accession_as_admission
    assert not hemo.policy.accession_as_admission
    assert settings.matching_issuers().spell("1.2.840.99999.1") == "HOSP"
    assert mobile.zone == "Asia/Tokyo"
    assert mobile.server_zone == "Europe/Berlin"
    assert mobile.sop_classes == {PROCEDURAL_EVENT_LOGGING}
    assert hemo.device.locations == ("LAB1",)
    assert len(hemo.sop_classes) == 2
    assert hemo.policy.close_grace == timedelta(minutes=30)
    assert not stranger.strict
    assert stranger.device.ae_title == "STRANGER"
    assert settings.profile("MOBILE") == mobile


def test_every_matching_setting_can_be_overridden() -> None:
    """`[matching]`: a device may override each."""
    assert set(Matching.model_fields) == set(Overrides.model_fields)


def test_operators(tmp_path: Path) -> None:
    """No [operators] and policy "any" mean anyone; a list means those, with their validity."""
    assert load(None, {}).allowed_operators() is None
    assert load(None, {"PLSCP_OPERATORS__POLICY": "any"}).allowed_operators() is None
    assert load(None, {"PLSCP_OPERATORS__POLICY": "list"}).allowed_operators() == []
    text = CONTRACT.replace('scheme = "L",', 'scheme = "L", valid_from = 2026-01-01T00:00:00, ')
    operators = load(written(tmp_path, text), {}).allowed_operators()
    assert operators is not None
    assert operators[0].valid_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert operators[0].locations == ("LAB1",)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "operators: absent"),
        ({}, "devices: none"),
        ({"PLSCP_DICOM__UNKNOWN_DEVICES": "accept", "PLSCP_DICOM__HOST": "0.0.0.0"}, "not on loopback"),
    ],
)
def test_warnings(environ: dict[str, str], said: str) -> None:
    """What is legal but probably not meant is said at start."""
    assert any(said in line for line in load(None, environ).warnings())


def test_procedure_steps(tmp_path: Path) -> None:
    """They are provided where their table is present, to devices that name them; one without the other is said."""
    device = '[devices.XA1]\nsop_classes = ["modality-performed-procedure-step"]\n'
    both = load(written(tmp_path, f"[feeds.mpps]\n{device}"), {})
    assert both.network().procedure_steps
    assert both.profile("XA1").sop_classes == {MODALITY_PERFORMED_PROCEDURE_STEP}
    assert not any(line.startswith("feeds.mpps") for line in both.warnings())
    for text in (device, "[feeds.mpps]\n"):
        alone = load(written(tmp_path, text), {})
        assert alone.network().procedure_steps is (text != device)
        assert any(line.startswith("feeds.mpps: ") for line in alone.warnings())
    assert MODALITY_PERFORMED_PROCEDURE_STEP not in alone.profile("HEMO1").sop_classes


def test_no_needless_warnings(tmp_path: Path) -> None:
    """The file that `config init` writes draws no warning."""
    assert list(load(written(tmp_path, starter()), {}).warnings()) == []


def test_starter(tmp_path: Path) -> None:
    """The file to start from is taken as it stands and with every suggestion switched on."""
    load(written(tmp_path, starter()), {})
    everything = re.sub(r"(?m)^# (?=(\[|[a-z_]+ = ))", "", starter()).replace('policy = "any" ', 'policy = "list"')
    assert "\n[kafka]\n" in everything
    settings = load(written(tmp_path, everything), {})
    assert settings.kafka is not None
    assert settings.operators is not None
    assert settings.operators.allowed


def test_show_reads_back(tmp_path: Path) -> None:
    """What `config show` prints is a settings file with the same meaning."""
    settings = load(written(tmp_path, CONTRACT), {})
    again = load(written(tmp_path, settings.as_toml()), {})
    assert again == settings


def test_reference_is_not_stale() -> None:
    """docs/settings.md is what `plscp config reference` prints, and names every setting."""
    stored = Path(__file__).parents[2] / "docs" / "settings.md"
    assert stored.read_text("utf-8") == reference()
    for section in Settings.model_fields:
        assert f"[{section}" in reference()
    for name in (*Kafka.model_fields, *Matching.model_fields):
        assert f"`{name}`" in reference()


@given(st.integers(0, 10**7), st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_durations_read_back(seconds: int, milliseconds: int) -> None:
    """A duration written as ISO 8601 reads back as itself."""
    value = timedelta(seconds=seconds, milliseconds=milliseconds if seconds < 1000 else 0)
    assert duration(iso_duration(value)) == value


@given(st.lists(st.text(max_size=8), max_size=3), st.text(max_size=12), st.text(min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_toml_reads_back(texts: list[str], text: str, key: str) -> None:
    """Whatever text a setting holds, as a key too, the TOML that is shown reads back as the same."""
    tables = {
        "matching": {"placeholder_patient_ids": texts, "patient_id_issuer": text},
        "issuers": {key: []} if key.strip() else {},
    }
    held = Settings.model_validate(tables)
    assert tomllib.loads(held.as_toml()) == held.model_dump(mode="json", exclude_none=True)
    assert Settings.model_validate(tomllib.loads(held.as_toml())) == held


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(st.sampled_from([*Settings.model_fields, "port", "url", "x", "HEMO1"]), c, max_size=4)
        ),
        max_leaves=12,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_content_is_settings_or_one_line(content: object) -> None:
    """Whatever tables a file holds, they are settings or faults of one line each; nothing else is raised."""
    environ = (
        {f"PLSCP_{name.upper()}__X": json.dumps(value, default=str) for name, value in content.items()}
        if isinstance(content, dict)
        else {}
    )
    for line in problems(None, environ):
        assert "\n" not in line


def test_importing_settings_is_cheap() -> None:
    """Settings alone load neither Kafka, DICOM networking nor the web: commands start fast."""
    code = "import sys, plscp.config; print([m for m in ('kafka','pynetdicom','starlette','uvicorn','apsw','rich') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_settings_do_not_change() -> None:
    """Settings are frozen: what `config show` says is what every room has."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().dicom.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("setting", ["room_turnover = 'PT1M'", "turnover_decides = true"])
def test_what_a_room_decides_is_no_device_s_to_override(setting: str, tmp_path: Path) -> None:
    """The contract lets each be overridden; a room has many devices, so these two have no effect, and are warned of."""
    found = load(written(tmp_path, f"[devices.HEMO1]\n{setting}\n"), {})
    name = setting.split(maxsplit=1)[0]
    assert [line for line in found.warnings() if line.startswith(f"devices.HEMO1.{name}: has no effect")]


def test_tables_within_tables_are_refused_however_deep(tmp_path: Path) -> None:
    """What is no table of the settings is not looked into."""
    path = written(tmp_path, f"{'.'.join('a' * 5000)} = 1\n[dicom.port]\n{'.'.join('a' * 5000)} = 1\n")
    assert problems(path, {}) == ["dicom.port: must be a whole number", "a: no such setting"]
