"""LEAN's `Extensions`, security initializers, seeders and volatility models, as far as algorithms name them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from simulation.data.feeds import RESOLUTION_MS
from simulation.data.market_hours import MarketHoursDatabase
from simulation.lean.clock import UTC, naive_milliseconds, zone_of
from simulation.lean.enums import OPTION_TYPES, OptionRight, OrderDirection, Resolution, SecurityType
from simulation.lean.names import Named, signed
from simulation.lean.symbols import symbol_of


class Extensions(Named):
    """Static helpers."""

    @staticmethod
    def is_option(security_type: SecurityType) -> bool:
        """Whether a type is an option's."""
        return security_type in OPTION_TYPES

    @staticmethod
    def is_market_open(security: Any, extended_market_hours: bool) -> bool:
        """Whether a security's exchange is open now."""
        return bool(security.exchange.hours.is_open(security.local_time, extended_market_hours))

    @staticmethod
    def get_order_direction(quantity: float) -> OrderDirection:
        """BUY for a positive quantity, SELL for a negative one, HOLD for none."""
        return OrderDirection.HOLD if not quantity else OrderDirection.BUY if quantity > 0 else OrderDirection.SELL

    @staticmethod
    def round_to_significant_digits(d: float, digits: int) -> float:
        """A number rounded to so many significant digits, half to even."""
        if not d:
            return float(d)
        exact = Decimal(repr(float(d)))
        return float(round(exact, digits - 1 - exact.adjusted()))

    @staticmethod
    def smart_rounding(input: float) -> float:
        """Four decimals above 1000, else seven significant digits."""
        return round(input, 4) if input > 1000 else Extensions.round_to_significant_digits(input, 7)

    @staticmethod
    def invert(right: OptionRight) -> OptionRight:
        """The other right."""
        return OptionRight.PUT if right == OptionRight.CALL else OptionRight.CALL

    @staticmethod
    def to_time_span(resolution: Resolution) -> Any:
        """A resolution as a timedelta."""
        return timedelta(milliseconds=RESOLUTION_MS[resolution])

    @staticmethod
    def convert_from_utc(time: datetime, to: Any, strict: bool = False) -> datetime:
        """A zone's local time of a UTC time."""
        del strict
        return zone_of(to).local(naive_milliseconds(time))

    @staticmethod
    def convert_to_utc(time: datetime, _from: Any, strict: bool = False) -> datetime:
        """The UTC time of a zone's local time."""
        del strict
        return UTC.local(zone_of(_from).utc_ms(time))


class OptionSymbol(Named):
    """Questions about an option's expiration (Common/Securities/Option/OptionSymbol.cs)."""

    @staticmethod
    def is_standard(symbol: Any) -> bool:
        """Whether a contract expires in the week of the third Friday, from Thursday to Sunday."""
        expiry = symbol_of(symbol).id.date
        first_friday = 1 + (4 - expiry.replace(day=1).weekday()) % 7
        return bool(first_friday + 12 < expiry.day < first_friday + 16)

    @staticmethod
    def is_standard_contract(symbol: Any) -> bool:
        """Same as is_standard."""
        return OptionSymbol.is_standard(symbol)

    @staticmethod
    def is_weekly(symbol: Any) -> bool:
        """Whether a contract expires on another Friday than the third."""
        return not OptionSymbol.is_standard(symbol) and symbol_of(symbol).id.date.weekday() == 4

    @staticmethod
    def get_last_day_of_trading(symbol: Any) -> datetime:
        """The last open day up to expiration; before February 2015 standard contracts expired on the Saturday."""
        contract = symbol_of(symbol)
        day = contract.id.date
        if OptionSymbol.is_standard(contract) and day.weekday() == 5 and day < datetime(2015, 2, 1):
            day -= timedelta(days=1)
        hours = MarketHoursDatabase.from_data_folder().get_exchange_hours(
            contract.id.market, contract, contract.security_type
        )
        return day if hours.is_date_open(day) else hours.get_previous_trading_day(day)


class Time(Named):
    """LEAN's spans and days, as far as algorithms name them."""

    ONE_YEAR = timedelta(days=365)
    ONE_DAY = timedelta(days=1)
    ONE_HOUR = timedelta(hours=1)
    ONE_MINUTE = timedelta(minutes=1)
    ONE_SECOND = timedelta(seconds=1)
    ONE_MILLISECOND = timedelta(milliseconds=1)
    BEGINNING_OF_TIME = datetime(1970, 1, 1)
    END_OF_TIME = datetime(2050, 12, 31)

    @staticmethod
    def each_day(_from: datetime, thru: datetime) -> Iterator[datetime]:
        """Midnights from a day to another, both included."""
        day = datetime(_from.year, _from.month, _from.day)
        while day.date() <= thru.date():
            yield day
            day += Time.ONE_DAY

    @staticmethod
    @signed(
        "securities, _from, thru",
        "security, _from, thru, extended_market_hours=False",
        "exchange, _from, thru, extended_market_hours=False",
    )
    def each_tradeable_day(
        what: Any, _from: datetime, thru: datetime, extended_market_hours: bool = False
    ) -> Iterator[datetime]:
        """Midnights of the days on which an exchange, a security or any of some securities trades."""
        several = what if isinstance(what, list | tuple) else [what]
        books = [one.exchange.hours if hasattr(one, "exchange") else one for one in several]
        for day in Time.each_day(_from, thru):
            if any(book.is_date_open(day, extended_market_hours) for book in books):
                yield day
