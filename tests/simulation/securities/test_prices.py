"""A security's price is read from its rows without a bar, and is what its newest bar says."""

# Private: _engine: what a run samples is the kernel's own affair.

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from simulation.lean.clock import FOREVER, NEW_YORK
from simulation.securities.paths import Points, PricePath
from simulation.securities.securities import Security
from tests.simulation.playing import MONDAY, SPX, Market, at, play, spxw

NAN = float("nan")


PUT = spxw(5500.0)


def gaps() -> Market:
    """Half an hour of a put with few quotes and trades, the index beside it."""
    market, put = Market(), PUT
    for minute in range(31, 60):
        market.trade(SPX, at(f"9:{minute}"), 5500.0)
    market.quote(put, at("9:33"), 1.00, 1.20)
    market.trade(put, at("9:36"), 1.25)
    market.quote(put, at("9:40"), 1.30, 1.50)
    market.quote(put, at("9:41"), NAN, 1.70)
    market.trade(put, at("9:41"), 1.65)
    return market


def test_the_price_is_the_newest_bars_through_gaps_and_missing_sides() -> None:
    """Worked by hand: middles (1.00 + 1.20) / 2 = 1.10 and (1.30 + 1.50) / 2 = 1.40; 1.25 is a trade in a minute
    without a quote; where the bid is missing it is the one before: (1.30 + 1.70) / 2 = 1.50."""
    market, put = gaps(), PUT
    seen: dict[str, tuple[float, bool]] = {}

    def script(algorithm: Any) -> None:
        algorithm.add_index("SPX")
        option = algorithm.add_index_option_contract(put)

        def look() -> None:
            trade, close = option.last_trade(), option.trade_close()
            same = close == (None if trade is None else (trade.end_ms, trade.close))
            seen[f"{algorithm.time:%H:%M}"] = (option.price, same and option.price == option.get_last_data().close)

        for clock in ("9:33", "9:35", "9:36", "9:39", "9:40", "9:41", "9:58"):
            algorithm.do_at(clock, look)

    play(market, script)
    assert seen == {
        "09:33": (1.10, True),
        "09:35": (1.10, True),
        "09:36": (1.25, True),
        "09:39": (1.25, True),
        "09:40": (1.40, True),
        "09:41": (1.50, True),
        "09:58": (1.50, True),
    }


def test_a_path_has_the_prices_of_all_minutes_at_once() -> None:
    """The market above. Three contracts short of a hundred: 1.25 is worth -375, 1.50 is worth -450. At 9:41 the trade
    at 1.65 shows before the quote's middle; at 9:32 there is no price yet, and none shows."""
    found: list[Any] = []

    def script(algorithm: Any) -> None:
        algorithm.add_index("SPX")
        option = algorithm.add_index_option_contract(PUT)
        algorithm.do_at("9:35", lambda: found.append(option.price_path(NEW_YORK.utc_ms(at("9:35")))))

    play(gaps(), script)
    (path,) = found
    clocks = ("9:32", "9:33", "9:35", "9:36", "9:40", "9:41", "9:58")
    times = np.array([NEW_YORK.utc_ms(at(clock)) for clock in clocks])
    assert path.prices(times).tolist() == [0.0, 1.10, 1.10, 1.25, 1.40, 1.50, 1.50]
    assert [path.price(moment) for moment in times.tolist()] == path.prices(times).tolist()
    assert path.worth(times, (-3.0, 100.0, 1.0)).tolist() == [0.0, -330.0, -330.0, -375.0, -420.0, -450.0, -450.0]
    edges = [NEW_YORK.utc_ms(at(clock)) for clock in ("9:34", "9:36", "9:39", "9:58")]
    assert path.leaves(1.0, 1.2, edges[0], edges[3]) == edges[1]  # by the trade of 9:36
    assert path.leaves(1.2, 1.3, edges[0], edges[3]) == edges[0]  # 1.10 is outside from the start
    assert path.leaves(1.1, 1.25, edges[0], edges[2]) == FOREVER  # a bound is inside
    assert path.seen(times, False).tolist() == [1.10, 1.10, 1.25, 1.40, 1.50, 1.50]
    assert path.seen(times, True).tolist() == [1.10, 1.10, 1.25, 1.25, 1.40, 1.65, 1.50, 1.50]


