from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from quartile_async import _json
from quartile_async._json import encoded, parsed

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(params=["with orjson", "without"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.setattr(_json, "_fast_loads", None)
        monkeypatch.setattr(_json, "_fast_dumps", None)
    else:
        assert _json._fast_loads is not None, "the tests install it"


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=4))
def test_with_and_without_orjson_the_same_is_sent_and_read(objects: list[dict[str, Any]]) -> None:
    fast = encoded(objects)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json, "_fast_loads", None)
        patch.setattr(_json, "_fast_dumps", None)
        plain = encoded(objects)
        assert parsed(fast) == parsed(plain) == objects
    assert parsed(fast) == parsed(plain) == objects


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"NaN", b"[Infinity]", b"-Infinity", b'{"a": 1,}', b"{'a': 1}", b'"\xff"', b'"\\ud800"', b"01", b"1 2"],
)
def test_what_is_no_json_is_refused_in_the_same_words(text: bytes) -> None:
    with pytest.raises(ValueError) as theirs:  # noqa: PT011  # the words are compared below
        from_json(text, allow_inf_nan=False)
    with pytest.raises(ValueError) as ours:  # noqa: PT011  # and here
        parsed(text)

    assert str(ours.value) == str(theirs.value)


@pytest.mark.usefixtures("either")
def test_an_integer_of_more_than_64_bits_is_sent_exactly() -> None:
    assert encoded([{"n": 10**30}]) == b'[{"n":1000000000000000000000000000000}]'
