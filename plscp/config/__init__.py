"""Every setting: one Pydantic model, read from one TOML file and the environment (contract section 6)."""

from plscp.config.load import load, load_http, problems, read
from plscp.config.settings import Settings
from plscp.config.show import reference, schema, starter

__all__ = ["Settings", "load", "load_http", "problems", "read", "reference", "schema", "starter"]
