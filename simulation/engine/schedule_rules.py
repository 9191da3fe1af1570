"""LEAN's date and time rules: on which dates and at which instants a scheduled event fires (lean-facts, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from simulation.lean.clock import Zone, zone_of
from simulation.lean.enums import DayOfWeek, SecurityType
from simulation.lean.exchange_hours import SecurityExchangeHours
from simulation.lean.names import Named, signed
from simulation.lean.symbols import Symbol
from simulation.orders.order_parts import Symbolic
from simulation.securities.derivatives import SecurityManager

ONE_DAY = timedelta(days=1)


class DateRule(Named):
    """Ascending dates from a start on."""

    def __init__(self, name: str, dates: Callable[[datetime, datetime], Iterable[datetime]]) -> None:
        self.name = name
        self._dates = dates

    def get_dates(self, start: datetime, end: datetime) -> Iterable[datetime]:
        """The dates of the rule within a range, at midnight."""
        return self._dates(start, end)


class TimeRule(Named):
    """Turns dates into instants."""

    def __init__(self, name: str, times: Callable[[Iterable[datetime]], Iterable[int]]) -> None:
        self.name = name
        self._times = times

    def create_utc_event_times(self, dates: Iterable[datetime]) -> Iterable[int]:
        """Instants in UTC milliseconds."""
        return self._times(dates)


def each_day(start: datetime, end: datetime) -> Iterator[datetime]:
    """Calendar days, both ends included."""
    day = datetime(start.year, start.month, start.day)
    while day <= end:
        yield day
        day += ONE_DAY


class RulesEngine(Protocol):
    """The engine, as rules ask it."""

    utc_ms: int
    securities: SecurityManager

    def hours_of(self, symbol: Symbol | Symbolic | str) -> SecurityExchangeHours:
        """Exchange hours of a symbol, a security or a ticker."""


class _Rules(Named):
    def __init__(self, engine: RulesEngine, zone: Zone) -> None:
        self._engine = engine
        self._zone = zone

    def set_default_time_zone(self, time_zone: object) -> None:
        """Sets the zone in which rules without a symbol are meant."""
        self._zone = zone_of(time_zone)

    def _hours(self, symbol: Symbol | str) -> SecurityExchangeHours:
        return self._engine.hours_of(symbol)

    def _today(self) -> datetime:
        day = self._zone.date_of(self._engine.utc_ms)
        return datetime(day.year, day.month, day.day)


def _scheduled_day(
    hours: SecurityExchangeHours | None,
    base: datetime,
    offset: int,
    forward: bool,
    extended: bool,
    boundary: datetime | None,
) -> datetime:
    """The offset-th open day from a base day, not past the boundary (DateRules.cs GetScheduledDay)."""
    step = ONE_DAY if forward else -ONE_DAY
    if hours is None:
        day = base + offset * step
    else:
        move = hours.get_next_trading_day if forward else hours.get_previous_trading_day
        day = base if hours.is_date_open(base, extended) else move(base)
        for _ in range(offset):
            day = move(day)
    if boundary is not None and (day > boundary if forward else day < boundary):
        return _scheduled_day(hours, boundary, 0, not forward, extended, None)
    return day


def _month_bounds(day: datetime, months: int) -> tuple[datetime, datetime]:
    """First and last day of the period of 1, 3 or 12 months that holds a day."""
    first_month = (day.month - 1) // months * months + 1
    first = datetime(day.year, first_month, 1)
    index = day.year * 12 + first_month - 1 + months
    return first, datetime(index // 12, index % 12 + 1, 1) - ONE_DAY


class DateRules(_Rules):
    """`self.date_rules`."""

    def on(self, *arguments: Any) -> DateRule:
        """Given dates: (year, month, day), or one or more dates, or a list of them."""
        if len(arguments) == 3 and all(isinstance(value, int) for value in arguments):
            days = [datetime(*arguments)]
        else:
            listed = arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], date) else arguments
            days = [datetime(day.year, day.month, day.day) for day in listed]
        name = ",".join(f"{day:%m/%d/%Y}" for day in days)
        return DateRule(name, lambda start, end: (day for day in days if start <= day <= end))

    @property
    def today(self) -> DateRule:
        """The current date only."""
        return DateRule("TodayOnly", lambda start, end: [self._today()])

    @property
    def tomorrow(self) -> DateRule:
        """The next date only."""
        return DateRule("TomorrowOnly", lambda start, end: [self._today() + ONE_DAY])

    def every(self, *days: DayOfWeek) -> DateRule:
        """Every calendar day of the given days of the week, holidays included."""
        listed = days[0] if len(days) == 1 and isinstance(days[0], list | tuple | set) else days
        wanted = {int(day) for day in listed}
        name = ",".join(str(day) for day in listed)
        return DateRule(
            name, lambda start, end: (day for day in each_day(start, end) if day.isoweekday() % 7 in wanted)
        )

    def every_day(self, symbol: Symbol | str | None = None, extended_market_hours: bool = False) -> DateRule:
        """Every calendar day, or every day on which the symbol's exchange opens."""
        if symbol is None:
            return DateRule("EveryDay", each_day)
        hours = self._hours(symbol)
        return DateRule(
            f"{symbol}: EveryDay",
            lambda start, end: (day for day in each_day(start, end) if hours.is_date_open(day, extended_market_hours)),
        )

    def _period(
        self, kind: str, months: int, forward: bool, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> DateRule:
        symbol, offset, extended = _symbol_offset(arguments, named)
        limit = {1: 30, 3: 92, 12: 365}[months]
        if not 0 <= offset <= limit and (symbol is not None or months > 1):
            raise ValueError(f"DateRules.{kind}() : Offset must be between 0 and {limit}: days_offset is {offset}")
        hours = None if symbol is None else self._hours(symbol)

        def dates(start: datetime, end: datetime) -> Iterator[datetime]:
            first, last = _month_bounds(start, months)
            if months == 12 and forward and start.month > 1:
                # LEAN looks at years from the month of the start on: the January before it is not among them.
                first, last = _month_bounds(last + ONE_DAY, months)
            while first <= end:
                base, boundary = (first, last) if forward else (last, first)
                day = _scheduled_day(hours, base, offset, forward, extended, boundary)
                if start <= day <= end:
                    yield day
                first, last = _month_bounds(last + ONE_DAY, months)

        return DateRule(_name(symbol, kind, offset if forward else -offset), dates)

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def month_start(self, *arguments: Any, **named: Any) -> DateRule:
        """The first (open) day of each month plus an offset: ([symbol], days_offset=0, extended_market_hours=True)."""
        return self._period("MonthStart", 1, True, arguments, named)

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def month_end(self, *arguments: Any, **named: Any) -> DateRule:
        """The last (open) day of each month less an offset."""
        return self._period("MonthEnd", 1, False, arguments, named)

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def quarter_start(self, *arguments: Any, **named: Any) -> DateRule:
        """The first (open) day of each quarter plus an offset."""
        return self._period("QuarterStart", 3, True, arguments, named)

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def quarter_end(self, *arguments: Any, **named: Any) -> DateRule:
        """The last (open) day of each quarter less an offset."""
        return self._period("QuarterEnd", 3, False, arguments, named)

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def year_start(self, *arguments: Any, **named: Any) -> DateRule:
        """The first (open) day of each year plus an offset."""
        return self._period("YearStart", 12, True, arguments, named)

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def year_end(self, *arguments: Any, **named: Any) -> DateRule:
        """The last (open) day of each year less an offset."""
        return self._period("YearEnd", 12, False, arguments, named)

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def week_start(self, *arguments: Any, **named: Any) -> DateRule:
        """The first (open) day of each week plus an offset; Monday without a symbol."""
        return self._week("WeekStart", True, *_symbol_offset(arguments, named))

    @signed("symbol, days_offset=0, extended_market_hours=True", "days_offset=0")
    def week_end(self, *arguments: Any, **named: Any) -> DateRule:
        """The last (open) day of each week less an offset; Friday without a symbol."""
        return self._week("WeekEnd", False, *_symbol_offset(arguments, named))

    def _week(self, kind: str, forward: bool, symbol: Symbol | str | None, offset: int, extended: bool) -> DateRule:
        hours = None if symbol is None else self._hours(symbol)
        if hours is None:
            base_day, boundary_day, limit = (1, 7, 6) if forward else (5, -1, 6)
        else:
            open_days = sorted(int(day) for day, local in hours.market_hours.items() if not local.is_closed_all_day)
            base_day, boundary_day = (open_days[0], open_days[-1]) if forward else (open_days[-1], open_days[0])
            limit = len(open_days) - 1
        if not 0 <= offset <= limit:
            raise ValueError(f"DateRules.{kind}: days_offset is {offset}, accepted are 0 to {limit} for {symbol}")

        def dates(start: datetime, end: datetime) -> Iterator[datetime]:
            weekday = start.isoweekday() % 7
            monday = start + timedelta(days=1 - weekday - (7 if weekday == 0 else 0))
            for day in each_day(monday, end + timedelta(days=7 - end.isoweekday())):
                if day.isoweekday() % 7 == base_day:
                    boundary = day + timedelta(days=boundary_day - base_day)
                    chosen = _scheduled_day(hours, day, offset, forward, extended, boundary)
                    if start <= chosen <= end:
                        yield chosen

        return DateRule(_name(symbol, kind, offset if forward else -offset), dates)


def _name(symbol: Symbol | str | None, kind: str, offset: int) -> str:
    """LEAN's name of a period's rule: MonthStart, SPY: WeekEnd-2."""
    lead = "" if symbol is None else f"{getattr(symbol, 'value', symbol)}: "
    return f"{lead}{kind}{f'{offset:+d}' if offset else ''}"


def _symbol_offset(arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, int, bool]:
    values = list(arguments)
    symbol = named.get("symbol")
    if values and not isinstance(values[0], int):
        symbol = values.pop(0)
    offset = values.pop(0) if values else named.get("days_offset", 0)
    extended = values.pop(0) if values else named.get("extended_market_hours", True)
    return symbol, int(offset), bool(extended) and symbol is not None


class TimeRules(_Rules):
    """`self.time_rules`."""

    @property
    def now(self) -> TimeRule:
        """The moment of asking."""
        return TimeRule("Now", lambda dates: (self._engine.utc_ms for _ in dates))

    @property
    def midnight(self) -> TimeRule:
        """Midnight in the algorithm's zone."""
        return TimeRule("Midnight", lambda dates: (self._zone.utc_ms(day) for day in dates))

    @property
    def noon(self) -> TimeRule:
        """Twelve hours after midnight in the algorithm's zone."""
        return TimeRule("Noon", lambda dates: (self._zone.utc_ms(day) + 43_200_000 for day in dates))

    @signed(
        "time_of_day",
        "hour, minute, second=0",
        "hour, minute, time_zone",
        "hour, minute, second, time_zone",
        "time_of_day, time_zone",
    )
    def at(self, *arguments: Any) -> TimeRule:
        """A time of day: (hour, minute[, second][, zone]) or (timedelta[, zone])."""
        values = list(arguments)
        zone = self._zone
        if values and not isinstance(values[-1], int | float | timedelta):
            zone = zone_of(values.pop())
        if isinstance(values[0], timedelta):
            span = values[0]
        else:
            hour, minute, *second = (int(value) for value in values)
            span = timedelta(hours=hour, minutes=minute, seconds=second[0] if second else 0)
        name = f"{span.total_seconds() / 3600:g}"
        return TimeRule(name, lambda dates: (zone.utc_ms(day + span) for day in dates))

    def every(self, interval: timedelta) -> TimeRule:
        """From midnight of each date, every interval."""
        if interval <= timedelta(0):
            raise ValueError("TimeRules.Every(): time span interval can not be zero or less")

        def times(dates: Iterable[datetime]) -> Iterator[int]:
            for day in dates:
                moment = timedelta(0)
                while moment < ONE_DAY:
                    yield self._zone.utc_ms(day + moment)
                    moment += interval

        return TimeRule(f"Every {interval.total_seconds() / 60:g} min", times)

    @signed(
        "symbol, minutes_after_open=0, extended_market_open=False", "minutes_after_open=0, extended_market_open=False"
    )
    def after_market_open(self, *arguments: Any, **named: Any) -> TimeRule:
        """Minutes after the first open: ([symbol], minutes_after_open=0, extended_market_open=False)."""
        return self._market(True, 1, *_symbol_minutes(arguments, named))

    @signed(
        "symbol, minutes_before_open=0, extended_market_open=False", "minutes_before_open=0, extended_market_open=False"
    )
    def before_market_open(self, *arguments: Any, **named: Any) -> TimeRule:
        """Minutes before the first open."""
        return self._market(True, -1, *_symbol_minutes(arguments, named))

    @signed(
        "symbol, minutes_before_close=0, extended_market_close=False",
        "minutes_before_close=0, extended_market_close=False",
    )
    def before_market_close(self, *arguments: Any, **named: Any) -> TimeRule:
        """Minutes before the last close; half days count."""
        return self._market(False, -1, *_symbol_minutes(arguments, named))

    @signed(
        "symbol, minutes_after_close=0, extended_market_close=False",
        "minutes_after_close=0, extended_market_close=False",
    )
    def after_market_close(self, *arguments: Any, **named: Any) -> TimeRule:
        """Minutes after the last close."""
        return self._market(False, 1, *_symbol_minutes(arguments, named))

    def _market(
        self, opening: bool, sign: int, symbol: Symbol | str | None, minutes: float, extended: bool
    ) -> TimeRule:
        shift = timedelta(minutes=sign * minutes)
        after = shift > timedelta(0) if opening else shift >= timedelta(0)
        edge_name = f"{'Extended' if extended else ''}Market{'Open' if opening else 'Close'}"
        name = f"{abs(minutes):g} min {'after' if after else 'before'} {edge_name}"
        if symbol is not None:
            hours = self._hours(symbol)
            return TimeRule(f"{symbol}: {name}", lambda dates: _session_edges(hours, dates, opening, extended, shift))

        def times(dates: Iterable[datetime]) -> Iterator[int]:
            for day in dates:
                edges = [
                    edge
                    for hours in self._all_hours()
                    for edge in _session_edges(hours, [day], opening, extended, shift)
                ]
                if edges:
                    yield min(edges) if opening else max(edges)

        return TimeRule(name, times)

    def _all_hours(self) -> list[SecurityExchangeHours]:
        found = [self._engine.hours_of("SPY")]
        for security in self._engine.securities.values():
            if security.type != SecurityType.EQUITY and not security.exchange.hours.is_market_always_open:
                found.append(security.exchange.hours)
        return found


def _session_edges(
    hours: SecurityExchangeHours, dates: Iterable[datetime], opening: bool, extended: bool, shift: timedelta
) -> Iterator[int]:
    zone = zone_of(hours.time_zone)
    for day in dates:
        if not hours.is_date_open(day, extended):
            continue
        if opening:
            edge = hours.get_first_daily_market_open(day + ONE_DAY - timedelta(microseconds=1), extended)
            if edge.date() != day.date():
                continue
        else:
            edge = hours.get_last_daily_market_close(day, extended)
        yield zone.utc_ms(edge + shift)


def _symbol_minutes(arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, float, bool]:
    values = list(arguments)
    symbol = named.get("symbol")
    if values and not isinstance(values[0], int | float):
        symbol = values.pop(0)
    given = next((value for key, value in named.items() if key.startswith("minutes_")), 0)
    minutes = values.pop(0) if values else given
    extended = (
        values.pop(0) if values else next((value for key, value in named.items() if key.startswith("extended_")), False)
    )
    return symbol, float(minutes), bool(extended)
