"""Rates and yields by year, funds and their dividends, halts, and the opening settlement."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.clock import monthly_expiry
from simulation.data.columns import FactorRow
from simulation.market.asset_days import AssetDay, AssetSpec, Carry, Kind
from simulation.market.assets import DAYS_KEPT, Asset
from simulation.market.calendar import FloatArray, IntArray, calendar, settlement_weights
from simulation.market.days import MinutePath

# Three-month Treasury bill, secondary market, average of the year in percent (Federal Reserve H.15, FRED TB3MS).
# Checked: 1990 to 2018 against the one-month bill in Fama and French's data (within 0.45 each year, 0.15 on average),
# 2010 to 2022 against another table of yearly averages (within 0.04). 2023 to 2025 were not checked.
TREASURY_BILL: dict[int, float] = {
    1990: 7.49, 1991: 5.38, 1992: 3.43, 1993: 3.00, 1994: 4.25, 1995: 5.49, 1996: 5.01, 1997: 5.06, 1998: 4.78,
    1999: 4.64, 2000: 5.82, 2001: 3.39, 2002: 1.60, 2003: 1.01, 2004: 1.37, 2005: 3.15, 2006: 4.73, 2007: 4.35,
    2008: 1.37, 2009: 0.15, 2010: 0.14, 2011: 0.05, 2012: 0.09, 2013: 0.06, 2014: 0.03, 2015: 0.05, 2016: 0.32,
    2017: 0.93, 2018: 1.94, 2019: 2.06, 2020: 0.36, 2021: 0.04, 2022: 2.02, 2023: 5.07, 2024: 4.97, 2025: 4.07,
}  # fmt: skip

# Treasury securities at constant maturity of one, two and five years, averages of the year in percent (Federal Reserve
# H.15, FRED DGS1, DGS2 and DGS5), from memory of the published tables and not checked one by one; 2025 to October.
TREASURY_TERMS: dict[int, tuple[float, float, float]] = {
    1990: (7.89, 8.16, 8.37), 1991: (5.86, 6.49, 7.37), 1992: (3.89, 4.77, 6.19), 1993: (3.43, 4.05, 5.14),
    1994: (5.32, 5.94, 6.69), 1995: (5.94, 6.15, 6.38), 1996: (5.52, 5.84, 6.18), 1997: (5.63, 5.99, 6.22),
    1998: (5.05, 5.13, 5.15), 1999: (5.08, 5.43, 5.55), 2000: (6.11, 6.26, 6.16), 2001: (3.49, 3.83, 4.56),
    2002: (2.00, 2.64, 3.82), 2003: (1.24, 1.65, 2.97), 2004: (1.89, 2.38, 3.43), 2005: (3.62, 3.85, 4.05),
    2006: (4.94, 4.82, 4.75), 2007: (4.53, 4.36, 4.43), 2008: (1.83, 2.01, 2.80), 2009: (0.47, 0.96, 2.20),
    2010: (0.32, 0.70, 1.93), 2011: (0.18, 0.45, 1.52), 2012: (0.17, 0.28, 0.76), 2013: (0.13, 0.31, 1.17),
    2014: (0.12, 0.46, 1.64), 2015: (0.32, 0.69, 1.53), 2016: (0.61, 0.83, 1.33), 2017: (1.20, 1.40, 1.91),
    2018: (2.33, 2.53, 2.75), 2019: (2.05, 1.97, 1.95), 2020: (0.37, 0.39, 0.53), 2021: (0.10, 0.27, 0.86),
    2022: (2.80, 2.99, 3.00), 2023: (5.08, 4.58, 4.06), 2024: (4.69, 4.37, 4.13), 2025: (3.95, 3.78, 3.92),
}  # fmt: skip
# The same bill by quarter, where it moved within a year (FRED TB3MS, quarters; their means agree with the years above
# within 0.02 except 2025, which is not over).
QUARTERLY_BILL: dict[int, tuple[float, float, float, float]] = {
    2004: (0.92, 1.08, 1.49, 2.01), 2005: (2.54, 2.86, 3.36, 3.83), 2006: (4.39, 4.70, 4.91, 4.90),
    2007: (4.98, 4.74, 4.30, 3.39), 2008: (2.04, 1.63, 1.49, 0.30), 2009: (0.21, 0.17, 0.16, 0.06),
    2010: (0.11, 0.15, 0.16, 0.14), 2011: (0.13, 0.05, 0.02, 0.01), 2012: (0.07, 0.09, 0.10, 0.09),
    2013: (0.09, 0.05, 0.03, 0.06), 2014: (0.05, 0.03, 0.03, 0.02), 2015: (0.02, 0.02, 0.03, 0.12),
    2016: (0.29, 0.26, 0.30, 0.43), 2017: (0.59, 0.89, 1.04, 1.21), 2018: (1.56, 1.84, 2.04, 2.32),
    2019: (2.39, 2.30, 1.98, 1.57), 2020: (1.10, 0.14, 0.11, 0.09), 2021: (0.05, 0.02, 0.04, 0.05),
    2022: (0.31, 1.08, 2.68, 4.04), 2023: (4.63, 5.07, 5.28, 5.25), 2024: (5.24, 5.24, 4.97, 4.38),
    2025: (4.20, 4.20, 4.10, 3.75),
}  # fmt: skip
# What box spreads of S&P 500 options yield over Treasuries (van Binsbergen, Diamond and Grotteria, 2022, "Risk-free
# interest rates": about 0.35 to 0.40 % on average from 2004 to 2018).
FUNDING = 0.0035
TERMS = (0.25, 1.0, 2.0, 5.0)

# S&P 500 dividend yield, average of the year's months in percent: R. Shiller's table of dividends and prices. Its 2014
# to 2020 agree within 0.06 with the dividends of SPY in LEAN's factor file. 2023 is of its first half; 2024 and 2025
# are yields of the year's end as published, not checked.
SP500_YIELD: dict[int, float] = {
    1990: 3.49, 1991: 3.24, 1992: 2.97, 1993: 2.77, 1994: 2.80, 1995: 2.49, 1996: 2.15, 1997: 1.75, 1998: 1.47,
    1999: 1.25, 2000: 1.16, 2001: 1.33, 2002: 1.62, 2003: 1.72, 2004: 1.65, 2005: 1.74, 2006: 1.80, 2007: 1.79,
    2008: 2.40, 2009: 2.73, 2010: 1.95, 2011: 1.94, 2012: 2.08, 2013: 2.04, 2014: 1.94, 2015: 2.03, 2016: 2.13,
    2017: 1.94, 2018: 1.87, 2019: 1.93, 2020: 1.85, 2021: 1.38, 2022: 1.57, 2023: 1.66, 2024: 1.24, 2025: 1.16,
}  # fmt: skip


def _of_year(table: dict[int, float], year: int) -> float:
    return table[min(max(year, min(table)), max(table))] / 100.0


@lru_cache(maxsize=4096)
def risk_free(day: date) -> float:
    """Yearly risk-free rate of ``day``'s year, continuous, as a fraction; the nearest known year outside the table."""
    return _of_year(TREASURY_BILL, day.year)


