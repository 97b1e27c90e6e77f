"""What can be uploaded: where it goes, what an item looks like, and what makes two items the same one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pydantic

from ._errors import ConfigurationError

T = TypeVar("T")

_PATH = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")

OWN_FIELDS = ("id", "status")
"""What the server adds to a row; not part of any natural key (contract, "Ask for a batch")."""


@dataclass(frozen=True, init=False)
class Resource(Generic[T]):
    """A kind of item, and where batches of it are sent.

    Attributes:
        path: the path after the version prefix, "process/masterlist" for example.
        item: a pydantic model that every item is checked against; None takes any JSON object. Fields that the
            model does not name are not sent.
        key: the names, as they stand in the JSON, of the fields of the natural key. Empty: the whole object.
            Two keys are equal with letter case folded and numbers by value.
        idempotent: whether a batch may be sent again when the answer to it was lost. None: only with a key.

    Raises:
        ConfigurationError: the path is not a plain one, `item` is not a model, or the key names a field that
            the model does not have, or one that the server overwrites in its rows ("id", "status").
    """

    path: str
    item: type[T] | None
    key: tuple[str, ...]
    idempotent: bool | None

    def __init__(
        self,
        path: str,
        *,
        item: type[T] | None = None,
        key: str | tuple[str, ...] | list[str] | None = None,
        idempotent: bool | None = None,
    ) -> None:
        names = (key,) if isinstance(key, str) else tuple(key or ())
        set_field = object.__setattr__  # the class is frozen
        set_field(self, "path", _plain_path(path))
        set_field(self, "item", _model(item))
        set_field(self, "key", _key_names(names, item))
        set_field(self, "idempotent", idempotent)

    @property
    def may_be_sent_again(self) -> bool:
        """Whether sending the same items twice leaves the same state as sending them once."""
        return bool(self.key) if self.idempotent is None else self.idempotent


def _plain_path(path: str) -> str:
    plain = path.strip("/")
    if not _PATH.fullmatch(plain):
        raise ConfigurationError(
            f"{path!r} is not a resource's path. Give what follows the version prefix, in letters, digits and "
            "'-', '.', '_', '~', such as 'process/masterlist'."
        )
    return plain


def _model(item: Any) -> Any:
    if item is not None and not (isinstance(item, type) and issubclass(item, pydantic.BaseModel)):
        raise ConfigurationError(f"item={item!r} is not a pydantic model. Give a subclass of BaseModel, or None.")
    return item


def _key_names(names: tuple[str, ...], item: Any) -> tuple[str, ...]:
    if overwritten := [name for name in names if name in OWN_FIELDS]:
        raise ConfigurationError(
            f"{overwritten} cannot be part of a natural key: the server sets these fields in its rows, so a row "
            "could not be matched to its item."
        )
    if item is not None:
        known = {wire_name(name, field) for name, field in item.model_fields.items()}
        if missing := [name for name in names if name not in known]:
            raise ConfigurationError(f"The key names {missing}, but {item.__name__} sends only {sorted(known)}.")
    return names


def wire_name(name: str, field: Any) -> str:
    """The name under which a model's field stands in the JSON."""
    return str(field.serialization_alias or field.alias or name)


UNMANAGED_ASINS: Resource[dict[str, Any]] = Resource("unmanaged/asins")
UNMANAGED_CAMPAIGNS: Resource[dict[str, Any]] = Resource("unmanaged/campaigns")
