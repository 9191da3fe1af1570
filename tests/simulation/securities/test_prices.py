"""A security's price is read from its rows without a bar, and is what its newest bar says."""

from __future__ import annotations

from typing import Any

from tests.simulation.playing import SPX, Market, at, play, spxw

NAN = float("nan")


def test_the_price_is_the_newest_bars_through_gaps_and_missing_sides() -> None:
    """Worked by hand: middles (1.00 + 1.20) / 2 = 1.10 and (1.30 + 1.50) / 2 = 1.40; 1.25 is a trade in a minute
    without a quote; where the bid is missing it is the one before: (1.30 + 1.70) / 2 = 1.50."""
    market, put = Market(), spxw(5500.0)
    for minute in range(31, 60):
        market.trade(SPX, at(f"9:{minute}"), 5500.0)
    market.quote(put, at("9:33"), 1.00, 1.20)
    market.trade(put, at("9:36"), 1.25)
    market.quote(put, at("9:40"), 1.30, 1.50)
    market.quote(put, at("9:41"), NAN, 1.70)
    market.trade(put, at("9:41"), 1.65)
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
