"""Settings that are read again: what differs, what applies at once, and that each setting that says so acts in a running server."""

import asyncio
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import tomli_w
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from plscp import logs
from plscp.app import Server
from plscp.config import Settings, load
from plscp.config.live import Change, LiveSettings, Watcher, changes, in_force
from plscp.config.model import Section
from plscp.config.settings import TLS_LISTENERS
from plscp.dicom.acceptor import Acceptor
from plscp.dicom.certificates import Certificates
from plscp.errors import ConfigError
from plscp.feeds import registry_file
from plscp.feeds.running import Feeds
from plscp.files import Files
from plscp.process import STOPPING, StopSignals
from tests import tls
from tests.serving import until

# --- any settings, out of the model ------------------------------------------------------------------------------------

_VALUES: dict[str, list[Any]] = {
    "duration": ["PT1S", "PT5M", "P1D"],
    "whole number": [1, 7, 60],
    "bytes": [200, 4096, 100_000],
    "port": [0, 1200, 1201],
    "AE title": ["ONE", "TWO"],
    "time zone": ["UTC", "Europe/Berlin"],
    "UID": ["1.2.3", ""],
    "text or list of text": [["A"], ["B", "C"]],
    "network or list of networks": [["10.1.2.0/24"], ["10.1.3.1"]],
    "URL": ["sqlite:////tmp/a.db", "sqlite:////tmp/b.db"],
}
_PLAIN: dict[Any, list[Any]] = {
    bool: [True, False],
    int: [1, 2],
    float: [0.25, 0.5],
    str: ["127.0.0.1:1", "127.0.0.1:2"],
}


def choices(annotation: Any, extra: Any = None) -> list[Any]:
    """Some values that a type takes."""
    origin, parts = get_origin(annotation), get_args(annotation)
    kind = (extra or {}).get("kind")
    if kind in _VALUES:
        return _VALUES[kind]
    if origin is Annotated:
        for one in parts[1:]:
            found = (getattr(one, "json_schema_extra", None) or {}).get("kind")
            if found in _VALUES:
                return _VALUES[found]
        return choices(parts[0])
    if origin is Literal:
        return list(parts)
    if origin in {Union, UnionType}:
        return [None, *(value for part in parts if part is not NoneType for value in choices(part))]
    if origin is list:
        return [[value] for value in choices(parts[0])]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        required = {name: choices(f.annotation, f.json_schema_extra)[0] for name, f in annotation.model_fields.items() if f.is_required()}  # fmt: skip
        return [required]
    return _PLAIN.get(annotation, ["x", "y"])