@lru_cache(maxsize=4096)
def index_dividend_yield(day: date) -> float:
    """Yearly dividend yield of the S&P 500 in ``day``'s year, continuous, as a fraction."""
    return _of_year(SP500_YIELD, day.year)


@lru_cache(maxsize=1)
def _bills() -> tuple[FloatArray, FloatArray]:
    """Times in years and the bill's rate in percent: middles of quarters, of years where only those are known."""
    known: dict[float, float] = {}
    for year, mean in TREASURY_BILL.items():
        quarters = QUARTERLY_BILL.get(year)
        if quarters is None:
            known[year + 0.5] = mean
        else:
            known.update({year + 0.125 + 0.25 * number: rate for number, rate in enumerate(quarters)})
    return np.array(sorted(known)), np.array([known[time] for time in sorted(known)])


@lru_cache(maxsize=64)
def term_rates(day: date) -> tuple[tuple[float, float], ...]:
    """Years and what index forwards grow by to them, a year, continuous.

    The bill of the day's quarter, and what longer Treasuries yielded over it; averages hold for the middles of their
    quarters and years, days between two middles have a rate between them.
    """
    at = day.year + (day.timetuple().tm_yday - 0.5) / 365.25
    years = np.array(sorted(TREASURY_TERMS))
    longer = np.array([TREASURY_TERMS[year] for year in years]) - np.array([[TREASURY_BILL[year]] for year in years])
    bill = float(np.interp(at, *_bills()))
    over = (0.0, *(float(np.interp(at, years + 0.5, column)) for column in longer.T))
    return tuple((term, (bill + more) / 100.0 + FUNDING) for term, more in zip(TERMS, over, strict=True))


