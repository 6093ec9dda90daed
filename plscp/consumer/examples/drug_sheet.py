"""A drug sheet: a line on standard output for each drug that was given, by log or by pump; runs until Ctrl-C."""

import argparse
from contextlib import suppress

from plscp.consumer import Event, Unreadable, consume
from plscp.records.values import AdministrationRecord, EntryRecord
from plscp.templates.clinical_entries import DrugAdministered


def line(event: Event | Unreadable) -> str:
    """When, to whom, what, how much, by which route, by whom; nothing where the entry is about something else."""
    match event.data:
        case EntryRecord(entry=DrugAdministered() as given) as record:
            what = f"{given.action.meaning}: {given.drug.meaning}"
            by = given.administered_by.text if given.administered_by else "-"
        case AdministrationRecord(entry=given) as record:
            what = "/".join(given.product_names) or given.package_identifier or "-"
            by = ", ".join(operator.meaning for operator in given.operators)
        case EntryRecord():
            return ""
        case _:  # too large for Kafka, or not readable: somebody has to look
            return f"look at: {event.topic} {event.partition} {event.offset}"
    dose, route = given.dose or given.volume, given.route.meaning if given.route else "-"
    much = f"{dose.text} {dose.unit.value if dose.unit else ''}" if dose else "-"
    return f"{record.occurred.time:%F %T} | {record.patient.id} | {what} | {much} | {route} | {by}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broker")
    parser.add_argument("--group", default="drug-sheet")
    parser.add_argument("--topics", nargs="+", default=["plscp.procedure-log", "plscp.medication-administration"])
    args = parser.parse_args()
    with suppress(KeyboardInterrupt), consume(args.broker, topics=args.topics, group=args.group) as events:
        for event in events:
            if said := line(event):
                print(said, flush=True)  # before the next event is asked for: that says that this one is done
