"""What can be divided, the plan that is kept, and what is said where the input is another one later."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.bag
import dask.dataframe
import pandas as pd
import pytest

from quartile_async import MASTERLIST, ConfigurationError, JournalError, Resource
from quartile_async._dask.forms import Form, form_of, opened_as
from quartile_async._dask.inputs import Collection, FileInput, Files, input_of
from quartile_async._dask.parts import Part, Partition, Records, SourceFile, check_is_the_same, items_of
from quartile_async._dask.plan import Plan, check_forms, check_is_the_same_input
from quartile_async._dask.planning import checked_reading, origin_of, to_survey
from quartile_async._dask.travel import check_resource_travels
from quartile_async._frames import TableItems
from quartile_async._tables.places import Place
from quartile_async.files import ItemFiles, read_items

FORM = Form("csv", ("asin", "percACoS"), {"ASIN": "asin"}, ("asin",), decimal=None, encoding="utf-8-sig", delimiter=";")
FILE = SourceFile("/data/catalogue.csv", 1_000_000, 1_700_000_000_000_000_001, FORM)
FRAME = pd.DataFrame({"asin": ["B01", "B02"], "countryCode": ["US", "DE"], "percACoS": [20.5, float("nan")]})


def write_catalogue(path: Path, count: int = 3) -> Path:
    path.write_text("asin,countryCode,percACoS\n" + "".join(f"B0{number},US,20\n" for number in range(count)))
    return path


# ----------------------------------------------------------------------------------------------------------------
# What is given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.csv", [(None, "a.csv")]),
        (Path("a.csv"), [(None, "a.csv")]),
        (["a.csv", Path("b.parquet")], [(None, "a.csv"), (None, "b.parquet")]),
        ((name for name in ("b.csv", "a.csv")), [(None, "b.csv"), (None, "a.csv")]),
        ([("acme", "a.csv"), ("other", Path("a.csv"))], [("acme", "a.csv"), ("other", "a.csv")]),
        ([("acme", "a.csv"), (None, "b.csv"), "c.csv"], [("acme", "a.csv"), (None, "b.csv"), (None, "c.csv")]),
        (["../x/a.csv.gz"], [(None, "../x/a.csv.gz")]),
    ],
)
def test_files_are_taken_in_their_order_and_by_their_absolute_paths(given: Any, expected: Any) -> None:
    files = tuple(FileInput(account, os.path.abspath(path)) for account, path in expected)  # noqa: PTH100  # as promised

    assert input_of(given) == Files(files)


def test_a_file_that_was_opened_is_read_as_it_was_opened(tmp_path: Path) -> None:
    path = write_catalogue(tmp_path / "a.csv")
    opened = read_items(path, resource=MASTERLIST, percent_scale=100, decimal=",")

    given = input_of(ItemFiles([opened]))

    assert isinstance(given, Files)
    assert given.files[0].form == form_of(opened)
    assert given.files[0].form.scale == 100  # type: ignore[union-attr]  # it is not None
    with pytest.raises(ConfigurationError, match="was given twice, to be read in two ways"):
        input_of([path, opened])
    with pytest.raises(ConfigurationError, match="was given in part"):
        input_of(opened.between(Place(), 1))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (3, "A int cannot be divided into parts. Give a path, an iterable of paths"),
        ([{"asin": "B01"}], "dict is no file. Give a path.*into a bag"),
        ({"a.csv": 1}, "A dict cannot be divided"),
        (b"a.csv", "A bytes cannot be divided"),
        (FRAME, "A DataFrame cannot be divided.*dataframe of Dask"),
        ([], "No file was given"),
        ({"a.csv", "b.csv"}, "A set has no order"),
        ([["acme", "a.csv"]], "list is no file"),
        ([("acme", "a.csv", 3)], "tuple is no file"),
        (["a.pdf"], "the suffix '.pdf' is none that can be read"),
        (["s3://bucket/secret/a.csv"], r"s3://\.\.\. is no file.*dask.dataframe"),
        (dask.bag.from_sequence([1]).sum(), "A Item of Dask cannot be uploaded"),
        (dask.dataframe.from_pandas(FRAME, npartitions=1)["asin"], "A Series of Dask cannot be uploaded"),
        (dask.delayed(3), "A Delayed.* of Dask cannot be uploaded"),
    ],
)
def test_what_cannot_be_divided_is_an_error_that_says_what_can(given: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        input_of(given)


def test_a_collection_is_taken_by_its_partitions_and_nothing_is_computed() -> None:
    def never(_: object) -> None:
        raise AssertionError

    bag = input_of(dask.bag.from_sequence(range(6), npartitions=3).map(never))
    frame = input_of(dask.dataframe.from_pandas(FRAME, npartitions=2).map_partitions(never, meta=FRAME))

    assert isinstance(bag, Collection)
    assert isinstance(frame, Collection)
    assert [str(bag), str(frame)] == ["a bag of 3 partitions", "a dataframe of 2 partitions"]


# ----------------------------------------------------------------------------------------------------------------
# The items of a partition


def test_a_partition_of_a_bag_are_its_items_as_often_as_they_are_asked_for() -> None:
    items = items_of(Part(0, None, Partition(0)), iter([{"asin": "B01"}]), MASTERLIST)

    assert [list(items), list(items)] == [[{"asin": "B01"}]] * 2  # type: ignore[arg-type]  # it is a list


def test_a_partition_of_a_dataframe_are_its_rows() -> None:
    items = items_of(Part(0, None, Partition(0)), FRAME, MASTERLIST)

    assert isinstance(items, TableItems)
    assert list(items.blocks()) == [
        [
            {"asin": "B01", "countryCode": "US", "percACoS": 20.5},
            {"asin": "B02", "countryCode": "DE", "percACoS": None},
        ]
    ]
    with pytest.raises(ConfigurationError, match="has no column 'percACoS'"):
        items_of(Part(0, None, Partition(0)), FRAME.drop(columns="percACoS"), MASTERLIST)


# ----------------------------------------------------------------------------------------------------------------
# Files that have changed


def test_a_file_that_has_changed_is_an_error_that_names_it_and_says_what_to_do(tmp_path: Path) -> None:
    path = write_catalogue(tmp_path / "a.csv")
    found = path.stat()
    file = SourceFile(str(path), found.st_size, found.st_mtime_ns, form_of(read_items(path, resource=MASTERLIST)))
    part = Part(0, None, Records(file))
    assert len(list(items_of(part, None, MASTERLIST).records())) == 3  # type: ignore[union-attr]  # it is a file

    write_catalogue(path, 4)

    with pytest.raises(
        JournalError, match=r"a\.csv is not the file.*had 56 bytes.*on this worker it has 66 bytes.*new name"
    ):
        items_of(part, None, MASTERLIST)
    write_catalogue(path, 3)
    os.utime(path, ns=(0, file.modified + 1_000_000))
    with pytest.raises(JournalError, match="now it has 56 bytes"):
        check_is_the_same(file)
    path.unlink()
    with pytest.raises(JournalError, match=r"a\.csv, which this upload.*cannot be opened on this worker: No such file"):
        items_of(part, None, MASTERLIST)


# ----------------------------------------------------------------------------------------------------------------
# The plan


def plan_of(*parts: Part, files: tuple[SourceFile, ...] = (FILE,), given: Any = ("a.csv",)) -> Plan:
    return Plan(
        origin_of(input_of(given), MASTERLIST, {"decimal": ","}),
        files,
        10,
        parts,
        tuple((n,) for n in range(len(parts))),
    )


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(),
        plan_of(Part(0, None, Records(FILE)), Part(1, "acme", Records(FILE, Place(10, 123, 12), 20))),
        plan_of(Part(0, None, Partition(0)), Part(1, None, Partition(1)), files=()),
    ],
)
def test_a_plan_that_was_kept_is_the_same_again(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan
    assert pickle.loads(pickle.dumps(plan.parts)) == plan.parts  # noqa: S301  # its own


def test_a_plan_of_a_thousand_parts_of_a_file_has_the_file_once() -> None:
    parts = [Part(n, None, Records(FILE, Place(n * 50_000, n * 10**8, n * 50_000), n * 50_000)) for n in range(1_000)]

    assert len(plan_of(*parts).to_json()) < 150_000


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[", plan_of(Part(0, None, Records(FILE))).to_json().replace(b'"file":0', b'"file":1')]
)
def test_a_plan_that_cannot_be_read_is_an_error_that_says_what_to_do(content: bytes) -> None:
    with pytest.raises(JournalError, match=r"cannot be read.*a new name"):
        Plan.from_json(content)


OTHER = Resource[Any]("process/other", key="asin")
BAG = dask.bag.from_sequence(range(4), npartitions=2)


@pytest.mark.parametrize(
    ("now", "resource", "reading", "what"),
    [
        (["a.csv", "b.csv", "c.csv"], MASTERLIST, None, r"/c\.csv was not among its files, and is now"),
        (["a.csv"], MASTERLIST, None, r"/b\.csv was among its files, and is not now"),
        (["b.csv", "a.csv"], MASTERLIST, None, "its files come in another order now"),
        (["a.csv", "b.csv", "b.csv"], MASTERLIST, None, "it had 2 files, and now has 3"),
        (["a.csv", ("acme", "b.csv")], MASTERLIST, None, r"/b\.csv of the account acme was not among"),
        (BAG, MASTERLIST, None, "it was files, and now is a bag of 2 partitions"),
        (
            ["a.csv", "b.csv"],
            OTHER,
            None,
            r"process/masterlist \(key: asin, countryCode\), and now goes to process/other",
        ),
        (["a.csv", "b.csv"], MASTERLIST, {"decimal": ","}, r'read with \{\}, and now would be with \{"decimal":","\}'),
    ],
)
def test_another_input_is_an_error_that_says_in_what_it_differs(
    now: Any, resource: Resource[Any], reading: Any, what: str
) -> None:
    plan = replace(plan_of(), origin=origin_of(input_of(["a.csv", "b.csv"]), MASTERLIST, None))
    check_is_the_same_input(plan, origin_of(input_of(["a.csv", Path("b.csv")]), MASTERLIST, {}))

    with pytest.raises(JournalError, match=f"{what}.*Give the same input again.*a new name"):
        check_is_the_same_input(plan, origin_of(input_of(now), resource, reading))


def test_another_number_of_partitions_is_another_input() -> None:
    plan = plan_of(given=BAG)

    with pytest.raises(JournalError, match="it was a bag of 2 partitions, and now is a bag of 4 partitions"):
        check_is_the_same_input(plan, origin_of(input_of(BAG.repartition(4)), MASTERLIST, {"decimal": ","}))


def test_a_file_that_is_opened_with_other_settings_is_another_input(tmp_path: Path) -> None:
    path = write_catalogue(tmp_path / "a.csv")
    found = input_of(read_items(path, resource=MASTERLIST))
    assert isinstance(found, Files)
    form = found.files[0].form
    assert form is not None
    plan = plan_of(files=(SourceFile(str(path), 1, 2, form),))

    check_forms(plan, found)
    check_forms(plan, input_of(path))
    with pytest.raises(JournalError, match=r"a\.csv was opened with other settings"):
        check_forms(plan, input_of(read_items(path, resource=MASTERLIST, decimal=",")))


def test_options_of_reading_that_cannot_be_used_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="options of reading cannot be kept"):
        checked_reading({"spellings": object()})
    with pytest.raises(ConfigurationError, match=r"reading has 'resource', and files are read with all_named, decimal"):
        checked_reading({"resource": MASTERLIST})


def test_the_same_options_of_reading_are_the_same_in_whatever_way_they_are_given() -> None:
    one = {"required": {"b", "a"}, "named": {"Target": "percACoS"}}
    other = {"named": {"Target": "percACoS"}, "required": iter(["b", "a", "b"])}

    assert checked_reading(one) == checked_reading(other) == {"named": {"Target": "percACoS"}, "required": ["a", "b"]}
    assert checked_reading(None) == {}


@pytest.mark.parametrize(
    "name",
    ["typed.parquet", "sellers_workbook.xlsx", "array.json", "lines.json", "decimal_commas.csv", "two_parts.csv.zst"],
)
def test_a_file_is_read_the_same_by_its_form_that_was_kept(name: str) -> None:
    path = Path(__file__).parents[1] / "messy" / name
    opened = read_items(path, resource=MASTERLIST)
    plan = plan_of(files=(SourceFile(str(path), 1, 2, form_of(opened)),))

    again = opened_as(str(path), Plan.from_json(plan.to_json()).files[0].form)

    for told in ("header", "columns", "renamed", "marks", "encoding", "delimiter", "complete"):
        assert getattr(again, told) == getattr(opened, told)
    assert list(map(repr, again.records())) == list(map(repr, opened.records()))


# ----------------------------------------------------------------------------------------------------------------
# Accounts and resources


def test_only_accounts_with_several_parts_are_surveyed() -> None:
    parts = [
        Part(number, account, Partition(number)) for number, account in enumerate(["a", "b", None, "a", None, "c"])
    ]

    assert to_survey(parts) == [0, 2, 3, 4]


def test_a_resource_travels_where_workers_can_import_its_model() -> None:
    from pydantic import BaseModel

    class Local(BaseModel):
        name: str

    check_resource_travels(MASTERLIST)
    check_resource_travels(OTHER)
    with pytest.raises(ConfigurationError, match=r"Workers cannot import .*Local.*top level of a module"):
        check_resource_travels(Resource("process/local", item=Local))
    in_a_notebook = type("Item", (BaseModel,), {"__module__": "__main__"})
    with pytest.raises(ConfigurationError, match=r"Workers cannot import Item.*from '__main__'"):
        check_resource_travels(Resource("process/local", item=in_a_notebook))


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Part(0, None, Partition(3)), "partition 3"),
        (Part(0, None, Records(FILE)), "catalogue.csv"),
        (Part(0, None, Records(FILE, Place(1_000, 5, 5), 2_000)), "catalogue.csv, records 1,001 to 2,000"),
        (Part(0, None, Records(FILE, Place(1_000, 5, 5))), "catalogue.csv, records from 1,001 on"),
    ],
)
def test_a_part_says_where_it_is(part: Part, told: str) -> None:
    assert str(part) == told