def index_carry(day: date) -> Carry:
    """What holding the index costs on a day: the bill's rate discounts, forwards grow by the rate of their term."""
    return Carry(risk_free(day), index_dividend_yield(day), terms=term_rates(day))


def interest_rates() -> dict[date, float]:
    """Risk-free rate from the first day of each year on, as fractions.

    What LEAN's interest-rate file holds (there in percent).
    """
    return {date(year, 1, 1): percent / 100.0 for year, percent in sorted(TREASURY_BILL.items())}


QUARTER_MONTHS = (3, 6, 9, 12)
Yield = Callable[[date], float]


@lru_cache(maxsize=128)
def quarterly(year: int) -> list[date]:
    """The third Friday of each quarter's last month (SPDR S&P 500 prospectus.

    Invesco and iShares pay within days of it).
    """
    return [monthly_expiry(year, month) for month in QUARTER_MONTHS]


@lru_cache(maxsize=128)
def monthly(year: int) -> list[date]:
    """The first trading day of each month (iShares bond funds)."""
    return [calendar().on_or_after(date(year, month, 1)) for month in range(1, 13)]


def never(_: int) -> list[date]:
    """A fund that pays nothing."""
    return list[date]()


@dataclass(frozen=True)
class ShareLaw:
    """A fund: its price over its driver's, its yearly yield and ex-dates.

    And what it loses a year to fees and to rolling futures.

    Yields: S&P 500 by year (above); QQQ 1.1 % and IWM 1.4 %, averages of 2014 to 2018 in LEAN's factor files; TLT
    2.6 %, not checked. GLD and FXE lose their 0.40 % fee; USO lost 12 % a year against spot oil from December 2013
    to December 2018 by rolling its futures (oil: 98.17 to 45 dollars in arch's WTI; USO: 35.32 to 9.66, not checked).
    ``since`` and ``exchange`` are the first row of LEAN's map file (its data start in 1998; of those that its
    repository lacks the fund's first day), from which its identifier is made.
    """

    ticker: str
    driver: str
    ratio: float
    yearly: Yield
    ex_dates: Callable[[int], list[date]]
    since: date
    exchange: str = "P"
    fade: float = 0.0
    volume: float = 2.0e7


SHARES: dict[str, ShareLaw] = {
    law.ticker: law
    for law in (
        ShareLaw("SPY", "SPX", 0.1, index_dividend_yield, quarterly, date(1998, 1, 2), volume=8.0e7),
        ShareLaw("QQQ", "NDX", 0.02415, lambda _: 0.011, quarterly, date(1999, 3, 10), "Q", volume=3.0e7),
        ShareLaw("IWM", "RUT", 0.0995, lambda _: 0.014, quarterly, date(2000, 5, 26), volume=2.5e7),
        ShareLaw("TLT", "BOND", 1.0, lambda _: 0.026, monthly, date(2002, 7, 30), "Q", volume=1.0e7),
        ShareLaw("GLD", "GOLD", 0.0967, lambda _: 0.0, never, date(2004, 11, 18), fade=0.004, volume=8.0e6),
        ShareLaw("USO", "OIL", 0.359, lambda _: 0.0, never, date(2006, 4, 10), fade=0.12, volume=1.5e7),
        ShareLaw("FXE", "EURO", 98.6, lambda _: 0.0, never, date(2005, 12, 12), fade=0.004, volume=5.0e5),
    )
}


