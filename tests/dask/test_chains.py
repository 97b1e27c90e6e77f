"""Which parts share keys: told by digests, as the comparison of the keys themselves would tell it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async import MASTERLIST, Resource
from quartile_async._dask.chains import (
    DIGEST,
    DIGESTS_OF_A_BUCKET,
    MOST_BUCKETS,
    Bucket,
    buckets_for,
    chains_of,
    digests,
    in_buckets,
)
from quartile_async._validation import codec_for

ITEM = {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 20}
WHOLE: Resource[Any] = Resource("process/whole")


def chains_by_digests(parts: Sequence[tuple[str | None, Sequence[Any]]], buckets: int) -> tuple[tuple[int, ...], ...]:
    """Of parts, each with its account and its keys."""
    kept = [in_buckets(digests(keys, account), buckets) for account, keys in parts]
    links = []
    for place in range(buckets):
        bucket = Bucket()
        for part, contents in enumerate(kept):
            middle = len(contents[place]) // 2 // DIGEST * DIGEST  # as it comes in pieces
            bucket.add(part, bytes(contents[place][:middle]))
            bucket.add(part, bytes(contents[place][middle:]))
        assert len(bucket.links) < max(1, len(parts))
        links += bucket.links
    return chains_of(len(parts), links)


def chains_by_keys(parts: Sequence[tuple[str | None, Sequence[Any]]]) -> tuple[tuple[int, ...], ...]:
    """The same in the plainest way: sets that have a key in common become one, until none has."""
    groups = [({number}, {(account, key) for key in keys}) for number, (account, keys) in enumerate(parts)]
    while True:
        pair = next((pair for pair in itertools.combinations(groups, 2) if pair[0][1] & pair[1][1]), None)
        if pair is None:
            return tuple(sorted(tuple(sorted(numbers)) for numbers, _ in groups))
        groups = [group for group in groups if group not in pair]
        groups.append((pair[0][0] | pair[1][0], pair[0][1] | pair[1][1]))


KEYS = st.one_of(
    st.text("ab\0\ud800ü", max_size=3),
    st.tuples(st.sampled_from([(None,), (True,), (False,), "a", "1", ("[]", "a")]), st.sampled_from(["a", ("{}",)])),
)


@given(
    parts=st.lists(st.tuples(st.sampled_from([None, "", "acme"]), st.lists(KEYS, max_size=5)), max_size=9),
    buckets=st.sampled_from([1, 2, 16, 256]),
)
def test_parts_are_in_one_chain_exactly_if_keys_link_them(parts: Any, buckets: int) -> None:
    assert chains_by_digests(parts, buckets) == chains_by_keys(parts)


@given(links=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_each_part_is_in_exactly_one_chain_and_in_order(links: list[tuple[int, int]]) -> None:
    chains = chains_of(31, links)

    assert sorted(itertools.chain.from_iterable(chains)) == list(range(31))
    assert all(chain == tuple(sorted(chain)) for chain in chains)
    assert chains == tuple(sorted(chains))
    whose = {part: chain for chain in chains for part in chain}
    assert all(whose[one] is whose[other] for one, other in links)


def test_a_long_row_of_links_is_followed_quickly() -> None:
    count = 100_000

    assert chains_of(count, ((part, part + 1) for part in reversed(range(count - 1)))) == (tuple(range(count)),)


@pytest.mark.parametrize(
    ("resource", "one", "other", "are_equal"),
    [
        (MASTERLIST, ITEM, ITEM | {"asin": "b01n5ib20q", "percACoS": 30}, True),
        (MASTERLIST, ITEM, ITEM | {"countryCode": "DE"}, False),
        (WHOLE, {"a": 1, "b": [None]}, {"b": [None], "a": 1.0, "id": 5}, True),
        (WHOLE, {"a": True}, {"a": 1}, False),
        (WHOLE, {"a": 1}, {"a": "1"}, True),
    ],
)
def test_keys_have_the_same_digest_exactly_if_they_are_the_same_to_an_upload(
    resource: Resource[Any], one: Any, other: Any, are_equal: bool
) -> None:
    first, second = digests(codec_for(resource).check([one, other]).keys, None)

    assert (first == second) is are_equal


def test_digests_are_the_same_in_every_process() -> None:
    code = (
        "from quartile_async._dask.chains import digests;"
        "print([each.hex() for each in digests(['b01\\0us', ((None,), ('{}', ('a', 'b')))], 'acme')])"
    )

    told = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }

    assert told == {
        f"{[each.hex() for each in digests(['b01' + chr(0) + 'us', ((None,), ('{}', ('a', 'b')))], 'acme')]}\n"
    }


@pytest.mark.parametrize(
    ("items", "buckets"),
    [(0, 1), (1, 1), (250_000, 1), (250_001, 2), (500_000, 2), (10_000_000, 64), (10**9, 256)],
)
def test_a_bucket_has_so_few_digests_that_they_can_be_compared_in_little_memory(items: int, buckets: int) -> None:
    assert buckets_for(items) == buckets
    assert buckets == MOST_BUCKETS or items / buckets <= DIGESTS_OF_A_BUCKET


@given(keys=st.lists(st.text(max_size=3)), buckets=st.sampled_from([1, 2, 64, 256]))
def test_no_digest_is_lost_between_buckets_and_each_is_in_the_bucket_of_its_leading_bits(
    keys: list[str], buckets: int
) -> None:
    contents = in_buckets(digests(keys, None), buckets)

    assert len(contents) == buckets
    found = [
        (place, bytes(content[at : at + DIGEST]))
        for place, content in enumerate(contents)
        for at in range(0, len(content), DIGEST)
    ]
    assert sorted(digest for _, digest in found) == sorted(digests(keys, None))
    assert all(int.from_bytes(digest) * buckets >> 8 * DIGEST == place for place, digest in found)
