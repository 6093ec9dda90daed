"""The example consumers and the README's, as programs of their own on the real broker."""

import csv
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from plscp.templates.clinical_entries import DeviceUsed, DrugAdministered
from plscp.templates.log_entries import Consumable, Note
from plscp.templates.substance import SubstanceAdministered
from plscp.templates.values import Amount, Coded, CodeValue, Moment, PersonName, Quantity, Text
from tests.conftest import Broker
from tests.consumer.writing import administered, done, logged, new_topic, patient, write
from tests.serving import until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.usefixtures("leaking"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

ROOT = Path(__file__).parents[2]
WHEN = Moment(text="20260301120000")
STENT = CodeValue(value="65818007", scheme="SCT", meaning="Stent")
NOTE = Note(observation_datetime=WHEN, type=CodeValue(value="121174", scheme="DCM"), text="Sheath in")
HEPARIN = CodeValue(value="372877000", scheme="SCT", meaning="Heparin")
UNITS = CodeValue(value="[iU]", scheme="UCUM", meaning="IU")


def dcm(value: str, meaning: str) -> CodeValue:
    """A DICOM code."""
    return CodeValue(value=value, scheme="DCM", meaning=meaning)


@contextmanager
def running(*command: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python program, killed at the end and, where it hangs, after two minutes."""
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        limit = threading.Timer(120, process.kill)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


def first(process: "subprocess.Popen[str]", count: int) -> list[str]:
    """The first lines that a program writes."""
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\r\n") for _ in range(count)]


def example(name: str, broker: str, topics: list[str], group: str, *, count: int, records: int) -> list[str]:
    """The first lines of an example, which is ended by Ctrl-C once it is done with so many records, without complaint."""
    command = ("-m", f"plscp.consumer.examples.{name}", broker, "--group", group, "--topics", *topics)
    with running(*command) as process:
        found = first(process, count)
        until(lambda: done(broker, group) == records, "all to be committed")
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (0, "")
    return found


def test_the_billing_list(kafka_broker: Broker) -> None:
    """A row for each consumable and device, and for what it cannot read; a second run goes on where the first one ended."""
    broker, group = kafka_broker.address, uuid4().hex
    topic = new_topic(broker)
    consumable = Consumable(
        observation_datetime=WHEN,
        action=dcm("122076", "Consumable taken from inventory"),
        material=STENT,
        serial_number=Text(text="1234567"),
        lot=Text(text="24-0815, B"),
        quantity=Quantity(value=2, text="2"),
        billing_code=Coded(value="4711", scheme="99SHOP", meaning="Stent, drug eluting"),
    )
    device = DeviceUsed(
        observation_datetime=WHEN,
        action=CodeValue(value="373062004", scheme="SCT", meaning="Device used"),
        device=STENT,
    )
    write(broker, topic, [logged(1, NOTE), logged(2, consumable), patient(3), logged(4, device), logged(2, consumable)])
    rows = list(csv.reader(example("billing", broker, [topic], group, count=4, records=5)))
    at = ["1.2.3", "4711", "2026-03-01T12:00:00+00:00"]
    stent = ["65818007", "Stent"]
    head = "study,patient,time,action,code,meaning,quantity,lot,serial number,billing code"
    assert rows == [
        head.split(","),
        [*at, "Consumable taken from inventory", *stent, "2", "24-0815, B", "1234567", "4711"],
        ["look at", topic, "0", "2"],
        [*at, "Device used", *stent, "", "", "", ""],
    ]
    write(broker, topic, [logged(4, device), logged(5, consumable)])
    (_, again) = csv.reader(example("billing", broker, [topic], group, count=2, records=7))
    assert again[3] == "Consumable taken from inventory"


def test_the_drug_sheet(kafka_broker: Broker) -> None:
    """What was logged and what a pump reported, with a dash for what was not said."""
    broker = kafka_broker.address
    log, pump = new_topic(broker), new_topic(broker)
    given = DrugAdministered(
        observation_datetime=WHEN,
        action=dcm("122083", "Drug administered"),
        drug=HEPARIN,
        dose=Quantity(value=5000, text="5000", unit=UNITS),
        administered_by=PersonName(text="Doe^Jane"),
    )
    administration = SubstanceAdministered(
        administered=WHEN,
        product_names=["Heparin"],
        route=CodeValue(value="47625008", scheme="SCT", meaning="Intravenous route"),
        dose=Amount(value=2500, text="2500", unit=UNITS),
        operators=[CodeValue(value="N-117", scheme="99STAFF", meaning="Nurse 117")],
    )
    write(broker, log, [logged(1, NOTE), patient(2), logged(3, given)])
    write(broker, pump, [administered(4, administration)])
    assert sorted(example("drug_sheet", broker, [log, pump], uuid4().hex, count=3, records=4)) == [
        "2026-03-01 12:00:00 | 4711 | Drug administered: Heparin | 5000 [iU] | - | Doe^Jane",
        "2026-03-01 12:00:00 | 4711 | Heparin | 2500 [iU] | Intravenous route | Nurse 117",
        f"look at: {log} 0 1",
    ]


@pytest.mark.parametrize("name", ["billing", "drug_sheet"])
def test_an_example_is_short(name: str) -> None:
    """Under 40 lines: it is there to be read, and copied."""
    text = (ROOT / "plscp/consumer/examples" / f"{name}.py").read_text("utf-8")
    assert len(text.splitlines()) < 40


def test_the_loop_of_the_readme(kafka_broker: Broker, tmp_path: Path) -> None:
    """As it stands there, but for the broker's address and the topic."""
    section = (ROOT / "README.md").read_text("utf-8").split("## Read the events")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    topic = new_topic(kafka_broker.address)
    made = code.replace("127.0.0.1:9092", kafka_broker.address).replace("plscp.procedure-log", topic)
    (tmp_path / "loop.py").write_text(made)
    given = DrugAdministered(observation_datetime=WHEN, action=dcm("122083", "Drug administered"), drug=HEPARIN)
    bad = patient(2)._replace(value=b"{")
    write(kafka_broker.address, topic, [logged(1, NOTE), bad, logged(3, given), logged(3, given)])
    with running("-u", str(tmp_path / "loop.py")) as process:
        read, unread = reversed(first(process, 2))
    assert read == "2026-03-01 12:00:00+00:00 4711 Heparin"
    assert unread.startswith(f"cannot be read: {topic} 0 1 value: Invalid JSON")