class FundShare:
    """A fund over its driver.

    Worth a ratio of it and, when it ``accrues``, of the dividends gathered since the last ex-date.
    """

    def __init__(self, law: ShareLaw, driver: Asset, *, accrues: bool = True) -> None:
        self.law = law
        self.spec = AssetSpec(
            law.ticker, Kind.SHARE, driver.spec.profile, driver.spec.smile, driver.spec.volatility_law
        )
        self.driver = driver
        self.accrues = accrues
        self._start = int(driver.series.days[0])
        self._days: OrderedDict[int, AssetDay] = OrderedDict()
        self._factors: FloatArray | None = None
        self._befores: dict[date, date | None] = {}

    def _last_ex_date(self, day: date) -> date | None:
        passed = [ex for year in (day.year - 1, day.year) for ex in self.law.ex_dates(year) if ex <= day]
        return max(passed) if passed else None

    def factor(self, day: date) -> float:
        """Price of the share over its driver's on ``day``."""
        faded = self.law.ratio * float(np.exp(-self.law.fade * (day.toordinal() - self._start) / 365.0))
        last = self._last_ex_date(day) if self.accrues else None
        if last is None:
            return faded
        return faded * (1.0 + self.law.yearly(day) * (day - last).days / 365.0)

    def factors(self) -> FloatArray:
        """The factor of each row of the driver's series."""
        if self._factors is None:
            self._factors = np.array([self.factor(date.fromordinal(int(day))) for day in self.driver.series.days])
        return self._factors

    def closes(self) -> tuple[IntArray, FloatArray]:
        """Days and closes of the share."""
        return self.driver.series.days, np.round(self.driver.series.close * self.factors(), 2)

    def dividend(self, ex: date, price: float) -> float:
        """Cash paid for the period that ends at ``ex``, per share, for a share at ``price``."""
        if ex not in self._befores:
            self._befores[ex] = self._last_ex_date(date.fromordinal(ex.toordinal() - 1))
        before = self._befores[ex]
        return 0.0 if before is None else round(price * self.law.yearly(ex) * (ex - before).days / 365.0, 3)

    def day(self, day: date) -> AssetDay | None:
        """The share's day, scaled from its driver's."""
        ordinal = day.toordinal()
        known = self._days.get(ordinal)
        if known is not None:
            return known
        whole = self.driver.day(day)
        if whole is None:
            return None
        factor = self.factor(day)

        def spot() -> MinutePath:
            path = whole.spot
            return MinutePath(*(np.round(part * factor, 2) for part in (path.points, path.high, path.low)))

        def opened() -> float:
            return float(np.round(whole.opened * factor, 2))

        made = self._days[ordinal] = AssetDay(
            self.spec, day, spot, lambda: whole.surface, lambda: self._carry(day, opened), lambda: whole.closing,
            (opened, lambda: float(np.round(whole.closed * factor, 2))),
        )  # fmt: skip
        if len(self._days) > DAYS_KEPT:
            self._days.popitem(last=False)
        return made

    def _carry(self, day: date, opened: Callable[[], float]) -> Carry:
        years = range(day.year, day.year + 4)
        coming = [ex for year in years for ex in self.law.ex_dates(year) if ex > day]
        price = opened() if coming else 0.0
        cash = tuple((ex.toordinal(), self.dividend(ex, price)) for ex in coming)
        return Carry(risk_free(day), self.law.fade, cash)

    def daily(self, first: date, last: date) -> tuple[IntArray, list[FloatArray]]:
        """Days in a range with open, high, low and close; NaN where only the minutes know them."""
        series = self.driver.series
        inside = (series.days >= first.toordinal()) & (series.days <= last.toordinal())
        factor = self.factors()[inside]
        columns = self.driver.columns()
        return series.days[inside], [
            np.asarray(np.round(part[inside] * factor, 2), dtype=np.float64) for part in columns
        ]

    def factor_rows(self, first: date, last: date) -> list[FactorRow] | None:
        """LEAN's factor rows: one at the close before each ex-date, backwards from 1.

        ``None`` for what pays nothing.
        """
        if not self.accrues or not self.law.ex_dates(first.year):
            return None
        days, closes = self.closes()
        rows = [FactorRow(date(2050, 12, 31), 1.0, 1.0, 0.0)]
        product = 1.0
        for year in range(last.year, first.year - 1, -1):
            for ex in reversed(self.law.ex_dates(year)):
                at = int(np.searchsorted(days, ex.toordinal())) - 1
                if not first < ex <= last or at < 0:
                    continue
                close = float(closes[at])
                product *= 1.0 - self.dividend(ex, close) / close
                rows.append(FactorRow(date.fromordinal(int(days[at])), round(product, 7), 1.0, close))
        reference = float(closes[max(0, int(np.searchsorted(days, first.toordinal())) - 1)])
        rows.append(FactorRow(first, rows[-1].price_factor, 1.0, reference))
        return sorted(rows, key=lambda row: row.day)


