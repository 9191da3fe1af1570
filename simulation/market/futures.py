"""Futures over the model's drivers, and the options on them: contract months, carry, ticks, expirations and margins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache

import numpy as np

from core.clock import holidays, monthly_expiry
from simulation.data.columns import MarginRow
from simulation.lean.contract_months import expiry_of_contract_month
from simulation.lean.symbols import Symbol
from simulation.market.asset_days import AssetDay, AssetSpec, Carry, Kind
from simulation.market.assets import Asset, memory_of
from simulation.market.calendar import FIRST_YEAR, LAST_YEAR, FloatArray, calendar
from simulation.market.corporate import index_dividend_yield, risk_free
from simulation.market.days import MinutePath, to_tick
from simulation.market.listings import ListingBook, ListingRule, Listings, StrikeBand
from simulation.market.quotes import QuoteLaw
from simulation.market.valuation import OptionRoot, Style

FutureDay = AssetDay
MARGIN_MEMORY = 40  # days that the volatility behind a margin is averaged over
MARGIN_STEP = 0.1  # how far the rule may leave the margin in force before it is set anew
OptionDays = Callable[[date, date], list[date]]


def business_days_before(day: date, count: int) -> date:
    """The trading day ``count`` sessions before ``day``."""
    days = calendar()
    at = int(np.searchsorted(days.ordinals, day.toordinal()))
    return date.fromordinal(int(days.ordinals[at - count]))


def _month(first: date, offset: int) -> date:
    months = first.year * 12 + first.month - 1 + offset
    return date(months // 12, months % 12 + 1, 1)


def _index_options(month: date, expiry: date) -> list[date]:
    """ES: third Fridays of the contract's month and of the two before it, every Friday of its quarter, and month ends.

    CME lists the Fridays and month ends as products of their own (EW1 to EW4, EW), four or more weeks ahead and
    exercised at expiry only; here they are under the one root that LEAN knows.
    """
    firsts = [_month(month, -back) for back in (0, 1, 2)]
    monthly = [monthly_expiry(first.year, first.month) for first in firsts]
    fridays = [expiry - timedelta(days=7 * weeks) for weeks in range(13)]
    ends = [_month(month, -back) - timedelta(days=1) for back in (0, 1, 2)]
    return sorted({calendar().on_or_before(day) for day in monthly + fridays + ends})


def _crude_options(month: date, expiry: date) -> list[date]:
    """LO: three business days before the future (CME rulebook 310)."""
    return [business_days_before(expiry, 3)]


def _gold_options(month: date, expiry: date) -> list[date]:
    """OG: four business days before the month, for the contract's month and the one before it (CME rulebook 115)."""
    return [_before_no_closed_day(business_days_before(_month(month, back), 4)) for back in (-1, 0)]


def _before_no_closed_day(day: date) -> date:
    """Neither a Friday nor the eve of a holiday (CME rulebook 115; FuturesOptionsExpiryFunctions.cs:201 in LEAN)."""
    while day.weekday() == 4 or not calendar().is_open(day + timedelta(days=1)):
        day = business_days_before(day, 1)
    return day


def _before_month_end_friday(month: date) -> date:
    last = business_days_before(month, 1)
    friday = business_days_before(last, 2)
    return calendar().on_or_before(friday - timedelta(days=(friday.weekday() - 4) % 7))


def _bond_options(month: date, expiry: date) -> list[date]:
    """OZB: the last Friday two business days before the end of the month before (CBOT rulebook 18A)."""
    return sorted(_before_month_end_friday(_month(month, -back)) for back in (0, 1, 2))


def _euro_options(month: date, expiry: date) -> list[date]:
    """EUU: the second Friday before the third Wednesday (CME rulebook 261A)."""
    found = []
    for back in (0, 1, 2):
        first = _month(month, -back)
        wednesday = first + timedelta(days=(2 - first.weekday()) % 7 + 14)
        found.append(calendar().on_or_before(wednesday - timedelta(days=12)))
    return sorted(found)


@dataclass(frozen=True)
class FutureLaw:
    """A future.

    Driver, price over the driver's, contract months, tick, yearly carry, options, dollars a point, and the share of
    the contract's value asked as maintenance margin: a constant and a part of its implied volatility (`margin_rows`).
    """

    ticker: str
    driver: str
    ratio: float
    months: tuple[int, ...]
    horizon: int
    tick: float
    carry: Callable[[date], float]
    options: OptionDays
    quotes: QuoteLaw
    bands: tuple[StrikeBand, ...]
    multiplier: float
    margins: tuple[float, float]


_QUARTERS = (3, 6, 9, 12)
_EVERY = tuple(range(1, 13))


def _quote_law(tick: float, level: float, base: float) -> QuoteLaw:
    """Stated, not measured: no recorded chain of these options was at hand."""
    return QuoteLaw(
        base, 0.02 * (level / 2700.0) ** 0.25, 2.6, 0.0015 * level, 0.0015, level, tick, tick, 1e12, 12.0, 40.0
    )


