"""Documents that are written by the program: the conformance statement, the references of metrics and log events."""