# The index fell from the opening settlement to the sale of the next call by 1.1 points a year of BXM, a twelfth of it
# each month (Israelov, 2017, "PutWrite versus BuyWrite: yes, put-call parity holds here too").
SETTLEMENT_PRESSURE = 0.011 / 12.0
HALT_MINUTES = 15
LAST_HALT_MINUTE = 355  # after 15:25 the first two levels halt nothing (NYSE rule 7.12)
RULE_SINCE = date(2013, 4, 8)


@dataclass(frozen=True)
class HaltLevel:
    """A fall from yesterday's close, as a fraction, and whether it ends the day."""

    fall: float
    final: bool


LEVELS = (HaltLevel(0.07, False), HaltLevel(0.13, False), HaltLevel(0.20, True))
LEVELS_BEFORE = (HaltLevel(0.10, False), HaltLevel(0.20, False), HaltLevel(0.30, True))  # of the Dow, 1998 to 2013


def halted_minutes(path: MinutePath, previous_close: float, day: date) -> NDArray[np.bool_] | None:
    """Minutes in which nothing trades because the index fell through a level; ``None`` on a day without a halt.

    Each of the first two levels halts once, for 15 minutes, before 15:25; the third ends the day.
    """
    count = len(path.low)
    halted = np.zeros(count, dtype=bool)
    last = min(LAST_HALT_MINUTE, count - 35)
    earliest = 0
    for level in LEVELS if day >= RULE_SINCE else LEVELS_BEFORE:
        through = np.flatnonzero(path.low <= previous_close * (1.0 - level.fall))
        through = through[through >= earliest]
        if len(through) == 0:
            break
        first = int(through[0])
        if level.final:
            halted[first + 1 :] = True
        elif first < last:
            halted[first + 1 : first + 1 + HALT_MINUTES] = True
            earliest = first + 1 + HALT_MINUTES
    return halted if bool(halted.any()) else None


def opening_settlement(state: AssetDay) -> float:
    """What morning-settled options of the day are worth their intrinsic value on: not the first print, in points.

    The special opening quotation takes each member's own first trade; those come over the first minutes, so the
    value is the mean of the index over them, falling in weight as members open, and a little more: on the mornings of
    expirations it lay over what the index came back to by noon, which cost holders of Cboe's BXM 1.1 points a year.
    """
    mean = float(np.sum(settlement_weights() * state.spot.points[1:11]))
    return round(mean * (1.0 + SETTLEMENT_PRESSURE), 2)
