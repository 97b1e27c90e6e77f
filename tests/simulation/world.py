"""A world drawn from a seed: a server with its faults, a client with its settings, uploads and how they are left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from quartile_async import (
    MASTERLIST,
    ItemResult,
    LoginAuth,
    QuartileClient,
    QuartileError,
    RefreshAuth,
    Resource,
    Upload,
)
from quartile_async.emulator import Emulator, Fault, Lognormal, RateLimit

from .virtual import EPOCH, Outage, VirtualHttp

ONCE = Resource[dict[str, Any]]("unmanaged/asins", key="asin", idempotent=False)
REFUSED_ENDING = "9"


def faults(rng: random.Random) -> list[Fault]:
    """Every kind of fault; a world has some of them."""
    share = rng.choice([0.02, 0.1, 0.3])
    often: dict[str, Any] = {"times": None, "share": share}
    seldom: dict[str, Any] = {"times": rng.randrange(1, 4), "after": rng.randrange(10)}
    return [
        Fault(on="submit", drop="before", **often),
        Fault(on="submit", drop="after", **often),
        Fault(on="poll", drop="before", **often),
        Fault(on="poll", drop="after", **often),
        Fault(on="submit", status=rng.choice([500, 502, 503, 504, 408]), taken=True, **often),
        Fault(on="submit", status=rng.choice([500, 502, 503, 504, 408, 425]), **often),
        Fault(on="poll", status=rng.choice([500, 502, 503, 504, 408]), body="<html>a proxy</html>", **often),
        Fault(on="poll", status=503, headers={"Retry-After": rng.choice(["0", "3", "-1", "inf", "soon"])}, **often),
        Fault(on="any", status=429, headers={"Retry-After": rng.choice(["0", "1", "7", "40"])}, **seldom),
        Fault(on="any", status=429, body={"message": "Rate limit is exceeded. Try again in 4 seconds."}, **seldom),
        Fault(on="any", status=429, body="<html>slow down</html>", **seldom),
        Fault(on="any", status=429, headers={"Retry-After": "31536000"}, after=rng.randrange(60)),
        Fault(on="submit", status=403, body={"message": QUOTA}, after=rng.randrange(5, 40)),
        Fault(on="any", status=401, body={"message": "invalid subscription key"}, after=rng.randrange(5, 80)),
        Fault(on="submit", status=200, body="<html>maintenance</html>", **often),
        Fault(on="submit", status=200, body=b'{"batchId": "0123', taken=True, **seldom),
        Fault(on="submit", rewrite=lambda told: {"batchId": "../../auth/v2/login"}, **seldom),
        Fault(on="submit", status=413, **often),
        Fault(on="submit", status=422, body={"detail": "something is wrong"}, **seldom),
        Fault(on="submit", status=422, body={"detail": [{"loc": ["body", 0, "asin"], "msg": "no"}]}, **seldom),
        Fault(on="submit", status=400, body={"detail": "no"}, **seldom),
        Fault(on="poll", status=404, **seldom),
        Fault(on="poll", status=200, body=b"", **often),
        Fault(on="poll", rewrite=lambda told: {**told, "batchId": "f" * 24}, **often),
        Fault(on="poll", rewrite=lambda told: {**told, "status": "EXPLODED"}, **seldom),
        Fault(on="poll", rewrite=lambda told: {**told, "data": "none"} if "data" in told else told, **often),
        Fault(on="poll", rewrite=_words_for_truth, **often),
        Fault(on="submit", delay=rng.choice([1.0, 20.0, 100.0]), **often),
        Fault(on="poll", delay=rng.choice([1.0, 20.0, 100.0]), **often),
        Fault(on="login", drop=rng.choice(["before", "after"]), **seldom),
        Fault(on="refresh", drop=rng.choice(["before", "after"]), **seldom),
        Fault(on="login", status=rng.choice([500, 503, 429]), **seldom),
        Fault(on="refresh", status=rng.choice([401, 503, 429]), **seldom),
    ]


QUOTA = "Out of call volume quota. Quota will be replenished in 02:12:03."


def _words_for_truth(told: dict[str, Any]) -> dict[str, Any]:
    """Rows that say "true" where they mean true."""
    if not isinstance(told.get("data"), list):
        return told
    rows = [{**row, "status": {**row["status"], "success": str(row["status"]["success"])}} for row in told["data"]]
    return {**told, "data": rows}


@dataclass
class Story:
    """One upload, and what came of it."""

    account: str | None
    resource: Resource[Any]
    items: list[Any]
    how: str
    at: int
    pace: float
    retry: Callable[[ItemResult[Any]], bool | float | None] | None = None
    most_tries: int = 1
    upload: Upload[Any] | None = None
    got: list[ItemResult[Any]] = field(default_factory=list)
    error: BaseException | None = None
    ended_by_itself: bool = False


@dataclass
class World:
    """Everything that a seed decides."""

    seed: int
    rng: random.Random
    settings: dict[str, Any]
    outages: list[Outage]
    closes_at: float | None
    stories: list[Story]
    accounts: list[str]
    emulator: Emulator
    auth: str
    client: QuartileClient = field(init=False)
    http: VirtualHttp = field(init=False)
    tasks_left: set[asyncio.Task[Any]] = field(default_factory=set)

    async def live(self) -> None:
        """Runs all uploads, each to its own end."""
        before = asyncio.all_tasks()
        self._open()
        running = [asyncio.ensure_future(tell(story, self._account_of(story))) for story in self.stories]
        if self.closes_at is not None:
            await asyncio.wait(running, timeout=self.closes_at)
        else:
            await asyncio.wait(running)
        await self.client.aclose()
        await asyncio.gather(*running)
        await asyncio.sleep(0)
        self.tasks_left = asyncio.all_tasks() - before - set(running)

    def _open(self) -> None:
        self.client = QuartileClient(
            subscription_key=self.emulator.subscription_key,
            auth=self._auth_for(self.emulator.username, self.emulator.password),
            base_url="http://127.0.0.1:1",
            **self.settings,
        )
        headers = {"Subscription-Key": self.emulator.subscription_key, "Content-Type": "application/json"}
        self.http = VirtualHttp(self.emulator, self.settings["request_timeout"], headers, self.outages)
        self.client._transport._http = self.client._http = self.http  # type: ignore[assignment]  # a stand-in

    def _account_of(self, story: Story) -> Any:
        if story.account is None:
            return self.client
        self.emulator.add_user(story.account, "pass-of-" + story.account)
        return self.client.for_account(story.account, auth=self._auth_for(story.account, "pass-of-" + story.account))

    def _auth_for(self, user: str, password: str) -> Any:
        if self.auth == "login":
            return LoginAuth(user, password)
        if self.auth == "refresh":
            return RefreshAuth(self.emulator.issue_refresh_token(user))
        if self.auth == "provider":

            async def provider() -> str:
                await asyncio.sleep(0.1)
                return self.emulator.issue_token(user=user)

            return provider
        return self.emulator.issue_token(lifetime=1e9, user=user)


def drawn(seed: int) -> World:
    """The world of a seed."""
    rng = random.Random(seed)
    clock = lambda: asyncio.get_running_loop().time()  # noqa: E731  # the loop is not there yet
    accounts = [f"account-{number}" for number in range(rng.choice([0, 0, 1, 3]))]
    all_faults = faults(rng)
    chosen = rng.sample(all_faults, rng.choice([0, 1, 1, 2, 3, 5]))
    emulator = Emulator(
        seed=seed,
        processing=rng.choice([0.0, 0.3, 5.0, Lognormal(2.0, 0.8), Lognormal(30.0, 0.5)]),
        submit_latency=rng.choice([0.0, 0.05, 1.0]),
        fail_share=rng.choice([0.0, 0.0, 0.1]),
        failed_batch_share=rng.choice([0.0, 0.0, 0.2]),
        refuse=_refuse if rng.random() < 0.3 else None,
        shuffle_rows=rng.random() < 0.7,
        missing_row_share=rng.choice([0.0, 0.0, 0.0, 0.05]),
        visible_after=rng.choice([0.0, 0.0, 0.5, 3.0]),
        rate_limit=rng.choice([None, None, RateLimit(10, 1.0), RateLimit(30, 20.0)]),
        token_lifetime=rng.choice([None, 30.0, 5.0]),
        announced_lifetime=rng.choice([None, None, None, 60.0, 2.0]),
        faults=chosen,
        clock=clock,
        wall_clock=lambda: EPOCH + clock(),
    )
    world = World(
        seed=seed,
        rng=rng,
        settings={
            "max_in_flight": rng.choice([1, 2, 5, 16]),
            "linger": rng.choice([0.0, 0.05, 0.2]),
            "batch_deadline": rng.choice([20.0, 200.0, 3600.0]),
            "not_visible_grace": rng.choice([2.0, 10.0]),
            "request_timeout": rng.choice([10.0, 30.0]),
            "max_tries": rng.choice([1, 3, 5, 5]),
            "outage_limit": rng.choice([5.0, 60.0, 300.0]),
            "max_body_bytes": rng.choice([None, None, None, 2_000]),
        },
        outages=_outages(rng),
        closes_at=rng.uniform(0.0, 60.0) if rng.random() < 0.1 else None,
        stories=[],
        accounts=accounts,
        emulator=emulator,
        auth=rng.choice(["fixed", "provider", "login", "login", "refresh"]),
    )
    world.stories = [_story(rng, number, accounts) for number in range(rng.choice([1, 1, 2, 4]))]
    return world


def _refuse(item: dict[str, Any]) -> str | None:
    return "It is discontinued." if str(item["asin"]).endswith(REFUSED_ENDING) else None


def _outages(rng: random.Random) -> list[Outage]:
    if rng.random() < 0.7:
        return []
    starts = sorted(rng.uniform(0.0, 40.0) for _ in range(rng.choice([1, 2])))
    return [
        Outage(start, start + rng.choice([1.0, 15.0, 100.0, 1e6]), rng.choice(["refused", "lost", "502"]))
        for start in starts
    ]


def _story(rng: random.Random, number: int, accounts: list[str]) -> Story:
    count = rng.choice([0, 1, 7, 100, 150, 450])
    keys = rng.choice([3, 40, 100_000])
    items = []
    for place in range(count):
        draw = rng.random()
        if draw < 0.02:
            items.append(None)
        elif draw < 0.03:
            items.append(ValueError("a torn record"))
        else:
            # The target tells the item apart from every other one in this world.
            items.append(
                {
                    "asin": f"B0{rng.randrange(keys):08d}",
                    "countryCode": "US",
                    "percACoS": 1.0 + number * 1_000 + place,
                }
            )
    story = Story(
        account=rng.choice([None, *accounts]),
        resource=rng.choice([MASTERLIST, MASTERLIST, ONCE]),
        items=items,
        how=rng.choice(["read", "read", "read", "collect", "slowly", "break", "raise", "stop", "cancel"]),
        at=rng.randrange(count + 1),
        pace=rng.choice([0.0, 0.0, 0.003, 0.5]),
    )
    _add_retry(random.Random(f"{number}/{count}/{story.at}/{keys}/{items[:1]}"), story)
    return story


def _add_retry(rng: random.Random, story: Story) -> None:
    """Draws from a stream of its own: what else a seed decides stays as it was."""
    if rng.random() < 0.5:
        return
    delays = rng.choice([[True], [0.3], [0, 5, 70.0], [True, 0.05, 2.0, None]])
    story.retry = lambda result: rng.choice(delays)
    story.most_tries = rng.choice([2, 3, 6])


async def tell(story: Story, account: Any) -> None:
    """Runs one upload as its story goes."""
    try:
        await _endings[story.how](story, account)
        story.ended_by_itself = story.how in ("read", "collect", "slowly")
    except (QuartileError, _LeftError) as error:
        story.error = error
    except asyncio.CancelledError:
        if story.how != "cancel":
            raise


class _LeftError(Exception):
    """A consumer's own."""


