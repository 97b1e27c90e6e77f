"""The masterlist and its item. Apart from the other resources, and loaded when it is asked for: a model takes as long
to make as all else here takes to import.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ._resources import Resource

CountryCode = Literal[
    "US", "CA", "MX", "GB", "DE", "ES", "IT", "FR", "SE", "PL", "NL", "JP", "AU", "SG", "AE", "BR", "IN", "SA"
]


def _no_truth_value(value: Any) -> Any:
    # In lax mode pydantic reads True as 1.0, which would pass as a target of 1 %.
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a valid number, not a truth value")
    return value


# A number is taken by the first branch, which costs no call into Python; numbers in strings, as csv.DictReader
# gives them, by the second.
Percentage = Annotated[
    Annotated[float, Field(strict=True, ge=1.0, allow_inf_nan=False)]
    | Annotated[float, Field(ge=1.0, allow_inf_nan=False), BeforeValidator(_no_truth_value)],
    Field(union_mode="left_to_right"),
]


class MasterlistItem(BaseModel):
    """A target ACoS for one product in one marketplace (contract, "Submit a batch").

    Attributes:
        asin: at least 3 characters.
        countryCode: the marketplace.
        percACoS: the target ACoS in percent, at least 1.0: 27.5 means 27.5 %.
    """

    # An instance that was changed after it was made is checked again: nothing is sent unchecked.
    model_config: ClassVar[ConfigDict] = ConfigDict(revalidate_instances="always", extra="ignore")

    asin: Annotated[str, Field(min_length=3)]
    countryCode: CountryCode
    percACoS: Percentage


MASTERLIST: Resource[MasterlistItem] = Resource("process/masterlist", item=MasterlistItem, key=("asin", "countryCode"))
