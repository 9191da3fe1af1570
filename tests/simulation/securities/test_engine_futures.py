"""Futures: the continuous future and its contracts, filling forward over all hours, settlement, margins, files.

Two E-mini contracts over three days: September 2024 is the continuous future's contract up to and including Monday,
July 8th, December's from Tuesday on. Times are New York; a file of minutes is a day in UTC.
"""

# Private: _engine: what is subscribed behind a continuous future, which LEAN's algorithm does not show.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from simulation.algorithm.extensions import Time
from simulation.data.columns import ContractFactorRow, InterestBlock, MapRow, MarginRow, TradeBlock, UniverseBlock
from simulation.data.feeds import Feed, FeedSpec
from simulation.lean.clock import NEW_YORK, UTC
from simulation.lean.enums import (
    DataMappingMode,
    DataNormalizationMode,
    OrderStatus,
    Resolution,
    SecurityType,
    TickType,
)
from simulation.lean.symbols import Symbol
from simulation.securities import continuous
from simulation.securities.continuous import ContractFactors, ContractMap, MappingCalendar, feed_of
from tests.simulation.playing import MONDAY, Market, Recorder, at, play

TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
ES = Symbol.create("ES", SecurityType.FUTURE, "cme")
SEPTEMBER, DECEMBER, MARCH = (
    Symbol.create_future("ES", "cme", day) for day in (date(2024, 9, 20), date(2024, 12, 20), date(2025, 3, 21))
)
LAST, OPEN_INTEREST = DataMappingMode.LAST_TRADING_DAY, DataMappingMode.OPEN_INTEREST
RAW, RATIO = DataNormalizationMode.RAW, DataNormalizationMode.BACKWARDS_RATIO
BACKWARDS, FORWARD = DataNormalizationMode.BACKWARDS_PANAMA_CANAL, DataNormalizationMode.FORWARD_PANAMA_CANAL
MAP = (
    MapRow(date(1899, 12, 30), "es", "CME"),
    MapRow(MONDAY, str(SEPTEMBER.id).lower(), "CME", 0),
    MapRow(date(2024, 12, 17), str(DECEMBER.id).lower(), "CME", 2),
    MapRow(date(2024, 12, 19), str(DECEMBER.id).lower(), "CME", 0),
    MapRow(date(2025, 3, 18), str(MARCH.id).lower(), "CME", 2),
)
FACTORS = (
    ContractFactorRow(MONDAY, 0, (0.99, 0.98), (60.0,), (0.0,)),
    ContractFactorRow(date(2024, 12, 19), 0, (1.0, 1.0), (0.0,), (-60.0,)),
    ContractFactorRow(date(2024, 12, 17), 2, (0.5,), (5.0,), (5.0,)),
)


@dataclass
class FutureMarket(Market):
    """Minutes in UTC files, with a map file, a factor file, chain files and open interest."""

    map_rows: Sequence[MapRow] = MAP
    contracts: tuple[Any, ...] = ()
    interest_rows: dict[Any, list[datetime]] = field(default_factory=dict)

    def _on(self, rows: Sequence[tuple[Any, ...]], day: date) -> list[tuple[Any, ...]]:
        return sorted(row for row in rows if UTC.date_of(NEW_YORK.utc_ms(row[0]) - 60_000) == day)

    def map_file(self, symbol: Any) -> Any:
        return self.map_rows if symbol == ES else None

    def contract_factors(self, symbol: Any) -> Sequence[ContractFactorRow]:
        return FACTORS if symbol == ES else ()

    def universe(self, canonical: Any, day: date) -> UniverseBlock | None:
        count = len(self.contracts)
        if canonical != ES or not count:
            return None
        zero, empty = np.zeros(count), np.zeros(count, dtype=np.int64)
        expiries = np.array([symbol.id.date.toordinal() for symbol in self.contracts], dtype=np.int64)
        names = ("open", "high", "low", "close", "volume", "open_interest", "implied_volatility")
        columns: dict[str, Any] = dict.fromkeys((*names, "delta", "gamma", "vega", "theta", "rho"), zero)
        return UniverseBlock(canonical, day, None, expiries, zero, empty, **columns)

    def open_interest(self, symbol: Any, resolution: Resolution, day: date) -> InterestBlock | None:
        moments = [NEW_YORK.utc_ms(moment) for moment in self.interest_rows.get(symbol, [])]
        own = np.array([ms for ms in moments if UTC.date_of(ms) == day], dtype=np.int64)
        return InterestBlock(own, np.full(len(own), 7.0)) if len(own) else None