FUTURES: dict[str, FutureLaw] = {
    law.ticker: law
    for law in (
        FutureLaw(
            "ES", "SPX", 1.0, _QUARTERS, 460, 0.25, lambda day: risk_free(day) - index_dividend_yield(day),
            _index_options, QuoteLaw(0.10, 0.022, 2.6, 2.0, 0.0015, 2700.0, 0.05, 0.25, 5.0, 30.0, 200.0),
            (StrikeBand(5.0, 0.15, 0.08, 35), StrikeBand(10.0, 0.20, 0.12, 200), StrikeBand(25.0, 0.45, 0.30, 500),
             StrikeBand(100.0, 0.60, 0.50, 500)), 50.0, (0.02, 0.15),
        ),
        FutureLaw(
            "CL", "OIL", 1.0, _EVERY, 400, 0.01, lambda _: 0.04, _crude_options, _quote_law(0.01, 60.0, 0.02),
            (StrikeBand(0.5, 0.35, 0.35, 200), StrikeBand(1.0, 0.60, 0.60, 420)), 1000.0, (0.0, 0.16),
        ),
        FutureLaw(
            "GC", "GOLD", 1.0, (2, 4, 6, 8, 10, 12), 460, 0.1, risk_free, _gold_options, _quote_law(0.1, 1300.0, 0.4),
            (StrikeBand(5.0, 0.25, 0.25, 500),), 100.0, (0.010, 0.22),
        ),
        FutureLaw(
            "ZB", "BOND", 1.27, _QUARTERS, 280, 0.03125, lambda day: risk_free(day) - 0.026, _bond_options,
            _quote_law(0.015625, 140.0, 0.02), (StrikeBand(0.5, 0.12, 0.12, 120), StrikeBand(1.0, 0.20, 0.20, 300)),
            1000.0, (0.003, 0.17),
        ),
        FutureLaw(
            "6E", "EURO", 1.0, _QUARTERS, 280, 0.00005, lambda _: 0.01, _euro_options, _quote_law(0.0001, 1.2, 0.0002),
            (StrikeBand(0.005, 0.15, 0.15, 300),), 125000.0, (0.002, 0.145),
        ),
    )
}  # fmt: skip


@lru_cache(maxsize=1)
def _all_holidays() -> frozenset[date]:
    return frozenset(day for year in range(FIRST_YEAR, LAST_YEAR + 1) for day in holidays(year))


@lru_cache(maxsize=4096)
def _expiry(ticker: str, month: date) -> date:
    """Last trading day of a contract month of one of the model's futures."""
    return expiry_of_contract_month(ticker, month, _all_holidays())


