"""When to ask for a batch again."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ._allowance import Allowance
from ._durations import EDGES, Durations, Seen, estimated, seen_between

PRICE = 0.01
"""What a question costs, as a share of the mean time that a batch takes: one that saves less time is not asked."""

MEMORY = 100
"""How many batches are remembered."""

ENOUGH, KEPT = 4, 5
"""How many ends make a plan; and how many are kept when the server is found to have changed."""

PLANNED_EVERY = 0.05
"""Seconds between two plans, at least: with a server that is fast, planning would cost more than it saves."""

FIRST_WAIT = 0.02
"""Seconds before the first question while nothing is known."""

SCOUT, OTHERS, BEHIND_THE_PLAN = 0.1, 0.3, 0.15
"""Where no plan says when to ask, a batch is asked for when it is older by this share: the oldest batch, so that the
first results come soon; the others, which it tells what to expect; and those that take longer than any plan."""

LONGEST_WAIT = 60.0
"""Seconds; where no plan says when to ask, no batch goes unasked for longer."""

NEVER = 1e-3
"""Behind the age that so small a share of batches is believed to reach, there is no plan."""

WINDOW, SURPRISE, MOST_SURE = 8, 5.0, 0.3
"""The server has changed when the last 8 ends together were more surprising than expected by five standard deviations;
one deviation is taken for 0.3 at least."""

UNLIKELY = 12.0
"""Or when so many in a row had ended at the first question that their probability is exp(-12): one that has become
faster is asked too late to be seen at it."""


@dataclass(slots=True, frozen=True)
class Plan:
    """When to ask.

    Attributes:
        ages: in seconds, ascending.
        surprise, deviation: of an end that is seen in this way; the mean of -log(probability), and its deviation.
        price: what a question was taken to cost, in the usual prices.
    """

    ages: list[float]
    surprise: float
    deviation: float
    price: float


def planned(durations: Durations, *, round_trip: float, price: float) -> Plan:
    """The questions that cost least, together with the time for which batches have ended unseen.

    Found by going backwards through the ages at which a question could be asked: after each, the best next one is
    known when the best ones after those are. Two questions are a round trip apart, at least.
    """
    ages, shares = _ages_and_shares(durations)
    shares_until = list(accumulate(shares, initial=0.0))
    moments_until = list(accumulate((share * age for share, age in zip(shares, ages, strict=True)), initial=0.0))
    cost = price * PRICE * (moments_until[-1] + 2.0 * round_trip)
    end = len(ages)
    best = [0.0] * (end + 1)
    following = [end] * (end + 1)
    # `done` bins have been asked for; index 0 stands for the beginning, at which nothing has been asked.
    for done in range(end - 1, -1, -1):
        earliest = bisect_left(ages, ages[done - 1] + round_trip, done) if done else 0
        before, alive = shares_until[done], shares_until[-1] - shares_until[done]
        least = math.inf
        for place in range(earliest, end):
            # The part that depends on the place: how long those that end before it go unseen, and what comes then.
            unseen = ages[place] * (shares_until[place + 1] - before) - moments_until[place + 1] + best[place + 1]
            if unseen < least:
                least, following[done] = unseen, place + 1
        best[done] = cost * alive + (0.0 if least == math.inf else least + moments_until[done])
    chosen, place = [], 0
    while (place := following[place]) < end:
        chosen.append(place - 1)
    chosen.append(end - 1)
    return _plan_of([ages[place] for place in chosen], [shares_until[place + 1] for place in chosen], price)


def _ages_and_shares(durations: Durations) -> tuple[list[float], list[float]]:
    """The bins' upper edges (0 for the first one: no question comes earlier) and weights, but for hopeless ends."""
    until = list(accumulate(durations.weights))
    start = bisect_left(until, NEVER * 0.1)
    stop = bisect_left(until, 1.0 - NEVER) + 1
    ages = [EDGES[number] if number else 0.0 for number in range(durations.first + start, durations.first + stop)]
    return ages, durations.weights[start : start + len(ages)]