def both_contracts() -> FutureMarket:
    """September at 5000 on Monday, December at 5060 on Tuesday and Wednesday; each quoted a point around it."""
    market = FutureMarket()
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        for symbol, price in ((SEPTEMBER, 5000.0), (DECEMBER, 5060.0)):
            for clock in ("09:31", "10:00"):
                market.trade(symbol, at(clock, day), price)
                market.quote(symbol, at(clock, day), price - 1.0, price + 1.0)
    return market


def add_es(algorithm: Recorder, mode: DataNormalizationMode = RAW, depth: int = 0, extended: bool = False) -> Any:
    """The continuous future by last trading days, minute by minute."""
    return algorithm.add_future("ES", Resolution.MINUTE, None, True, 0.0, extended, LAST, mode, depth)


def on(algorithm: Recorder, callback: str, function: Callable[..., Any]) -> None:
    """Gives the algorithm's class a callback."""
    setattr(type(algorithm), callback, function)


def spec_of(mode: DataNormalizationMode, depth: int = 0, resolution: Resolution = Resolution.MINUTE) -> FeedSpec:
    market = FutureMarket()
    hours = market.hours.get_exchange_hours("cme", "ES", SecurityType.FUTURE)
    kind = TickType.TRADE
    return FeedSpec(ES, resolution, kind, hours, NEW_YORK, UTC, True, False, False, mode, LAST, depth)


def test_a_contract_holds_up_to_and_including_its_row() -> None:
    known = ContractMap.read(FutureMarket(), ES, LAST, 0)
    assert [known.contract(day) for day in (MONDAY, TUESDAY)] == [SEPTEMBER, DECEMBER]
    # The last row of this mode is of December 19th; the file speaks of days up to March 18th, so December stays.
    assert known.contract(date(2025, 3, 18)) == DECEMBER
    assert known.contract(date(2025, 3, 19)) is None
    monday, wednesday = MONDAY.toordinal(), WEDNESDAY.toordinal()
    assert list(known.spans(monday, wednesday)) == [
        (monday, monday, SEPTEMBER),
        (monday + 1, wednesday, DECEMBER),
    ]
    assert ContractMap.read(FutureMarket(), ES, OPEN_INTEREST, 0).contract(MONDAY) == DECEMBER


def test_a_depth_takes_the_next_expiries() -> None:
    assert ContractMap.read(FutureMarket(), ES, LAST, 1).contract(MONDAY) == DECEMBER
    assert ContractMap.read(FutureMarket(), ES, LAST, 2).contract(MONDAY) == MARCH


def test_without_rows_of_the_mode_there_is_no_contract() -> None:
    empty = ContractMap.read(FutureMarket(map_rows=()), ES, LAST, 0)
    assert empty.contract(MONDAY) is None
    assert list(empty.spans(0, 999_999)) == []


def test_the_defaults_are_leans() -> None:
    assert [continuous.default_mapping(OPEN_INTEREST, market) for market in ("cme", "hkfe")] == [OPEN_INTEREST, LAST]
    assert continuous.default_mapping(LAST, "eurex") == LAST
    assert [continuous.default_normalization(mode) for mode in (DataNormalizationMode.ADJUSTED, RAW)] == [RATIO, RAW]


@pytest.mark.parametrize("depth", [3, -3])
def test_more_than_two_back_months_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="maximum value is 2"):
        play(FutureMarket(), lambda algorithm: add_es(algorithm, depth=depth))


