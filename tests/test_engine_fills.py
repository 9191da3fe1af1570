"""Orders of the embedded engine on a market written down minute by minute: when they fill, at what, and what is said.

Every price is in the test, every expected figure is worked out above its assert. The helpers here (`Market`, `play`)
serve the other engine tests too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.algorithm.algorithm import QCAlgorithm, waiting_for
from simulation.algorithm.consolidators import Consolidators
from simulation.algorithm.object_store import ObjectStore
from simulation.data.columns import FactorRow, InterestBlock, InterestRates, MarginRow, QuoteBlock, TradeBlock
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.engine.kernel import Engine
from simulation.lean.clock import NEW_YORK
from simulation.lean.enums import (
    AccountType,
    BrokerageName,
    OptionRight,
    OptionStyle,
    OrderStatus,
    Resolution,
    SecurityType,
)
from simulation.lean.identifiers import use_map_files
from simulation.lean.numbers import decimal_text
from simulation.lean.symbols import Symbol, SymbolCache
from simulation.market.definitions import market_hours, symbol_properties
from simulation.orders.fills import FillModel
from simulation.orders.order_checks import round_to_tick
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import Leg, OrderProperties, TimeInForce
from simulation.orders.requests import UpdateOrderFields
from simulation.results.sampling import Samples

MONDAY = date(2024, 7, 8)
FRIDAY = datetime(2024, 7, 12)
Side = tuple[float, float, float, float]
"""Open, high, low, close."""


def at(clock: str, day: date = MONDAY) -> datetime:
    """A New York time of a day: at("10:00")."""
    hour, minute = clock.split(":")
    return datetime(day.year, day.month, day.day, int(hour), int(minute))


def flat(price: float) -> Side:
    """A bar that stays where it is."""
    return price, price, price, price


@dataclass
class Market:
    """A DataSource of hand-written minutes; times are the ENDS of bars in New York."""

    trade_rows: dict[Any, list[tuple[datetime, Side]]] = field(default_factory=dict)
    quote_rows: dict[Any, list[tuple[datetime, Side, Side]]] = field(default_factory=dict)
    margin_rows: dict[str, Sequence[MarginRow]] = field(default_factory=dict)
    factor_rows: Sequence[FactorRow] | None = None

    @property
    def hours(self) -> MarketHoursDatabase:
        return market_hours()

    @property
    def properties(self) -> SymbolPropertiesDatabase:
        return symbol_properties()

    def trade(self, symbol: Any, clock: datetime, bar: Side | float) -> None:
        """One trade bar."""
        self.trade_rows.setdefault(symbol, []).append((clock, flat(bar) if isinstance(bar, float) else bar))

    def quote(self, symbol: Any, clock: datetime, bid: Side | float, ask: Side | float) -> None:
        """One quote bar."""
        sides = tuple(flat(side) if isinstance(side, float) else side for side in (bid, ask))
        self.quote_rows.setdefault(symbol, []).append((clock, sides[0], sides[1]))

    @staticmethod
    def _times(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, Any]:
        ends = np.array([NEW_YORK.utc_ms(row[0]) for row in rows], dtype=np.int64)
        return ends, ends - 60_000

    def _on(self, rows: Sequence[tuple[Any, ...]], day: date) -> list[tuple[Any, ...]]:
        return sorted(row for row in rows if row[0].date() == day)

    def trades(self, symbol: Any, resolution: Resolution, day: date) -> TradeBlock | None:
        rows = self._on(self.trade_rows.get(symbol, []), day) if resolution == Resolution.MINUTE else []
        if not rows:
            return None
        ends, starts = self._times(rows)
        o, h, low, c = np.array([row[1] for row in rows], dtype=np.float64).T
        return TradeBlock(ends, starts, o, h, low, c, np.full(len(rows), 100.0))

    def quotes(self, symbol: Any, resolution: Resolution, day: date) -> QuoteBlock | None:
        rows = self._on(self.quote_rows.get(symbol, []), day) if resolution == Resolution.MINUTE else []
        if not rows:
            return None
        ends, starts = self._times(rows)
        bid, ask = (np.array([row[side] for row in rows], dtype=np.float64).T for side in (1, 2))
        size = np.full(len(rows), 10.0)
        return QuoteBlock(ends, starts, bid[0], bid[1], bid[2], bid[3], size, ask[0], ask[1], ask[2], ask[3], size)

    def open_interest(self, symbol: Any, resolution: Resolution, day: date) -> InterestBlock | None:
        return None

    def universe(self, canonical: Any, day: date) -> Any:
        return None

    def map_file(self, symbol: Any) -> Any:
        return None

    def factor_file(self, symbol: Any) -> Any:
        return self.factor_rows

    def map_resolver(self, ticker: str, market: str) -> tuple[str, datetime] | None:
        return None

    def margins(self, symbol: Any) -> Sequence[MarginRow] | None:
        root = symbol.underlying.id.symbol if symbol.has_underlying else symbol.id.symbol
        return self.margin_rows.get(root)

    def interest_rates(self) -> InterestRates | None:
        return None


class Recorder(QCAlgorithm):
    """Does what the test's script says and keeps every order event."""

    script: Callable[[Recorder], None]
    cash_at_start = 100_000.0
    last_day = MONDAY

    def initialize(self) -> None:
        self.seen: list[OrderEvent] = []
        self.set_start_date(MONDAY)
        self.set_end_date(self.last_day)
        self.set_cash(self.cash_at_start)
        type(self).script(self)

    def on_order_event(self, order_event: Any) -> None:
        self.seen.append(order_event.clone())

    def do_at(self, clock: str, action: Callable[[], Any], day: date = MONDAY) -> None:
        """Runs an action at a New York time."""
        when = at(clock, day)
        rule = self.date_rules.on(when.year, when.month, when.day)
        self.schedule.on(rule, self.time_rules.at(when.hour, when.minute), action)

    def statuses(self, order_id: int) -> list[str]:
        """Names of the statuses that the order's events reported."""
        return [str(event.status) for event in self.seen if event.order_id == order_id]

    def fills(self) -> list[tuple[int, float, float]]:
        """(order id, signed quantity, price) of every fill."""
        return [(e.order_id, e.fill_quantity, e.fill_price) for e in self.seen if e.fill_quantity]


