"""How items become the JSON objects that are sent: by pydantic, many at once, and without a model where it can be."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import pydantic
from pydantic_core import CoreConfig, CoreSchema, SchemaValidator, core_schema, to_json

Wires: TypeAlias = list[dict[str, Any]]

ToWires: TypeAlias = Callable[[Sequence[Any]], Wires]
"""Checks items and gives the JSON object of each. Raises ValidationError, or whatever a user's own validator does."""


@functools.cache
def _json_objects() -> ToWires:
    config = pydantic.ConfigDict(allow_inf_nan=False)
    adapter = pydantic.TypeAdapter(list[dict[str, pydantic.JsonValue]], config=config)

    def objects(items: Sequence[Any]) -> Wires:
        wires = cast("Wires", adapter.validate_python(items))
        to_json(wires)  # half of a surrogate pair is a string for pydantic, and cannot be sent
        return wires

    return objects


def to_wires(model: type[pydantic.BaseModel] | None) -> ToWires:
    """For items of this model; None: for any JSON objects."""
    if model is None:
        return _json_objects()
    if (schema := mapping_schema(model)) is not None:
        return cast("ToWires", SchemaValidator(core_schema.list_schema(schema)).validate_python)
    adapter: pydantic.TypeAdapter[list[Any]] = pydantic.TypeAdapter(list[model])  # type: ignore[valid-type]  # known at run time
    checked = _json_objects()  # its fields may serialize to anything, also to NaN
    return lambda items: checked(adapter.dump_python(adapter.validate_python(items), mode="json", by_alias=True))


def mapping_schema(model: type[pydantic.BaseModel]) -> CoreSchema | None:
    """A schema that checks what a plain model checks, and gives a dict: half of what an instance costs.

    None where the model is not plain: where it has validators, serializers, aliases or settings of its own, or fields
    of other types than JSON has.
    """
    schema: Any = pydantic.TypeAdapter(model).core_schema
    if schema["type"] != "model" or schema.keys() & {"serialization", "strict", "post_init"}:
        return None
    fields, config = schema["schema"], schema.get("config", {})
    if model.model_dump is not pydantic.BaseModel.model_dump:
        return None
    if fields["type"] != "model-fields" or fields.get("computed_fields") or schema.get("custom_init"):
        return None
    if not config.keys() <= {"title", "revalidate_instances", "extra_fields_behavior", "str_strip_whitespace"}:
        return None
    if config.get("extra_fields_behavior", "ignore") != "ignore" or not all(map(_is_plain, fields["fields"].values())):
        return None
    return core_schema.typed_dict_schema(
        {
            name: core_schema.typed_dict_field(field["schema"], required=field["schema"]["type"] != "default")
            for name, field in fields["fields"].items()
        },
        config=cast("CoreConfig", {**config, "allow_inf_nan": False}),
    )


def _is_plain(field: Mapping[str, Any]) -> bool:
    return field.keys() <= {"type", "schema", "metadata"} and _is_json(field["schema"])


def _is_json(schema: Any) -> bool:
    """Whether all that passes this schema is JSON as it is."""
    if "serialization" in schema or schema.get("allow_inf_nan"):
        return False
    if schema["type"] == "literal":
        return all(type(value) in (str, int, bool) for value in schema["expected"])
    if schema["type"] == "union":
        return all(_is_json(choice[0] if isinstance(choice, tuple) else choice) for choice in schema["choices"])
    if schema["type"] == "default" and not _fits(schema.get("default", ...), schema["schema"]):
        return False
    if schema["type"] in ("default", "nullable", "function-before"):
        return _is_json(schema["schema"])
    return schema["type"] in ("str", "int", "float", "bool")


def _fits(default: Any, schema: Any) -> bool:
    """Whether a default, which pydantic does not check, is what a value that was checked could be."""
    if schema["type"] == "nullable":
        return default is None or _fits(default, schema["schema"])
    if schema["type"] == "function-before":
        return _fits(default, schema["schema"])
    if schema["type"] == "union":
        return any(_fits(default, choice[0] if isinstance(choice, tuple) else choice) for choice in schema["choices"])
    if schema["type"] == "literal":
        return any(type(default) is type(value) and default == value for value in schema["expected"])
    kind = {"str": str, "int": int, "float": float, "bool": bool}.get(schema["type"])
    return type(default) is kind and not (isinstance(default, float) and not math.isfinite(default))
