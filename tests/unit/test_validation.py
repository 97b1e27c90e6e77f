from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Tag,
    ValidationError,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)

from quartile_async import MASTERLIST, UNMANAGED_ASINS, ConfigurationError, MasterlistItem, Resource
from quartile_async._json import encoded
from quartile_async._keys import row_keys
from quartile_async._validation import Checked, codec_for
from quartile_async._wires import mapping_schema

GOOD: dict[str, Any] = {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5}


def check(resource: Resource[Any], *items: Any) -> Checked:
    return codec_for(resource).check(items)


def sent(resource: Resource[Any], *items: Any) -> Any:
    return json.loads(encoded(check(resource, *items).wires))


@pytest.mark.parametrize(
    "item",
    [
        GOOD,
        MasterlistItem(**GOOD),
        MappingProxyType(GOOD),
        {**GOOD, "percACoS": "27.5"},
        {**GOOD, "percACoS": Decimal("27.5")},
        {**GOOD, "note": "not named by the model"},
        type("Row", (dict,), {})(GOOD),
    ],
)
def test_a_masterlist_item_may_be_any_mapping_or_model_and_only_the_models_fields_are_sent(item: Any) -> None:
    assert sent(MASTERLIST, item) == [GOOD]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"asin": "B0"}, "asin"),
        ({"asin": None}, "asin"),
        ({"asin": 1234567890}, "asin"),
        ({"countryCode": "us"}, "countryCode"),
        ({"countryCode": "XX"}, "countryCode"),
        ({"percACoS": 0.99}, "percACoS"),
        ({"percACoS": "0.99"}, "percACoS"),
        ({"percACoS": True}, "percACoS"),
        ({"percACoS": float("nan")}, "percACoS"),
        ({"percACoS": float("inf")}, "percACoS"),
        ({"percACoS": "NaN"}, "percACoS"),
        ({"percACoS": "inf"}, "percACoS"),
        ({"percACoS": "27,5"}, "percACoS"),
        ({"percACoS": ""}, "percACoS"),
        ({"percACoS": None}, "percACoS"),
    ],
)
def test_an_invalid_item_is_told_by_the_field_that_is_wrong(changes: dict[str, Any], field: str) -> None:
    checked = check(MASTERLIST, GOOD, {**GOOD, **changes}, GOOD)

    assert list(checked.positions) == [0, 2]
    assert checked.problems[1].startswith(f"{field}: ")
    assert "http" not in checked.problems[1]
    assert ";" not in checked.problems[1], "one field, one sentence"


@pytest.mark.parametrize("item", [None, 3, "B01N5IB20Q", ["B01N5IB20Q", "US", 27.5], object(), {}])
def test_what_is_no_item_at_all_is_invalid_and_costs_only_itself(item: Any) -> None:
    checked = check(MASTERLIST, item, GOOD)

    assert list(checked.positions) == [1]
    assert checked.problems[0]


def test_an_exception_in_an_items_place_is_its_own_reason() -> None:
    checked = check(MASTERLIST, ValueError("line 7: a quote is not closed"), GOOD)

    assert checked.problems == {0: "line 7: a quote is not closed"}
    assert list(checked.positions) == [1]


def test_a_model_that_was_changed_after_it_was_made_is_checked_again() -> None:
    item = MasterlistItem(**GOOD)
    item.percACoS = float("nan")

    assert set(check(MASTERLIST, item).problems) == {0}


class Loose(BaseModel):
    """A user's model that says nothing of being checked again."""

    name: str = Field(alias="campaignName", min_length=2)
    budget: float = 1.0


def test_a_users_model_is_checked_again_too_and_goes_out_under_its_aliases() -> None:
    campaigns = Resource("unmanaged/campaigns", item=Loose, key="campaignName")
    good, bad = Loose(campaignName="spring"), Loose(campaignName="summer")
    bad.name = "x"

    assert sent(campaigns, good) == [{"campaignName": "spring", "budget": 1.0}]
    assert set(check(campaigns, good, bad).problems) == {1}
    assert check(campaigns, {"campaignName": "SPRING"}).keys == check(campaigns, good).keys


