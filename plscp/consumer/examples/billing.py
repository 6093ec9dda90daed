"""A billing list: a CSV row on standard output for each consumable and device that was used; runs until Ctrl-C."""

import argparse
import csv
import sys
from contextlib import suppress

from plscp.consumer import Event, Unreadable, consume
from plscp.records.values import EntryRecord
from plscp.templates.clinical_entries import DeviceUsed
from plscp.templates.log_entries import Consumable


def rows(event: Event | Unreadable) -> list[list[object]]:
    """The row of an entry, none where it is about something else; empty is what the device did not say."""
    match data := event.data:
        case EntryRecord(entry=Consumable(material=what, quantity=number, lot=lot) as used) as log:
            serial, code = used.serial_number, used.billing_code
            said = [number and number.text, lot and lot.text, serial and serial.text, code and code.value]
        case EntryRecord(entry=DeviceUsed(device=what) as used) as log:
            said = [None] * 4
        case _:  # about something else; else too large for Kafka, or not readable: somebody has to look
            return [] if isinstance(data, EntryRecord) else [["look at", event.topic, event.partition, event.offset]]
    at = [log.study.study_instance_uid, log.patient.id, log.occurred.time.isoformat()]
    return [[*at, used.action.meaning, what.value, what.meaning, *said]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broker")
    parser.add_argument("--group", default="billing")
    parser.add_argument("--topics", nargs="+", default=["plscp.procedure-log"])
    args, out = parser.parse_args(), csv.writer(sys.stdout)
    print("study,patient,time,action,code,meaning,quantity,lot,serial number,billing code")
    with suppress(KeyboardInterrupt), consume(args.broker, topics=args.topics, group=args.group) as events:
        for event in events:
            out.writerows(rows(event))
            sys.stdout.flush()  # asking for the next event says that this one is done
