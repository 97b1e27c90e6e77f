"""Tables of pandas, polars and Arrow are taken as they are: row by row, off the event loop, in bounded memory."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quartile_async import MASTERLIST, UNMANAGED_ASINS, ConfigurationError, Outcome, QuartileClient, Resource
from quartile_async import _frames as frames
from quartile_async.emulator import Emulator

from .conftest import client_for, item, items, until

ANY_OBJECT = Resource[dict[str, Any]]("unmanaged/asins", key="asin")


class Capsule:
    """Has an Arrow stream, and nothing else."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def reader_of(rows: list[dict[str, Any]]) -> pa.RecordBatchReader:
    table = pa.Table.from_pylist(rows)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=70))


KINDS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "pandas with its own types": lambda rows: pd.DataFrame(rows).convert_dtypes(),
    "pandas on Arrow": lambda rows: pd.DataFrame(rows).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame,
    "pyarrow, a table": pa.Table.from_pylist,
    "pyarrow, a reader": reader_of,
    "something with an Arrow stream": lambda rows: Capsule(pl.DataFrame(rows)),
    "rows as mappings": list,
}
TABLES = {name: make for name, make in KINDS.items() if name != "rows as mappings"}


@pytest.fixture(params=["pyarrow", "nanoarrow", "polars"])
def arrow_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Only this one is there to read Arrow streams."""
    monkeypatch.setattr(frames, "_ARROW_READERS", {request.param: frames._ARROW_READERS[request.param]})
    return str(request.param)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_table_is_taken_as_it_is(kind: str, emulator: Emulator, client: QuartileClient) -> None:
    rows = items(2_350)
    results = await client.upload(MASTERLIST, KINDS[kind](rows)).collect()

    assert all(result.ok for result in results)
    assert [dict(result.item) for result in results] == rows
    assert len(emulator.applied) == 2_350


@pytest.mark.usefixtures("arrow_library")
async def test_each_of_three_libraries_reads_an_arrow_stream(emulator: Emulator, client: QuartileClient) -> None:
    rows = [*items(1_200), {**item(1_200), "percACoS": None}]
    frame = pl.DataFrame(rows).with_columns(pl.col("percACoS").cast(pl.Float32) + 2.3, note=pl.lit("a"))
    results = await client.upload(MASTERLIST, Capsule(frame)).collect()

    assert [result.outcome for result in results] == [Outcome.SUCCEEDED] * 1_200 + [Outcome.REJECTED]
    assert results[0].item == {**rows[0], "percACoS": 27.3, "note": "a"}
    assert emulator.applied[rows[0]["asin"], "US"]["percACoS"] == 27.3


@pytest.mark.usefixtures("arrow_library")
async def test_an_empty_arrow_stream_is_an_upload_of_nothing(client: QuartileClient) -> None:
    assert await client.upload(MASTERLIST, Capsule(pl.DataFrame(items(1)).clear())).collect() == []


async def test_without_a_library_that_reads_arrow_the_error_names_one(
    client: QuartileClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_ARROW_READERS", {"no_such_library": frames._by_pyarrow})
    with pytest.raises(ConfigurationError, match="pip install pyarrow"):
        await client.upload(MASTERLIST, Capsule(pl.DataFrame(items(1)))).collect()


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow, a table"])
async def test_the_time_left_is_told_because_a_table_has_a_length(kind: str, client: QuartileClient) -> None:
    upload = client.upload(MASTERLIST, KINDS[kind](items(200)))
    seen = [upload.progress.time_left async for _ in upload]

    assert all(left is not None for left in seen)


@pytest.mark.parametrize("nothing", [None, float("nan"), np.nan, pd.NaT, pd.NA])
async def test_whatever_stands_for_nothing_in_pandas_is_none_and_rejected(nothing: Any, client: QuartileClient) -> None:
    frame = pd.DataFrame({"asin": ["B01N5IB20Q", "B07FZ8S74R"], "countryCode": "US", "percACoS": [27.5, nothing]})
    valid, empty = await client.upload(MASTERLIST, frame).collect()

    assert valid.ok
    assert empty.outcome is Outcome.REJECTED
    assert empty.item["percACoS"] is None


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (27.3, 27.3),
        (np.float32(27.3), 27.3),
        (np.float64(27.3), 27.3),
        (np.int64(27), 27),
        (Decimal("27.3"), 27.3),
        ("27.3", 27.3),
        (27, 27),
    ],
)
@pytest.mark.parametrize("dtype", [None, "object"])
async def test_numbers_are_what_people_mean(
    value: Any, sent: float, dtype: Any, emulator: Emulator, client: QuartileClient
) -> None:
    targets = pd.Series([value, value], dtype=dtype)
    frame = pd.DataFrame({"asin": ["B01N5IB20Q", "B07FZ8S74R"], "countryCode": "US", "percACoS": targets})
    results = await client.upload(MASTERLIST, frame).collect()

    assert all(result.ok for result in results)
    assert emulator.applied["B01N5IB20Q", "US"]["percACoS"] == sent


async def test_a_narrow_float_is_the_number_that_was_written(emulator: Emulator, client: QuartileClient) -> None:
    written = [1.1, 27.3, 33.333333, 1234567.0, 99.99]
    for make in (
        lambda rows: pd.DataFrame(rows).astype({"percACoS": "float32"}),
        lambda rows: pl.DataFrame(rows).cast({"percACoS": pl.Float32}),
        lambda rows: pl.DataFrame(rows).cast({"percACoS": pl.Float32}).to_arrow(),
    ):
        rows = [item(number, target=target) for number, target in enumerate(written)]
        results = await client.upload(MASTERLIST, make(rows)).collect()
        assert [float(np.float32(result.item["percACoS"])) for result in results] == [
            float(np.float32(target)) for target in written
        ]
        assert [f"{result.item['percACoS']:.7g}" for result in results] == [f"{target:.7g}" for target in written]
        assert results[1].item["percACoS"] == 27.3


async def test_texts_and_categories_and_truth_values_are_what_they_are_in_python(client: QuartileClient) -> None:
    frame = pd.DataFrame(
        {
            "asin": pd.Series(["B01N5IB20Q", "B07FZ8S74R"], dtype="string"),
            "countryCode": pd.Categorical(["US", "DE"]),
            "percACoS": [27.5, 18.0],
            "is_new": [True, False],
            7: [1, 2],
        }
    )
    results = await client.upload(MASTERLIST, frame).collect()

    assert [result.ok for result in results] == [True, True]
    assert results[0].item == {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5, "is_new": True, "7": 1}
    assert {type(value) for value in results[0].item.values()} == {str, float, bool, int}


@pytest.mark.parametrize("kind", TABLES)
async def test_a_resource_without_a_model_gets_json(kind: str, emulator: Emulator, client: QuartileClient) -> None:
    rows = [
        {"asin": f"B0{number}", "price": Decimal("2.5"), "since": dt.date(2025, 1, number + 1)} for number in (1, 2)
    ]
    results = await client.upload(ANY_OBJECT, TABLES[kind](rows)).collect()

    assert all(result.ok for result in results), results
    (batch,) = emulator.batches
    assert batch.items == [{"asin": f"B0{n}", "price": 2.5, "since": f"2025-01-0{n + 1}"} for n in (1, 2)]


@pytest.mark.parametrize("kind", TABLES)
async def test_a_table_without_a_column_that_is_needed_is_an_error_that_names_it(
    kind: str, emulator: Emulator, client: QuartileClient
) -> None:
    rows = [{"ASIN": "B01N5IB20Q", "countryCode": "US", "target": 27.5}]
    with pytest.raises(ConfigurationError, match="no column 'asin' and no 'percACoS'") as raised:
        await client.upload(MASTERLIST, TABLES[kind](rows)).collect()

    assert "'ASIN', 'countryCode', 'target'" in str(raised.value)
    assert emulator.requests == []


async def test_a_missing_column_of_a_known_table_is_told_before_anything_starts(client: QuartileClient) -> None:
    for frame in (pd.DataFrame({"asin": ["B0"]}), pl.DataFrame({"asin": ["B0"]}), pa.table({"asin": ["B0"]})):
        with pytest.raises(ConfigurationError, match="percACoS"):
            client.upload(MASTERLIST, frame)
    with pytest.raises(ConfigurationError, match="no column 'asin'"):
        client.upload(ANY_OBJECT, pd.DataFrame({"id": [1]}))
    with pytest.raises(ConfigurationError, match="more than once"):
        client.upload(UNMANAGED_ASINS, pd.DataFrame([[1, 2]], columns=["asin", "asin"]))


async def test_a_frame_is_never_iterated_by_its_column_names(client: QuartileClient) -> None:
    class ColumnsOnly:
        """A table of a library that nobody knows."""

        def __dataframe__(self) -> None: ...

        def __iter__(self) -> Any:
            return iter(["asin", "countryCode", "percACoS"])

    with pytest.raises(ConfigurationError, match="a ColumnsOnly, that cannot be read row by row"):
        client.upload(MASTERLIST, ColumnsOnly())
    for column in (pd.DataFrame(items(1)), pl.DataFrame(items(1))):
        results = await client.upload(MASTERLIST, column).collect()
        assert [result.ok for result in results] == [True]


@pytest.mark.parametrize("make", [pd.Series, pl.Series], ids=["pandas", "polars"])
async def test_a_series_of_mappings_is_iterated_by_row(make: Any, client: QuartileClient) -> None:
    results = await client.upload(MASTERLIST, make(items(3))).collect()

    assert [result.ok for result in results] == [True] * 3


async def test_an_arrow_stream_without_columns_is_an_error(client: QuartileClient) -> None:
    with pytest.raises(ConfigurationError, match="no rows of named columns"):
        await client.upload(MASTERLIST, pa.chunked_array([[1, 2]])).collect()


async def test_a_relation_of_duckdb_is_a_table(client: QuartileClient) -> None:
    with duckdb.connect() as database:
        relation = database.sql(
            "SELECT 'B0' || lpad(n::VARCHAR, 8, '0') AS asin, 'US' AS countryCode, 27.5 AS percACoS "
            "FROM range(2500) t(n)"
        )
        results = await client.upload(MASTERLIST, relation).collect()

    assert [result.ok for result in results] == [True] * 2_500
    assert results[7].item["asin"] == "B000000007"


async def test_a_reader_is_read_only_as_far_as_there_is_room_and_off_the_event_loop(emulator: Emulator) -> None:
    read, threads = 0, set()

    def batches() -> Any:
        nonlocal read
        for _ in range(2_000):
            read += 1
            threads.add(threading.current_thread())
            yield pa.RecordBatch.from_pylist(items(100))

    schema = pa.RecordBatch.from_pylist(items(1)).schema
    async with client_for(emulator, max_in_flight=2) as client:
        async with client.upload(MASTERLIST, pa.RecordBatchReader.from_batches(schema, batches())) as upload:
            async for _ in upload:
                await until(lambda: upload.progress.in_flight == 0)
                break

    assert 1 <= read <= 2 + 8 + 2
    assert threading.current_thread() not in threads


def test_one_large_batch_becomes_small_blocks() -> None:
    frame = pl.DataFrame(items(5_000), infer_schema_length=None)
    for table in (
        frames.PandasTable(frame.to_pandas()),
        frames.PolarsTable(frame),
        frames.ArrowTable(frame.rechunk().to_arrow()),
    ):
        sizes = [len(list(rows)) for _, rows in table.blocks()]
        assert sum(sizes) == 5_000
        assert max(sizes) == frames.BLOCK


async def test_a_journal_goes_on_with_a_table(emulator: Emulator, client: QuartileClient, tmp_path: Any) -> None:
    frame = pd.DataFrame(items(300))
    await client.upload(MASTERLIST, frame, journal=tmp_path / "a.journal").collect()
    requests = len(emulator.requests)
    again = await client.upload(MASTERLIST, frame, journal=tmp_path / "a.journal").collect()

    assert len(emulator.requests) == requests
    assert all(result.replayed and result.ok for result in again)


def test_none_of_the_libraries_is_imported_for_items_that_are_no_table() -> None:
    code = (
        "import asyncio, sys\n"
        "from quartile_async import MASTERLIST, QuartileClient\n"
        "async def main():\n"
        "    async with QuartileClient(subscription_key='k', auth='t', base_url='http://127.0.0.1:1') as client:\n"
        "        async with client.upload(MASTERLIST, []): pass\n"
        "asyncio.run(main())\n"
        "unwanted = {'pandas', 'polars', 'pyarrow', 'nanoarrow', 'numpy', 'quartile_async._frames'} & {*sys.modules}\n"
        "assert not unwanted, unwanted"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_odd_types_of_pandas_polars_and_arrow_mean_what_they_show() -> None:
    narrow = pd.Series([27.3, 18.1], dtype="float32")
    frame = pd.DataFrame(
        {
            "moment": pd.Series([np.datetime64("2024-01-01T00:00:00", "ns"), None], dtype="object"),
            "span": pd.Series([np.timedelta64(5_000, "ns"), None], dtype="object"),
            "category": narrow.astype("category"),
            "sparse": pd.arrays.SparseArray(narrow),
        }
    )
    arrow = pa.table(
        {
            "codes": pa.array([27.3, 18.1], pa.float32()).dictionary_encode(),
            "list": pa.array([[27.3], [float("nan")]], pa.list_(pa.float32())),
            "wide": pa.array([float("nan"), 0.1 + 0.2]),
        }
    )
    lists = pl.DataFrame(
        {"list": [[27.3], [18.1]], "wide": [float("nan"), 1.5]}, schema_overrides={"list": pl.List(pl.Float32)}
    )

    assert rows(frame)[0] == {
        "moment": dt.datetime(2024, 1, 1),  # noqa: DTZ001  # without a zone
        "span": dt.timedelta(microseconds=5),
        "category": 27.3,
        "sparse": 27.3,
    }
    assert rows(arrow) == [
        {"codes": 27.3, "list": [27.3], "wide": None},
        {"codes": 18.1, "list": [None], "wide": 0.1 + 0.2},
    ]
    assert rows(lists) == [{"list": [27.3], "wide": None}, {"list": [18.1], "wide": 1.5}]


def rows(table: Any) -> list[dict[str, Any]]:
    return [
        dict(zip(columns, cells, strict=True))
        for columns, block in frames._reader_of(table).blocks()
        for cells in block
    ]
