"""Which path means what, in either or both spellings (contract, "Submit a batch" and "Tokens")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._faults import Kind
from ._schema import SCHEMAS

Spelling: TypeAlias = Literal["both", "example", "table"]

AUTH_KINDS: tuple[Kind, ...] = ("login", "refresh", "validate")
METHODS: dict[Kind, str] = {"submit": "PATCH", "poll": "GET", "login": "POST", "refresh": "POST", "validate": "POST"}


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for; the resource is empty where the path does not name it."""

    kind: Kind
    resource: str = ""
    batch_id: str = ""


class Routes:
    """The paths that are served: the worked example's, the change table's, or both."""

    def __init__(self, prefix: str, spelling: Spelling, auth_prefix: str) -> None:
        if spelling not in ("both", "example", "table"):
            raise ValueError(f"`batch_paths` is 'both', 'example' or 'table', not {spelling!r}")
        root, auth = _escaped(prefix), _escaped(auth_prefix)
        resource = f"(?P<resource>{'|'.join(map(re.escape, SCHEMAS))})"
        batch_id = "batch/(?P<batch_id>[^/]+)"
        example: list[tuple[Kind, str]] = [("submit", resource), ("poll", batch_id)]
        table: list[tuple[Kind, str]] = [("submit", f"{resource}/batch"), ("poll", f"{resource}/{batch_id}")]
        served = example * (spelling != "table") + table * (spelling != "example")
        self._patterns: list[tuple[Kind, re.Pattern[str]]] = [
            (kind, re.compile(f"{root}/{pattern}")) for kind, pattern in served
        ]
        for kind in AUTH_KINDS:
            self._patterns.append((kind, re.compile(f"{auth}/{kind}")))

    def find(self, path: str) -> Route:
        for kind, pattern in self._patterns:
            if found := pattern.fullmatch(path):
                parts = found.groupdict()
                return Route(kind, resource=parts.get("resource", ""), batch_id=parts.get("batch_id", ""))
        return Route("other")


def _escaped(prefix: str) -> str:
    return re.escape("/" + prefix.strip("/")) if prefix.strip("/") else ""