async def _source(story: Story) -> AsyncIterator[Any]:
    for number, item in enumerate(story.items):
        if story.pace and number % 10 == 0:
            await asyncio.sleep(story.pace)
        yield item


def _opened(story: Story, account: Any) -> Upload[Any]:
    items = _source(story) if story.pace else story.items
    story.upload = account.upload(
        story.resource, items, retry=story.retry, max_item_tries=story.most_tries if story.retry else 3
    )
    return story.upload


async def _collect(story: Story, account: Any) -> None:
    upload = _opened(story, account)
    try:
        story.got = await upload.collect()
    except QuartileError as error:
        story.got = error.results
        raise


async def _read(story: Story, account: Any) -> None:
    async with _opened(story, account) as upload:
        async for result in upload:
            story.got.append(result)
            if story.how == "slowly":
                await asyncio.sleep(0.05)
            if len(story.got) == story.at:
                if story.how == "break":
                    break
                if story.how == "raise":
                    raise _LeftError
                if story.how == "stop":
                    upload.stop()


async def _cancelled(story: Story, account: Any) -> None:
    reading = asyncio.ensure_future(_read(story, account))
    await asyncio.wait([reading], timeout=story.at / 10)
    reading.cancel()
    await asyncio.wait([reading])
    if not reading.cancelled():
        await reading


_endings: dict[str, Callable[[Story, Any], Awaitable[None]]] = {
    "collect": _collect,
    "cancel": _cancelled,
    **dict.fromkeys(("read", "slowly", "break", "raise", "stop"), _read),
}
