"""The kernel's rules on markets written down minute by minute: clocks, callbacks, fill-forward, prices, seeds.

SPX trades 08:30 to 15:15 Chicago, which is 09:30 to 16:15 New York; all times below are New York unless said otherwise.
"""

# Private: _swept: the collector's state is seen from inside only.

from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation import runner
from simulation.data.columns import FactorRow
from simulation.engine.kernel import NotInEngineError
from simulation.engine.schedule import ScheduledEvent, Scheduler
from simulation.lean.bars import Dividend
from simulation.lean.clock import UTC
from simulation.lean.enums import DataNormalizationMode, DelistingType, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.runner import RunRequest, RunResult, run_backtest
from tests.simulation.playing import (
    HIGH,
    LOW,
    MONDAY,
    SPX,
    Market,
    Recorder,
    add_vertical,
    at,
    index_market,
    listed,
    on,
    play,
)

TUESDAY = date(2024, 7, 9)


def lines_of(market: Market, script: Callable[[Recorder], None], last_day: date = MONDAY) -> list[tuple[Any, ...]]:
    """What a script listed."""
    algorithm: Any = play(market, script, last_day=last_day)
    return list(algorithm.lines)


def test_an_event_of_a_minute_comes_before_on_data_and_sees_its_prices() -> None:
    market = index_market(price=5450.0)
    market.trade(SPX, at("10:00"), 5460.0)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.do_at("10:00", lambda: listed(algorithm, "event", algorithm.securities[SPX].price))

        def on_data(self: Any, data: Any) -> None:
            if self.time.hour == 10 and self.time.minute < 2:
                listed(self, "data", data.bars[SPX].close)

        on(algorithm, "on_data", on_data)

    lines = lines_of(market, script)
    # The bar that ends at 10:00 is in; at 10:01 nothing traded, the bar is filled forward with its close.
    assert lines == [("08 10:00", "event", 5460.0), ("08 10:00", "data", 5460.0), ("08 10:01", "data", 5460.0)]


def test_an_event_without_a_slice_keeps_its_own_clock_and_the_old_prices() -> None:
    market = index_market(price=5450.0)
    market.trade(SPX, at("09:31", TUESDAY), 5500.0)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        # No bar ends at 09:30: the event runs at the head of the 09:31 slice, on yesterday's price.
        algorithm.do_at("09:30", lambda: listed(algorithm, "open", algorithm.securities[SPX].price), TUESDAY)

    assert lines_of(market, script, TUESDAY) == [("09 09:30", "open", 5450.0)]


def test_a_filled_bar_never_touches_the_cache() -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)

        def look() -> None:
            bar = algorithm.current_slice.bars[SPX]
            last = algorithm.securities[SPX].get_last_data()
            listed(algorithm, "bar", bar.is_fill_forward, bar.volume, f"{last.end_time:%H:%M}")

        algorithm.do_at("10:00", look)

    # The clone of 10:00 has no volume; the cache still holds the bar that ended 09:31, 08:31 in Chicago.
    assert lines_of(index_market(), script) == [("08 10:00", "bar", True, 0.0, "08:31")]


def test_the_price_of_an_option_is_its_middle_or_after_a_lone_trade_the_trade() -> None:
    market = index_market("10:01", "10:02", "10:03")
    market.quote(HIGH, at("10:01"), 2.00, 2.20)
    market.trade(HIGH, at("10:02"), 2.40)
    market.quote(HIGH, at("10:03"), 2.30, float("nan"))

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        for clock in ("10:01", "10:02", "10:03"):
            algorithm.do_at(clock, lambda: listed(algorithm, "price", round(algorithm.securities[HIGH].price, 4)))

    prices = [line[2] for line in lines_of(market, script)]
    # 10:01 (2.00 + 2.20) / 2; 10:02 the trade; 10:03 the missing ask is the one before: (2.30 + 2.20) / 2.
    assert prices == [2.10, 2.40, 2.25]


