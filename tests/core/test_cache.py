"""The cache never serves a stale value, stays in its bytes, and touches only what an event concerns."""

# Private: _prices, _by_expiry, _by_price: how much the indexes hold is what is tried, and they show it to nobody.

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.bus import EventBus
from core.cache import (
    AnyPosition,
    Dependency,
    Entry,
    PinnedTooLargeError,
    PositionOf,
    PriceOf,
    ReentrantComputationError,
    SessionEnd,
    TimeToLive,
    UnifiedIntelligentCache,
)
from core.cache_entries import MEASURED_EVERY, Sizes, size_of
from core.clock import MarketClock
from core.contracts import Quote
from core.events import ChangeKind, MarketData, PositionChanged, SessionClosed
from core.journal import Journal, MemorySink
from core.settings.fields import CacheSettings

START = datetime(2024, 7, 5, 9, 30)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A value of ours, as most that are kept are."""

    words: tuple[str, ...]


class Market:
    """A bus with a cache on it, and short ways to publish."""

    def __init__(self, max_bytes: int = 500 * 1024 * 1024) -> None:
        self.clock = MarketClock(START)
        self.bus = EventBus(Journal(MemorySink(), self.clock))
        self.cache = UnifiedIntelligentCache(self.bus, self.clock, CacheSettings(max_bytes=max_bytes))

    def price(self, ticker: str, price: float) -> None:
        now = self.clock.now()
        self.bus.publish(
            MarketData(time=now, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=now)
        )

    def position(self, name: str) -> None:
        event = PositionChanged(
            time=self.clock.now(), position=name, strategy="s", kind=ChangeKind.OPENED, cash=0.0, fees=0.0
        )
        self.bus.publish(event)

    def close_session(self) -> None:
        self.bus.publish(SessionClosed(time=self.clock.now(), day=date(2024, 7, 5), equity=1.0))

    def wait(self, seconds: float) -> None:
        self.clock.advance(self.clock.now() + timedelta(seconds=seconds))


def counted(values: list[int]) -> Callable[[], int]:
    """A computation that notes each of its calls."""

    def compute() -> int:
        values.append(len(values))
        return len(values)

    return compute


def test_a_value_is_computed_once_and_dropped_when_the_price_leaves_its_tolerance() -> None:
    market, calls = Market(), list[int]()
    market.price("SPX", 5000.0)

    def ask() -> int:
        return market.cache.get_or_compute("x", counted(calls), depends_on=(PriceOf("SPX", 0.01),))

    assert (ask(), ask()) == (1, 1)
    market.price("SPX", 5050.0)  # 1 % over 5000: at the tolerance, not past it
    assert ask() == 1
    market.price("SPX", 5050.5)
    assert ask() == 2
    market.price("SPX", 5100.0)  # the new tolerance is measured from 5050.5
    assert ask() == 2
    market.price("SPX", 4999.0)  # under 5050.5 x 0.99 = 4999.995
    assert ask() == 3
    assert market.cache.statistics.invalidations == {"price": 2}


def test_a_small_drift_adds_up_because_the_tolerance_is_measured_from_the_computation() -> None:
    market, calls = Market(), list[int]()
    market.price("SPX", 100.0)
    for step in range(1, 12):
        market.cache.get_or_compute("x", counted(calls), depends_on=(PriceOf("SPX", 0.01),))
        market.price("SPX", 100.0 + step / 10)
    market.cache.get_or_compute("x", counted(calls), depends_on=(PriceOf("SPX", 0.01),))
    assert len(calls) == 2  # once at 100.0 and once after 101.1


def test_a_price_that_came_and_went_during_the_computation_is_not_forgotten() -> None:
    market = Market()
    market.price("SPX", 100.0)

    def compute() -> float:
        market.price("SPX", 120.0)
        market.price("SPX", 100.0)
        return 120.0

    assert market.cache.get_or_compute("x", compute, depends_on=(PriceOf("SPX", 0.01),)) == 120.0
    assert "x" not in market.cache
    assert market.cache.statistics.not_stored == 1


def test_a_parent_replaced_during_the_computation_leaves_nothing_kept() -> None:
    cache = Market().cache
    cache.put("curve", 1)

    def compute() -> int:
        used = cache.get("curve") or 0
        cache.put("curve", 2)
        return used * 10

    assert cache.get_or_compute("greeks", compute, depends_on=(Entry("curve"),)) == 10
    assert "greeks" not in cache
    assert cache.get_or_compute("greeks", lambda: 20, depends_on=(Entry("curve"),)) == 20
    assert "greeks" in cache


def test_positions_and_sessions_that_change_during_the_computation_count() -> None:
    market = Market()
    for needs, happens in (
        ((PositionOf("p1"),), lambda: market.position("p1")),
        ((AnyPosition(),), lambda: market.position("p2")),
        ((SessionEnd(),), market.close_session),
        ((TimeToLive(5),), lambda: market.wait(5)),
    ):
        market.cache.get_or_compute("x", happens, depends_on=needs)
        assert "x" not in market.cache
    market.cache.get_or_compute("x", lambda: market.position("p2"), depends_on=(PositionOf("p1"), SessionEnd()))
    assert "x" in market.cache


def test_an_unknown_price_drops_the_entry_when_it_becomes_known() -> None:
    market = Market()
    market.cache.put("x", 1, depends_on=(PriceOf("SPX", 0.5),))
    assert market.cache.get("x") == 1
    market.price("SPX", 100.0)
    assert market.cache.get("x") is None


def test_positions_sessions_time_and_entries_drop_what_rests_on_them() -> None:
    market = Market()
    cache = market.cache
    cache.put("one", 1, depends_on=(PositionOf("p1"),))
    cache.put("any", 1, depends_on=(AnyPosition(),))
    cache.put("day", 1, depends_on=(SessionEnd(),))
    cache.put("short", 1, depends_on=(TimeToLive(300),))
    cache.put("child", 1, depends_on=(Entry("short"),))
    cache.put("grandchild", 1, depends_on=(Entry("child"),))
    market.position("p2")
    assert ("one" in cache, "any" in cache) == (True, False)
    market.position("p1")
    assert "one" not in cache
    market.wait(299)
    assert ("short" in cache, "grandchild" in cache) == (True, True)
    market.wait(1)
    assert cache.get_or_compute("grandchild", lambda: 2) == 2  # its grandparent is 300 seconds old
    assert ("short" in cache, "child" in cache) == (False, False)
    market.close_session()
    assert "day" not in cache


def test_replacing_an_entry_drops_its_dependents_and_a_missing_parent_keeps_nothing() -> None:
    cache = Market().cache
    cache.put("curve", 1)
    assert cache.put("greeks", 2, depends_on=(Entry("curve"),))
    cache.put("curve", 3)
    assert "greeks" not in cache
    assert not cache.put("orphan", 1, depends_on=(Entry("nobody"),))
    assert "orphan" not in cache


def test_an_exception_is_not_cached_and_reentrancy_is_refused_by_name() -> None:
    cache = Market().cache
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("x", lambda: 1 // 0)
    assert "x" not in cache

    def loops() -> int:
        return cache.get_or_compute("outer", lambda: cache.get_or_compute("inner", loops))

    with pytest.raises(ReentrantComputationError, match=r"'outer' -> 'inner' -> 'outer'"):
        loops()
    assert cache.get_or_compute("outer", lambda: 5) == 5  # nothing is left of the failure


def test_what_is_kept_each_minute_is_measured_anew_when_its_outline_changes_or_now_and_then() -> None:
    """Two words of 100 letters, then two of 5,000: the same outline, so only the twentieth look sees it."""
    sizes = Sizes()

    def some(words: int, letters: int) -> Frozen:
        return Frozen(tuple("x" * (letters + number) for number in range(words)))

    short, long = sizes.of("k", some(2, 100)), sizes.of("other", some(2, 5_000))
    assert long > short + 9_000
    assert [sizes.of("k", some(2, 5_000)) for _ in range(MEASURED_EVERY - 1)] == [short] * (MEASURED_EVERY - 1)
    assert sizes.of("k", some(2, 5_000)) == long - len("other") + len("k")
    assert sizes.of("k", some(3, 5_000)) > long + 4_000  # another outline: at once
    assert sizes.of("k", "x" * 100) < sizes.of("k", "x" * 5_000) - 4_000  # what is no object of slots: always


def test_bytes_stay_bounded_least_recently_used_goes_first_and_pinned_never() -> None:
    size = size_of(np.zeros(1000)) + 500
    cache = Market(max_bytes=4 * size).cache
    cache.put("pinned", np.zeros(1000), pinned=True)
    for name in ("a", "b", "c"):
        cache.put(name, np.zeros(1000))
    assert cache.get("a") is not None
    cache.put("d", np.zeros(1000))  # b is the least recently used
    assert [name for name in ("pinned", "a", "b", "c", "d") if name in cache] == ["pinned", "a", "c", "d"]
    assert not cache.put("whale", np.zeros(4000))
    with pytest.raises(PinnedTooLargeError, match="whale"):
        cache.put("whale", np.zeros(4000), pinned=True)
    assert "pinned" in cache
    statistics = cache.statistics
    assert statistics.bytes <= 4 * size
    assert (statistics.evictions, statistics.pinned) == (1, 1)
    assert cache.verify() == ()


@dataclass(frozen=True)
class Holder:
    """Something of ours with parts."""

    name: str
    values: list[float] = field(default_factory=list)


def test_sizes_are_honest_for_arrays_views_frames_text_and_objects() -> None:
    array = np.zeros(100_000)
    assert 800_000 <= size_of(array) < 801_000
    assert 800_000 <= size_of(array[:10]) < 801_000  # the view keeps the whole alive
    assert 800_000 <= size_of({"a": array, "b": array, "c": array[5:]}) < 801_500  # once
    frame = pd.DataFrame({"x": np.zeros(10_000), "name": ["a" * 100] * 10_000})
    assert size_of(frame) >= 80_000 + 10_000 * 100
    assert 3_000_000 < size_of([float(i) for i in range(100_000)]) < 3_600_000  # 8 a slot and 24 a float
    words = Holder("x" * 1000, [1.5, 2.5])
    assert 1_000 < size_of(words) < 2_000
    assert size_of(Quote) == size_of(None) == 0
    assert size_of(3.0) == 24
    knot: list[object] = [1]
    knot.append(knot)
    assert size_of(knot) < 500


def test_ten_thousand_floats_weigh_what_the_process_grows_by() -> None:
    """Overhead per entry is counted: a cache of small values may not be several times its bound."""
    import tracemalloc

    cache = Market().cache
    keys = [f"key {index}" for index in range(10_000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for index, key in enumerate(keys):
        cache.put(key, float(index), depends_on=(PriceOf("SPX", 0.1), TimeToLive(60)))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.8 < cache.statistics.bytes / grown < 1.25


def test_a_price_event_touches_only_entries_of_its_symbol_that_it_moves() -> None:
    market = Market()
    for index in range(1000):
        market.price(f"T{index}", 100.0)
        for width in range(1, 11):
            market.cache.put((index, width), 0, depends_on=(PriceOf(f"T{index}", width / 100),))
    market.price("T7", 103.5)  # past 1, 2 and 3 %
    assert [width for width in range(1, 11) if (7, width) not in market.cache] == [1, 2, 3]
    assert len(market.cache) == 9_997


def test_every_thousandth_hit_is_audited_against_the_prices_themselves() -> None:
    market = Market()
    market.price("SPX", 100.0)
    calls: list[int] = []
    needs = (PriceOf("SPX", 0.01),)
    for _ in range(2_500):
        market.cache.get_or_compute("x", counted(calls), depends_on=needs)
    assert (len(calls), market.cache.verify()) == (1, ())
    market.cache._prices["SPX"] = 200.0  # an index that failed: nobody dropped the entry
    for _ in range(1_000):
        market.cache.get_or_compute("x", counted(calls), depends_on=needs)
    assert len(calls) == 2
    assert market.cache.verify() == ("1 stale values served; expected none",)


def test_indexes_do_not_grow_with_what_was_replaced() -> None:
    market = Market()
    market.price("SPX", 100.0)
    for number in range(5_000):
        market.cache.put("x", number, depends_on=(PriceOf("SPX", 0.01), TimeToLive(1e6), Entry("y"), PositionOf("p")))
        market.cache.put("y", number, depends_on=(PriceOf("SPX", 0.01), TimeToLive(1e6), SessionEnd()))
    cache = market.cache
    assert len(cache._by_price["SPX"].high) < 200
    assert len(cache._by_expiry) < 200
    cache.clear()
    assert len(cache) == cache.statistics.bytes == 0
    assert cache.statistics.hit_rate is None
    assert not cache.invalidate("x")


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in (lambda: PriceOf("SPX", 1.0), lambda: PriceOf("SPX", -0.1), lambda: TimeToLive(0)):
        with pytest.raises(ValueError, match="expected"):
            wrong()


# Against a naive model: a list of entries, each checked by looking at everything that happened since

KEYS = st.sampled_from(["a", "b", "c", "d"])
SYMBOLS = st.sampled_from(["SPX", "VIX"])
DEPENDENCIES = st.lists(
    st.one_of(
        st.builds(PriceOf, SYMBOLS, st.sampled_from([0.0, 0.01, 0.1])),
        st.builds(PositionOf, st.sampled_from(["p1", "p2"])),
        st.just(AnyPosition()),
        st.builds(TimeToLive, st.sampled_from([1.0, 60.0, 300.0])),
        st.just(SessionEnd()),
        st.builds(Entry, KEYS),
    ),
    max_size=3,
).map(tuple)
PRICES = st.sampled_from([90.0, 98.9, 99.0, 99.5, 100.0, 101.0, 101.1, 110.0, 110.5, float("nan")])


@dataclass
class Told:
    """What the model knows of one entry."""

    value: int
    depends_on: tuple[Dependency, ...]
    made: datetime
    prices: dict[str, float]
    parents: dict[Hashable, int]
    events: int


class CacheAgainstModel(RuleBasedStateMachine):
    """Any sequence of reads, writes and events: what the cache serves, the naive model must call fresh."""

    def __init__(self) -> None:
        super().__init__()
        self.market = Market(max_bytes=10_000)
        self.told: dict[Hashable, Told] = {}
        self.events: list[tuple[str, str, float]] = []
        self.prices: dict[str, float] = {}
        self.serial = 0

    def fresh(self, key: Hashable) -> bool:
        entry = self.told.get(key)
        if entry is None:
            return False
        since = self.events[entry.events :]
        return all(self.holds(need, entry, since) for need in entry.depends_on)

    def holds(self, need: Dependency, entry: Told, since: list[tuple[str, str, float]]) -> bool:
        if isinstance(need, PriceOf):
            base = entry.prices.get(need.symbol, float("nan"))
            margin = need.tolerance * abs(base)
            moves = [price for kind, name, price in since if (kind, name) == ("price", need.symbol)]
            return all(base - margin <= price <= base + margin for price in moves)
        if isinstance(need, PositionOf):
            return ("position", need.position, 0.0) not in since
        if isinstance(need, AnyPosition):
            return not any(kind == "position" for kind, _, _ in since)
        if isinstance(need, TimeToLive):
            return self.market.clock.now() - entry.made < timedelta(seconds=need.seconds)
        if isinstance(need, Entry):
            parent = self.told.get(need.key)
            return parent is not None and parent.value == entry.parents.get(need.key) and self.fresh(need.key)
        return ("session", "", 0.0) not in since

    def tell(self, key: Hashable, depends_on: tuple[Dependency, ...]) -> int:
        self.serial += 1
        parents = {
            need.key: self.told[need.key].value
            for need in depends_on
            if isinstance(need, Entry) and need.key in self.told
        }
        self.told[key] = Told(
            self.serial, depends_on, self.market.clock.now(), dict(self.prices), parents, len(self.events)
        )
        return self.serial

    def happened(self, kind: str, name: str = "", price: float = 0.0) -> None:
        self.events.append((kind, name, price))
        if kind == "price":
            self.prices[name] = price
            self.market.price(name, price)
        elif kind == "position":
            self.market.position(name)
        else:
            self.market.close_session()

    @rule(key=KEYS, depends_on=DEPENDENCIES)
    def put(self, key: str, depends_on: tuple[Dependency, ...]) -> None:
        self.market.cache.put(key, self.tell(key, depends_on), depends_on=depends_on)

    @rule(key=KEYS, depends_on=DEPENDENCIES, moves=st.lists(st.tuples(SYMBOLS, PRICES), max_size=2))
    def ask(self, key: str, depends_on: tuple[Dependency, ...], moves: list[tuple[str, float]]) -> None:
        computed: list[int] = []

        def compute() -> int:
            computed.append(self.tell(key, depends_on))
            for symbol, price in moves:
                self.happened("price", symbol, price)
            return computed[0]

        fresh = self.fresh(key)
        value = self.market.cache.get_or_compute(key, compute, depends_on=depends_on)
        if not computed:
            assert fresh
            assert value == self.told[key].value

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        value = self.market.cache.get(key)
        if value is not None:
            assert self.fresh(key)
            assert value == self.told[key].value

    @rule(symbol=SYMBOLS, price=PRICES)
    def price(self, symbol: str, price: float) -> None:
        self.happened("price", symbol, price)

    @rule(name=st.sampled_from(["p1", "p2"]))
    def position(self, name: str) -> None:
        self.happened("position", name)

    @rule(seconds=st.sampled_from([0.5, 1.0, 59.0, 240.0]))
    def wait(self, seconds: float) -> None:
        self.market.wait(seconds)

    @rule()
    def close_session(self) -> None:
        self.happened("session")

    @rule(key=KEYS, size=st.integers(0, 12_000))
    def put_large(self, key: str, size: int) -> None:
        self.market.cache.put(("large", key), b"x" * size)

    @rule(key=KEYS)
    def invalidate(self, key: str) -> None:
        self.market.cache.invalidate(key)
        self.told.pop(key, None)
        assert key not in self.market.cache

    @invariant()
    def bounded_and_never_stale(self) -> None:
        statistics = self.market.cache.statistics
        assert statistics.bytes <= 10_000
        assert statistics.stale_served == 0
        kept = [key for key in self.told if key in self.market.cache]
        assert all(self.fresh(key) for key in kept)


CacheAgainstModel.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCacheAgainstModel = CacheAgainstModel.TestCase
