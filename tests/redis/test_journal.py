"""A journal in a real Redis: who has it, what a restart, a pause and a lost answer do to it, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from quartile_async import MASTERLIST, Journal, JournalError, QuartileClient
from quartile_async._digests import digested
from quartile_async._journal import Ended, HeldJournal, Intended, Record, Stage, Subject, Taken, Void
from quartile_async._journal_rows import subject_of
from quartile_async._shared import journal as module
from quartile_async._shared import journal_session
from quartile_async._shared.connection import Link, UnreachableError
from quartile_async.emulator import Emulator, Fault
from quartile_async.redis import RedisJournal

from ..behaviour.conftest import client_for, items, until
from .server import RedisServer, free_port

pytestmark = pytest.mark.usefixtures("no_task_is_left")

SUBJECT = Subject("process/masterlist (asin, countryCode)", "https://api.quartile.com", "acme")
KEY = "quartile:journal:{catalogue}"


def journal_at(server: RedisServer, **settings: Any) -> RedisJournal:
    return RedisJournal(server.url, "catalogue", **{"lease": 1.0, **settings})


def records(batches: int) -> list[Record]:
    """Of so many batches of a hundred items, each of which has ended."""
    found: list[Record] = []
    for number in range(batches):
        first = number * 100
        indexes = list(range(first, first + 100))
        found += [digested(first, items(100)), Intended(number + 1, indexes), Taken(number + 1, f"id{number}", False)]
        found.append(Ended(number + 1, b"[]"))
    return found


def fields_of(server: RedisServer, *names: str) -> list[str]:
    """Of how the journal stands."""
    return [server.say("HGET", KEY, name).split(b"\r\n")[1].decode() for name in names]


@pytest.fixture(autouse=True)
def _warns_anew() -> None:
    module._warn_once.cache_clear()


@pytest.fixture
def client(emulator: Emulator) -> QuartileClient:
    return client_for(emulator)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(processing=0.01) as emulator:
        yield emulator


def test_it_fulfils_the_public_protocols() -> None:
    journal = RedisJournal("redis://localhost", "catalogue")
    assert isinstance(journal, Journal)
    assert isinstance(journal, HeldJournal)


async def test_what_was_written_is_read_page_by_page_as_it_stood_when_it_was_opened(server: RedisServer) -> None:
    journal, count = journal_at(server), 150
    contents = await journal.open(SUBJECT)
    assert (contents.items, contents.batches, contents.finished_at) == (0, 0, None)
    assert list(await journal.items_from(0)) == list(await journal.batches_from(-1, 0)) == []
    await journal.write(*records(count), Intended(count + 1, [3]), Void(count + 1), Intended(count + 2, [3]))
    await journal.close(finished=False)

    again = journal_at(server)
    contents = await again.open(SUBJECT)
    await again.write(digested(count * 100, items(7)), Intended(count + 3, [0, count * 100]))

    index, blocks = 0, 0
    while page := await again.items_from(index):
        index, blocks = page[-1].end, blocks + len(page)
        assert len(page) <= journal_session.PAGE
    assert (index, blocks, contents.items, contents.batches) == (count * 100, count, count * 100, count + 2)
    place, found = (-1, 0), []
    while batches := await again.batches_from(*place):
        place = (batches[-1].indexes[0], batches[-1].number)
        found += batches
    assert [batch.number for batch in found] == [1, count + 1, count + 2, *range(2, count + 1)]
    assert [batch.stage for batch in found[:3]] == [Stage.ENDED, Stage.VOID, Stage.INTENDED]
    assert (found[3].batch_id, found[3].results, found[3].indexes) == ("id1", b"[]", list(range(100, 200)))
    await again.close(finished=True)
    assert (await again.contents()) is not None


async def test_a_finished_journal_says_when_and_what_is_written_then_begins_anew(server: RedisServer) -> None:
    journal = journal_at(server)
    await journal.open(SUBJECT)
    await journal.write(*records(1))
    await journal.close(finished=True)
    finished = await journal.open(SUBJECT)
    assert finished.finished_at is not None
    assert finished.started_at <= finished.finished_at == finished.touched_at
    await journal.write(Intended(2, [0]))
    await journal.close(finished=False)
    contents = await journal.contents()
    assert contents is not None
    assert contents.finished_at is None


# ---- who has it


async def test_a_second_one_is_refused_at_once_and_told_who_has_it_and_for_how_long(server: RedisServer) -> None:
    first, second = journal_at(server, lease=30.0), journal_at(server)
    await first.open(SUBJECT)
    with pytest.raises(JournalError, match=r"in use by another upload, .* runs out in (29|30)\.\d s") as failure:
        await second.open(SUBJECT)
    assert fields_of(server, "holder")[0] in str(failure.value)
    with pytest.raises(JournalError, match="in use by another upload"):
        await first.open(SUBJECT)
    with pytest.raises(JournalError, match="in use by another upload"):
        await second.remove()
    await first.close(finished=False)
    await second.open(SUBJECT)
    await second.close(finished=False)


async def test_one_that_waits_has_it_soon_after_it_was_given_back(server: RedisServer) -> None:
    first, second = journal_at(server, lease=30.0), journal_at(server, wait=20.0)
    await first.open(SUBJECT)
    waiting = asyncio.ensure_future(second.open(SUBJECT))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await first.close(finished=False)
    async with asyncio.timeout(2):
        await waiting
    await second.close(finished=False)


async def test_the_lease_lasts_for_as_long_as_its_holder_lives(server: RedisServer) -> None:
    first, second = journal_at(server, lease=0.5), journal_at(server, wait=1.2)
    await first.open(SUBJECT)
    with pytest.raises(JournalError, match="in use"):
        await second.open(SUBJECT)
    assert first.is_held()
    await first.close(finished=False)


async def test_who_was_taken_over_writes_nothing_and_learns_it_without_writing(server: RedisServer) -> None:
    first = journal_at(server)
    await first.open(SUBJECT)
    told: list[Exception] = []
    first.when_lost(told.append)
    await first.write(*records(1))
    server.say("HSET", KEY, "holder", "elsewhere:1:abc", "fence", "2", "until", "99999999999999")
    before = fields_of(server, "seq", "holder", "fence", "touched")

    await until(lambda: told)
    assert not first.is_held()
    for _ in range(2):
        with pytest.raises(JournalError, match=r"taken over by another upload \(elsewhere:1:abc\)"):
            await first.write(Taken(1, "abc", False))
        with pytest.raises(JournalError, match="taken over by another upload"):
            await first.check_held()
    await first.close(finished=True)

    assert fields_of(server, "seq", "holder", "fence", "touched") == before
    assert len(told) == 1


async def test_a_write_that_finds_it_taken_over_fails_and_so_do_all_behind_it(server: RedisServer) -> None:
    first, second = journal_at(server, lease=30.0), journal_at(server)
    await first.open(SUBJECT)
    server.say("HSET", KEY, "until", "0")
    await second.open(SUBJECT)
    assert first.is_held(), "it cannot know yet"
    writes = [first.write(Intended(number, [number])) for number in (1, 2, 3)]
    assert all("taken over" in str(each) for each in await asyncio.gather(*writes, return_exceptions=True))
    assert fields_of(server, "seq") == ["0"]
    await first.close(finished=False)
    await second.close(finished=False)


async def test_a_lease_that_has_run_out_is_no_hindrance_while_nobody_has_come(server: RedisServer) -> None:
    journal = journal_at(server, lease=30.0)
    await journal.open(SUBJECT)
    server.say("HSET", KEY, "until", "0")
    await journal.write(*records(1))
    assert int(fields_of(server, "until")[0]) > 0
    await journal.close(finished=False)


async def test_a_clock_of_redis_that_is_put_back_keeps_nobody_out_for_ever(server: RedisServer) -> None:
    dead, second = journal_at(server, lease=1.0), journal_at(server, wait=5.0)
    await dead.open(SUBJECT)
    await dead._running.hold.end()
    server.say("HSET", KEY, "until", "99999999999999")
    async with asyncio.timeout(4):
        await second.open(SUBJECT)
    await dead.close(finished=False)
    await second.close(finished=False)


async def test_another_subject_is_refused_and_the_journal_is_given_back(server: RedisServer) -> None:
    journal = journal_at(server)
    await journal.open(SUBJECT)
    await journal.close(finished=False)
    with pytest.raises(JournalError, match="account was 'acme' and is now 'acme-de'"):
        await journal.open(Subject(SUBJECT.resource, SUBJECT.server, "acme-de"))
    assert fields_of(server, "holder") == [""]
    await journal.open(SUBJECT)
    await journal.close(finished=False)


async def test_one_that_is_cancelled_while_it_opens_holds_nothing(server: RedisServer) -> None:
    server.say("CLIENT", "PAUSE", "300", "WRITE")
    journal = journal_at(server, lease=30.0)
    opening = asyncio.ensure_future(journal.open(SUBJECT))
    await asyncio.sleep(0.1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await journal.open(SUBJECT)
    await journal.close(finished=False)


async def test_it_is_removed_whole_and_a_holder_is_told(server: RedisServer) -> None:
    journal = journal_at(server)
    await journal.open(SUBJECT)
    await journal.write(*records(2))
    assert (await journal_at(server).contents()) is not None
    await journal.close(finished=False)
    await journal.remove()
    await journal.remove()
    assert server.say("DBSIZE") == b":0\r\n"
    assert await journal.contents() is None

    await journal.open(SUBJECT)
    server.say("FLUSHALL")
    with pytest.raises(JournalError, match="is not in Redis any more"):
        await journal.write(*records(1))
    await journal.close(finished=False)
    assert server.say("DBSIZE") == b":0\r\n"


# ---- what is not as it should be


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (("DEL", f"{KEY}:taken"), "is damaged"),
        (("HDEL", f"{KEY}:ends", "1"), "is damaged"),
        (("DEL", f"{KEY}:read"), "is damaged"),
        (("DEL", KEY), "is damaged"),
        (("HSET", KEY, "version", "2"), "version 2, which this quartile_async does not know"),
    ],
)
async def test_a_journal_of_which_a_part_is_missing_or_that_is_newer_is_refused(
    server: RedisServer, damage: tuple[str, ...], words: str
) -> None:
    journal = journal_at(server)
    await journal.open(SUBJECT)
    await journal.write(*records(2))
    await journal.close(finished=False)
    server.say(*damage)
    before = fields_of(server, "fence") if damage != ("DEL", KEY) else []
    with pytest.raises(JournalError, match=words):
        await journal.open(SUBJECT)
    assert before == (fields_of(server, "fence") if before else [])


async def test_what_is_no_journal_is_an_error_in_words(server: RedisServer) -> None:
    server.say("SET", KEY, "mine")
    with pytest.raises(JournalError, match=r"does not do its part: .*WRONGTYPE"):
        await journal_at(server).open(SUBJECT)


async def test_records_that_nobody_wrote_are_an_error_in_words(server: RedisServer) -> None:
    journal = journal_at(server)
    await journal.open(SUBJECT)
    await journal.write(*records(1))
    await journal.close(finished=False)
    server.say("HSET", f"{KEY}:ends", "1", "nonsense")
    await journal.open(SUBJECT)
    with pytest.raises(JournalError, match="holds what nobody wrote there"):
        await journal.batches_from(-1, 0)
    await journal.close(finished=False)


# ---- what Redis's settings mean


async def test_what_may_be_lost_is_logged_once_for_each_redis(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say("CONFIG", "SET", "appendfsync", "everysec")
    try:
        with caplog.at_level(logging.WARNING, "quartile_async"):
            for name in ("one", "two"):
                journal = RedisJournal(server.url, name)
                await journal.open(SUBJECT)
                await journal.close(finished=False)
        with pytest.raises(JournalError, match="once a second"):
            await journal_at(server, durability="always").open(SUBJECT)
    finally:
        server.say("CONFIG", "SET", "appendfsync", "always")
    (told,) = (record.message for record in caplog.records)
    assert "A power cut of its machine may lose" in told


async def test_a_redis_without_a_file_is_refused_unless_that_is_wanted() -> None:
    with RedisServer(keeps=False) as server:
        with pytest.raises(JournalError, match="appendonly no"):
            await journal_at(server).open(SUBJECT)
        assert server.say("DBSIZE") == b":0\r\n"
        journal = journal_at(server, durability="none")
        await journal.open(SUBJECT)
        await journal.close(finished=False)


async def test_a_redis_that_throws_keys_away_is_refused() -> None:
    with RedisServer("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as server:
        with pytest.raises(JournalError, match="throws away keys"):
            await journal_at(server, durability="none").open(SUBJECT)


@pytest.mark.parametrize(
    ("rights", "durability", "words"),
    [
        (("-config",), "aof", ""),
        (("-config",), "always", "does not say when it writes"),
        (("-config", "-info"), "aof", "neither CONFIG nor INFO may be used"),
        (("-config", "-info"), "none", ""),
    ],
)
async def test_a_user_who_may_not_ask_is_told_what_is_not_known(
    own_server: RedisServer, rights: tuple[str, ...], durability: Any, words: str
) -> None:
    own_server.say("ACL", "SETUSER", "quartile", "on", ">s3cret", "~quartile:*", "+@all", *rights)
    url = own_server.url.replace("//", "//quartile:s3cret@")
    journal = RedisJournal(url, "catalogue", durability=durability)
    if words:
        with pytest.raises(JournalError, match=words) as failure:
            await journal.open(SUBJECT)
        assert "s3cret" not in str(failure.value)
        return
    await journal.open(SUBJECT)
    await journal.close(finished=False)


@pytest.mark.usefixtures("may_block")
@pytest.mark.parametrize("settings", [{"decode_responses": True}, {"protocol": 3}, {"protocol": 2}])
async def test_a_client_that_was_given_is_used_as_it_is_and_stays_open(
    server: RedisServer, emulator: Emulator, client: QuartileClient, settings: dict[str, Any]
) -> None:
    async with redis.asyncio.Redis.from_url(server.url, **settings) as given, client:
        for _ in range(2):
            journal = RedisJournal(given, "catalogue", durability="always")
            results = await client.upload(MASTERLIST, items(450), journal=journal).collect()
        assert all(result.ok and result.replayed for result in results)
        assert await given.ping()


# ---- Redis is away


class LosesAnswers:
    """Has commands done, and loses their answers now and then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
        self.count, self.every, self.lost = 0, every, 0
        command = Link.command

        async def losing(link: Link, *words: Any, **options: Any) -> Any:
            answer = await command(link, *words, **options)
            self.count += 1
            if self.count % self.every == 0:
                self.lost += 1
                link._has_failed()
                raise UnreachableError("lost")
            return answer

        monkeypatch.setattr(Link, "command", losing)


