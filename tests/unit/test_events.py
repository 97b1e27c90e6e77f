"""Events are plain data."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import subprocess
import sys
from typing import Any, get_args

import pytest

from quartile_async import events
from quartile_async.events import Event

KINDS = get_args(Event)
VALUES = {"str": "word", "str | None": None, "int": 1, "float": 1.0, "float | None": None, "bool": True}


def made(kind: Any) -> Any:
    """An event with some value in each field."""
    return kind(**{field.name: VALUES.get(str(field.type), "word") for field in dataclasses.fields(kind)})


def test_the_union_has_every_event_of_the_module() -> None:
    classes = {each for each in vars(events).values() if inspect.isclass(each) and each.__module__ == events.__name__}

    assert set(KINDS) == classes
    assert set(events.__all__) == {kind.__name__ for kind in classes} | {"Event"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_frozen_slotted_plain_and_named_by_keyword(kind: Any) -> None:
    event = made(kind)

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, dataclasses.fields(kind)[0].name, "other")
    assert not hasattr(event, "__dict__")
    assert copy.deepcopy(event) == event
    assert kind.__match_args__ == ()
    for field in dataclasses.fields(kind):
        assert str(field.type) in VALUES or str(field.type).startswith("Literal["), "neither objects nor containers"


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_is_described_and_times_have_a_unit(kind: Any) -> None:
    described = inspect.getdoc(kind) or ""

    for field in dataclasses.fields(kind):
        assert f"    {field.name}: " in described
    if any("float" in str(field.type) for field in dataclasses.fields(kind)):
        assert "second" in described


def test_the_classes_are_made_only_where_there_is_a_function_to_tell() -> None:
    code = (
        "import sys, quartile_async;"
        "settings = {'subscription_key': 'key', 'auth': 'token'};"
        "quartile_async.QuartileClient(**settings);"
        "assert not {'quartile_async.events', 'quartile_async._hook'} & {*sys.modules};"
        "quartile_async.QuartileClient(**settings, on_event=print);"
        "assert 'quartile_async.events' in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