def points(*rows: tuple[int, float]) -> Points:
    """Closes by the end of their bar; nothing before the first."""
    ends = np.array([0, *(end for end, _ in rows)])
    return Points(ends, np.array([-1, *ends[1:]]), np.array([0.0, *(close for _, close in rows)]))


@pytest.mark.parametrize(
    ("trades", "steps", "prices"),
    [
        ((), [0, 10, 20, 30], [0.0, 1.0, 2.0, 3.0]),
        (((20, 9.0),), [0, 10, 20, 30], [0.0, 1.0, 2.0, 3.0]),  # of one instant: the quote is the price
        (((15, 8.0), (20, 9.0)), [0, 10, 15, 20, 30], [0.0, 1.0, 8.0, 2.0, 3.0]),  # in a minute without a quote
        (((5, 7.0), (40, 9.0)), [0, 5, 10, 20, 30, 40], [0.0, 7.0, 1.0, 2.0, 3.0, 9.0]),  # after the last quote
    ],
)
def test_a_path_changes_where_a_quote_or_a_trade_ends(
    trades: tuple[tuple[int, float], ...], steps: list[int], prices: list[float]
) -> None:
    path = PricePath(points((10, 1.0), (20, 2.0), (30, 3.0)), points(*trades), 0, 50)
    assert path.changes(-1, 50).tolist() == steps
    assert [path.price(ms) for ms in steps] == prices
    assert path.price(50) == prices[-1]


def restless() -> Market:
    """Two puts over two days, quoted in two minutes of three and traded in one of five, the index beside them."""
    market, draw = Market(), np.random.default_rng(5)
    for day in (MONDAY, MONDAY + timedelta(days=1)):
        for minute in range(1, 391):
            clock = at("9:30", day) + timedelta(minutes=minute)
            market.trade(SPX, clock, round(5500.0 + float(draw.normal()), 2))
            for put, level in ((PUT, 8.0), (spxw(5450.0), 4.0)):
                price = round(level + 0.05 * float(draw.integers(-30, 30)), 2)
                if draw.random() < 0.67:
                    market.quote(put, clock, price if draw.random() < 0.9 else NAN, round(price + 0.10, 2))
                if draw.random() < 0.2:
                    market.trade(put, clock, round(price + 0.05, 2))
    return market


def account_of(market: Market) -> tuple[Any, ...]:
    """What a run leaves that opens, adds, closes in parts and over night, and moves money."""
    second = date(2024, 7, 9)

    def script(algorithm: Any) -> None:
        algorithm.add_index("SPX")
        short, long = (algorithm.add_index_option_contract(put).symbol for put in (PUT, spxw(5450.0)))
        book = algorithm.portfolio.cash_book["USD"]
        acts: list[tuple[str, Any, date]] = [
            ("9:40", lambda: (algorithm.market_order(short, -4), algorithm.market_order(long, 4)), MONDAY),
            ("10:10", lambda: algorithm.market_order(short, -2), MONDAY),
            ("11:00", lambda: algorithm.market_order(short, 3), MONDAY),
            ("12:00", lambda: book.add_amount(-333.33), MONDAY),
            ("13:00", lambda: algorithm.market_order(long, -4), MONDAY),
            ("11:30", lambda: algorithm.market_order(short, 5), second),
            ("14:00", lambda: algorithm.market_order(short, -2), second),
        ]
        for clock, act, day in acts:
            algorithm.do_at(clock, act, day)

    made: Any = play(market, script, last_day=second)
    samples = made._engine.samples
    trades = [
        (trade.quantity, trade.profit_loss, trade.mae, trade.mfe, trade.end_trade_drawdown)
        for trade in made.trade_builder.closed_trades
    ]
    return trades, samples.equity, samples.daily, samples.final_capacity()


def test_an_account_followed_by_paths_is_the_one_followed_minute_by_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = account_of(restless())
    monkeypatch.setattr(Security, "price_path", lambda self, ms: None)
    slow = account_of(restless())
    assert quick == slow
    assert len(quick[0]) >= 4
    assert all(mae < 0 < mfe and drawdown > 0 for _, _, mae, mfe, drawdown in quick[0])
    assert sum(high > low for _, _, high, low, _ in quick[1]) > 100
