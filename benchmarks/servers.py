"""The servers that are compared: plscp with everything on, a stock pynetdicom SCP that only says Success, and what a user would write."""

import os
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import httpx

STUDIES = tuple((f"1.2.826.0.1.3680043.9.3811.8.{number}", f"P{number}") for number in range(1, 17))
"""Studies that are open, each with its patient."""
STUDY = STUDIES[0][0]
STOCK = """
import sys, time
from pynetdicom import AE, evt
ae = AE("PLSCP")
ae.maximum_associations = 2000
for uid in ("1.2.840.10008.1.40", "1.2.840.10008.1.42", "1.2.840.10008.1.1"):
    ae.add_supported_context(uid)
ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_N_ACTION, lambda event: (0x0000, None))])
"""
SETTINGS = """
[dicom]
port = {port}
unknown_devices = "accept"
max_associations = 5000
max_associations_per_address = 5000
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = {http}
[registry]
file = "{folder}/current.toml"
[log]
level = "warning"
[operators]
policy = "any"
{kafka}
"""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", seconds: float = 30.0) -> None:
    """Until it listens; RuntimeError where it has ended instead."""
    deadline = time.monotonic() + seconds
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode} as it started")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                process.kill()
                raise
            time.sleep(0.05)
        else:
            return


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):  # a child that has just ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Under:
    """A server process under measurement."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", port: int, http: int = 0) -> None:
        self.name, self.process, self.port, self.http = name, process, port, http
        _wait_for(port, process)

    def cpu_seconds(self) -> float:
        """User and system time of the process so far; also of its threads that have ended."""
        return _cpu_seconds(self.process.pid)

    def relay_cpu_seconds(self) -> float:
        """The same of its children: the relay."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(_cpu_seconds(int(child)) for child in children)

    def rss_mb(self) -> float:
        """Resident memory in MB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@cache
def python_of(checkout: Path) -> Path:
    """The interpreter of a checkout's own environment, which finds plscp in that checkout.

    Raises:
        SystemExit: it has none, or its plscp lies elsewhere.
    """
    python = checkout.absolute() / ".venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{checkout} has no .venv: run `make venv` there")
    found = subprocess.run(
        [python, "-c", "import plscp; print(plscp.__file__)"],
        cwd=checkout,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    if Path(found).resolve() != (checkout / "plscp" / "__init__.py").resolve():
        raise SystemExit(f"{python} finds plscp in {found}")
    return python


def stock() -> Under:
    """The stock SCP."""
    port = free_port()
    command = [sys.executable, "-c", STOCK, str(port)]
    return Under("stock", subprocess.Popen(command, stderr=subprocess.DEVNULL), port)


def written(folder: Path, kafka: str = "") -> Under:
    """What a user would write (see `benchmarks.written`), with a store and, where a broker is given, a topic."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    topic = [kafka, f"written{port}"] if kafka else []
    command = [sys.executable, "-m", "benchmarks.written", str(port), str(folder / "events.db"), *topic]
    return Under("written", subprocess.Popen(command, stderr=subprocess.DEVNULL), port)


def plscp(
    folder: Path, kafka: str = "", prefix: str = "", *, checkout: Path | None = None, ready: bool = True, more: str = ""
) -> Under:
    """plscp with validation, matching, a durable store and, where a broker is given, the relay.

    Args:
        checkout: whose server it is, in its own environment; by default this one's.
        prefix: of the topics; by default one that no other server has.
        ready: wait until the relay publishes: until then it is busy with its own start.
        more: tables of the settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, http = free_port(), free_port()
    table = f'[kafka]\nbootstrap_servers = ["{kafka}"]\ntopic_prefix = "{prefix or f"b{port}"}"\n' if kafka else ""
    text = SETTINGS.format(port=port, http=http, folder=folder, kafka=table) + more
    (folder / "plscp.toml").write_text(text)
    (folder / "current.toml").write_text(
        "".join(
            f'[[studies]]\nstudy_instance_uid = "{study}"\nstatus = "open"\n'
            f'patient = {{ id = "{patient}", issuer = "HOSP" }}\n'
            for study, patient in STUDIES
        )
    )
    python = sys.executable if checkout is None else str(python_of(checkout))
    command = [python, "-m", "plscp", "serve", "--config", str(folder / "plscp.toml")]
    with (folder / "serve.log").open("ab") as output:
        process = subprocess.Popen(command, cwd=checkout, stdout=output, stderr=output)
    try:
        server = Under("plscp", process, port, http)
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"{error}: {(folder / 'serve.log').read_text('utf-8', 'replace')[-2000:]}") from error
    if kafka and ready:
        _wait_for_relay(server)
    return server


def _wait_for_relay(server: Under, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            relay = httpx.get(f"http://127.0.0.1:{server.http}/api/v1/status").json()["kafka"]
        except httpx.TransportError as error:  # it begins to listen after DICOM does
            relay = str(error)
        topics = relay["topics"].values() if isinstance(relay, dict) else ()
        if topics and all(topic["state"] == "running" for topic in topics):
            return
        if time.monotonic() > deadline:
            server.stop()
            raise SystemExit(f"the relay is not ready after {seconds:g} s: {relay}")
        time.sleep(0.05)