@pytest.mark.parametrize(
    ("mode", "monday", "tuesday"),
    [
        (RAW, 5000.0, 5060.0),
        (RATIO, 4950.0, 5060.0),  # 5000 x 0.99
        (BACKWARDS, 5060.0, 5060.0),  # 5000 + 60
        (FORWARD, 5000.0, 5000.0),  # 5060 - 60
    ],
)
def test_prices_are_those_of_the_contract_joined(mode: DataNormalizationMode, monday: float, tuesday: float) -> None:
    seen: list[tuple[float, ...]] = []

    def script(algorithm: Recorder) -> None:
        future = add_es(algorithm, mode)

        def look() -> None:
            moment = algorithm.current_slice
            past = algorithm.history(ES, 1, Resolution.MINUTE)
            seen.append((moment.bars[ES].close, future.price, past.iloc[-1]["close"]))

        for day in (MONDAY, TUESDAY):
            algorithm.do_at("10:00", look, day)

    play(both_contracts(), script, last_day=TUESDAY)
    assert seen == [(monday,) * 3, (tuesday,) * 3]


def test_history_joins_as_it_is_told() -> None:
    closes: list[float] = []

    def script(algorithm: Recorder) -> None:
        add_es(algorithm)

        def ask(**named: Any) -> None:
            closes.append(algorithm.history(ES, 1, Resolution.MINUTE, **named).iloc[-1]["close"])

        def look() -> None:
            ask(data_normalization_mode=RATIO)
            ask(data_mapping_mode=OPEN_INTEREST)
            ask(contract_depth_offset=1)
            ask(data_mapping_mode=OPEN_INTEREST, data_normalization_mode=BACKWARDS)

        algorithm.do_at("10:00", look)

    play(both_contracts(), script)
    # September x 0.99; December; the back month of September; December's factor by open interest is + 5.
    assert closes == [4950.0, 5060.0, 5060.0, 5065.0]


def test_of_two_factors_of_a_day_the_first_counts_and_a_depth_without_one_is_left_out() -> None:
    class Source:
        @staticmethod
        def contract_factors(symbol: Any) -> tuple[ContractFactorRow, ...]:
            return (*FACTORS[:1], ContractFactorRow(MONDAY, 0, (0.1, 0.1), (9.0, 9.0), ()), *FACTORS[1:])

    assert ContractFactors.read(Source(), spec_of(RATIO, 1)).values == (0.98, 1.0)
    assert ContractFactors.read(Source(), spec_of(BACKWARDS)).values == (60.0, 0.0)
    assert ContractFactors.read(Source(), spec_of(BACKWARDS, 1)).values == (9.0,)
    assert ContractFactors.read(object(), spec_of(RATIO)).values == ()


def test_the_change_of_contract_comes_at_midnight_with_an_event() -> None:
    lines: list[tuple[Any, ...]] = []

    def script(algorithm: Recorder) -> None:
        future = add_es(algorithm, RATIO)

        def changed(self: Any, events: Any) -> None:
            event = events[ES]
            lines.append((f"{self.time:%d %H:%M}", event.old_symbol, event.new_symbol, future.mapped))

        def on_data(self: Any, data: Any) -> None:
            if len(data.symbol_changed_events):
                lines.append((f"{self.time:%d %H:%M}", data.keys(), len(data.items()), data.has_data))

        on(algorithm, "on_symbol_changed_events", changed)
        on(algorithm, "on_data", on_data)

    play(both_contracts(), script, last_day=TUESDAY)
    assert lines == [("09 00:00", str(SEPTEMBER.id), str(DECEMBER.id), DECEMBER), ("09 00:00", [ES], 0, True)]


@pytest.mark.parametrize(("extended", "day"), [(False, 15), (True, 14)])
def test_a_change_waits_for_a_day_of_trading(extended: bool, day: int) -> None:
    """Friday the 12th is September's last day; Sunday evening is a day of trading for those who see it."""
    rows = (MAP[0], MapRow(date(2024, 7, 12), str(SEPTEMBER.id), "CME", 0), MAP[3])
    calendar = MappingCalendar(FutureMarket(map_rows=rows))
    now, end = (NEW_YORK.midnight_ms(date(2024, 7, one)) for one in (8, 20))
    calendar.watch(SimpleNamespace(symbol=ES), replace(spec_of(RAW), extended=extended), now, end)
    assert calendar.next_ms == NEW_YORK.midnight_ms(date(2024, 7, day))