def test_a_users_model_with_what_is_no_finite_number_is_invalid() -> None:
    campaigns = Resource("unmanaged/campaigns", item=Loose, key="campaignName")

    checked = check(campaigns, {"campaignName": "spring", "budget": float("nan")}, {"campaignName": "summer"})

    assert list(checked.positions) == [1]
    assert "budget" in checked.problems[0]


class Plain(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    name: str = Field(min_length=2)
    kind: Literal["Manual", "Auto", 3] = "Auto"
    budget: float | None = None
    clicks: Annotated[int, BeforeValidator(lambda value: 0 if value == "" else value)] = 0
    paused: bool = False


class Upper(Plain):
    @field_serializer("name")
    def spell(self, name: str) -> str:
        return name.upper()


class Paired(Plain):
    @model_validator(mode="after")
    def check_both(self) -> Paired:
        if self.paused and self.clicks:
            raise ValueError("a paused one has no clicks")
        return self


class Computed(Plain):
    @computed_field  # type: ignore[prop-decorator]  # mypy does not know it
    @property
    def label(self) -> str:
        return f"{self.name}!"


class Strict(Plain):
    model_config = ConfigDict(strict=True)


class Open(Plain):
    model_config = ConfigDict(extra="allow")


class Dated(Plain):
    since: date = date(2026, 1, 1)


class Factory(Plain):
    tag: str = Field(default_factory=lambda: "x")


class Marked(Plain):
    mark: Annotated[str, PlainSerializer(lambda value: f"<{value}>")] = ""


class Inner(Plain):
    inner: Plain | None = None


class Tagged(Plain):
    value: Annotated[int, Tag("number")] | Annotated[str, Tag("text")] = 0


class Defaulted(Plain):
    target: float = float("nan")


class Misfit(Plain):
    on: int = True


class Dumped(Plain):
    def model_dump(self, **options: Any) -> dict[str, Any]:
        return super().model_dump(**options) | {"name": "EU-" + self.name}


class Excluding(Plain):
    model_config = ConfigDict(revalidate_instances="always")

    note: str = Field(exclude=True)


class Opening(Plain):
    def __init__(self, **values: Any) -> None:
        super().__init__(**(values | {"name": "always this"}))


MODELS = [
    MasterlistItem,
    Loose,
    Plain,
    Upper,
    Paired,
    Computed,
    Strict,
    Open,
    Dated,
    Factory,
    Marked,
    Inner,
    Opening,
    Tagged,
    Defaulted,
    Misfit,
    Excluding,
]


def test_only_models_that_do_nothing_of_their_own_are_checked_as_mappings() -> None:
    assert [model for model in MODELS if mapping_schema(model) is not None] == [
        MasterlistItem,
        Plain,
        Tagged,
    ]
    assert mapping_schema(Dumped) is None


@pytest.mark.parametrize("others", [[], [{"name": "other"}], [Plain(name="third")]])
def test_an_instance_means_the_same_whoever_its_neighbours_are(others: list[Any]) -> None:
    resource = Resource("x", item=Dumped, key="name")

    assert sent(resource, Dumped(name="shoe"), *others)[0]["name"] == "EU-shoe"


def test_an_instance_that_pydantic_checks_again_keeps_what_it_would_not_dump() -> None:
    checked = check(Resource("x", item=Excluding, key="name"), Excluding(name="shoe", note="n"), {"name": "bag"})

    assert list(checked.positions) == [0]
    assert "note" not in checked.wires[0]
    assert checked.problems == {1: "note: Field required"}


values = st.sampled_from(
    ["Manual", "Auto", 3, " ab ", "", "7", 7, 7.5, "7.5", None, True, float("inf"), [], {}, date(2026, 2, 3), b"x"]
)
of_plain = st.dictionaries(
    st.sampled_from(
        ["name", "kind", "budget", "clicks", "paused", "since", "inner", "campaignName", "x", "value", "note", "on"]
    ),
    values,
).map(lambda fields: {"name": "some", "campaignName": "some"} | fields)


@pytest.mark.parametrize("model", MODELS)
@given(st.lists(of_plain, max_size=4))
def test_a_model_means_the_same_however_it_is_checked(model: type[BaseModel], items: list[dict[str, Any]]) -> None:
    checked = check(Resource("x", item=model), *items)

    for position, item in enumerate(items):
        try:
            expected = model.model_validate(item).model_dump(mode="json", by_alias=True)
            finite = "inf" not in repr(expected) and "nan" not in repr(expected)
        except ValidationError as error:
            assert position in checked.problems
            assert str(error.errors()[0]["loc"][:1] or "").strip("(',)") in checked.problems[position]
        else:
            assert finite is (position in checked.positions)
            if finite:
                assert checked.wires[list(checked.positions).index(position)] == expected


class Kind(enum.Enum):
    MANUAL = "Manual"


class Typed(BaseModel):
    kind: Kind
    number: UUID


def test_a_key_is_that_of_the_json_also_for_fields_of_other_types() -> None:
    typed = Resource("unmanaged/campaigns", item=Typed, key=("kind", "number"))
    number = UUID("497F6ECA-6276-4993-BFEB-53CBBBBA6F08")

    assert check(typed, {"kind": "Manual", "number": number}).keys == row_keys(
        [{"kind": "MANUAL", "number": str(number)}], typed.key
    )


class Explosive(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def explode(cls, name: str) -> str:
        if name == "boom":
            raise KeyError("no ValueError")
        return name


def test_a_users_validator_that_raises_anything_costs_only_its_item() -> None:
    checked = check(Resource("x", item=Explosive, key="name"), {"name": "a"}, {"name": "boom"}, {"name": "b"})

    assert list(checked.positions) == [0, 2]
    assert "KeyError" in checked.problems[1]


@pytest.mark.parametrize(
    "item",
    [{"a": float("nan")}, {"a": [1, {"b": float("inf")}]}, {"a": date(2026, 1, 1)}, {"a": b"x"}, {1: "a"}, 3, [1]],
)
def test_without_a_model_only_finite_json_objects_are_valid(item: Any) -> None:
    assert set(check(UNMANAGED_ASINS, item, {"a": 1}).problems) == {0}


def test_without_a_model_the_whole_object_is_sent_and_is_the_key() -> None:
    item = {"asin": "B01N5IB20Q", "nested": {"n": [1, None, True]}}

    assert sent(UNMANAGED_ASINS, item) == [item]
    assert check(UNMANAGED_ASINS, item).keys == check(UNMANAGED_ASINS, {**item, "asin": "b01n5ib20q"}).keys


def test_an_object_that_lacks_a_field_of_the_key_is_invalid() -> None:
    checked = check(Resource("unmanaged/asins", key=("asin",)), {"asin": "a"}, {"sku": "b"})

    assert list(checked.positions) == [0]
    assert "asin" in checked.problems[1]


mixed = st.lists(
    st.sampled_from([GOOD, {**GOOD, "percACoS": 0}, None, ValueError("x"), MasterlistItem(**GOOD), {"asin": "B0"}]),
    max_size=30,
)


@given(mixed)
def test_every_item_is_either_valid_or_has_a_problem(items: list[Any]) -> None:
    checked = codec_for(MASTERLIST).check(items)

    assert sorted([*checked.positions, *checked.problems]) == list(range(len(items)))
    assert len(checked.wires) == len(checked.keys) == len(checked.positions)


@pytest.mark.parametrize(
    "path", ["", "/", "../login", "a/../b", "a//b", "a?b", "a#b", "a b", "http://evil", ".", "a/.", "é"]
)
def test_a_resources_path_cannot_leave_the_api(path: str) -> None:
    with pytest.raises(ConfigurationError):
        Resource(path)


@pytest.mark.parametrize(
    "options", [{"key": "id"}, {"key": ("asin", "status")}, {"item": dict}, {"item": MasterlistItem, "key": "sku"}]
)
def test_a_resource_that_could_not_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Resource("unmanaged/asins", **options)


@pytest.mark.parametrize(
    ("options", "again"),
    [({}, False), ({"key": "asin"}, True), ({"key": "asin", "idempotent": False}, False), ({"idempotent": True}, True)],
)
def test_a_batch_may_be_sent_again_where_there_is_a_key_or_the_resource_says_so(
    options: Mapping[str, Any], again: bool
) -> None:
    assert Resource("unmanaged/asins", **options).may_be_sent_again is again
