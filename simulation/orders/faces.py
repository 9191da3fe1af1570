"""Securities as orders see them: what a security is lies in a room beside this one, only its face is known here."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Protocol

from simulation.data.feeds import FeedSpec
from simulation.data.source import DataSource
from simulation.data.symbol_properties import SymbolProperties
from simulation.lean.bars import BaseData, QuoteBar, TradeBar
from simulation.lean.clock import Zone
from simulation.lean.enums import DataNormalizationMode, OptionRight, OptionStyle, SecurityType, SettlementType
from simulation.lean.exchange_hours import SecurityExchangeHours
from simulation.lean.symbols import Symbol


class Exchange(Protocol):
    """The exchange of a security."""

    hours: SecurityExchangeHours

    @property
    def exchange_open(self) -> bool:
        """Whether regular trading is open now."""

    def date_time_is_open(self, date_time: datetime) -> bool:
        """Whether regular trading is open at a local time."""

    def is_open_during_bar(
        self, bar_start_time: datetime, bar_end_time: datetime, is_extended_market_hours: bool
    ) -> bool:
        """Whether any of the bar lies in the session."""


class Currency(Protocol):
    """The currency that prices are in, and its worth in dollars."""

    symbol: str
    conversion_rate: float


class Held(Protocol):
    """What is held of a security; the quantity is negative when it is short."""

    quantity: float
    average_price: float

    @property
    def absolute_quantity(self) -> float:
        """Units without sign."""

    @property
    def is_short(self) -> bool:
        """Whether the quantity is negative."""

    def quantity_value(self, quantity: float, price: float | None = None) -> float:
        """Dollars of a quantity at a price."""

    def set_holdings(self, average_price: float | Decimal, quantity: float) -> None:
        """Replaces average price and quantity."""


class Speaker(Protocol):
    """The algorithm, told of what happens to its orders."""

    def error(self, message: object) -> None:
        """An error line of its log."""

    def debug(self, message: object) -> None:
        """A debug line of its log."""

    def _warn_once(self, about: str, text: str) -> None:
        """A warning that is said once in a run."""


class Clock(Protocol):
    """The engine behind a security: its clock (UTC milliseconds), its market, its algorithm."""

    utc_ms: int
    source: DataSource

    @property
    def algorithm(self) -> Speaker:
        """The algorithm that runs."""


class PricedSecurity(Protocol):
    """A security: its prices in dollars per unit, its rules, and what is held of it."""

    _engine: Clock
    symbol: Symbol
    zone: Zone
    symbol_properties: SymbolProperties
    is_tradable: bool
    data_normalization_mode: DataNormalizationMode

    @property
    def type(self) -> SecurityType:
        """Its kind."""

    @property
    def is_option(self) -> bool:
        """Whether it is an option."""

    @property
    def exchange(self) -> Exchange:
        """Its exchange."""

    @property
    def quote_currency(self) -> Currency:
        """The currency of its prices."""

    @property
    def holdings(self) -> Held:
        """What is held of it."""

    @property
    def subscriptions(self) -> list[FeedSpec]:
        """Specifications of its subscriptions."""

    @property
    def local_time(self) -> datetime:
        """Now, in the exchange's zone."""

    @property
    def has_data(self) -> bool:
        """Whether any real data point has set a price."""

    @property
    def price(self) -> float:
        """Last price."""

    @property
    def open(self) -> float:
        """Open of the bar that set the price."""

    @property
    def high(self) -> float:
        """High of the bar that set the price."""

    @property
    def low(self) -> float:
        """Low of the bar that set the price."""

    @property
    def close(self) -> float:
        """Same as the price."""

    @property
    def bid_price(self) -> float:
        """Last bid."""

    @property
    def ask_price(self) -> float:
        """Last ask."""

    def last_trade(self) -> TradeBar | None:
        """The last trade bar that is not filled forward."""

    def last_quote(self) -> QuoteBar | None:
        """The last quote bar that is not filled forward."""

    def get_last_data(self) -> BaseData | None:
        """The data point that set the price."""

    def get_exercise_quantity(self, exercise_order_quantity: float | None = None) -> float:
        """Units of the underlying that an exercise moves: of an option alone."""


class PricedOption(PricedSecurity, Protocol):
    """An option contract."""

    @property
    def underlying(self) -> PricedSecurity:
        """What it is on."""

    @property
    def right(self) -> OptionRight:
        """Call or put."""

    @property
    def style(self) -> OptionStyle:
        """When it may be exercised."""

    @property
    def strike_price(self) -> float:
        """Dollars per unit of the underlying."""

    @property
    def scaled_strike_price(self) -> float:
        """The strike in the scale of the underlying's prices."""

    @property
    def contract_unit_of_trade(self) -> float:
        """Units of the underlying that a contract delivers."""

    @property
    def exercise_settlement(self) -> SettlementType:
        """Cash or delivery."""

    def get_pay_off(self, underlying_price: float) -> float:
        """Dollars per unit that an exercise is worth."""

    def is_auto_exercised(self, underlying_price: float) -> bool:
        """Whether it is exercised at expiry without being asked."""