def sections(model: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables of a section that are right by themselves."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        inner = [part for part in (field.annotation, *get_args(field.annotation)) if isinstance(part, type)]
        nested = next((part for part in inner if issubclass(part, Section)), None)
        fields[name] = (
            sections(nested) if nested else st.sampled_from(choices(field.annotation, field.json_schema_extra))
        )
    required = {name: fields.pop(name) for name, field in model.model_fields.items() if field.is_required()}

    def right(table: dict[str, Any]) -> bool:
        try:
            model.model_validate(table)
        except ValidationError:
            return False
        return True

    return st.fixed_dictionaries(required, optional=fields).filter(right)


def _tables() -> st.SearchStrategy[dict[str, Any]]:
    named: dict[str, st.SearchStrategy[Any]] = {
        "issuers": st.dictionaries(st.sampled_from(["HOSP", "CLINIC"]), st.just([]), max_size=2),
        "locations": st.dictionaries(st.sampled_from(["LAB1", "LAB2"]), st.just({}), max_size=2),
    }
    for name, field in Settings.model_fields.items():
        model = next((p for p in (field.annotation, *get_args(field.annotation)) if isinstance(p, type) and issubclass(p, Section)), None)  # fmt: skip
        if name == "devices":
            assert model is not None
            named[name] = st.dictionaries(st.sampled_from(["HEMO1", "XRAY1"]), sections(model), max_size=2)
        elif name not in named:
            assert model is not None
            named[name] = sections(model)
    return st.fixed_dictionaries({}, optional=named)


ANY = _tables()


@given(ANY, ANY)
def test_what_is_in_force_is_new_where_it_says_so_and_old_elsewhere(
    first: dict[str, Any], then: dict[str, Any]
) -> None:
    """Of any two settings: what is taken over differs from the old ones only at once, and from the new ones only by a restart."""
    running, wanted = Settings.model_validate(first), Settings.model_validate(then)
    assume(not running.contradictions())
    try:
        now = in_force(running, wanted)
    except ConfigError:  # the two do not go together: nothing is taken
        assume(False)
    assert all(change.at_once for change in changes(running, now))
    assert not any(change.at_once for change in changes(now, wanted))
    both = {change.path for change in (*changes(running, now), *changes(now, wanted))}
    assert both == {change.path for change in changes(running, wanted)}
    if not running.contradictions():  # else nobody could have started with it
        assert in_force(now, running) == running
    for ae_title in ("HEMO1", "XRAY1", "NOBODY"):
        # But for the time zone of the server and what is published of patients, which need a restart.
        dicom, registry = running.dicom, running.registry
        alike = wanted.model_copy(
            update={
                "dicom": wanted.dicom.model_copy(update={"timezone": dicom.timezone}),
                "registry": wanted.registry.model_copy(update={"publish_demographics": registry.publish_demographics}),
            }
        )
        assert now.profile(ae_title) == alike.profile(ae_title)
        assert now.policy() == alike.policy()
    assert now.matching_locations() == wanted.matching_locations()
    assert now.issuers == wanted.issuers
    assert now.allowed_operators() == wanted.allowed_operators()


def test_changes_are_named_by_the_paths_of_settings() -> None:
    """A setting, a table that is new, one that is gone, a table that was absent."""
    first = Settings.model_validate({"devices": {"HEMO1": {}, "OLD": {}}, "issuers": {"HOSP": ["H"]}})
    then = Settings.model_validate(
        {"devices": {"HEMO1": {"times": "untrusted"}, "NEW": {}}, "kafka": {"bootstrap_servers": ["k:1"]}, "operators": {}}
    )  # fmt: skip
    assert list(changes(first, then)) == [
        Change("kafka (new)", at_once=False),
        Change("issuers.HOSP (removed)", at_once=True),
        Change("devices.HEMO1.times", at_once=True),
        Change("devices.OLD (removed)", at_once=True),
        Change("devices.NEW (new)", at_once=True),
        Change("operators (new)", at_once=True),
    ]
    assert list(changes(then, then)) == []


def test_settings_that_do_not_go_together_until_a_restart_are_a_fault() -> None:
    """The address needs a restart, and without the token it must not be served."""
    running = Settings.model_validate({"http": {"host": "0.0.0.0", "token_file": "t"}})
    with pytest.raises(ConfigError, match=r"http\.token_file: is missing: .*: restart the server"):
        in_force(running, Settings())


# --- each setting that applies at once acts ------------------------------------------------------------------------------


def _paths(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting that applies at once, with its field; the settings of devices and labs below a name."""
    for name, field in model.model_fields.items():
        nested = next((p for p in (field.annotation, *get_args(field.annotation)) if isinstance(p, type) and issubclass(p, Section)), None)  # fmt: skip
        if nested is not None and get_origin(field.annotation) is not list:
            key = {"devices": ("HEMO1",), "locations": ("LAB1",)}.get(name, ())
            yield from _paths(nested, (*path, name, *key))
        elif model.applies_at_once(name):
            yield (*path, name), field


AT_ONCE = dict(_paths(Settings))
TABLES: dict[str, Any] = {
    "dicom": {"tls": {"certificate": "a/server.pem", "private_key": "a/server.key", "client_ca": "a/devices.pem"}},
    "http": {"tls": {"certificate": "a/server.pem", "private_key": "a/server.key"}},
    "feeds": {
        "hl7": {"tls": {"certificate": "a/server.pem", "private_key": "a/server.key", "client_ca": "a/devices.pem"}}
    },
    "store": {"url": "sqlite:////tmp/store.db"},
    "locations": {"LAB1": {}},
    "devices": {"HEMO1": {"username": "u"}},
    "operators": {"policy": "list", "allowed": [{"value": "N1", "scheme": "L"}]},
}
ANOTHER: dict[tuple[str, ...], Any] = {
    ("issuers",): {"HOSP": ["H"]},
    ("locations", "LAB1", "names"): ["Cath"],
    ("devices", "HEMO1", "location"): ["LAB1"],
    ("devices", "HEMO1", "passcode_file"): "t",
    ("devices", "HEMO1", "certificate"): ["CN=HEMO1"],
    ("devices", "HEMO1", "sop_classes"): ["procedural-event-logging"],
    ("operators", "allowed"): [{"value": "N2", "scheme": "L"}],
    ("operators", "policy"): "any",
    ("operators", "file"): "/operators.toml",
    ("operators", "schemes"): {"L": ["HOSP"]},
    ("feeds", "hl7", "timezone"): "Europe/Berlin",
    **{path: "t" for path in AT_ONCE if path[-1].endswith("token_file")},
    **{path: {"private_key": "b/server.key"}.get(path[-1], "b/server.pem") for path in AT_ONCE if "tls" in path},
    ("dicom", "tls", "client_ca"): "b/devices.pem",
    ("feeds", "hl7", "tls", "client_ca"): "b/devices.pem",
}
"""Values that must go together with others, or name files."""


def at_work(server: Server) -> Any:
    """What a running server works with, as far as it can change."""
    server_settings = server.settings
    registry = server.keeper.registry
    certificates, hl7 = server._tls.get("dicom"), server._tls.get("feeds.hl7")
    return (
        {ae: server.profile(ae) for ae in ("HEMO1", "NOBODY")},
        server.keeper.policy,
        list(registry.locations),
        registry.issuers.spell("H"),
        server.acceptor.settings.trusted_proxies,
        logs.debugging(),
        server_settings.devices,  # who a device must be, and the files of passcodes
        server_settings.http,  # the files of tokens
        server_settings.operators,  # the file of those beside the list, and what HL7 messages call their codes
        server_settings.dicom.unknown_devices,
        certificates.settings if certificates is not None else None,
        server_settings.hl7_rules(),
        hl7.settings if hl7 is not None else None,
    )


def _files(folder: Path) -> None:
    for name, client_ca in (("a", "hospital"), ("b", "hospital")):
        (folder / name).mkdir()
        tls.write(folder / name, leaf=tls.server(), client_ca=client_ca)
    (folder / "b" / "server.key").write_bytes((folder / "a" / "server.key").read_bytes())
    (folder / "b" / "server.pem").write_bytes((folder / "a" / "server.pem").read_bytes())
    (folder / "t").write_text("secret\n")


def _changed(tables: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    copied = {name: dict(member) if isinstance(member, dict) else member for name, member in tables.items()}
    here = copied
    for part in path[:-1]:
        here[part] = dict(here.get(part, {}))
        here = here[part]
    here[path[-1]] = value
    if path == ("operators", "policy"):
        del here["allowed"]
    return copied


async def _served(settings: Settings, path: Path, then: dict[str, Any] | None) -> Any:
    """What a server works with that started with these settings, after others were read."""
    signals = {number: signal.getsignal(number) for number in STOPPING}
    server = Server(settings, StopSignals(), path, {})
    try:
        server.acceptor = Acceptor(settings.network(), lambda _: None)
        server.feeds = Feeds()
        logs.set_level(settings.log.level)
        if then is not None:
            await asyncio.to_thread(path.write_text, tomli_w.dumps(then))
            done = await asyncio.to_thread(server.live.reload)
            assert (done.faults, done.restart) == ((), ())
            await asyncio.sleep(0)
            assert len(done.applied) >= 1
        return at_work(server)
    finally:
        server.store.close()
        for number, handler in signals.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("path", AT_ONCE, ids=".".join)
def test_each_setting_that_applies_at_once_acts(path: tuple[str, ...], tmp_path: Path) -> None:
    """Read again it makes the server work with something else, and with just what one works with that starts so."""
    _files(tmp_path)
    absolute = _absolute(TABLES | {"store": {"url": f"sqlite:///{tmp_path}/store.db"}}, tmp_path)
    field = AT_ONCE[path]
    before = Settings.model_validate(absolute)
    old: Any = before
    for part in path:
        old = old[part] if isinstance(old, dict) else getattr(old, part)
    wanted = [ANOTHER[path]] if path in ANOTHER else choices(field.annotation, field.json_schema_extra)
    for value in (given_ for given_ in wanted if given_ is not None):
        then = _absolute(_changed(absolute, path, value), tmp_path)
        try:
            after = Settings.model_validate(then)
        except ValidationError:
            continue
        if after != before:
            break
    else:
        raise AssertionError(f"no other value of {'.'.join(path)} is known here")
    try:
        started = asyncio.run(_served(before, tmp_path / "plscp.toml", None))
        with capture_logs():
            changed = asyncio.run(_served(before, tmp_path / "plscp.toml", then))
            afresh = asyncio.run(_served(after, tmp_path / "plscp.toml", None))
    finally:
        logs.set_level("info")
    assert changed != started
    assert changed == afresh


def _absolute(tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Files by their whole names."""

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: whole(member) for name, member in value.items()}
        named = isinstance(value, str) and re.fullmatch(r"[ab]/\w+\.(pem|key)|t", value)
        return str(folder / value) if named else value

    made: dict[str, Any] = whole(tables)
    return made


@pytest.mark.parametrize("listener", TLS_LISTENERS)
def test_certificates_of_every_listener_are_read_again(listener: str, tmp_path: Path) -> None:
    """A reload takes what the files hold now; files that cannot be used leave what was there."""
    tls.write(tmp_path)
    path = tmp_path / "plscp.toml"
    path.write_text(
        f"[{listener}.tls]\ncertificate = 'server.pem'\nprivate_key = 'server.key'\n"
        f"[store]\nurl = 'sqlite:///{tmp_path}/store.db'\n"
    )

    async def exchanged() -> tuple[Certificates, list[object]]:
        signals = {number: signal.getsignal(number) for number in STOPPING}
        server = Server(load(path, {}), StopSignals(), path, {})
        try:
            [certificates] = server._tls.values()
            contexts: list[object] = [certificates.context]
            for leaf in (tls.issued("hospital", "localhost", not_after=tls.PAST.replace(year=2090)), None):
                if leaf is not None:
                    tls.write(tmp_path, leaf=leaf)
                else:
                    (tmp_path / "server.key").write_text("none")
                server._reload()
                contexts.append(certificates.context)
            return certificates, contexts
        finally:
            server.store.close()
            for number, handler in signals.items():
                signal.signal(number, handler)

    with capture_logs() as lines:
        certificates, (first, second, third) = asyncio.run(exchanged())
    assert first is not second
    assert second is third
    assert list(certificates.expires.values()) == [tls.PAST.replace(year=2090).timestamp()]
    assert [line["why"] for line in lines if line["event"] == "certificates-refused"] == [
        f"{listener}.tls.private_key: {tmp_path / 'server.key'}: holds no private key in PEM"
    ]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_counts_as_changed_once_it_changes_no_more(tmp_path: Path) -> None:
    """Two looks must find the same; each change is told once; a file that is gone, or there again, has changed."""
    path = tmp_path / "plscp.toml"
    path.write_text("a")
    files = Files(str(path))
    assert [files.look(), files.look()] == [False, False]
    path.write_text("half")
    assert not files.look()
    path.write_text("half and the rest")
    assert not files.look()
    assert [files.look(), files.look()] == [True, False]
    path.unlink()
    assert [files.look(), files.look()] == [False, True]
    assert [Files(str(path), known=False).look() for _ in range(2)] == [True, True], "read before it was looked at"
    path.write_text("a")
    assert [files.look(), files.look()] == [False, True]


def test_a_file_system_that_hangs_holds_up_only_the_watcher() -> None:
    """Who asks meanwhile waits, and may give up; when it answers again, what was asked and not given up is done."""
    hangs, let_go, looked = threading.Event(), threading.Event(), threading.Event()

    def look() -> None:
        looked.set()
        hangs.set()
        assert let_go.wait(60)

    watcher = Watcher(look, every=0.001)
    watcher.start()
    assert hangs.wait(60)
    given_up, waited = watcher.ask(lambda: 1), watcher.ask(lambda: 2)
    assert given_up.cancel()
    assert not waited.done()
    let_go.set()
    assert waited.result(60) == 2
    failing = watcher.ask(lambda: 1 / 0)
    assert isinstance(failing.exception(60), ZeroDivisionError)
    assert watcher.ask(lambda: 3).result(60) == 3
    watcher.stop()
    until(lambda: not watcher.is_alive(), "the end of the thread")


def test_a_fault_is_said_once_until_it_is_another(tmp_path: Path) -> None:
    """However often the file is read; what a defect of plscp does is told as one, and the settings before go on."""
    path = tmp_path / "plscp.toml"
    applied: list[Settings] = []

    def apply(_before: Settings, after: Settings) -> None:
        if after.log.level == "error":
            raise RuntimeError("a defect")
        applied.append(after)

    told: list[str] = []
    live = LiveSettings(path, {"PLSCP_LOG__LEVEL": "warning"}, Settings(), apply, counted=told.append)
    with capture_logs() as lines:
        for text in ("[devics]", "[devics]", "[dicom", "[devices.NEW1]", "[devices.NEW1]"):
            path.write_text(text)
            live.reload()
    assert [line["event"] for line in lines] == [
        "settings-refused",
        "settings-refused",
        "settings-warning",
        "settings-reloaded",
    ] or [line["event"] for line in lines] == ["settings-refused", "settings-refused", "settings-reloaded"]
    assert told == ["refused", "refused", "refused", "applied", "unchanged"]
    assert [each.log.level for each in applied] == ["warning"], "the environment is laid over the file again"
    broken = LiveSettings(path, {"PLSCP_LOG__LEVEL": "error"}, Settings(), apply)
    with capture_logs() as lines:
        assert "defect" in broken.reload().fault
    assert lines[0]["event"] == "internal-error"
    assert broken.current == Settings()


def test_what_the_registry_file_said_before_is_never_taken_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read by one after the other: a study would else stay in the room that the file named before it changed."""
    settings = Settings.model_validate({"registry": {"file": str(tmp_path / "f")}})
    seen: list[str] = []

    async def read(*_: object) -> int:
        seen.append("read")
        for _turn in range(5):
            await asyncio.sleep(0)
        seen.append("taken")
        return 0

    async def read_twice() -> None:
        signals = {number: signal.getsignal(number) for number in STOPPING}
        server = Server(settings, StopSignals())
        try:
            await asyncio.gather(server._read_registry_file(), server._read_registry_file())
        finally:
            server.store.close()
            for number, handler in signals.items():
                signal.signal(number, handler)

    monkeypatch.setattr(registry_file, "read", read)
    asyncio.run(read_twice())
    assert seen == ["read", "taken"] * 2
