"""Secrets in files: read at load, and again when the file changes, so that they can be exchanged while the server runs."""

from pathlib import Path

from plscp.errors import ConfigError
from plscp.files import stamp


def lines(setting: str, name: str, most: int | None = None) -> tuple[str, ...]:
    """The lines of a file that are not blank, without the spaces around them.

    Args:
        most: so many lines at most; None: many tokens.

    Raises:
        ConfigError: it cannot be read, or holds none, too many or, of many, a comment; the message never says what it does hold.
    """
    try:
        text = Path(name).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {name}: {getattr(error, 'strerror', None) or 'is not text'}") from None
    found = tuple(line for each in text.split("\n") if (line := each.strip()))
    if not found or (most is not None and len(found) > most) or not all(line.isprintable() for line in found):
        what = "one line of text" if most == 1 else "lines of text"
        raise ConfigError(f"{setting}: {name}: must hold {what}")
    if most is None and any(line.startswith("#") for line in found):  # a comment that people guess would let them in
        raise ConfigError(f"{setting}: {name}: a line begins with #: each line is a token, none is a comment")
    return found


class SecretFile:
    """The lines of a file, as they are now; made as `lines` is called."""

    def __init__(self, setting: str, name: str, most: int | None = None) -> None:
        self._setting, self._name, self._most = setting, name, most
        self._seen = stamp(name)
        self._lines = lines(setting, name, most)

    def current(self) -> tuple[str, ...]:
        """The lines now; a file that is gone or cannot be used leaves the last ones in force."""
        found = stamp(self._name)
        if found != self._seen:
            from plscp.logs import log  # noqa: PLC0415  # commands that only read settings do without

            self._seen = found
            try:
                self._lines = lines(self._setting, self._name, self._most)
            except ConfigError as error:
                log.error("secret-refused", why=str(error))
            else:
                log.info("secret-loaded", setting=self._setting)
        return self._lines