def play(
    market: Market, script: Callable[[Any], None], *, cash: float = 100_000.0, last_day: date = MONDAY
) -> Recorder:
    """Runs a script on a market and gives back the algorithm when it is over."""
    MarketHoursDatabase.use(market.hours)
    SymbolPropertiesDatabase.use(market.properties)
    use_map_files(None)
    SymbolCache.clear()
    engine = Engine(market)
    engine.consolidators = Consolidators(engine)
    engine.samples = Samples(engine, every_step=True)
    kind = type("Scripted", (Recorder,), {"script": script, "cash_at_start": cash, "last_day": last_day})
    with waiting_for(engine):
        algorithm: Recorder = kind()
        algorithm.object_store = ObjectStore(Path("unused"))
        algorithm.initialize()
    algorithm.lock()
    engine.samples.start()
    engine.run()
    return algorithm


SPX = Symbol.create("SPX", SecurityType.INDEX, "usa")


def spxw(strike: float, right: OptionRight = OptionRight.PUT, expiry: datetime = FRIDAY) -> Any:
    """A weekly index option."""
    return Symbol.create_option(SPX, "SPXW", "usa", OptionStyle.EUROPEAN, right, strike, expiry)


def index_market(*minutes: str, price: float = 5450.0, day: date = MONDAY) -> Market:
    """A market with SPX at one price at 09:31 and at the given minutes."""
    market = Market()
    for clock in ("09:31", *minutes):
        market.trade(SPX, at(clock, day), price)
    return market


LOW, HIGH = spxw(5300), spxw(5350)


