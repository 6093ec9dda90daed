"""`helm test` against a real server with the chart's own settings: what the test's pod runs, and what its device may not do."""

import os
import subprocess
import sys
from pathlib import Path

from tests.deploy.helm import Helm, Rendered
from tests.serving import Serving


def here(settings: str, folder: Path) -> str:
    """The settings of the pod for this machine: loopback, free ports, a folder of its own."""
    return (
        settings.replace("0.0.0.0", "127.0.0.1")
        .replace("port = 11112", "port = 0")
        .replace("port = 8080", "port = 0")
        .replace('probes = "127.0.0.1:8081"\n', "")
        .replace("/var/lib/plscp/", f"{folder}/data/")
    )


def tried(rendered: Rendered, server: Serving, folder: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """What the test's container runs, run here against a server."""
    [container] = rendered.one("Pod")["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    env |= {"HOST": server.host, "PORT": str(server.port), "EVENT": str(folder / "event.json"), **changed}
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [*container["command"], *container["args"]], env=env, cwd=folder, capture_output=True, text=True, check=False
    )


def test_it_passes_with_the_smallest_values_and_leaves_no_event(helm: Helm, tmp_path: Path) -> None:
    """Unknown devices are refused; the chart's own may verify, and its event is refused without a trace in the store."""
    rendered = helm.template()
    with Serving(tmp_path, here(rendered.settings, tmp_path)) as server:
        done = tried(rendered, server, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "0000 success" in done.stdout
        assert '"status": "0124"' in done.stdout
        assert server.get("/api/v1/events", kind="all")["events"] == []
        assert server.get("/api/v1/quarantine")["items"] == []
        assert server.stop() == 0


def test_it_fails_where_its_device_is_refused(helm: Helm, tmp_path: Path) -> None:
    """Another AE title is rejected, and the pod of the test fails with the reason."""
    rendered = helm.template()
    with Serving(tmp_path, here(rendered.settings, tmp_path)) as server:
        done = tried(rendered, server, tmp_path, DEVICE="NOBODY1")
        assert done.returncode != 0
        assert "calling AE title not recognized" in done.stderr
        assert server.stop() == 0


def test_it_fails_where_its_device_may_send(helm: Helm, tmp_path: Path) -> None:
    """An answer other than the expected one fails the test: here a device whose event is checked and matched (C103)."""
    may_send = {"settings": {"devices": {"HELMTEST": {"sop_classes": ["procedural-event-logging"]}}}}
    rendered = helm.template(may_send)
    with Serving(tmp_path, here(rendered.settings, tmp_path)) as server:
        done = tried(rendered, server, tmp_path)
        assert done.returncode != 0
        assert '"status": "C103"' in done.stdout
        assert "expected 0124H" in done.stderr
        assert server.stop() == 0
