"""Chains, histories, universes by function and an algorithm's services, in runs on markets written down in the test."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulation.algorithm.object_store import ObjectStore
from simulation.data.chain_files import UniverseRow
from simulation.data.columns import TradeBlock, UniverseBlock
from simulation.engine.kernel import NotInEngineError
from simulation.lean.bars import QuoteBar, TradeBar
from simulation.lean.clock import CHICAGO
from simulation.lean.enums import OptionRight, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from tests.simulation.chain_rows import FIFTIES, FRIDAYS, chain
from tests.simulation.playing import HIGH, LOW, MONDAY, SPX, Market, Recorder, at, index_market, listed, on, play, spxw

TUESDAY = date(2024, 7, 9)
SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")


@dataclass
class ChainMarket(Market):
    """A market with chain files of SPXW by day."""

    files: dict[date, UniverseBlock] = field(default_factory=dict)

    def universe(self, canonical: Any, day: date) -> Any:
        return self.files.get(day) if canonical.id.symbol == "SPXW" else None


def chain_market() -> ChainMarket:
    """Friday's file with the index at 5420, Monday's at 5320; the index trades on Monday and Tuesday."""
    market = ChainMarket()
    market.trade(SPX, at("09:31"), 5420.0)
    market.trade(SPX, at("09:31", TUESDAY), 5320.0)
    monday = replace(chain(5320.0, FIFTIES, FRIDAYS), day=MONDAY)
    market.files = {date(2024, 7, 5): chain(5420.0, FIFTIES, FRIDAYS), MONDAY: monday}
    return market


def lines_of(market: Market, script: Any, last_day: date = MONDAY) -> list[tuple[Any, ...]]:
    """What a script listed."""
    algorithm: Any = play(market, script, last_day=last_day)
    return list(getattr(algorithm, "lines", []))


# -- chains ---------------------------------------------------------------------------------------------------------


def test_a_chain_follows_the_file_of_the_day_before() -> None:
    def script(algorithm: Recorder) -> None:
        option = algorithm.add_index_option("SPX", "SPXW", Resolution.MINUTE)
        option.set_filter(lambda universe: universe.strikes(0, 0).expiration(0, 5).puts_only())

        def changed(self: Any, changes: Any) -> None:
            for word, securities in (("in", changes.added_securities), ("out", changes.removed_securities)):
                for security in securities:
                    if security.type == SecurityType.INDEX_OPTION and not security.symbol.is_canonical():
                        listed(self, word, security.symbol.id.strike_price)

        on(algorithm, "on_securities_changed", changed)

    lines = lines_of(chain_market(), script, TUESDAY)
    # Rank 0 above 5420 is 5450; at Tuesday's midnight (Chicago's) Monday's file has 5320, so 5350 comes; 5450 goes.
    assert [line[1:] for line in lines if line[1] == "in"] == [("in", 5450.0), ("in", 5350.0)]
    assert [line for line in lines if line[1] == "out"] == [("09 01:00", "out", 5450.0)]


def test_a_contract_with_a_position_stays_after_its_deselection() -> None:
    held = spxw(5450.0)
    market = chain_market()
    for clock, day in (("09:32", MONDAY), ("09:32", TUESDAY)):
        market.quote(held, at(clock, day), 30.0, 31.0)

    def script(algorithm: Recorder) -> None:
        option = algorithm.add_index_option("SPX", "SPXW", Resolution.MINUTE)
        option.set_filter(lambda universe: universe.strikes(0, 0).expiration(0, 5).puts_only())
        algorithm.do_at("10:00", lambda: algorithm.market_order(held, 1))
        algorithm.do_at("10:00", lambda: listed(algorithm, "held", algorithm.securities[held].bid_price), TUESDAY)

    algorithm: Any = play(market, script, last_day=TUESDAY)
    assert algorithm.lines == [("09 10:00", "held", 30.0)]
    assert algorithm.fills() == [(1, 1.0, 31.0)]


def test_the_file_of_a_chain_can_be_asked_for() -> None:
    found: dict[str, Any] = {}

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        canonical = Symbol.create_canonical_option(SPX, "SPXW", "usa", "?SPXW")

        def look() -> None:
            rows = list(algorithm.option_chain(canonical))
            found["rows"] = (len(rows), rows[0].strike, round(rows[0].greeks.delta, 2))
            found["list"] = algorithm.option_chain_provider.get_option_contract_list(canonical)
            found["many"] = [len(list(each)) for each in algorithm.option_chains([canonical]).values()]
            found["none"] = list(algorithm.option_chain(SPX))

        algorithm.do_at("10:00", look, TUESDAY)

    play(chain_market(), script, last_day=TUESDAY)
    # Six strikes, three expiries, calls and puts; the first is the 5300 call with its 0.9.
    assert found["rows"] == (36, 5300.0, 0.9)
    assert len(found["list"]) == 36
    assert spxw(5300.0) in found["list"]
    assert (found["many"], found["none"]) == ([36], [])


def test_histories_of_chains_come_flat_or_as_lists() -> None:
    found: dict[str, Any] = {}

    def script(algorithm: Any) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        canonical = Symbol.create_canonical_option(SPX, "SPXW", "usa", "?SPXW")

        def look() -> None:
            provider = algorithm.option_chain_provider
            found["flat"] = algorithm.history(canonical, 3, flatten=True)
            found["both"] = algorithm.history(UniverseRow, [canonical, SPX], timedelta(days=2), flatten=True)
            found["lists"] = algorithm.history(canonical, date(2024, 7, 5), date(2024, 7, 8))
            found["typed"] = algorithm.history[UniverseRow](canonical, 1)
            found["before"] = provider.get_option_contract_list(spxw(5300.0), date(2024, 7, 16))
            found["long ago"] = provider.get_option_contract_list(canonical, date(2024, 1, 2))
            found["nothing"] = algorithm.history(canonical, date(2023, 7, 5), date(2023, 7, 8), flatten=True)

        algorithm.do_at("10:00", look, TUESDAY)

    play(chain_market(), script, last_day=TUESDAY)
    flat = found["flat"]
    assert list(flat.index.names) == ["time", "symbol"]
    # Two files: of Friday the 5th, known on the 6th, and of Monday; six strikes, three expiries, two rights.
    assert list(flat.index.levels[0]) == [datetime(2024, 7, 6), datetime(2024, 7, 9)]
    assert (len(flat), flat["delta"].iloc[0]) == (72, 0.9)
    # The market's files hold deltas and nothing else: a column of zeros is left out (PandasData.cs:670).
    assert list(flat.columns) == ["delta"]
    assert (len(found["both"]), list(found["both"].index.names)) == (36, ["time", "symbol"])
    assert list(found["lists"].index.names) == ["symbol", "time"]
    assert [len(rows) for rows in found["lists"]["data"]] == [36]
    assert [len(rows) for rows in found["typed"]] == [36]
    # On the 16th the first of the three expiries is over.
    assert len(found["before"]) == 24
    assert found["long ago"] == []
    assert found["nothing"].empty


def test_wrong_kinds_of_symbols_are_refused() -> None:
    def script(algorithm: Any) -> None:
        with pytest.raises(ValueError, match=r"must be of type SecurityType\.INDEX"):
            algorithm.add_index_option(SPY)
        with pytest.raises(ValueError, match="valid option contract"):
            algorithm.add_option_contract(SPX)
        with pytest.raises(ValueError, match="non-canonical"):
            algorithm.add_index_option_contract(Symbol.create_canonical_option(SPX))
        with pytest.raises(ValueError, match="canonical"):
            algorithm.add_future_option(SPX)
        with pytest.raises(NotInEngineError, match="resolution"):
            algorithm.add_index("SPX", Resolution.SECOND)
        assert algorithm.remove_security(SPY) is False

    play(index_market(), script)


def test_a_security_by_type_is_the_same_as_by_its_own_method() -> None:
    def script(algorithm: Recorder) -> None:
        index = algorithm.add_security(SecurityType.INDEX, "SPX", Resolution.MINUTE)
        share = algorithm.add_security(SPY, Resolution.MINUTE)
        assert (index.symbol, share.symbol) == (SPX, SPY)
        assert algorithm.add_security(HIGH, Resolution.MINUTE).underlying is index
        assert algorithm.add_security(SecurityType.FUTURE, "ES").symbol.is_canonical()
        chain_of_spy = algorithm.add_security(SecurityType.OPTION, "SPY")
        assert chain_of_spy.symbol == Symbol.create_canonical_option(SPY)
        assert algorithm.add_index_option("SPXW").symbol.id.symbol == "SPXW"

    play(index_market(), script)


def test_a_universe_of_tickers_follows_its_function() -> None:
    market = index_market()
    for name, price in (("SPY", 500.0), ("QQQ", 480.0)):
        market.trade(Symbol.create(name, SecurityType.EQUITY, "usa"), at("09:31"), price)

    def script(algorithm: Recorder) -> None:
        def select(moment: datetime) -> list[Any]:
            return ["SPY"] if moment.date() <= MONDAY else ["QQQ"]

        algorithm.add_universe("pair", Resolution.DAILY, select)

        def changed(self: Any, changes: Any) -> None:
            names = [[s.symbol.value for s in each] for each in (changes.added_securities, changes.removed_securities)]
            listed(self, "members", *names)

        on(algorithm, "on_securities_changed", changed)

    lines = [line[1:] for line in lines_of(market, script, date(2024, 7, 10))]
    assert lines[0] == ("members", ["SPY"], [])
    assert ("members", ["QQQ"], ["SPY"]) in lines


# -- histories ------------------------------------------------------------------------------------------------------


def history_market() -> Market:
    """The index at 09:31 and 10:00, an option quoted and traded."""
    market = index_market("10:00")
    market.quote(HIGH, at("09:31"), 2.0, 2.2)
    market.trade(HIGH, at("09:33"), 2.1)
    market.quote(LOW, at("09:32"), 0.5, 0.6)
    return market


def asked(look: Any) -> Any:
    """What a function of the algorithm gives at 09:34."""
    found: list[Any] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        for symbol in (LOW, HIGH):
            algorithm.add_index_option_contract(symbol, Resolution.MINUTE)
        algorithm.do_at("09:34", lambda: found.append(look(algorithm)))

    play(history_market(), script)
    return found[0]


def test_histories_by_kind_span_and_range() -> None:
    # Chicago's clock, as the exchange's: the quote of 09:31 repeats to 09:34 by fill-forward.
    quotes = asked(lambda a: a.history[QuoteBar](HIGH, timedelta(minutes=10), Resolution.MINUTE))
    assert [(f"{bar.end_time:%H:%M}", bar.bid.close) for bar in quotes] == [
        ("08:31", 2.0), ("08:32", 2.0), ("08:33", 2.0), ("08:34", 2.0),
    ]  # fmt: skip
    real = asked(lambda a: a.history[QuoteBar](HIGH, timedelta(minutes=10), Resolution.MINUTE, fill_forward=False))
    assert [f"{bar.end_time:%H:%M}" for bar in real] == ["08:31"]
    between = asked(lambda a: a.history[TradeBar](SPX, at("09:30"), at("09:33"), Resolution.MINUTE))
    assert [f"{bar.end_time:%H:%M}" for bar in between] == ["08:31", "08:32", "08:33"]
    # The bar that ends at the range's begin is none of its points, but is filled forward; an earlier one is not.
    after = asked(lambda a: a.history[TradeBar](SPX, at("09:31"), at("09:33"), Resolution.MINUTE))
    assert [(f"{bar.end_time:%H:%M}", bar.is_fill_forward) for bar in after] == [("08:32", True), ("08:33", True)]
    assert asked(lambda a: a.history[TradeBar](SPX, at("09:32"), at("09:34"), Resolution.MINUTE)) == []
    # The future is not there: a range that ends later ends now.
    beyond = asked(lambda a: a.history[TradeBar](SPX, at("09:30"), at("12:00"), Resolution.MINUTE))
    assert [f"{bar.end_time:%H:%M}" for bar in beyond] == ["08:31", "08:32", "08:33", "08:34"]
    # The days before have no data, but are bars of market time.
    assert len(asked(lambda a: a.history[TradeBar]("SPX", 500, Resolution.MINUTE))) == 4


def test_histories_of_several_symbols() -> None:
    maps = asked(lambda a: a.history[QuoteBar]([LOW, HIGH], timedelta(minutes=10), Resolution.MINUTE))
    # 09:31 has the higher one only; from 09:32 on both.
    assert [sorted(pair.key.id.strike_price for pair in each) for each in maps] == [
        [5350.0], [5300.0, 5350.0], [5300.0, 5350.0], [5300.0, 5350.0],
    ]  # fmt: skip
    slices = asked(lambda a: list(a.history(timedelta(minutes=10), Resolution.MINUTE)))
    first, last = slices[0], slices[-1]
    assert (f"{first.time:%H:%M}", first.contains_key(LOW), HIGH in first, len(first)) == ("09:31", False, True, 2)
    # At 09:34 the trade of 09:33 is filled forward; a bar of trades goes before one of quotes.
    assert (last[HIGH].close, last.get(LOW).bid.close, last.get(SPY)) == (2.1, 0.5, None)
    assert {pair.key for pair in last} == {SPX, LOW, HIGH}


def test_frames_of_options_are_indexed_by_their_terms() -> None:
    frame = asked(lambda a: a.history(HIGH, timedelta(minutes=10), Resolution.MINUTE))
    assert list(frame.index.names) == ["expiry", "strike", "type", "symbol", "time"]
    row = frame.iloc[0]
    assert (row["bidclose"], row["askclose"], row["bidsize"]) == (2.0, 2.2, 10.0)
    nothing = asked(lambda a: a.history(SPY, timedelta(minutes=10), Resolution.MINUTE))
    assert nothing.empty


def test_a_history_without_a_span_is_refused() -> None:
    def look(algorithm: Any) -> bool:
        with pytest.raises(TypeError, match="a number of bars"):
            algorithm.history(HIGH)
        return True

    assert asked(look)


def test_the_last_known_prices_come_in_order() -> None:
    points = asked(lambda a: a.get_last_known_prices(HIGH))
    # The quote of 09:31 is older than the trade of 09:33.
    assert [type(point) for point in points] == [QuoteBar, TradeBar]
    assert asked(lambda a: a.get_last_known_price(HIGH)).close == pytest.approx(2.1)
    assert asked(lambda a: a.get_last_known_price(spxw(9000.0, OptionRight.CALL))) is None


def test_warm_up_by_number_of_bars_reaches_market_time_back() -> None:
    friday = date(2024, 7, 5)
    market = index_market(day=friday)
    market.trade(SPX, at("16:10", friday), 5400.0)
    market.trade(SPX, at("09:31"), 5450.0)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.set_warm_up(10, Resolution.MINUTE)

        def on_data(self: Any, data: Any) -> None:
            if self.is_warming_up:
                listed(self, data.bars[SPX].close)

        on(algorithm, "on_data", on_data)

    # Friday closes at 16:15: ten bars are those that end 16:06 to 16:15; none is there before 16:10.
    lines = lines_of(market, script)
    assert lines[-1] == ("05 16:15", 5400.0)
    assert ("05 16:10", 5400.0) in lines
    assert all("05 16:06" <= line[0] <= "05 16:15" for line in lines)


@dataclass
class DailyMarket(Market):
    """A market with daily bars of some symbols beside the minutes."""

    days: dict[Any, dict[date, float]] = field(default_factory=dict)

    def trades(self, symbol: Any, resolution: Resolution, day: date) -> TradeBlock | None:
        closes = self.days.get(symbol, {}) if resolution == Resolution.DAILY else None
        if closes is None:
            return super().trades(symbol, resolution, day)
        starts = np.array([CHICAGO.midnight_ms(one) for one in closes], dtype=np.int64)
        prices = np.array(list(closes.values()))
        return TradeBlock(starts + 86_400_000, starts, prices, prices, prices, prices, prices) if closes else None


@pytest.mark.parametrize("by_setting", [False, True])
def test_a_warm_up_comes_at_a_resolution_of_its_own(by_setting: bool) -> None:
    market = DailyMarket()
    market.days[SPX] = {date(2024, 7, 3): 5400.0, date(2024, 7, 5): 5410.0, MONDAY: 5999.0}
    market.trade(SPX, at("16:10", date(2024, 7, 5)), 5411.0)
    market.trade(SPX, at("09:33"), 5450.0)
    market.quote(HIGH, at("09:33"), 2.0, 2.2)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(HIGH, Resolution.MINUTE)
        if by_setting:
            algorithm.settings.warm_up_resolution = Resolution.DAILY
        algorithm.set_warm_up(timedelta(days=5), None if by_setting else Resolution.DAILY)
        on(algorithm, "on_warmup_finished", lambda self: listed(self, "finished", self.securities[SPX].price))

        def on_data(self: Any, data: Any) -> None:
            if self.is_warming_up or self.time.hour == 9:
                listed(self, "bar", data.bars[SPX].close, self.securities[SPX].price)

        on(algorithm, "on_data", on_data)

    # Two daily bars at their closes, early before the Fourth; never Monday's. At 9:31 and 9:32 Friday's last minute is
    # filled forward from the day before the start, and from 9:33 the minutes are there.
    assert lines_of(market, script)[:6] == [
        ("03 13:00", "bar", 5400.0, 5400.0),
        ("05 16:15", "bar", 5410.0, 5410.0),
        ("08 00:00", "finished", 5410.0),
        ("08 09:31", "bar", 5411.0, 5410.0),
        ("08 09:32", "bar", 5411.0, 5410.0),
        ("08 09:33", "bar", 5450.0, 5450.0),
    ]


# -- services -------------------------------------------------------------------------------------------------------


def test_the_object_store_keeps_json_and_its_limits(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store")
    assert (store.keys, list(store), store.delete("one")) == ([], [], False)
    assert store.save_json("a/one.json", {"x": 1})
    assert (store.read_json("a/one.json"), "a/one.json" in store, store.save("two")) == ({"x": 1}, True, False)
    store.max_files = 1
    assert store.save_bytes("two", b"12") is False
    assert store.save_bytes("a/one.json", b"12345678")  # an existing key may be replaced
    store.max_files, store.max_size = 9, 10
    assert (store.save_bytes("two", b"123"), store.save_bytes("two", b"12")) == (False, True)
    assert [(pair.key, pair.value) for pair in store] == [("a/one.json", b"12345678"), ("two", b"12")]
    store.clear()
    assert store.keys == []


def test_words_charts_and_figures() -> None:
    def script(algorithm: Recorder) -> None:
        for _ in range(2):
            algorithm.log("same")
            algorithm.debug("again")
        algorithm.error(" ")
        algorithm.plot("Own", "Series", 2)
        algorithm.plot("Series", 3)
        algorithm.record("Series", 4)
        with pytest.raises(ValueError, match="reserved for the engine"):
            algorithm.plot("Strategy Equity", "Equity", 1)
        with pytest.raises(ValueError, match="'Fees' is reserved"):
            algorithm.set_runtime_statistic("Fees", 1)
        algorithm.set_runtime_statistic("Mine", 1)
        algorithm.set_summary_statistic("Mine", 2)
        assert algorithm.notify.sms("1", "text") is False
        assert algorithm.notify.email("a@b", "subject", "text") is False

    algorithm: Any = play(index_market(), script)
    # A debug line drops its repetition, a log line does not; a blank line is nothing.
    assert [line[20:] for line in algorithm.logs.lines] == ["same", "DEBUG: again", "same"]
    values = {chart: [v for _, v in series["Series"]] for chart, series in algorithm.charts.items() if series}
    assert values["Own"] == [2.0]
    assert values["Strategy Equity"] == [3.0, 4.0]
    assert (algorithm.runtime_statistics["Mine"], algorithm.summary_statistics["Mine"]) == ("1", "2")


def test_the_end_of_day_is_called_ten_minutes_before_each_close() -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        on(algorithm, "on_end_of_day", lambda self, symbol: listed(self, symbol.value))

    # The index closes at 16:15 in New York.
    assert lines_of(index_market("16:04", "16:05", "16:06"), script) == [("08 16:05", "SPX")]


def test_only_dollars_are_an_account_currency() -> None:
    def script(algorithm: Recorder) -> None:
        with pytest.raises(NotInEngineError, match="account currency EUR"):
            algorithm.set_account_currency("EUR")
        algorithm.set_account_currency("usd", 5000)

    algorithm: Any = play(index_market(), script)
    assert (algorithm.account_currency, algorithm.portfolio.cash) == ("USD", 5000.0)


def test_without_fill_forward_there_are_steps_only_where_there_are_bars() -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE, fill_forward=False)
        on(algorithm, "on_data", lambda self, data: listed(self, "data", data.bars[SPX].close))

    lines = lines_of(index_market("10:00", "15:00"), script)
    assert [line[0] for line in lines] == ["08 09:31", "08 10:00", "08 15:00"]


def test_the_older_end_of_day_is_called_once_at_two_minutes_to_midnight() -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_equity("SPY", Resolution.MINUTE)
        on(algorithm, "on_end_of_day", lambda self: listed(self, "end"))

    market = index_market()
    market.trade(SPX, at("09:31", TUESDAY), 5450.0)
    assert lines_of(market, script, TUESDAY)[0] == ("08 23:58", "end")


def test_the_clock_may_be_in_another_zone() -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.set_time_zone("America/Chicago")
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.do_at("10:00", lambda: listed(algorithm, "ten", f"{algorithm.utc_time:%H:%M}"))

    # Ten o'clock in Chicago is 15:00 UTC in summer.
    assert lines_of(index_market("11:00"), script) == [("08 10:00", "ten", "15:00")]


def test_a_universe_of_shares_is_chosen_from_the_last_coarse_file(tmp_path: Path) -> None:
    folder = tmp_path / "equity" / "usa" / "fundamental" / "coarse"
    folder.mkdir(parents=True)
    rows = [
        f"{SPY.id},SPY,500,1000,500000,True,0.99,0.5",
        f"{Symbol.create('QQQ', SecurityType.EQUITY, 'usa').id},QQQ,480,10,4800",
    ]
    (folder / "20240705.csv").write_text("\n".join(rows), encoding="utf-8")
    market: Any = index_market()
    market.root = tmp_path
    seen: list[Any] = []

    def script(algorithm: Recorder) -> None:
        def coarse(found: Any) -> list[Any]:
            seen.extend((row.symbol.value, row.adjusted_price, row.has_fundamental_data) for row in found)
            return [row.symbol for row in found if row.dollar_volume > 10_000]

        algorithm.add_universe(coarse, lambda fine: [row.symbol for row in fine])
        on(
            algorithm,
            "on_securities_changed",
            lambda self, changes: listed(self, "in", [security.symbol.value for security in changes.added_securities]),
        )

    lines = lines_of(market, script)
    # 500 x 0.99 x 0.5; the second row has no factors. Friday's file is there at Monday's start.
    assert seen[:2] == [("SPY", 247.5, True), ("QQQ", 480.0, False)]
    assert lines[0][1:] == ("in", ["SPY"])
