"""What can be sent to workers, and what would take along more than its name. Nothing is sent here."""

from __future__ import annotations

import functools
import inspect
import pickle
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from .._errors import ConfigurationError
from .._resources import Resource

NAMED = (ModuleType, BuiltinFunctionType, type)
"""What travels by its name alone."""


def check_travels(**what: object) -> None:
    """Raises ConfigurationError where something cannot be sent to workers."""
    for name, value in what.items():
        try:
            pickle.dumps(value)
        except Exception as error:  # noqa: BLE001  # whatever the value's own class raises
            raise ConfigurationError(
                f"{name}={value!r} cannot be sent to workers ({type(error).__name__}: {error}). Use functions at the "
                "top level of a module or script, and classes of a module that workers can import."
            ) from None


def check_resource_travels(resource: Resource[Any]) -> None:
    """Raises ConfigurationError where workers could not import the resource's model."""
    model = resource.item
    if model is None:
        return
    try:
        pickle.dumps(model)
        is_importable = model.__module__ != "__main__"
    except (pickle.PicklingError, AttributeError, ImportError):
        is_importable = False
    if not is_importable:
        raise ConfigurationError(
            f"Workers cannot import {model.__qualname__}, the model of {resource.path}, from {model.__module__!r}. "
            "Put it at the top level of a module that is installed on their machines, and import it from there."
        )


def check_takes_no_value_along(name: str, function: Any) -> None:
    """Raises ConfigurationError where a function travels with values, which may be secrets.

    That of a module travels by its name. One of a script travels by its code, and with the values that it uses.
    """
    if isinstance(function, functools.partial):
        raise ConfigurationError(
            f"{name} is a partial: its arguments would travel through Dask's scheduler. Give a function that gets what "
            "is secret on the worker, from its environment or a store."
        )
    if isinstance(function, FunctionType) and (value := _value_used_by(function, set())):
        raise ConfigurationError(
            f"{name} is a function of a script that uses {value}: the value would travel through Dask's scheduler with "
            "it. Get it within the function, from the worker's environment or a store; or put the function into a "
            "module that workers can import."
        )


def _value_used_by(function: FunctionType, seen: set[FunctionType]) -> str:
    """The name of a value that a function of a script uses, or that those use which it calls; empty where none is."""
    if function.__module__ != "__main__" or function in seen:
        return ""
    seen.add(function)
    used = inspect.getclosurevars(function)
    for name, value in {**used.globals, **used.nonlocals}.items():
        if isinstance(value, FunctionType):
            if found := _value_used_by(value, seen):
                return found
        elif not isinstance(value, NAMED):
            return name
    return ""
