"""Reading settings: one TOML file, then the environment over it; every fault as one line with the setting's path."""

import difflib
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin
from urllib.parse import quote

from pydantic import BaseModel, SecretStr, ValidationError

from plscp.config.model import SettingsModel, Store
from plscp.config.values import from_environment
from plscp.errors import ConfigError

PREFIX: Final = "PLSCP_"
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*__.+")
"""PLSCP_CONFIG, PLSCP_DEBUG and the like are no settings."""
_FILES: Final = {
    "dicom.tls": ("certificate", "private_key", "client_ca"),
    "http": ("token_file", "read_token_file", "operate_token_file", "feed_token_file"),
    "http.tls": ("certificate", "private_key"),
    "registry": ("file",),
    "kafka": (
        "ssl_cafile",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_crlfile",
        "ssl_password_file",
        "sasl_plain_password_file",
    ),
}
"""Settings that are paths."""

_MEANS: Final[dict[str, str]] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "missing": "is missing",
    "too_short": "must have a value at least",
    "string_too_short": "must not be empty",
}
"""How Pydantic's error types read in a settings file."""


def read_tables(path: Path | None, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The file as nested tables with the environment laid over it, and a line for each variable that names no setting.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    tables: dict[str, Any] = {}
    if path is not None:
        try:
            tables = tomllib.loads(path.read_bytes().decode("utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is not UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
        _count_from(tables, path.parent)
    faults = []
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if variable.startswith(PREFIX) and _KEY.fullmatch(name):
            fault = _lay(tables, name.split("__"), environ[variable])
            if fault:
                faults.append(f"{variable}: {fault}")
    return tables, faults


def _count_from(tables: dict[str, Any], folder: Path) -> None:
    """Make relative paths count from the folder of the settings file."""
    for section, names in _FILES.items():
        table: Any = tables
        for part in section.split("."):
            table = table.get(part) if isinstance(table, dict) else None
        _count_names_from(table, names, folder)
    devices = tables.get("devices")
    for device in devices.values() if isinstance(devices, dict) else ():
        _count_names_from(device, ("passcode_file",), folder)
    store = tables.get("store")
    url = store.get("url", Store().url) if isinstance(store, dict) else Store().url if store is None else None
    if isinstance(url, str) and folder != Path():
        rest = url.removeprefix("sqlite:///")
        if rest != url and rest and not rest.startswith("/"):
            tables["store"] = (store or {}) | {"url": f"sqlite:///{quote(str(folder))}/{rest}"}


def _count_names_from(table: Any, names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        if isinstance(table, dict) and isinstance(table.get(name), str) and table[name]:
            table[name] = str(folder / table[name])


def _lay(tables: dict[str, Any], parts: list[str], text: str) -> str:
    """Lay one variable; returns what is wrong, or nothing."""
    annotation: Any = SettingsModel
    here = tables
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        model, entries = _model(annotation), _entries(annotation)
        if model is not None:
            key = part.lower()
            if key not in model.model_fields:
                return "no such setting" + nearest(key, model.model_fields)
            annotation = model.model_fields[key].annotation
        elif entries is not None:
            key, annotation = part, entries
        else:
            return "no such setting: " + ".".join(parts[:depth]).lower() + " is not a table"
        if last:
            here[key] = from_environment(text, annotation)
        else:
            below = here.setdefault(key, {})
            if not isinstance(below, dict):
                return ".".join(parts[: depth + 1]).lower() + " must be a table"
            here = below
    return ""


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds, through ``| None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, types.UnionType}:
        return next(filter(None, map(_model, get_args(annotation))), None)
    return None


def _entries(annotation: Any) -> Any:
    """What each entry of a dict annotation is, or None."""
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean "port"?`` or nothing."""
    names = list(known)
    found = difflib.get_close_matches(name, names, 1, 0.6) or [n for n in names if n.startswith(name[:4])][:1]
    return f'; did you mean "{found[0]}"?' if found else ""


def faults_of(error: ValidationError) -> list[str]:
    """One line per fault, in the order of the model, each with the setting's path."""
    return [_line(each) for each in error.errors(include_url=False)]


def _line(error: Any) -> str:
    location = [part for part in error["loc"] if part != "[key]"]
    path = ".".join(str(part + 1) if isinstance(part, int) else part for part in location)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        model = _model_at(location[:-1])
        known = model.model_fields if model is not None else ()
        return f"{path}: no such setting" + nearest(str(location[-1]), known)
    if kind == "value_error":
        said = str(context["error"])
        first, _, rest = said.partition(" ")
        model = _model_at(location)
        if model is not None and first in model.model_fields:  # a fault of a whole table names the setting first
            path, said = f"{path}.{first}", rest
    elif kind == "literal_error":
        said = "must be " + context["expected"].replace("'", '"')
    elif kind in {"greater_than_equal", "greater_than"}:
        said = f"must be at least {context['ge']}"
    elif kind in {"less_than_equal", "less_than"}:
        said = f"must be at most {context['le']}"
    else:
        said = _MEANS.get(kind, error["msg"].lower())
    return f"{path}: {said}{_got(location, kind, error.get('input'))}"


def _got(location: list[Any], kind: str, value: Any) -> str:
    """What was given, where it is short and no secret."""
    secret = any(part in SettingsModel.secrets for part in location)
    if secret or kind == "missing" or isinstance(value, (dict, list, BaseModel, SecretStr)) or value in ("", None):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = re.sub(r"//[^/@]*@", "//***@", "".join(c if c.isprintable() else "?" for c in text))
    return f', not "{text[:40]}"'


def _model_at(location: list[Any]) -> type[BaseModel] | None:
    annotation: Any = SettingsModel
    for part in location:
        model = _model(annotation)
        if model is not None:
            annotation = model.model_fields[part].annotation if part in model.model_fields else None
        elif get_origin(annotation) is dict or get_origin(annotation) is list:
            annotation = get_args(annotation)[-1]
    return _model(annotation)
