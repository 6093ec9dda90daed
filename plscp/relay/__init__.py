"""The relay: a process that follows the store and writes each record to Kafka, in order, surviving whatever is killed."""
