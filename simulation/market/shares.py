"""An exchange-traded fund that holds the index.

Its price is a share of it, with dividends gathered and paid by the quarter.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import date

import numpy as np

from simulation.blocks import FactorRow
from simulation.market.assets import DAYS_KEPT, Asset, AssetDay, AssetSpec, Carry, Kind
from simulation.market.calendar import FloatArray, IntArray
from simulation.market.days import MinutePath
from simulation.market.listings import third_friday
from simulation.market.rates import index_dividend_yield, risk_free

QUARTER_MONTHS = (3, 6, 9, 12)


def ex_dates(year: int) -> list[date]:
    """SPY's ex-dividend days: the third Friday of each quarter's last month (SPDR prospectus)."""
    return [third_friday(year, month) for month in QUARTER_MONTHS]


def last_ex_date(day: date) -> date:
    """The latest ex-dividend day at or before ``day``."""
    return max(ex for year in (day.year - 1, day.year) for ex in ex_dates(year) if ex <= day)


class IndexShare:
    """A share worth ``ratio`` of its index and, when it ``accrues``.

    Of the dividends gathered since the last ex-date.
    """

    def __init__(self, ticker: str, index: Asset, ratio: float, *, accrues: bool) -> None:
        self.spec = AssetSpec(ticker, Kind.SHARE, index.spec.profile, index.spec.smile, index.spec.volatility_law)
        self.index = index
        self.ratio = ratio
        self.accrues = accrues
        self._days: OrderedDict[int, AssetDay] = OrderedDict()
        self._factors: FloatArray | None = None

    def factor(self, day: date) -> float:
        """Price of the share over the index on ``day``."""
        if not self.accrues:
            return self.ratio
        gathered = index_dividend_yield(day) * (day - last_ex_date(day)).days / 365.0
        return self.ratio * (1.0 + gathered)

    def factors(self) -> FloatArray:
        """The factor of each row of the index's series."""
        if self._factors is None:
            self._factors = np.array([self.factor(date.fromordinal(int(day))) for day in self.index.series.days])
        return self._factors

    def closes(self) -> tuple[IntArray, FloatArray]:
        """Days and closes of the share."""
        return self.index.series.days, np.round(self.index.series.close * self.factors(), 2)

    def daily(self, first: date, last: date) -> tuple[IntArray, list[FloatArray]]:
        """Days in a range with open, high, low and close."""
        series = self.index.series
        inside = (series.days >= first.toordinal()) & (series.days <= last.toordinal())
        factor = self.factors()[inside]
        columns = (series.open, series.high, series.low, series.close)
        return series.days[inside], [
            np.asarray(np.round(column[inside] * factor, 2), dtype=np.float64) for column in columns
        ]

    def dividend(self, ex: date, price: float) -> float:
        """Cash paid for the quarter that ends at ``ex``, per share, for a share at ``price``."""
        before = last_ex_date(date.fromordinal(ex.toordinal() - 1))
        return round(price * index_dividend_yield(ex) * (ex - before).days / 365.0, 3)

    def day(self, day: date) -> AssetDay | None:
        """The share's day, scaled from its index's."""
        ordinal = day.toordinal()
        known = self._days.get(ordinal)
        if known is not None:
            return known
        index = self.index.day(day)
        if index is None:
            return None
        factor = self.factor(day)
        spot = MinutePath(
            *(np.round(column * factor, 2) for column in (index.spot.points, index.spot.high, index.spot.low))
        )
        price = float(spot.points[0])
        coming = tuple(
            (ex.toordinal(), self.dividend(ex, price))
            for year in range(day.year, day.year + 4)
            for ex in ex_dates(year)
            if ex > day
        )
        carry = Carry(risk_free(day), 0.0, coming)
        made = self._days[ordinal] = AssetDay(self.spec, day, spot, lambda: index.surface, carry)
        if len(self._days) > DAYS_KEPT:
            self._days.popitem(last=False)
        return made

    def factor_rows(self, first: date, last: date) -> list[FactorRow] | None:
        """LEAN's factor rows: one at the close before each ex-date, backwards from 1."""
        if not self.accrues:
            return None
        days, closes = self.closes()
        rows = [FactorRow(date(2050, 12, 31), 1.0, 1.0, 0.0)]
        product = 1.0
        for year in range(last.year, first.year - 1, -1):
            for ex in reversed(ex_dates(year)):
                at = int(np.searchsorted(days, ex.toordinal())) - 1
                if not first < ex <= last or at < 0:
                    continue
                close = float(closes[at])
                product *= 1.0 - self.dividend(ex, close) / close
                rows.append(FactorRow(date.fromordinal(int(days[at])), round(product, 7), 1.0, close))
        rows.append(
            FactorRow(
                first,
                rows[-1].price_factor,
                1.0,
                float(closes[max(0, int(np.searchsorted(days, first.toordinal())) - 1)]),
            )
        )
        return sorted(rows, key=lambda row: row.day)