@pytest.mark.parametrize("every", [2, 3, 5])
async def test_lost_answers_lose_nothing_and_write_nothing_twice(
    server: RedisServer, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    losing = LosesAnswers(monkeypatch, every)
    async with client_for(emulator, max_in_flight=2) as client:
        first = await client.upload(MASTERLIST, items(2_000), journal=journal_at(server)).collect()
        second = await client.upload(MASTERLIST, items(2_000), journal=journal_at(server)).collect()
    assert losing.lost > 5
    assert all(result.ok for result in first)
    assert all(result.replayed for result in second)
    assert [(each.id, each.batch_id) for each in second] == [(each.id, each.batch_id) for each in first]
    assert emulator.items_received == 2_000
    assert fields_of(server, "seq") == ["80"]  # of each batch: read, intended, taken, ended


async def test_a_restart_in_the_middle_loses_nothing_and_sends_nothing_twice(
    own_server: RedisServer, emulator: Emulator, client: QuartileClient
) -> None:
    async with client:
        upload = client.upload(MASTERLIST, items(8_000), journal=journal_at(own_server, lease=2.0))
        running = asyncio.ensure_future(upload.collect())
        await until(lambda: upload.progress.done > 500)
        await asyncio.to_thread(own_server.restart, 0.5)
        results = await running
        again = await client.upload(MASTERLIST, items(8_000), journal=journal_at(own_server)).collect()
    assert all(result.ok and not result.resent for result in results)
    assert all(result.replayed for result in again)
    assert emulator.items_received == 8_000


@pytest.mark.slow
async def test_a_redis_that_stands_still_for_longer_than_the_lease_holds_up_the_upload_and_no_more(
    own_server: RedisServer, emulator: Emulator, client: QuartileClient
) -> None:
    async with client:
        upload = client.upload(MASTERLIST, items(5_000), journal=journal_at(own_server, lease=1.0))
        running = asyncio.ensure_future(upload.collect())
        await until(lambda: upload.progress.done > 500)
        own_server.freeze()
        await asyncio.sleep(0.2)
        before = emulator.items_received
        await asyncio.sleep(2.5)
        assert emulator.items_received == before, "nothing is submitted without its record"
        own_server.thaw()
        assert all(result.ok for result in await running)
    assert emulator.items_received == 5_000


async def test_a_redis_that_stays_away_ends_the_upload_with_every_item_accounted_for(
    own_server: RedisServer, emulator: Emulator, client: QuartileClient
) -> None:
    async with client:
        upload = client.upload(MASTERLIST, items(5_000), journal=journal_at(own_server, outage_limit=1.0))
        running = asyncio.ensure_future(upload.collect())
        await until(lambda: upload.progress.done > 500)
        own_server.stop()
        async with asyncio.timeout(20):
            with pytest.raises(
                JournalError, match=r"has not done its part for .* s: .*Run the same upload again"
            ) as end:
                await running
        told = [*end.value.results, *end.value.unaccounted]
        assert sorted(result.index for result in told) == list(range(upload.progress.read))
        own_server.start()
        results = await client.upload(MASTERLIST, items(5_000), journal=journal_at(own_server, wait=5.0)).collect()
    assert all(result.ok for result in results)
    assert emulator.items_received <= 5_000 + 100 * sum(result.resent for result in results)


@pytest.mark.parametrize("wrote", [True, False])
async def test_a_redis_that_comes_back_without_its_file_ends_the_upload_whether_it_writes_or_waits(
    own_server: RedisServer, emulator: Emulator, client: QuartileClient, wrote: bool
) -> None:
    ends = asyncio.Event()

    async def source() -> AsyncIterator[dict[str, Any]]:
        for number, each in enumerate(items(5_000)):
            yield each
            if number == 1_000 and not wrote:
                await ends.wait()

    async with client:
        upload = client.upload(MASTERLIST, source(), journal=journal_at(own_server))
        running = asyncio.ensure_future(upload.collect())
        await until(lambda: upload.progress.done > 500)
        own_server.stop()
        for file in own_server.folder.rglob("*aof*"):
            if file.is_file():
                file.unlink()
        own_server.start()
        async with asyncio.timeout(10):
            with pytest.raises(JournalError, match=r"is not in Redis any more: it was removed, or Redis has lost"):
                await running
    assert own_server.say("DBSIZE") == b":0\r\n"


async def test_a_redis_that_comes_back_as_it_stood_before_is_noticed(own_server: RedisServer) -> None:
    journal = journal_at(own_server, lease=30.0)
    await journal.open(SUBJECT)
    await journal.write(*records(1))
    dump = own_server.folder / "dump.rdb"
    own_server.say("SAVE")
    older = dump.read_bytes()
    await journal.write(*records(2)[4:])
    own_server.stop()
    for file in own_server.folder.rglob("*aof*"):
        if file.is_file():
            file.unlink()
    dump.write_bytes(older)
    own_server._keeps = False
    own_server.start()
    with pytest.raises(JournalError, match=r"has lost records of the journal .* it has 4\."):
        await journal.write(Void(2))
    await journal.close(finished=True)
    assert fields_of(own_server, "seq", "holder") == ["4", ""], "who goes on need not wait"


async def test_a_journal_that_has_more_records_than_were_written_is_not_written_to(server: RedisServer) -> None:
    journal = journal_at(server, lease=30.0)
    await journal.open(SUBJECT)
    await journal.write(*records(1))
    server.say("HSET", KEY, "seq", "99")
    with pytest.raises(JournalError, match=r"or has others than were written: it has 99\."):
        await journal.write(Void(1))
    assert server.say("HGET", f"{KEY}:ends", "1") == b"$3\r\ne[]\r\n"
    await journal.close(finished=False)


@pytest.mark.slow
async def test_leaving_an_upload_does_not_wait_for_a_redis_that_is_away(
    own_server: RedisServer, emulator: Emulator, client: QuartileClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with client:
        async with client.upload(MASTERLIST, items(5_000), journal=journal_at(own_server)) as upload:
            async for _ in upload:
                own_server.freeze()
                break
            left = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - left < journal_session.CLOSING + 1.0
    own_server.thaw()
    assert "was not given back, and will be free once its lease runs out" in caplog.text


async def test_an_address_where_nobody_listens_is_reported_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPENING", 0.5)
    with pytest.raises(JournalError, match="Check the address and the server"):
        await RedisJournal(f"redis://127.0.0.1:{free_port()}", "catalogue").open(SUBJECT)


async def test_a_full_redis_is_waited_for_and_then_told(own_server: RedisServer) -> None:
    journal = journal_at(own_server, outage_limit=0.5)
    await journal.open(SUBJECT)
    own_server.say("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(JournalError, match=r"OutOfMemoryError|OOM"):
        await journal.write(*records(5))
    assert own_server.say("HLEN", f"{KEY}:read") == b":0\r\n", "all of them or none"
    own_server.say("CONFIG", "SET", "maxmemory", "0")
    await journal.close(finished=False)


# ---- what is sent is checked


async def test_a_retry_is_checked_as_the_first_try_is(
    server: RedisServer, emulator: Emulator, client: QuartileClient
) -> None:
    emulator.add(Fault(on="submit", status=503, times=None))
    async with client:
        journal = journal_at(server)
        running = asyncio.ensure_future(client.upload(MASTERLIST, items(50), journal=journal).collect())
        await until(lambda: emulator.requests)
        await journal._running.hold.end()  # it is as if the process stood still for longer than its lease
        journal._running.hold._renewed_at = (-math.inf, -math.inf)
        server.say("HSET", KEY, "until", "0")
        other, subject = journal_at(server), fields_of(server, "subject")[0]
        await other.open(subject_of(subject))
        before = len(emulator.requests)
        with pytest.raises(JournalError, match="taken over by another upload") as failure:
            await running
    await other.close(finished=False)
    assert len(emulator.requests) == before
    assert [result.index for result in failure.value.unaccounted] == list(range(50))