def test_a_contract_added_by_hand_has_no_price_before_its_next_bar_unless_seeded() -> None:
    def run(seeded: bool) -> list[Any]:
        market = index_market("10:00", "10:01")
        market.quote(HIGH, at("09:31"), 2.00, 2.20)
        market.quote(HIGH, at("10:01"), 3.00, 3.20)

        def script(algorithm: Recorder) -> None:
            algorithm.settings.seed_initial_prices = seeded
            algorithm.add_index("SPX", Resolution.MINUTE)

            def add() -> None:
                security = algorithm.add_index_option_contract(HIGH, Resolution.MINUTE)
                listed(algorithm, "added", round(security.price, 2), security.is_tradable)

            algorithm.do_at("10:00", add)
            algorithm.do_at("10:01", lambda: listed(algorithm, "next", round(algorithm.securities[HIGH].price, 2)))

        return [line[2] for line in lines_of(market, script)]

    assert run(seeded=False) == [0.0, 3.10]
    assert run(seeded=True) == [2.10, 3.10]


def test_a_removed_contract_is_not_tradable_but_ticks_on_that_day() -> None:
    market = index_market("10:00", "10:01", "10:02")
    for clock, bid in (("09:31", 2.0), ("10:01", 3.0), ("10:02", 4.0)):
        market.quote(HIGH, at(clock), bid, bid + 0.2)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.do_at("10:00", lambda: algorithm.add_index_option_contract(HIGH, Resolution.MINUTE))
        algorithm.do_at("10:01", lambda: listed(algorithm, "gone", algorithm.remove_security(HIGH)))
        security = algorithm.securities
        algorithm.do_at("10:02", lambda: listed(algorithm, "on", security[HIGH].is_tradable, security[HIGH].bid_price))

    # A contract added by hand stays subscribed a day (rounded): two minutes round to nothing.
    assert lines_of(market, script) == [("08 10:01", "gone", True), ("08 10:02", "on", False, 4.0)]


def test_a_contract_is_warned_on_its_last_day_and_delisted_the_midnight_after() -> None:
    market = index_market(day=date(2024, 7, 12))
    market.trade(SPX, at("09:31", date(2024, 7, 15)), 5450.0)
    market.quote(HIGH, at("09:31", date(2024, 7, 12)), 2.0, 2.2)

    def script(algorithm: Recorder) -> None:
        algorithm.set_start_date(2024, 7, 11)
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(HIGH, Resolution.MINUTE)

        def on_delistings(self: Any, delistings: Any) -> None:
            for item in delistings:
                listed(self, str(item.value.type), f"{item.value.time:%d %H:%M}")

        on(algorithm, "on_delistings", on_delistings)

    lines = lines_of(market, script, date(2024, 7, 15))
    # Midnight in Chicago is 01:00 in New York; the event's own time is Chicago's.
    assert lines == [
        ("12 01:00", str(DelistingType.WARNING), "12 00:00"),
        ("13 01:00", str(DelistingType.DELISTED), "13 00:00"),
    ]


def test_warm_up_runs_without_orders_and_ends_at_the_start_date() -> None:
    market = index_market(day=date(2024, 7, 5))
    market.trade(SPX, at("09:31"), 5450.0)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.set_warm_up(timedelta(days=3))
        algorithm.do_at("10:00", lambda: listed(algorithm, "event", algorithm.is_warming_up), date(2024, 7, 5))
        algorithm.do_at("10:00", lambda: listed(algorithm, "event", algorithm.is_warming_up))
        on(algorithm, "on_warmup_finished", lambda self: listed(self, "finished"))

    assert lines_of(market, script) == [
        ("05 10:00", "event", True),
        ("08 00:00", "finished"),
        ("08 10:00", "event", False),
    ]


def test_a_chain_holds_a_contract_from_its_first_quote_on() -> None:
    market = index_market("10:00", "10:01")
    market.quote(LOW, at("09:31"), 0.5, 0.6)
    market.quote(HIGH, at("10:01"), 2.0, 2.2)

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        for clock in ("10:00", "10:01"):
            algorithm.do_at(clock, look)

    def look() -> None:
        algorithm = current[0]
        chain = algorithm.current_slice.option_chains[LOW]
        rows = [(c.strike, c.bid_price, c.ask_price, c.underlying_last_price) for c in chain]
        listed(algorithm, "chain", rows)

    current: list[Any] = []

    def keep(algorithm: Recorder) -> None:
        current.append(algorithm)
        script(algorithm)

    lines = lines_of(market, keep)
    assert lines[0][2] == [(5300.0, 0.5, 0.6, 5450.0)]
    assert lines[1][2] == [(5300.0, 0.5, 0.6, 5450.0), (5350.0, 2.0, 2.2, 5450.0)]


# -- the schedule ---------------------------------------------------------------------------------------------------


