"""Real components on a bare machine, without root: a Kafka broker for the demo, the tests and anyone who wants to try."""