def vertical_market() -> Market:
    """Two puts; at 10:01 their bars have a range, at 10:02 they stand still.

    10:01 bar: 5350 bid 2.00 to 2.40, ask 2.20 to 2.60; 5300 bid 0.40 to 0.60, ask 0.50 to 0.80.
    """
    market = index_market("10:01", "10:02")
    market.quote(LOW, at("09:31"), 0.50, 0.60)
    market.quote(HIGH, at("09:31"), 2.20, 2.30)
    market.quote(HIGH, at("10:01"), (2.20, 2.40, 2.00, 2.10), (2.30, 2.60, 2.20, 2.30))
    market.quote(LOW, at("10:01"), (0.50, 0.60, 0.40, 0.50), (0.60, 0.80, 0.50, 0.60))
    return market


def add_vertical(algorithm: Recorder) -> None:
    algorithm.add_index("SPX", Resolution.MINUTE)
    for symbol in (LOW, HIGH):
        algorithm.add_index_option_contract(symbol, Resolution.MINUTE)


def credit_legs() -> list[Leg]:
    return [Leg.create(LOW, 1), Leg.create(HIGH, -1)]


def run_combo(quantity: int, limit: float, legs: Callable[[], list[Leg]] = credit_legs) -> Recorder:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order(legs(), quantity, limit))

    return play(vertical_market(), script)


def test_a_bought_group_is_tried_at_the_lows_and_must_beat_its_limit() -> None:
    # at the lows: long leg ask 0.50, short leg bid 2.00 -> -1.50; that is not below -1.50, but below -1.45
    assert run_combo(1, -1.50).fills() == []
    assert run_combo(1, -1.45).fills() == [(1, 1.0, 0.50), (2, -1.0, 2.00)]


def test_a_sold_group_is_tried_at_the_highs() -> None:
    def debit_legs() -> list[Leg]:
        return [Leg.create(LOW, -1), Leg.create(HIGH, 1)]

    # the same trade written the other way round: sold at bid high 2.40, bought at ask high 0.80 -> 1.60
    assert run_combo(-1, 1.60, debit_legs).fills() == []
    assert run_combo(-1, 1.55, debit_legs).fills() == [(1, 1.0, 0.80), (2, -1.0, 2.40)]


def test_a_combo_never_fills_in_the_step_that_sent_it() -> None:
    played = run_combo(1, -1.00)
    sent = [event.utc_ms for event in played.seen if event.status == OrderStatus.SUBMITTED]
    filled = [event.utc_ms for event in played.seen if event.status == OrderStatus.FILLED]
    assert set(sent) == {NEW_YORK.utc_ms(at("10:00"))}
    assert set(filled) == {NEW_YORK.utc_ms(at("10:01"))}


def test_a_leg_without_a_quote_since_the_order_blocks_the_group() -> None:
    market = vertical_market()
    market.quote_rows[LOW] = market.quote_rows[LOW][:1]  # its only quote ended at 09:31, before the order of 10:00

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order(credit_legs(), 1, -0.10))

    assert play(market, script).fills() == []


def test_an_update_waits_for_the_pass_and_may_fill_in_the_same_minute() -> None:
    found: dict[str, Any] = {}

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)

        def send() -> None:
            found["tickets"] = algorithm.combo_limit_order(credit_legs(), 1, -3.00)

        def walk() -> None:
            fields = UpdateOrderFields()
            fields.limit_price = -1.0
            found["response"] = found["tickets"][0].update(fields)
            found["before"] = str(found["tickets"][0].status)

        algorithm.do_at("10:00", send)
        algorithm.do_at("10:02", walk)

    played = play(vertical_market(), script)
    assert found["response"].is_success
    assert found["before"] == "SUBMITTED"
    assert played.statuses(1) == ["SUBMITTED", "UPDATE_SUBMITTED", "FILLED"]
    assert played.statuses(2) == ["SUBMITTED", "FILLED"]
    # the bar of 10:01 is still the last one: its lows fill the walked order
    assert played.fills() == [(1, 1.0, 0.50), (2, -1.0, 2.00)]


