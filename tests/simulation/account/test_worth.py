"""What the account is worth is worked out once for all who ask while nothing changes it."""

from __future__ import annotations

from simulation.lean.bars import TradeBar
from simulation.lean.enums import AccountType, BrokerageName, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from tests.simulation.playing import Market, Recorder, at, play

SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")


def test_what_the_account_is_worth_follows_every_change_within_one_minute() -> None:
    market = Market()
    for clock, price in (("09:31", 500.0), ("09:32", 501.0)):
        market.trade(SPY, at(clock), price)
        market.quote(SPY, at(clock), price, price)
    seen: list[float] = []

    def script(algorithm: Recorder) -> None:
        algorithm.set_brokerage_model(BrokerageName.TASTYTRADE, AccountType.MARGIN)
        share, book = algorithm.add_equity("SPY", Resolution.MINUTE), algorithm.portfolio

        def change() -> None:
            algorithm.market_order(SPY, 100)
            seen.append(book.total_portfolio_value)
            book.set_cash(book.cash + 7.0)
            seen.append(book.total_portfolio_value)
            share.set_market_price(TradeBar(at("09:32"), SPY, 503.0, 503.0, 503.0, 503.0))
            seen.append(book.total_portfolio_value)
            algorithm.market_order(SPY, -50)
            seen.append(book.total_portfolio_value)
            share.holdings.set_holdings(500.0, 10.0)
            seen.append(book.total_portfolio_value)

        algorithm.do_at("09:31", lambda: seen.append(book.total_portfolio_value))
        algorithm.do_at("09:31", lambda: algorithm.market_order(SPY, 10))
        algorithm.do_at("09:32", lambda: seen.append(book.total_portfolio_value))
        algorithm.do_at("09:32", change)

    play(market, script, cash=100_000.0)
    # ten shares gain a dollar each; 100 more are bought at 501; 110 shares at 503; 50 of them are sold at the bid, 501;
    # fifty of the sixty left are taken away
    assert seen == [100_000.0, 100_010.0, 100_010.0, 100_017.0, 100_237.0, 100_137.0, 74_987.0]
