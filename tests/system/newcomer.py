"""Who types the commands of the README's "Run it". `python -m tests.system.newcomer` writes there what they print now."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from plscp.local.kafka import free_port

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RUN_IT = README.read_text("utf-8").split("## Run it\n")[1].split("\n## ")[0]
_SCREEN = re.compile(r"```text\n(.*?)```", re.DOTALL)
SCREENS = _SCREEN.findall(RUN_IT)
COMMANDS = "".join(re.findall(r"```sh\n(.*?)```", RUN_IT, re.DOTALL)).splitlines()
CONSUMER = "plscp.consumer.examples.drug_sheet"
CHANGING = [
    (r"\d{14}\.\d{6}\+0000", "20260301143000.000000+0000"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-03-01 14:30:00"),
    (r"\d+\.\d ms", "9.9 ms"),
]
"""What is another one in each run, and how it is shown."""


def shown(text: str) -> str:
    """What was printed, as the README has it."""
    for pattern, instead in CHANGING:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


class Newcomer:
    """Who types the commands of "Run it" in a fresh folder, with as many terminals as it takes.

    Attributes:
        said: what each command printed, by the command's name; of those until Ctrl-C their first line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".venv").symlink_to(ROOT / ".venv")  # what `make venv` makes
        dicom, http = free_ports()
        self.ports = {"11112": str(dicom), "9092": str(free_port())}
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("PLSCP_")}
        self.environ = theirs | {"PLSCP_DICOM__PORT": str(dicom), "PLSCP_HTTP__PORT": str(http)}
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.said: dict[str, str] = {}

    def type(self, line: str) -> None:
        """One line: it must end well and complain of nothing, or print a line and go on until Ctrl-C."""
        command, _, comment = (part.strip() for part in line.partition("#"))
        name = re.sub(r"^(\S+=\S+ )?\S+ (-m )?", "", command).split(" ")[0]
        for port, free in self.ports.items():
            command = command.replace(port, free)
        if name == "kafka":
            command += f" --port {self.ports['9092']}"
        if comment == "until Ctrl-C":
            self.interrupt(name)
            self.said[name] = self.start(name, command)
            return
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), command
        self.said[name] = ran.stdout

    def start(self, name: str, command: str) -> str:
        """In a terminal of its own; the first line that says that it is there."""
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=self.folder,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.running[name] = process
        assert process.stdout is not None
        for line in process.stdout:
            if name == CONSUMER or line.startswith("listening"):
                return line
        raise AssertionError((self.folder / f"{name}.log").read_text())

    def interrupt(self, name: str) -> None:
        """Ctrl-C, where it runs."""
        process = self.running.pop(name, None)
        if process is not None:
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            process.stdout.read()
            process.stdout.close()
            assert process.wait(60) == 0, name

    def follow(self) -> list[str]:
        """Type every command but the first, which made the environment; what is shown of their output, as it is now."""
        try:
            for line in COMMANDS[1:]:
                self.type(line)
            for name in [*self.running]:
                self.interrupt(name)
        finally:
            for process in self.running.values():
                process.kill()
                process.communicate()
        return [shown("".join(self.said[name] for name in ("explain", "send", "event"))), shown(self.said[CONSUMER])]


def free_ports() -> list[int]:
    """Two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [one.getsockname()[1], other.getsockname()[1]]


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        text = README.read_text("utf-8")
        for before, now in zip(SCREENS, Newcomer(Path(folder)).follow(), strict=True):
            text = text.replace(before, now)
        README.write_text(text, "utf-8")