def test_cancelling_one_leg_cancels_the_group() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        sent: list[Any] = []
        algorithm.do_at("10:00", lambda: sent.extend(algorithm.combo_limit_order(credit_legs(), 1, -3.00)))
        algorithm.do_at("10:02", lambda: sent[1].cancel("enough"))

    played = play(vertical_market(), script)
    assert played.statuses(1) == ["SUBMITTED", "CANCELED"]
    assert played.statuses(2) == ["SUBMITTED", "CANCEL_PENDING", "CANCELED"]
    assert not played.transactions.get_open_orders()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda a: a.combo_limit_order([Leg.create(LOW, 2), Leg.create(HIGH, -2)], 1, -1.0), "should be reduced"),
        (lambda a: a.combo_limit_order(credit_legs(), 1, 0), "requires a limit price"),
    ],
)
def test_what_a_combo_refuses_outright(build: Callable[[Any], Any], message: str) -> None:
    problems: list[str] = []

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)

        def attempt() -> None:
            try:
                build(algorithm)
            except ValueError as error:
                problems.append(str(error))

        algorithm.do_at("10:00", attempt)

    play(vertical_market(), script)
    assert len(problems) == 1
    assert message in problems[0]


def test_zero_quantity_and_missing_price_give_a_ticket_without_an_order() -> None:
    codes: list[str] = []

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)

        def attempt() -> None:
            codes.append(str(algorithm.market_order(LOW, 0).submit_request.response.error_code))
            with pytest.raises(ValueError, match="The symbol SPX is not found"):
                algorithm.market_order(SPX, 1)  # LEAN adds what is not tradable anew, but no index

        algorithm.do_at("09:31", attempt)

    played = play(vertical_market(), script)
    assert codes == ["ORDER_QUANTITY_ZERO"]
    assert played.transactions.orders_count == 0
    assert played.seen == []


def test_market_orders_fill_in_the_call_at_the_far_side() -> None:
    tickets: list[Any] = []

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("09:31", lambda: tickets.extend([algorithm.buy(LOW, 2), algorithm.sell(HIGH, 1)]))

    played = play(vertical_market(), script)
    assert [str(ticket.status) for ticket in tickets] == ["FILLED", "FILLED"]
    assert played.fills() == [(1, 2.0, 0.60), (2, -1.0, 2.20)]
    # cash: 100,000 - 2 x 0.60 x 100 + 2.20 x 100; index options are free under the default model
    assert played.portfolio.cash == pytest.approx(100_000 - 120 + 220)


def test_a_market_order_waits_while_the_quote_is_older_than_an_hour() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("12:00", lambda: algorithm.market_order(LOW, 1))

    market = vertical_market()
    market.quote(LOW, at("12:30"), 0.70, 0.80)
    market.trade(SPX, at("12:00"), 5450.0)
    market.trade(SPX, at("12:30"), 5450.0)
    # the quote of 10:01 ended 1 h 59 min before: the order rests until the bar of 12:30
    assert play(market, script).fills() == [(1, 1.0, 0.80)]


def test_limit_orders_need_a_younger_bar_and_fill_no_worse_than_their_limit() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.limit_order(HIGH, 1, 2.25))
        algorithm.do_at("10:00", lambda: algorithm.limit_order(HIGH, -1, 2.35))
        algorithm.do_at("10:00", lambda: algorithm.limit_order(HIGH, -1, 1.50))

    # ask low 2.20 < 2.25: bought at the limit 2.25 (the high, 2.60, is worse); bid high 2.40 > 2.35: sold at the limit;
    # the whole bid bar is above 1.50: sold at its low, 2.00
    assert play(vertical_market(), script).fills() == [(1, 1.0, 2.25), (2, -1.0, 2.35), (3, -1.0, 2.00)]


