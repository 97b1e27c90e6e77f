"""What an emulator offers to a test, whichever way it is served."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ._batches import FAILURES, Batch, Behaviour, MessageFor, Processing
from ._faults import Faults, Request, Rule
from ._gateway import Gateway, RateLimit
from ._ledger import RequestRecord, Violation
from ._processor import Processor
from ._replies import detail
from ._routes import Routes, Spelling
from ._service import Exchange, Service
from ._tokens import Authority


class Surface:
    """What there is to read and to call, from any thread.

    Attributes:
        subscription_key, access_token: what requests have to carry.
        username, password: what a login has to carry.
        host, port: where it listens, or will.
        url: the base URL without the prefix, such as "http://127.0.0.1:43121"; empty before it is entered.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        prefix: str = "/amazon/v2",
        batch_paths: Spelling = "both",
        processing: Processing = 0.05,
        submit_latency: float = 0.0,
        fail_share: float = 0.0,
        fail_messages: Sequence[str] = FAILURES,
        fail: MessageFor | None = None,
        failed_batch_share: float = 0.0,
        refuse: MessageFor | None = None,
        shuffle_rows: bool = False,
        missing_row_share: float = 0.0,
        visible_after: float = 0.0,
        rate_limit: RateLimit | None = None,
        token_lifetime: float | None = None,
        announced_lifetime: float | None = None,
        auth_prefix: str = "/auth/v2",
        faults: Iterable[Rule] = (),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """An emulator that is not listening yet.

        Args:
            host: the address on which it listens.
            port: and the port; 0 takes a free one, and keeps it when it is entered again.
            seed: everything random follows from it and from the order of submits.
            prefix: what stands before the resources in the paths.
            batch_paths: the spelling of the paths that it serves: "example", "table", or "both".
            processing: seconds from a submit to the batch's end: a number, `Lognormal(median, sigma)`, or a function
                of a `random.Random` and the items.
            submit_latency: seconds before a submit is answered.
            fail_share: the share of items that fail, from 0 to 1, each with one of `fail_messages`.
            fail_messages: what failed items say.
            fail: a function of an item that gives the message with which it fails, or None; instead of `fail_share`.
            failed_batch_share: the share of batches of which every item fails.
            refuse: a function of an item whose schema is right that gives the message of a 422, or None.
            shuffle_rows: rows come back in another order.
            missing_row_share: the share of rows that are left out.
            visible_after: seconds for which a new batch is answered 404.
            rate_limit: a `RateLimit`; what is over it gets a 429 with Retry-After.
            token_lifetime: seconds for which an access token is valid; None: for ever.
            announced_lifetime: what a login or refresh says instead.
            auth_prefix: what stands before login, refresh and validate in the paths.
            faults: rules that are in force from the start; see `add`.
            clock: gives the time in seconds, for all of the above but the waiting before answers.
            wall_clock: gives Unix time, for the dates of tokens.
        """
        self.host: str = host
        self.port: int = port
        self._lock = threading.RLock()  # a rule's own function may read the emulator, within a request
        self._script_errors: list[Exception] = []
        secrets = random.Random(f"{seed}/secrets")  # seeded on purpose: these keys open nothing
        behaviour = Behaviour(
            processing, fail_share, tuple(fail_messages), fail, failed_batch_share, shuffle_rows, missing_row_share
        )
        self._gateway = Gateway(rng=secrets, clock=clock, rate_limit=rate_limit)
        self._authority = Authority(
            rng=secrets, clock=clock, wall_clock=wall_clock, lifetime=token_lifetime, announced=announced_lifetime
        )
        self._processor = Processor(behaviour, seed)
        self._faults = Faults(faults, seed)
        self._service = Service(
            routes=Routes(prefix, batch_paths, auth_prefix),
            gateway=self._gateway,
            authority=self._authority,
            processor=self._processor,
            faults=self._faults,
            clock=clock,
            submit_latency=submit_latency,
            visible_after=visible_after,
            refuse=refuse,
        )
        self.subscription_key: str = self._gateway.subscription_key
        self.username: str = self._authority.username
        self.password: str = self._authority.password
        self.access_token: str = self._authority.issue_access()
        self.url: str = ""

    def __repr__(self) -> str:
        place = self.url or "no address yet"
        return f"<{type(self).__name__} at {place}, {len(self.batches)} batches, {len(self.violations)} violations>"

    def add(self, rule: Rule) -> None:
        """Puts a rule in force: a `Fault`, or a function of a `Request` that gives a `Fault` or None.

        The first rule that meets a request counts. A fault that a function gives is applied as it is: the function
        decides which requests it meets, and `on`, `when`, `after`, `times` and `share` do nothing.
        """
        with self._lock:
            self._faults.add(rule)

    def clear_faults(self) -> None:
        """Puts all rules out of force."""
        with self._lock:
            self._faults.clear()

    def add_user(self, username: str, password: str) -> None:
        """A further user, who can log in."""
        with self._lock:
            self._authority.add_user(username, password)

    def issue_token(self, lifetime: float | None = None, user: str | None = None) -> str:
        """A further access token, valid for `lifetime` seconds; None: as long as `token_lifetime` says."""
        with self._lock:
            return self._authority.issue_access(lifetime, user)

    def issue_refresh_token(self, user: str | None = None) -> str:
        """A refresh token. It works once."""
        with self._lock:
            return self._authority.issue_refresh(user)

    def expire_token(self, token: str) -> None:
        """Ends the life of an access or refresh token now."""
        with self._lock:
            self._authority.expire(token)

    @property
    def logins(self) -> dict[str, int]:
        """How often each user has logged in."""
        return self._service.ledger.logins

    @property
    def refreshes(self) -> dict[str, int]:
        """How often a refresh token of each user was exchanged."""
        return self._service.ledger.refreshes

    @property
    def applied(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        """(asin, countryCode) -> the masterlist item as it was last applied. Not a copy."""
        self._settle()
        return self._processor.catalogue.applied

    def applied_to(self, resource: str) -> list[dict[str, Any]]:
        """Every write to a resource ("unmanaged/asins", for example), in the order in which they were applied."""
        self._settle()
        return self._processor.catalogue.writes(resource)

    @property
    def batches(self) -> list[Batch]:
        """Every batch that was taken, in that order."""
        self._settle()
        return self._processor.batches

    @property
    def violations(self) -> list[Violation]:
        """Every request that the contract forbids, whatever a fault made of it.

        Not what a client cannot know beforehand: an expired token, the rate limit, what `refuse` refuses, a batch
        that is not visible yet.
        """
        return self._service.ledger.violations

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request, in the order of arrival."""
        return self._service.ledger.requests

    @property
    def in_flight(self) -> int:
        """How many batches were taken whose end has not been told. One whose id was never told does not count."""
        return self._service.ledger.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most that `in_flight` ever was."""
        return self._service.ledger.max_in_flight

    @property
    def overlaps(self) -> list[tuple[Any, ...]]:
        """Natural keys of items that came while another batch in flight held the same item: the breach of key order.

        Where the whole object is the key, it stands there in a form that compares.
        """
        return self._service.ledger.overlaps

    @property
    def resubmitted(self) -> list[Batch]:
        """Batches that came with the very bytes of an earlier one."""
        return self._service.ledger.resubmitted

    @property
    def items_received(self) -> int:
        """How many items came in the batches that were taken."""
        return self._service.ledger.items_received

    @property
    def refused_by_limit(self) -> int:
        """How many requests the rate limit refused."""
        return self._gateway.refused_by_limit

    def listens_at(self, host: str, port: int) -> None:
        """Notes where the server listens."""
        self.port = port
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def receive(self, request: Request) -> Exchange:
        """Takes care of a request; for servers."""
        with self._lock:
            try:
                return self._service.receive(request)
            except Exception as error:  # noqa: BLE001  # what a script's functions raise comes out where the block ends
                self._script_errors.append(error)
                return Exchange("other", detail(500, "a function of the script raised"), None)

    def finish(self, exchange: Exchange, *, delivered: bool) -> None:
        """Notes that an answer goes out, or cannot; for servers."""
        with self._lock:
            self._service.finish(exchange, delivered=delivered)

    def _settle(self) -> None:
        with self._lock:
            self._service.settle()

    def raise_script_error(self) -> None:
        """Raises what a function of the script raised: it must not pass for an error of the server's."""
        if self._script_errors:
            raise self._script_errors.pop(0)