class FutureStrip:
    """All contracts of one future over its driver."""

    def __init__(
        self,
        law: FutureLaw,
        driver: Callable[[], Asset],
        volatility: Callable[[date], FloatArray | None],
        listings: Listings,
    ) -> None:
        self.law = law
        self._driver = driver
        self._volatility = volatility
        self._listings = listings
        self._days: dict[tuple[int, int], AssetDay | None] = {}
        self._spec: tuple[AssetSpec, AssetSpec] | None = None  # the driver's, and the same as a future's
        self._cycles: dict[date, list[tuple[date, date]]] = {}
        self._roots: dict[date, OptionRoot] = {}
        self._margins: dict[date, list[MarginRow]] = {}
        self.evenings: dict[int, FloatArray | None] = {}  # of the driver, shared by all contracts; a few days
        self.nights: dict[int, FloatArray | None] = {}

    @property
    def driver(self) -> Asset:
        """What the future is on."""
        return self._driver()

    def contracts(self, day: date) -> list[tuple[date, date]]:
        """Contract month (its first day) and expiry of every contract listed on ``day``."""
        last = day + timedelta(days=self.law.horizon)
        return [(month, expiry) for month, expiry in self._ahead(day.replace(day=1)) if day <= expiry <= last]

    def _ahead(self, first: date) -> list[tuple[date, date]]:
        """Every contract month, with its expiry, that a day of the month of ``first`` may list."""
        known = self._cycles.get(first)
        if known is None:
            months = [_month(first, ahead) for ahead in range(-1, self.law.horizon // 28 + 3)]
            known = self._cycles[first] = [
                (month, _expiry(self.law.ticker, month)) for month in months if month.month in self.law.months
            ]
        return known

    @staticmethod
    def expiry(symbol: Symbol) -> date:
        """Last trading day of a contract."""
        moment = symbol.id.date
        return moment.date() if isinstance(moment, datetime) else moment

    def day(self, symbol: Symbol, day: date) -> AssetDay | None:
        """One contract's day: the driver's minutes with carry to the expiry; ``None`` when not listed."""
        return self.on(self.expiry(symbol), day)

    def on(self, expiry: date, day: date) -> AssetDay | None:
        """The day of the contract that expires on ``expiry``."""
        key = (expiry.toordinal(), day.toordinal())
        if key not in self._days:
            if len(self._days) > 256:  # a strip lists up to fifteen contracts, few of whose minutes are looked at
                self._days.clear()
            self._days[key] = self._made(expiry, day) if self._is_listed(expiry, day) else None
        return self._days[key]

    def trades(self, expiry: date, day: date) -> bool:
        """Whether `on` gives the contract a day."""
        return self._is_listed(expiry, day) and self.driver.row(day) is not None

    def _is_listed(self, expiry: date, day: date) -> bool:
        within = day <= expiry <= day + timedelta(days=self.law.horizon)
        return within and any(found == expiry for _, found in self._ahead(day.replace(day=1)))

    def factor(self, expiry: date, day: date) -> float:
        """Price of the contract over its driver's."""
        return self.law.ratio * float(np.exp(self.law.carry(day) * (expiry - day).days / 365.0))

    def _made(self, expiry: date, day: date) -> AssetDay | None:
        whole = self.driver.day(day)
        if whole is None:
            return None
        factor, tick = self.factor(expiry, day), self.law.tick

        def spot() -> MinutePath:
            parts = to_tick(self._prices(whole) * factor, tick)
            points, count = whole.minutes + 1, whole.minutes
            return MinutePath(parts[:points], parts[points : points + count], parts[points + count :])

        def at_tick(price: float) -> float:
            return float(to_tick(np.array(price * factor), tick))

        carry = Carry(risk_free(day))
        return AssetDay(
            self._spec_of(whole), day, spot, lambda: whole.surface, lambda: carry, lambda: whole.closing,
            (lambda: at_tick(whole.opened), lambda: at_tick(whole.closed)),
        )  # fmt: skip

    def _prices(self, whole: AssetDay) -> FloatArray:
        """The driver's points, highs and lows in one array: what a day's contracts are made of."""
        known = whole.notes.get("prices")
        if known is None:
            spot = whole.spot
            known = whole.notes["prices"] = np.concatenate((spot.points, spot.high, spot.low))
        return known

    def _spec_of(self, whole: AssetDay) -> AssetSpec:
        if self._spec is None or self._spec[0] is not whole.spec:
            made = replace(whole.spec, ticker=self.law.ticker, kind=Kind.FUTURE, tick=self.law.tick)
            self._spec = whole.spec, made
        return self._spec[1]

    def root(self, future: Symbol) -> OptionRoot | None:
        """The options on one contract; ``None`` for a contract that is not of this future's cycle."""
        expiry = self.expiry(future)
        if expiry not in self._roots:
            month = self._month_of(expiry)
            if month is None:
                return None
            rule = ListingRule(self.law.ticker, (), self.law.bands)
            expiries = tuple(self.law.options(month, expiry))
            book = ListingBook(
                rule,
                self._listings,
                lambda day, span: self._range(expiry, day, span),
                lambda day: tuple(found for found in expiries if found >= day) if self.on(expiry, day) else (),
            )
            self._roots[expiry] = OptionRoot(
                f"{self.law.ticker} {expiry}",
                Style.AMERICAN,
                self.law.quotes,
                book,
                lambda day: self.on(expiry, day),
                self._volatility,
            )
        return self._roots[expiry]

    def _month_of(self, expiry: date) -> date | None:
        for ahead in range(-1, 4):
            month = _month(date(expiry.year, expiry.month, 1), ahead)
            if month.month in self.law.months and _expiry(self.law.ticker, month) == expiry:
                return month
        return None

    def _range(self, expiry: date, day: date, span: int) -> tuple[float, float] | None:
        series = self.driver.series
        end = int(np.searchsorted(series.days, day.toordinal()))
        closes = series.close[max(0, end - span) : end] * self.factor(expiry, day)
        return (float(closes.min()), float(closes.max())) if len(closes) else None

    def margin_rows(self, first: date) -> list[MarginRow]:
        """Initial and maintenance margin in dollars, a row whenever the rule has left the last one by a tenth.

        An exchange sets margins to the moves that it has seen lately. The rule, a share of the contract's value that
        grows with the implied volatility of the last two months, was set to CME's margins of 2014 to 2018 in LEAN's
        margin files: ES within 7 % on average, the others within a quarter (docs/market.md). Initial is 1.1 times
        maintenance, as in those files since 2013. A row holds from the day after the closes it is made of.
        """
        if first not in self._margins:
            self._margins[first] = self._margin_rows(first)
        return self._margins[first]

    def _margin_rows(self, first: date) -> list[MarginRow]:
        law, driver = self.law, self.driver
        lately = memory_of(driver.filled_volatility, MARGIN_MEMORY)
        value = driver.series.close * law.ratio * law.multiplier
        asked = np.round(value * (law.margins[0] + law.margins[1] * lately / 100.0) / 50.0) * 50.0
        rows: list[MarginRow] = []
        begin = max(1, int(np.searchsorted(driver.series.days, first.toordinal())))
        for row in range(begin, len(asked)):
            maintenance = float(asked[row - 1])
            if not rows or abs(maintenance / rows[-1].maintenance - 1.0) > MARGIN_STEP:
                initial = round(1.1 * maintenance, 2)
                day = date.fromordinal(int(driver.series.days[row]))
                rows.append(MarginRow(day, initial, maintenance, initial, maintenance))
        return rows