def _plan_of(ages: list[float], until: Sequence[float], price: float) -> Plan:
    shares = [share - before for share, before in zip(until, (0.0, *until), strict=False)]
    surprises = [(share, -math.log(share)) for share in shares if share > 0.0]
    mean = sum(share * surprise for share, surprise in surprises)
    variance = sum(share * (surprise - mean) ** 2 for share, surprise in surprises)
    return Plan(ages, mean, max(MOST_SURE, math.sqrt(variance)), price)


class Poller:
    """How long this server takes, learned from its batches, and when to ask for one; for a client and a resource.

    Asking costs a request, and not asking costs time: a batch holds its slot until its end is seen, so that what is
    lost with each is lost by the whole upload. No interval suits both a server that takes 2 s and one that takes
    60 s, and a growing one is at its longest when it matters. So the distribution of the times that batches take is
    learned, and the questions are put where they save most: close together where many batches end, none where none
    do. What one question is worth is the single knob; when requests are scarce, its price goes up.

    Before anything is learned, the waits grow with the age of a batch: safe for any server, and at most a third of
    the time that a batch takes is lost. So they do for a batch that is older than any remembered one.

    A server that changes is noticed by ends that had been thought improbable, and what was learned before is
    forgotten.

    Where requests have a rate, no more questions are asked than there are requests for, whatever would be best.

    Args:
        clock: gives the time in seconds.
        allowance: what there is for the questions of all pollers of the client; None: there is no rate.
    """

    def __init__(self, clock: Callable[[], float], allowance: Allowance | None = None) -> None:
        self._clock = clock
        self._allowance = allowance
        self._watched: dict[Watch, None] = {}
        self._seen: deque[Seen] = deque(maxlen=MEMORY)
        self._durations: Durations | None = None
        self._plan: Plan | None = None
        self._new = 0
        self._planned_at = -math.inf
        self._surprises: deque[float] = deque(maxlen=WINDOW)
        self._ended_at_first = 0.0
        self._round_trip = 0.0

    def watch(self, since: float | None) -> Watch:
        """A batch was taken at that time; None: at an earlier time that is not known."""
        watch = Watch(self, self._clock, since)
        self._watched[watch] = None
        if self._allowance is not None:
            self._allowance.batches += 1
        return watch

    def forget(self, watch: Watch) -> None:
        """It is not asked for any more."""
        if watch in self._watched:
            del self._watched[watch]
            if self._allowance is not None:
                self._allowance.batches -= 1

    def measured(self, seconds: float) -> bool:
        """A question took so long to be answered. Returns whether that is usual, and not for a pause or an outage."""
        usual = not self._round_trip or seconds <= 3.0 * self._round_trip + 0.1
        if usual:
            self._round_trip += 0.1 * (seconds - self._round_trip) if self._round_trip else min(seconds, 1.0)
        return usual

    def ended(self, unfinished: float | None, finished: float) -> None:
        """A batch was seen unfinished at one age, or not at all, and finished at a later one (seconds)."""
        seen = seen_between(unfinished or 0.0, finished)
        if self._plan is not None and self._durations is not None:
            self._heed(self._durations.between(seen), self._plan, at_first=unfinished is None)
        self._seen.append(seen)
        self._new += 1

    def next_question(self, watch: Watch, age: float, price: float) -> float:
        """The age in seconds at which to ask for a batch of this age, once; see `Watch.wait`."""
        best = self._best_question(watch, age, price)
        if self._allowance is None:
            return best
        return max(best, (watch.asked_at or 0.0) + self._allowance.spend())

    def _best_question(self, watch: Watch, age: float, price: float) -> float:
        plan = self._current_plan(price)
        if plan is not None:
            # What has become due since, while the answer to the last question was on its way, is asked now.
            # A timer may fire a moment early: two planned ages are further apart than that.
            place = 0 if watch.asked_at is None else bisect_right(plan.ages, watch.asked_at * 1.01 + 1e-6)
            if place < len(plan.ages):
                return plan.ages[place]
            share = BEHIND_THE_PLAN
        else:
            share = SCOUT if watch is next(iter(self._watched), None) else OTHERS
        return age + min(LONGEST_WAIT, max(FIRST_WAIT, age * share) * math.sqrt(price))

    def _heed(self, probability: float, plan: Plan, *, at_first: bool) -> None:
        """Forgets what was learned, where an end of that probability shows that the server has changed."""
        # What has never been seen in n ends is still thought to happen once in 2 n.
        ends = len(self._seen)
        surprise = -math.log((ends * probability + 0.5) / (ends + 1))
        self._surprises.append((surprise - plan.surprise) / plan.deviation)
        self._ended_at_first = self._ended_at_first + surprise if at_first else 0.0
        if sum(self._surprises) > SURPRISE * math.sqrt(WINDOW) or self._ended_at_first > UNLIKELY:
            self._surprises.clear()
            self._ended_at_first = 0.0
            while len(self._seen) >= KEPT:
                self._seen.popleft()
            self._durations = None
            self._planned_at = -math.inf

    def _current_plan(self, price: float) -> Plan | None:
        """The plan, made anew where it is time."""
        if len(self._seen) < ENOUGH:
            return None
        plan, now = self._plan, self._clock()
        is_old = plan is None or self._new >= min(10, max(1, len(self._seen) // 4))
        is_dear = plan is not None and not 0.8 <= plan.price / price <= 1.25
        if (is_old or is_dear) and now - self._planned_at >= PLANNED_EVERY:
            if is_old:
                alive = [watch.alive_at for watch in self._watched if watch.is_whole]
                self._durations = estimated(self._seen, alive, self._durations)
            assert self._durations is not None
            self._plan = planned(self._durations, round_trip=self._round_trip, price=price)
            self._planned_at, self._new = now, 0
        return self._plan


class Watch:
    """One batch that is waited for.

    Attributes:
        is_whole: whether its age is known; else it counts from now, and nothing is learned from it.
        alive_at: the age in seconds at which it was last seen unfinished.
        asked_at: the age at which it was last asked for, answered or not; None before.
    """

    __slots__ = ("_clock", "_poller", "_since", "alive_at", "asked_at", "is_whole")

    def __init__(self, poller: Poller, clock: Callable[[], float], since: float | None) -> None:
        self._poller = poller
        self._clock = clock
        self._since = clock() if since is None else since
        self.is_whole: bool = since is not None
        self.alive_at: float = 0.0
        self.asked_at: float | None = None

    @property
    def age(self) -> float:
        """Seconds since the batch was taken."""
        return self._clock() - self._since

    def wait(self, price: float = 1.0) -> float:
        """Seconds to wait before asking for it, which is paid for where there is a rate.

        `price`: of a question; more than 1 where requests are scarce.
        """
        age = self.age
        return max(0.0, self._poller.next_question(self, age, price) - age)

    def unanswered(self, asked_at: float) -> None:
        """It was asked for at that age, and nothing was learned."""
        self.asked_at = asked_at

    def unfinished(self, asked_at: float) -> None:
        """It was asked for at that age, and had not ended."""
        self._poller.measured(self.age - asked_at)
        self.alive_at = self.asked_at = asked_at

    def finished(self, asked_at: float) -> None:
        """It was asked for at that age, and had ended."""
        age = self.age
        # A question that was held back tells how things were when it was answered.
        seen_at = asked_at if self._poller.measured(age - asked_at) else age
        if self.is_whole:
            self._poller.ended(None if self.asked_at is None else self.alive_at, seen_at)
        self.leave()

    def leave(self) -> None:
        """It is not asked for any more."""
        self._poller.forget(self)