def test_stop_and_trailing_orders_follow_the_market() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.stop_market_order(HIGH, -1, 2.15))
        algorithm.do_at("10:00", lambda: algorithm.trailing_stop_order(HIGH, 1, 0.25, False))

    played = play(vertical_market(), script)
    # bid low 2.00 < 2.15: sold at min(2.15, close 2.10); the trailing stop starts at 2.25 + 0.25 = 2.50, ask high 2.60
    assert played.fills() == [(1, -1.0, 2.10), (2, 1.0, 2.50)]


def test_a_day_order_dies_at_the_close() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        properties = OrderProperties(TimeInForce.DAY)
        algorithm.do_at("10:00", lambda: algorithm.limit_order(LOW, 1, 0.05, order_properties=properties))

    market = vertical_market()
    market.trade(SPX, at("16:15"), 5450.0)
    played = play(market, script)
    assert played.statuses(1) == ["SUBMITTED", "CANCELED"]
    assert played.seen[-1].message == "The order has expired."


def test_tastytrade_takes_combo_limits_only_and_charges_to_open() -> None:
    fees: list[float] = []

    def script(algorithm: Recorder) -> None:
        algorithm.set_brokerage_model(BrokerageName.TASTYTRADE, AccountType.MARGIN)
        add_vertical(algorithm)
        algorithm.do_at("09:31", lambda: algorithm.combo_market_order(credit_legs(), 1))
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order(credit_legs(), 2, -1.00))
        algorithm.do_at("10:02", lambda: algorithm.market_order(HIGH, 2))

    played = play(vertical_market(), script)
    assert played.statuses(1) == ["INVALID"]
    assert "does not support ComboMarket order type" in str(played.seen[0].message)
    fees = [event.order_fee.value.amount for event in played.seen if event.status == OrderStatus.FILLED]
    # two legs of two contracts at 1.00 to open, closing the short leg is free
    assert fees == [2.0, 2.0, 0.0]


class HalfNow(FillModel):
    """Gives half of a limit order at a time."""

    def limit_fill(self, asset: Any, order: Any) -> OrderEvent:
        event = super().limit_fill(asset, order)
        if event.status == OrderStatus.FILLED and abs(event.fill_quantity) > 1:
            event.fill_quantity = int(order.quantity / 2)
            event.status = OrderStatus.PARTIALLY_FILLED
        return event


def test_a_fill_model_of_the_algorithm_may_fill_in_parts() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.securities[LOW].set_fill_model(HalfNow())
        algorithm.do_at("10:00", lambda: algorithm.limit_order(LOW, 4, 0.70))

    played = play(vertical_market(), script)
    assert played.statuses(1)[:3] == ["SUBMITTED", "PARTIALLY_FILLED", "PARTIALLY_FILLED"]
    assert played.fills()[:2] == [(1, 2.0, 0.70), (1, 2.0, 0.70)]


@given(st.integers(-4000, 4000), st.sampled_from([0.01, 0.05, 0.1, 0.25]))
def test_rounding_to_a_tick_is_nearest_with_ties_to_the_even_multiple(hundredths: int, tick: float) -> None:
    price = hundredths / 100
    rounded = float(round_to_tick(price, tick))
    steps = rounded / tick
    assert abs(rounded - price) <= tick / 2 + 1e-9
    assert abs(steps - round(steps)) < 1e-9
    if abs(abs(rounded - price) - tick / 2) < 1e-12:
        assert round(steps) % 2 == 0


def test_numbers_are_printed_as_decimals() -> None:
    assert [decimal_text(value) for value in (1.0, -0.0, 0.1 + 0.2, 1e-9, 12345.6789)] == [
        "1",
        "0",
        "0.3",
        "0",
        "12345.6789",
    ]


def test_the_clock_of_events_is_aware_utc() -> None:
    played = run_combo(1, -1.45)
    assert played.seen[0].utc_time.utcoffset() == timedelta(0)
