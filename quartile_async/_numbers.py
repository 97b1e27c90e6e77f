"""Settings that are numbers."""

from __future__ import annotations

from ._errors import ConfigurationError


def check_at_least(least: float, *, whole: bool = False, **settings: object) -> None:
    """Raises ConfigurationError where one of them is no finite number of at least so much, or has to be whole."""
    for name, value in settings.items():
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or not least <= value < float("inf"):  # type: ignore[operator]  # it is a number here
            raise ConfigurationError(f"{name}={value!r} cannot be used: give a number of at least {least:g}.")
