"""`[store] url`: which store it names."""

from pathlib import Path
from urllib.parse import unquote

from plscp.errors import ConfigError

KNOWN = "sqlite:///relative/path or sqlite:////absolute/path"


def sqlite_path(url: str) -> Path:
    """The database file that a URL names.

    Raises:
        ConfigError: it names none.
    """
    scheme, separator, rest = url.partition("://")
    if scheme in {"postgresql", "postgres"}:
        raise ConfigError(f"[store] url: PostgreSQL comes with a later version; this one knows {KNOWN}")
    if scheme != "sqlite" or not separator:
        raise ConfigError(f"[store] url names no store that plscp knows; it should look like {KNOWN}")
    if not rest.startswith("/") or len(rest) < 2 or rest.endswith("/"):
        raise ConfigError(f"[store] url names no file; it should look like {KNOWN}")
    return Path(unquote(rest[1:]))
