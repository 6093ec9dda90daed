"""Reading settings: one TOML file, then the environment over it; every fault as one line with the setting's path."""

import re
import types
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from plscp.config.model import Section
from plscp.config.settings import Settings
from plscp.config.values import InFolder, from_environment, nearest
from plscp.dicom.admission import printable
from plscp.errors import ConfigError
from plscp.files import read_toml

PREFIX: Final = "PLSCP_"
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*__.+")
"""PLSCP_CONFIG, PLSCP_DEBUG and the like are no settings."""
_SHOWN: Final = 40
"""Characters of a value, or of a name that no setting has, in a fault."""
_MEANS: Final[dict[str, str]] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
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


def read(path: Path | None, environ: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """The settings and every fault of them, a line each; without settings where they cannot even be told.

    Raises ConfigError, as do those below: the file cannot be read or is not TOML.
    """
    tables, faults = read_tables(path, environ)
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as error:
        return None, faults + faults_of(error)
    return settings, faults + list(map(printable, settings.contradictions()))


def problems(path: Path | None, environ: Mapping[str, str]) -> list[str]:
    """Every fault of the settings and of the files that they name, a line each; empty where they can be used."""
    settings, faults = read(path, environ)
    if settings is not None and not faults:
        for _, read_files in settings.readers():
            try:
                read_files()
            except ConfigError as error:
                faults.append(str(error))
        faults += settings.registry_file()[0]
    return faults


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a TOML file, or of the environment alone. Raises ConfigError: the first fault, and how many more there are."""
    settings, faults = read(path, environ)
    if settings is None or faults:
        raise _faulty(path, faults)
    return settings


def load_http(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """[http] alone, whatever the other tables are: for those who ask a server that goes on with the settings before."""
    tables, _ = read_tables(path, environ)
    try:
        return Settings.model_validate({"http": tables["http"]} if "http" in tables else {})
    except ValidationError as error:
        raise _faulty(path, faults_of(error)) from None


def _faulty(path: Path | None, faults: list[str]) -> ConfigError:
    more = f" (and {len(faults) - 1} more: plscp config check)" if len(faults) > 1 else ""
    return ConfigError((f"{path}: " if path is not None else "") + faults[0] + more)


def read_tables(path: Path | None, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The file as nested tables with the environment laid over it, and a line for each variable that names no setting."""
    tables: dict[str, Any] = {}
    if path is not None:
        try:
            tables = read_toml(path)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        tables.setdefault("store", {})  # which has a name of a file by default
        _place(tables, Settings, path.parent)
    faults = []
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if variable.startswith(PREFIX) and _KEY.fullmatch(name):
            fault = _lay(tables, name.split("__"), environ[variable])
            if fault:
                faults.append(f"{variable}: {fault}")
    return tables, faults


def _place(table: Any, annotation: Any, folder: Path) -> None:
    """Make relative names of files, in a table and those below, count from the folder of the settings file."""
    if not isinstance(table, dict) or annotation is None:
        return
    model = table_of(annotation)
    fields = model.model_fields if model is not None else {}
    for name in {*table, *fields}:
        value = table.get(name, fields[name].default if name in fields else None)
        for mark in fields[name].metadata if name in fields else ():
            if isinstance(mark, InFolder) and isinstance(value, str) and value:
                table[name] = mark.place(folder, value)
        _place(value, _below(annotation, name), folder)


def _lay(tables: dict[str, Any], parts: list[str], text: str) -> str:
    """Lay one variable; returns what is wrong, or nothing."""
    if any("\ud800" <= c <= "\udfff" for c in text):  # bytes, as Python has them
        return "is not UTF-8 text"
    annotation: Any = Settings
    here = tables
    for depth, part in enumerate(parts, 1):
        model = table_of(annotation)
        key = part if model is None else part.lower()
        annotation = _below(annotation, key)
        if annotation is None and model is not None:
            return "no such setting" + nearest(key, model.model_fields)
        if annotation is None:
            return "no such setting: " + ".".join(parts[: depth - 1]).lower() + " is not a table"
        if depth == len(parts):
            here[key] = from_environment(text, annotation)
            break
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            return ".".join(parts[:depth]).lower() + " must be a table"
    return ""


def table_of(annotation: Any) -> type[Section] | None:
    """The model of a table, also where the table may be absent."""
    held = (annotation, *get_args(annotation)) if get_origin(annotation) in {None, Union, types.UnionType} else ()
    return next((each for each in held if isinstance(each, type) and issubclass(each, Section)), None)


def _below(annotation: Any, part: str | int) -> Any:
    """The type of a table's setting, or of an entry of tables by name (str) or in a list (int); None where there is none."""
    model = table_of(annotation)
    if model is not None:
        return model.model_fields[part].annotation if part in model.model_fields else None
    inside = list if isinstance(part, int) else dict
    return get_args(annotation)[-1] if get_origin(annotation) is inside else None


def faults_of(error: ValidationError) -> list[str]:
    """One line per fault, in the order of the model, each with the setting's path."""
    return [_line(each) for each in error.errors(include_url=False)]


def _line(error: Any) -> str:
    location = [part for part in error["loc"] if part != "[key]"]
    path = ".".join(str(part + 1) if isinstance(part, int) else _short(part) for part in location)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        model = table_of(reduce(_below, location[:-1], Settings))
        known = model.model_fields if model is not None else ()
        return f"{path}: no such setting" + nearest(str(location[-1]), known)
    if kind == "value_error":
        said = str(context["error"])
        first, _, rest = said.partition(" ")
        model = table_of(reduce(_below, location, Settings))
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
    return f"{path}: {printable(said)}{_got(location, kind, error.get('input'))}"


def _short(name: str) -> str:
    return printable(name[:_SHOWN]) + ("..." if len(name) > _SHOWN else "")


def _got(location: list[Any], kind: str, value: Any) -> str:
    secret = any(part in Settings.secrets for part in location)
    if secret or kind == "missing" or isinstance(value, (dict, list, BaseModel, SecretStr)) or value in ("", None):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = re.sub(r"//[^/@]*@", "//***@", printable(text))
    return f', not "{text[:_SHOWN]}"'