def test_the_contract_is_inside_takes_orders_and_leaves_the_day_after() -> None:
    lines: list[tuple[Any, ...]] = []

    def script(algorithm: Recorder) -> None:
        future = add_es(algorithm)

        def changes(self: Any, changed: Any) -> None:
            names = [security.symbol for security in changed.added_securities]
            lines.append((f"{self.time:%d %H:%M}", names, [s.symbol for s in changed.removed_securities]))

        def trade() -> None:
            moment = algorithm.current_slice
            ticket = algorithm.market_order(future.mapped, 1)
            price = algorithm.securities[SEPTEMBER].price
            lines.append((moment.keys(), len(moment.futures_chains), ticket.status, ticket.average_fill_price, price))

        def active() -> list[bool]:
            return [algorithm._engine.securities.is_active(symbol) for symbol in (SEPTEMBER, DECEMBER)]

        on(algorithm, "on_securities_changed", changes)
        algorithm.do_at("10:00", trade)
        algorithm.do_at("09:31", lambda: lines.append(tuple(active())), TUESDAY)
        algorithm.do_at("10:00", algorithm.liquidate, TUESDAY)
        algorithm.do_at("09:31", lambda: lines.append(tuple(active())), WEDNESDAY)

    played = play(both_contracts(), script, last_day=WEDNESDAY)
    # Bought at September's ask, 5001. On Tuesday both are in, on Wednesday the old one is gone: it was sold.
    assert lines == [
        ("08 00:00", [ES], []),
        ([ES], 0, OrderStatus.FILLED, 5001.0, 5000.0),
        ("09 00:00", [], []),
        (True, True),
        ("10 00:00", [], []),
        (False, True),
    ]
    assert [quantity for _, quantity, _ in played.fills()] == [1.0, -1.0]


def test_a_chain_shows_what_the_continuous_future_holds_inside() -> None:
    market = both_contracts()
    market.contracts = (SEPTEMBER, DECEMBER)
    lines: list[Any] = []

    def script(algorithm: Recorder) -> None:
        future = add_es(algorithm)
        future.set_filter(lambda universe: universe.contracts([SEPTEMBER] if algorithm.time.day < 9 else [DECEMBER]))

        def look() -> None:
            chains = algorithm.current_slice.futures_chains
            lines.append([contract.symbol for contract in chains[ES]] if ES in chains else None)

        def changes(self: Any, changed: Any) -> None:
            lines.append(([s.symbol for s in changed.added_securities], [s.symbol for s in changed.removed_securities]))

        on(algorithm, "on_securities_changed", changes)
        for day in (MONDAY, TUESDAY):
            algorithm.do_at("10:00", look, day)

    play(market, script, last_day=TUESDAY)
    assert lines == [
        ([ES, SEPTEMBER], []),
        [SEPTEMBER],
        ([DECEMBER], [SEPTEMBER]),
        [DECEMBER],
    ]


def test_what_a_chain_gives_up_stays_inside() -> None:
    market = both_contracts()
    market.contracts = (SEPTEMBER, DECEMBER)
    seen: list[bool] = []

    def script(algorithm: Recorder) -> None:
        future = algorithm.add_future("ES", Resolution.MINUTE, None, True, 0.0, False, OPEN_INTEREST, RAW, 0)
        future.set_filter(lambda universe: universe.contracts([DECEMBER] if algorithm.time.day < 9 else [SEPTEMBER]))
        for day in (MONDAY, TUESDAY):
            algorithm.do_at("10:00", lambda: seen.append(DECEMBER in algorithm.current_slice.bars), day)
            algorithm.do_at("10:00", lambda: seen.append(algorithm.securities[DECEMBER].price == 5060.0), day)

    play(market, script, last_day=TUESDAY)
    assert seen == [True, True, False, True]


def test_removing_the_canonical_sells_its_contract() -> None:
    def script(algorithm: Recorder) -> None:
        future = add_es(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.market_order(future.mapped, 2))
        algorithm.do_at("10:01", lambda: algorithm.remove_security(ES))
        algorithm.do_at("10:02", lambda: add_es(algorithm))

    market = both_contracts()
    for clock in ("10:01", "10:02", "10:03"):
        market.quote(SEPTEMBER, at(clock), 4999.0, 5001.0)
    played = play(market, script)
    assert [(quantity, price) for _, quantity, price in played.fills()] == [(2.0, 5001.0), (-2.0, 4999.0)]
    assert not played.portfolio.invested


