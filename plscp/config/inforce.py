"""What is made of the settings in force, and made anew when they are exchanged."""

from collections.abc import Callable
from typing import Generic, TypeVar

from plscp.config import Settings
from plscp.errors import ConfigError
from plscp.logs import log

Made = TypeVar("Made")


class InForce(Generic[Made]):
    """Keeps what `make` makes of the settings; such as the tokens of their files, or what each device must show.

    Args:
        settings: those in force, asked at each use.
        make: raises ConfigError where a file cannot be used: at first that is passed on, later what was made before stays.

    Raises:
        ConfigError: from `make`.
    """

    def __init__(self, settings: Callable[[], Settings], make: Callable[[Settings], Made]) -> None:
        self._settings, self._make = settings, make
        self._of = settings()
        self._made = make(self._of)

    def current(self) -> Made:
        """Of the settings that are in force now."""
        settings = self._settings()
        if settings is not self._of:
            self._of = settings
            try:
                self._made = self._make(settings)
            except ConfigError as error:
                log.error("secret-refused", why=str(error))
        return self._made
