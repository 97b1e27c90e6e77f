"""Plans that are made on a real cluster."""

from __future__ import annotations

import functools
import os
import pickle
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dask.bag
import dask.dataframe
import pandas as pd
import pytest

from quartile_async import MASTERLIST, ConfigurationError, JournalError
from quartile_async._dask.inputs import input_of
from quartile_async._dask.parts import items_of
from quartile_async._dask.plan import Plan
from quartile_async._dask.planning import check_still_fits, planned
from quartile_async._dask.tasks import Call, Tasks

from ..redis.server import RedisServer


def item(number: int) -> dict[str, Any]:
    return {"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 20.5}


def write_catalogue(path: Path, numbers: Iterable[int]) -> Path:
    path.write_text("asin,countryCode,percACoS\n" + "".join(f"B0{number:08d},US,20.5\n" for number in numbers))
    return path


def plan_of(given: Any, dask_client: Any, server: RedisServer, **options: Any) -> Plan:
    address = functools.partial(str, server.url)
    return planned(input_of(given), MASTERLIST, dask_client, address=address, **options)


def check_nothing_is_left_on(dask_client: Any) -> None:
    """The cluster hears a moment later what nobody wants any more."""
    give_up_at = time.monotonic() + 10.0
    while left := dask_client.run_on_scheduler(lambda dask_scheduler: [str(key) for key in dask_scheduler.tasks]):
        assert time.monotonic() < give_up_at, left
        time.sleep(0.01)


def test_files_of_accounts_are_divided_and_parts_that_share_keys_are_in_one_chain(
    tmp_path: Path, dask_client: Any, server: RedisServer
) -> None:
    first = write_catalogue(tmp_path / "first.csv", [*range(5_000), 1])
    second = write_catalogue(tmp_path / "second.csv", [2_500, *range(10_000, 11_000)])
    given = [("acme", first), ("other", first), ("acme", second)]

    plan = plan_of(given, dask_client, server, part_items=2_000)

    assert list(map(str, plan.parts)) == [
        "acme: first.csv, records 1 to 2,000",
        "acme: first.csv, records 2,001 to 4,000",
        "acme: first.csv, records 4,001 to 5,001",
        "other: first.csv, records 1 to 2,000",
        "other: first.csv, records 2,001 to 4,000",
        "other: first.csv, records 4,001 to 5,001",
        "acme: second.csv, records 1 to 1,001",
    ]
    assert plan.chains == ((0, 2), (1, 6), (3, 5), (4,))
    read = [row["asin"] for part in plan.parts[:3] for row in items_of(part, None, MASTERLIST).records()]
    assert read == [item(number)["asin"] for number in [*range(5_000), 1]]
    assert server.say("DBSIZE") == b":0\r\n"
    check_nothing_is_left_on(dask_client)


def test_what_comes_back_through_the_scheduler_is_small(
    tmp_path: Path, dask_client: Any, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_catalogue(tmp_path / "catalogue.csv", [*range(30_000), 3])
    sent: dict[str, int] = {}
    real = Tasks.results

    def results(self: Tasks, name: str, calls: Iterable[Call], *, at_once: int) -> list[Any]:
        calls = list(calls)
        found = real(self, name, calls, at_once=at_once)
        sent[name] = len(pickle.dumps((calls, found)))
        return found

    monkeypatch.setattr(Tasks, "results", results)

    plan = plan_of(path, dask_client, server, part_items=10_000)

    assert plan.chains == ((0, 3), (1,), (2,))
    assert sent.keys() == {"examine", "survey", "compare", "forget"}
    assert sum(sent.values()) < 5_000  # the digests alone are 240,000 bytes


def test_an_upload_that_is_run_again_has_the_same_parts_until_a_file_changes(
    tmp_path: Path, dask_client: Any, server: RedisServer
) -> None:
    path = write_catalogue(tmp_path / "catalogue.csv", range(100))
    plan = Plan.from_json(plan_of([path], dask_client, server, part_items=40).to_json())

    check_still_fits(plan, input_of(path), MASTERLIST, dask_client)

    with path.open("a") as file:
        file.write("B0,US,1.5\n")
    with pytest.raises(JournalError, match=r"catalogue\.csv is not the file.*had 1,926 bytes.*has 1,936 bytes"):
        check_still_fits(plan, input_of(path), MASTERLIST, dask_client)


def with_its_process(number: int) -> dict[str, Any]:
    return item(number) | {"process": os.getpid()}


def test_the_partitions_of_a_bag_are_its_parts_and_their_items_never_come_to_the_caller(
    dask_client: Any, server: RedisServer
) -> None:
    numbers = [*range(40), 2]
    bag = dask.bag.from_sequence(numbers, npartitions=4).map(with_its_process)

    plan = plan_of(bag, dask_client, server)

    assert [str(part) for part in plan.parts] == ["partition 0", "partition 1", "partition 2", "partition 3"]
    assert plan.chains == ((0, 3), (1,), (2,))
    check_still_fits(plan, input_of(bag), MASTERLIST, dask_client)
    check_nothing_is_left_on(dask_client)


def test_the_partitions_of_a_dataframe_are_its_parts(dask_client: Any, server: RedisServer) -> None:
    frame = pd.DataFrame(list(map(item, [*range(40), 11])))

    plan = plan_of(dask.dataframe.from_pandas(frame, npartitions=4, sort=False), dask_client, server)

    assert plan.chains == ((0,), (1, 3), (2,))


def test_an_error_on_a_worker_comes_to_the_caller_as_itself_and_ends_all_other_tasks(
    tmp_path: Path, dask_client: Any, server: RedisServer
) -> None:
    good = write_catalogue(tmp_path / "good.csv", range(10))
    bad = tmp_path / "bad.csv"
    bad.write_text("asin,countryCode,price\nB01,US,5\n")

    with pytest.raises(ConfigurationError, match=r"bad\.csv .*'percACoS' must be there too"):
        plan_of([good, bad], dask_client, server)
    with pytest.raises(ConfigurationError, match=r"has no column 'percACoS'"):
        frame = pd.DataFrame({"asin": ["B01"] * 9, "countryCode": ["US"] * 9})
        plan_of(dask.dataframe.from_pandas(frame, npartitions=8), dask_client, server)

    check_nothing_is_left_on(dask_client)


def test_no_more_tasks_than_said_are_known_to_the_cluster_and_results_are_in_order(
    dask_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[int] = []
    with Tasks(dask_client) as tasks:
        real = tasks._begin

        def begin(*arguments: Any) -> None:
            real(*arguments)
            known.append(len(tasks._running))

        monkeypatch.setattr(tasks, "_begin", begin)

        assert tasks.results("test", (Call(abs, (-number,)) for number in range(20)), at_once=3) == list(range(20))
        assert tasks.results("test", [], at_once=3) == []

    assert max(known) == 3


def killing_its_worker(number: int, marker: str) -> dict[str, Any]:
    if number == 7:
        try:
            Path(marker).touch(exist_ok=False)
        except FileExistsError:
            return item(number)
        os._exit(1)
    return item(number)


def test_a_worker_that_dies_in_the_survey_costs_nothing(tmp_path: Path, dask_client: Any, server: RedisServer) -> None:
    bag = dask.bag.from_sequence([*range(10), 7], npartitions=3).map(killing_its_worker, str(tmp_path / "died"))

    plan = plan_of(bag, dask_client, server)

    assert (tmp_path / "died").exists()
    assert plan.chains == ((0,), (1, 2))


def test_parts_of_no_items_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="part_items=0"):
        planned(input_of("a.csv"), MASTERLIST, None, address=str, part_items=0)