def test_adding_a_future_again_changes_nothing() -> None:
    def script(algorithm: Recorder) -> None:
        assert add_es(algorithm) is add_es(algorithm, RATIO)

    played = play(both_contracts(), script)
    assert len(played._engine.configs[ES]) == 3
    assert played._engine.configs[ES][0].mode == RAW


def test_securities_are_found_by_an_identifiers_text() -> None:
    played = play(both_contracts(), add_es)
    text = str(SEPTEMBER.id)
    assert played.symbol(text) == SEPTEMBER
    assert played.securities[text] is played.securities[SEPTEMBER]
    assert text in played.securities
    assert "NO SUCHTEXT" not in played.securities
    assert played.securities.get("nothing") is None


def test_gaps_are_filled_from_the_rows_of_all_hours() -> None:
    """17:30 is outside regular hours: the bar is dropped, but Tuesday's first minute is filled forward from it."""
    market = both_contracts()
    market.trade_rows[SEPTEMBER] = [(at("10:00"), (5000.0,) * 4), (at("17:30"), (5100.0,) * 4)]
    market.quote_rows[SEPTEMBER] = [(at("17:30"), (5099.0,) * 4, (5101.0,) * 4)]
    seen: list[tuple[float, ...]] = []

    def script(algorithm: Recorder) -> None:
        security = algorithm.add_future_contract(SEPTEMBER, Resolution.MINUTE)

        def look() -> None:
            moment = algorithm.current_slice
            seen.append((moment.bars[SEPTEMBER].close, moment.quote_bars[SEPTEMBER].bid.close, security.price))

        algorithm.do_at("09:31", look, TUESDAY)
        algorithm.do_at("11:00", look, WEDNESDAY)

    play(market, script, last_day=WEDNESDAY)
    # The price is that of the last bar inside the hours; Wednesday's file holds nothing, Monday's still counts.
    assert seen == [(5100.0, 5099.0, 5000.0)] * 2


def test_a_missing_side_comes_from_the_quote_before_whatever_its_hour() -> None:
    market = FutureMarket()
    market.trade(SEPTEMBER, at("09:31"), 5000.0)
    market.quote(SEPTEMBER, at("09:29"), 4990.0, 5003.0)
    market.quote(SEPTEMBER, at("09:31"), 4999.0, float("nan"))
    seen: list[tuple[float, float]] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_future_contract(SEPTEMBER, Resolution.MINUTE)

        def look() -> None:
            bar = algorithm.current_slice.quote_bars[SEPTEMBER]
            seen.append((bar.bid.close, bar.ask.close))

        algorithm.do_at("09:31", look)

    play(market, script)
    assert seen == [(4999.0, 5003.0)]


def test_the_bar_that_ends_at_the_start_and_the_one_at_the_last_midnight_are_shown() -> None:
    market = FutureMarket()
    market.trade(SEPTEMBER, at("00:00"), 5000.0)
    market.trade(SEPTEMBER, at("00:00", TUESDAY), 5010.0)
    seen: list[tuple[str, float]] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_future_contract(SEPTEMBER, Resolution.MINUTE, True, 0.0, True)

        def on_data(self: Any, data: Any) -> None:
            if self.time.minute == 0 and self.time.hour == 0:
                seen.append((f"{self.time:%d %H:%M}", data.bars[SEPTEMBER].close))

        on(algorithm, "on_data", on_data)

    played = play(market, script)
    assert seen == [("08 00:00", 5000.0), ("09 00:00", 5010.0)]
    # A regular-hours subscription has neither.
    assert not any(feed.spec.extended for feed in play(market, add_es)._engine.subscriptions.feeds[ES])
    assert played.securities[SEPTEMBER].price == 5010.0


