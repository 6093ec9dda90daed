"""A drug sheet: a line on standard output for each drug that was given, by log or by pump; runs until Ctrl-C."""

import argparse
from contextlib import suppress

from plscp.consumer import consume
from plscp.publish.records import AdministrationRecord, EntryRecord
from plscp.templates.substance import SubstanceAdministered
from plscp.templates.tid3106 import DrugAdministered
from plscp.templates.values import Amount


def line(record: EntryRecord | AdministrationRecord) -> str:
    """When, to whom, what, how much, by which route, by whom; nothing where the entry is about something else."""
    given = record.entry
    if isinstance(given, DrugAdministered):
        what = f"{given.action.meaning}: {given.drug.meaning}"
        by = given.administered_by.text if given.administered_by else "-"
    elif isinstance(given, SubstanceAdministered):
        what = "/".join(given.product_names) or given.package_identifier or "-"
        by = ", ".join(operator.meaning for operator in given.operators)
    else:
        return ""
    dose = given.dose or given.volume or Amount(text="-")
    unit, route = dose.unit.value if dose.unit else "", given.route.meaning if given.route else "-"
    return f"{record.occurred.time:%F %T} | {record.patient.id} | {what} | {dose.text} {unit} | {route} | {by}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broker")
    parser.add_argument("--group", default="drug-sheet")
    parser.add_argument("--topics", nargs="+", default=["plscp.procedure-log", "plscp.medication-administration"])
    args = parser.parse_args()
    with suppress(KeyboardInterrupt), consume(args.broker, topics=args.topics, group=args.group) as events:
        for event in events:
            if isinstance(event.data, EntryRecord | AdministrationRecord) and (said := line(event.data)):
                print(said, flush=True)  # before the next event is asked for: that says that this one is done
