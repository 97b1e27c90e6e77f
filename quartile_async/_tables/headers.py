"""Columns as people name them: which of them are the fields that are needed. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .._errors import ConfigurationError

MASTERLIST_SPELLINGS: Mapping[str, Sequence[str]] = {
    "asin": ("ASIN", "Product ASIN", "Child ASIN", "Amazon ASIN"),
    "countryCode": ("Country Code", "Country", "Marketplace", "Marketplace Code", "Market"),
    "percACoS": ("Perc ACoS", "Target ACoS", "ACoS Target", "Target ACoS Percent", "Target ACoS Percentage"),
}
"""Field -> names of columns that mean it, whatever their case, blanks and signs. "ACoS" alone is none: reports call the
achieved one so."""


def _check_named(header: Sequence[str], named: Mapping[str, str], known: Sequence[str], *, strict: bool) -> None:
    """Raises ConfigurationError where what was said of columns cannot be."""
    if strict and (unknown := [column for column in named if column not in header]):
        raise ConfigurationError(f"There is no column {listed(unknown)}: the columns are {listed(header)}.")
    if known and (misspelt := [field for field in named.values() if field not in known]):
        raise ConfigurationError(f"There is no field {listed(misspelt)}: the fields are {listed(known)}.")
    if len(set(named.values())) < len(named):
        raise ConfigurationError(f"Two columns are said to be the same field: {listed(named)}.")


MOST_LISTED = 15
"""Names that one message has."""


def matched_columns(
    header: Sequence[str],
    required: Iterable[str],
    spellings: Mapping[str, Sequence[str]],
    named: Mapping[str, str],
    *,
    fields: Iterable[str] = (),
    strict: bool = True,
) -> dict[str, str]:
    """Which columns are which fields: column -> field, for those that are not spelled like their field.

    Args:
        header: the columns' names.
        required: fields that must be there.
        spellings: field -> names that mean it.
        named: column -> field, as the user has said.
        fields: others that there may be.
        strict: whether there can be no other columns; else what is said of others is kept.

    Raises:
        ConfigurationError: a field has no column, or more than one; it says what was found and what to do.
    """
    _check_named(header, named, list(dict.fromkeys((*required, *spellings, *fields))), strict=strict)
    columns = dict(named)
    for field in dict.fromkeys((*required, *spellings)):
        if field in named.values():
            continue
        meant = {_plain(name) for name in (field, *spellings.get(field, ()))}
        found = [column for column in header if _plain(column) in meant and column not in columns]
        if field in found and not strict:  # JSON: some records may have one, and some the other
            continue
        if len(found) > 1:
            raise ConfigurationError(
                f"The columns {listed(found)} could each be {field}. Say which one is: --map {found[0]!r}={field}"
            )
        if found and found[0] != field:
            columns[found[0]] = field
    there = [columns.get(column, column) for column in header]
    if twice := [field for field in columns.values() if there.count(field) > 1]:
        raise ConfigurationError(f"{listed(twice)} is a column of its own already: the columns are {listed(header)}.")
    if missing := [field for field in required if field not in there]:
        raise ConfigurationError(
            f"The columns are {listed(header)}; {listed(missing)} must be there too{_known(missing, spellings)}. "
            "Where a column has another name, say so with --map COLUMN=FIELD."
        )
    return columns


def _known(fields: Sequence[str], spellings: Mapping[str, Sequence[str]]) -> str:
    names = [name for field in fields for name in spellings.get(field, ())]
    return f" (or {listed(names)})" if names else ""


def listed(names: Iterable[str]) -> str:
    """Names, for people: no more of them than one reads."""
    known = list(names)
    more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    return ", ".join(map(repr, known[:MOST_LISTED])) + more


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def parsed_map(texts: Iterable[str]) -> dict[str, str]:
    """Column -> field, from texts such as "Target ACoS=percACoS".

    Raises:
        ConfigurationError: a text is another.
    """
    named: dict[str, str] = {}
    for text in texts:
        column, sign, field = text.rpartition("=")
        if not (column.strip() and sign and field.strip()):
            raise ConfigurationError(f"--map {text!r} is not COLUMN=FIELD. Give one such as 'Target ACoS=percACoS'.")
        named[column.strip()] = field.strip()
    return named