def test_daily_bars_are_regular_sessions_whatever_was_asked_for() -> None:
    class Source(FutureMarket):
        def trades(self, symbol: Any, resolution: Resolution, day: date) -> TradeBlock | None:
            days = [MONDAY - timedelta(days=1), MONDAY]  # Sunday has evening hours only
            starts = np.array([UTC.midnight_ms(one) for one in days], dtype=np.int64)
            price = np.array([4990.0, 5000.0])
            return TradeBlock(starts + 86_400_000, starts, price, price, price, price, price)

    spec = spec_of(RAW, resolution=Resolution.DAILY)
    for extended in (False, True):
        spec.extended = extended
        feed = feed_of(Source(), spec, 0)
        column = feed.column(NEW_YORK.utc_ms(at("23:00")))
        assert column.end.tolist() == [NEW_YORK.utc_ms(at("17:00"))]
        assert column.block.start.tolist() == [NEW_YORK.utc_ms(at("09:30"))]


def test_a_specification_answers_by_leans_names() -> None:
    spec = spec_of(RATIO)
    assert (spec.market, spec.security_type, spec.tick_type) == ("cme", SecurityType.FUTURE, TickType.TRADE)
    assert spec.data_normalization_mode == RATIO
    played = play(both_contracts(), add_es)
    assert played.securities[ES].subscription_data_config.symbol == ES
    assert played.market_hours_database.get_exchange_hours(spec).time_zone.key == "America/New_York"
    assert type(feed_of(FutureMarket(), replace(spec, symbol=SEPTEMBER), 0)) is Feed


@pytest.mark.parametrize(("published", "gain"), [(True, 0.0), (False, 500.0)])
def test_the_daily_profit_is_settled_at_the_first_look_of_the_day(published: bool, gain: float) -> None:
    """Open interest at 02:06 makes LEAN look at the future before the session: Monday's price, 5001, settles."""
    market = both_contracts()
    market.quote_rows[SEPTEMBER] = [
        (at("10:00"), (5001.0,) * 4, (5001.0,) * 4),
        (at("09:31", TUESDAY), (5011.0,) * 4, (5011.0,) * 4),
    ]
    market.trade_rows[SEPTEMBER] = []
    if published:
        market.interest_rows[SEPTEMBER] = [at("02:06", TUESDAY)]
    cash: list[float] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_future_contract(SEPTEMBER, Resolution.MINUTE)
        algorithm.do_at("10:00", lambda: algorithm.market_order(SEPTEMBER, 1))
        algorithm.do_at("09:31", lambda: cash.append(algorithm.portfolio.cash), TUESDAY)

    play(market, script, last_day=TUESDAY)
    # Bought at 5001 for 2.15; 5011 would be 10 points of $50 more.
    assert cash == [pytest.approx(100_000.0 - 2.15 + gain)]


def test_a_future_tells_its_margins() -> None:
    market = both_contracts()
    market.margin_rows["ES"] = (MarginRow(date(2020, 1, 1), 12000.0, 11000.0, 6000.0, 5500.0),)
    played = play(market, lambda algorithm: algorithm.add_future_contract(SEPTEMBER, Resolution.MINUTE))
    model = played.securities[SEPTEMBER].buying_power_model
    assert model.initial_intraday_margin_requirement == 6000.0
    assert model.maintenance_intraday_margin_requirement == 5500.0
    bare = play(both_contracts(), lambda algorithm: algorithm.add_future_contract(SEPTEMBER, Resolution.MINUTE))
    model = bare.securities[SEPTEMBER].buying_power_model
    assert (model.initial_intraday_margin_requirement, model.maintenance_intraday_margin_requirement) == (0.0, 0.0)


def test_days_and_trading_days() -> None:
    start, end = datetime(2024, 7, 6), datetime(2024, 7, 8, 12)
    assert [day.day for day in Time.each_day(start, end)] == [6, 7, 8]
    hours = FutureMarket().hours.get_exchange_hours("cme", "ES", SecurityType.FUTURE)
    assert [day.day for day in Time.each_tradeable_day(hours, start, end)] == [8]
    assert [day.day for day in Time.each_tradeable_day(hours, start, end, True)] == [7, 8]
    played = play(both_contracts(), add_es)
    assert [day.day for day in Time.each_tradeable_day([played.securities[ES]], start, end)] == [8]