def test_simultaneous_events_keep_their_order_of_creation_at_first() -> None:
    said: list[str] = []
    scheduler = Scheduler()
    for name in "abc":
        scheduler.add(ScheduledEvent(name, [100], lambda name=name: said.append(name)), 0)  # type: ignore[misc]
    scheduler.start(0)
    scheduler.fire_at(100)
    assert said == ["a", "b", "c"]


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=8))
def test_every_event_fires_once_at_each_of_its_times_in_ascending_order(times: list[list[int]]) -> None:
    fired: list[tuple[int, int]] = []
    clock = [0]
    scheduler = Scheduler()
    for index, own in enumerate(times):
        moments = sorted(set(own))
        scheduler.add(ScheduledEvent(str(index), moments, lambda i=index: fired.append((clock[0], i))), 0)  # type: ignore[misc]
    scheduler.start(0)
    scheduler.fire_before(51, lambda ms: clock.__setitem__(0, ms))
    assert [moment for moment, _ in fired] == sorted(moment for moment, _ in fired)
    assert sorted(fired) == sorted((moment, index) for index, own in enumerate(times) for moment in set(own))


# -- what is not there ----------------------------------------------------------------------------------------------


def test_what_the_engine_has_not_is_refused_by_name() -> None:
    def script(algorithm: Recorder) -> None:
        with pytest.raises(NotInEngineError, match=r"QCAlgorithm\.add_crypto"):
            algorithm.add_crypto("BTCUSD")
        with pytest.raises(AttributeError, match="add_index"):
            algorithm.add_indexx("SPX")
        algorithm.add_index("SPX", Resolution.MINUTE)

    play(index_market(), script)


# -- the runner -----------------------------------------------------------------------------------------------------

ALGORITHM = """
from AlgorithmImports import *
import helper_of_this_run

class First(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2024, 7, 8)
        self.set_end_date(2024, 7, 8)
        self.add_index("SPX", Resolution.MINUTE)
        self.log(f"{helper_of_this_run.WORD} {self.get_parameter('size', 2) * 2}")
        if self.get_parameter("fail") is not None:
            raise KeyError("on purpose")
"""


def run_file(folder: Path, word: str, **parameters: str) -> RunResult:
    """Runs the algorithm above with a module of its own beside it."""
    folder.mkdir()
    (folder / "algorithm.py").write_text(ALGORITHM, encoding="utf-8")
    (folder / "helper_of_this_run.py").write_text(f"WORD = {word!r}", encoding="utf-8")
    request = RunRequest(folder / "algorithm.py", index_market(), parameters, None, folder / "storage")
    return run_backtest(request)


def test_runs_in_one_process_do_not_see_each_other(tmp_path: Path) -> None:
    before = (list(sys.path), "AlgorithmImports" in sys.modules)
    first = run_file(tmp_path / "one", "first", size="3")
    second = run_file(tmp_path / "two", "second")
    assert [line.split(" ", 2)[2] for line in (*first.log_lines, *second.log_lines)] == ["first 6", "second 4"]
    assert (list(sys.path), "AlgorithmImports" in sys.modules) == before
    assert "helper_of_this_run" not in sys.modules
    assert first.order_list_hash == second.order_list_hash


def test_an_algorithm_that_raises_gives_its_traceback(tmp_path: Path) -> None:
    result = run_file(tmp_path / "one", "x", fail="yes")
    assert result.error is not None
    assert "KeyError: 'on purpose'" in result.error


def paying(monkeypatch: pytest.MonkeyPatch) -> tuple[Market, Symbol]:
    """A market with SPY, which pays 2.00 a share."""
    spy = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    market = index_market()
    market.trade(spy, at("09:31"), 500.0)
    market.trade(spy, at("09:31", TUESDAY), 498.0)
    # Prices up to July 8 are worth 0.996 of later ones: a dividend of 500 x 0.004 = 2.00 a share, ex on July 9.
    rows = [FactorRow(MONDAY, 0.996, 1.0, 500.0), FactorRow(date(2050, 12, 31), 1.0, 1.0, 0.0)]
    monkeypatch.setattr(Market, "factor_file", lambda self, symbol: rows if symbol == spy else None)
    return market, spy


