"""The `plscp` command. Every failure is one line on standard error and an exit status; a traceback only on request."""

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence

from plscp.errors import DEFECT, INTERRUPTED, CommandError, PlscpError


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command, by default that of the process; returns the exit status. `argv` is without the program's name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None and arguments[:1] == ["serve"]:
        _end_at_once()
    variables = os.environ if environ is None else environ
    try:
        _readable(arguments)
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except PlscpError as error:
        say(str(error))
        return error.exit_status
    except BrokenPipeError:
        # Whoever read the output has read enough; the interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if variables.get("PLSCP_DEBUG"):
            traceback.print_exc()
        say(f"defect: {type(error).__name__}: {error}; PLSCP_DEBUG=1 shows where")
        return DEFECT


def _end_at_once() -> None:
    """Until there is a server to end in order, SIGTERM and SIGINT end the process with 0.

    From the first moment on: the first process of a container gets no signal that it has not asked for.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


def say(line: str) -> None:
    """One line on standard error, whatever the text holds."""
    text = "".join(c if c.isprintable() else " " for c in " ".join(line.split()))
    print(f"plscp: {text}", file=sys.stderr)


def _readable(arguments: Sequence[str]) -> None:
    """Refuse what is no text: nothing but a file's name can be meant by it."""
    for argument in arguments:
        if any("\ud800" <= c <= "\udfff" for c in argument) and not os.path.lexists(argument):
            raise CommandError(f"{argument!a} is not text in {sys.getfilesystemencoding()}", 2)


def _run(arguments: list[str]) -> int:
    from typer.exceptions import Abort, TyperException  # noqa: PLC0415  # only once the arguments are about to be read

    from plscp.cli.commands import build  # noqa: PLC0415

    try:
        result = build().main(arguments, prog_name="plscp", standalone_mode=False)
    except Abort:
        return INTERRUPTED
    except TyperException as error:
        return _usage(error)
    return result if isinstance(result, int) else 0


def _usage(error: Exception) -> int:
    """A wrong usage as one line; a group without a command shows its help instead."""
    message = str(getattr(error, "format_message", lambda: error)()).replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    if message.lstrip().startswith("Usage:") or type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return 2
    path = context.command_path if context is not None else "plscp"
    hint = "" if "Did you mean" in message else f" (see {path} --help)"
    place = path.removeprefix("plscp").strip()
    say((f"{place}: " if place else "") + message.rstrip(".") + hint)
    return int(getattr(error, "exit_code", 2))
