"""Documents that are written by the program: the conformance statements, the references of metrics and log events; the list of reasons."""
