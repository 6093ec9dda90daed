"""Consumers to copy from: `python -m plscp.consumer.examples.billing`, `python -m plscp.consumer.examples.drug_sheet`."""