def test_a_dividend_is_paid_in_cash_on_raw_shares_at_the_midnight_of_its_ex_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    market, spy = paying(monkeypatch)

    def script(algorithm: Recorder) -> None:
        security = algorithm.add_equity("SPY", Resolution.MINUTE)
        security.set_data_normalization_mode(DataNormalizationMode.RAW)
        algorithm.do_at("09:31", lambda: algorithm.market_order(spy, 10))

        def on_dividends(self: Any, dividends: Any) -> None:
            listed(self, "dividend", dividends[spy].distribution, round(self.portfolio.cash, 2))

        on(algorithm, "on_dividends", on_dividends)

    # 100,000 less ten shares at 500 and a fee of 1, plus 20.
    assert lines_of(market, script, TUESDAY) == [("09 00:00", "dividend", 2.0, 95_019.0)]


def test_a_history_of_dividends_ends_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """As LEAN's: ex on July 9 by 500 x 0.004 = 2.00 dollars; known from that midnight on, not the evening before."""
    market, spy = paying(monkeypatch)

    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)

        def asked() -> None:
            now = algorithm.time
            for span in ((timedelta(days=400),), (now - timedelta(days=400), now, Resolution.DAILY)):
                found = algorithm.history[Dividend](spy, *span)
                listed(algorithm, "paid", *((f"{row.time:%m-%d}", row.distribution) for row in found))

        algorithm.do_at("15:00", asked)
        algorithm.do_at("10:00", asked, TUESDAY)

    assert lines_of(market, script, TUESDAY) == [
        ("08 15:00", "paid"), ("08 15:00", "paid"),
        ("09 10:00", "paid", ("07-09", 2.0)), ("09 10:00", "paid", ("07-09", 2.0)),
    ]  # fmt: skip


def test_the_clock_goes_on_with_data_only() -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        for day in (MONDAY, TUESDAY, date(2024, 7, 13)):
            algorithm.do_at("10:00", lambda: listed(algorithm, "event"), day)

    # Monday's price is filled forward through Tuesday's session. The run's last day is a Sunday and without a benchmark
    # nothing moves the clock past Friday (recording fuzz march-573): Saturday's event has nothing to come with.
    algorithm: Any = play(index_market(), script, last_day=date(2024, 7, 14))
    assert algorithm.lines == [("08 10:00", "event"), ("09 10:00", "event")]
    assert f"{algorithm.time:%d %H:%M}" == "12 16:15"
    # Where there is no data at all, nothing happens.
    assert getattr(play(Market(), script, last_day=TUESDAY), "lines", []) == []


def test_an_index_is_traded_only_where_the_algorithm_says_so() -> None:
    found: list[Any] = []

    def script(algorithm: Recorder) -> None:
        index = algorithm.add_index("SPX", Resolution.MINUTE)
        index.is_tradable = True

        def refuse() -> None:
            index.is_tradable = False
            with pytest.raises(ValueError, match="no longer tradable"):
                algorithm.market_order(SPX, 1)

        algorithm.do_at("10:00", lambda: found.append(algorithm.market_order(SPX, 1)))
        algorithm.do_at("10:01", refuse)

    play(index_market("10:00", "10:01"), script)
    assert [str(ticket.status) for ticket in found] == ["FILLED"]


def test_cycles_of_securities_that_left_are_collected_at_the_days_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Held:
        me: Any = None

    left: list[Any] = []

    def leave(engine: Any) -> None:
        held = Held()
        held.me = held
        left.append(weakref.ref(held))
        engine.forgotten += 2

    engine: Any = SimpleNamespace(start_ms=0, end_ms=4, zone=UTC, forgotten=0)
    monkeypatch.setattr(runner, "MANY_FORGOTTEN", 3)
    before = gc.get_freeze_count()
    with runner._swept(engine, None):
        assert gc.get_freeze_count() > before
        leave(engine)
        engine.progress(1)  # two are not many
        assert left[0]() is not None
        leave(engine)
        engine.progress(2)  # four are
        assert left[0]() is None
        leave(engine)
        engine.progress(3)  # two since then
        assert left[2]() is not None
    assert gc.get_freeze_count() == before  # nothing stays set aside


def test_installed_packages_stay_after_a_run_even_within_the_algorithms_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / ".venv" / "packages"
    packages.mkdir(parents=True)
    (packages / "installed_once.py").write_text("", encoding="utf-8")
    (tmp_path / "beside_it.py").write_text("", encoding="utf-8")
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(packages))
    monkeypatch.syspath_prepend(str(packages))
    with runner.importing(tmp_path / "main.py"):
        importlib.import_module("installed_once")
        importlib.import_module("beside_it")
    assert "beside_it" not in sys.modules
    assert sys.modules.pop("installed_once", None) is not None
