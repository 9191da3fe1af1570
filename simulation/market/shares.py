"""Exchange-traded funds.

Each a share of something the model has a price for, with dividends gathered and paid by its rule.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from simulation.blocks import FactorRow
from simulation.market.assets import DAYS_KEPT, Asset, AssetDay, AssetSpec, Carry, Kind
from simulation.market.calendar import FloatArray, IntArray, calendar
from simulation.market.days import MinutePath
from simulation.market.listings import third_friday
from simulation.market.rates import index_dividend_yield, risk_free

QUARTER_MONTHS = (3, 6, 9, 12)
Yield = Callable[[date], float]


@lru_cache(maxsize=128)
def quarterly(year: int) -> list[date]:
    """The third Friday of each quarter's last month (SPDR S&P 500 prospectus.

    Invesco and iShares pay within days of it).
    """
    return [third_friday(year, month) for month in QUARTER_MONTHS]


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

    Yields: S&P 500 by year (rates.py); QQQ 0.9 %, IWM 1.3 %, TLT 2.6 %, averages of 2014 to 2018 from the
    issuers' fact sheets. GLD and FXE lose their 0.40 % fee; USO lost 12 % a year against spot oil from December
    2013 (35.32 dollars, oil 98.42) to December 2018 (9.66, oil 45.41) by rolling its futures.
    """

    ticker: str
    driver: str
    ratio: float
    yearly: Yield
    ex_dates: Callable[[int], list[date]]
    fade: float = 0.0
    volume: float = 2.0e7


SHARES: dict[str, ShareLaw] = {
    law.ticker: law
    for law in (
        ShareLaw("SPY", "SPX", 0.1, index_dividend_yield, quarterly, volume=8.0e7),
        ShareLaw("QQQ", "NDX", 0.02415, lambda _: 0.009, quarterly, volume=3.0e7),
        ShareLaw("IWM", "RUT", 0.0995, lambda _: 0.013, quarterly, volume=2.5e7),
        ShareLaw("TLT", "BOND", 1.0, lambda _: 0.026, monthly, volume=1.0e7),
        ShareLaw("GLD", "GOLD", 0.0967, lambda _: 0.0, never, fade=0.004, volume=8.0e6),
        ShareLaw("USO", "OIL", 0.359, lambda _: 0.0, never, fade=0.12, volume=1.5e7),
        ShareLaw("FXE", "EURO", 98.6, lambda _: 0.0, never, fade=0.004, volume=5.0e5),
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
        before = self._last_ex_date(date.fromordinal(ex.toordinal() - 1))
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
        spot = MinutePath(
            *(np.round(part * factor, 2) for part in (whole.spot.points, whole.spot.high, whole.spot.low))
        )
        made = self._days[ordinal] = AssetDay(
            self.spec, day, spot, lambda: whole.surface, self._carry(day, float(spot.points[0]))
        )
        if len(self._days) > DAYS_KEPT:
            self._days.popitem(last=False)
        return made

    def _carry(self, day: date, price: float) -> Carry:
        years = range(day.year, day.year + 4)
        coming = [ex for year in years for ex in self.law.ex_dates(year) if ex > day]
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
