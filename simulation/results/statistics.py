"""LEAN's statistics from the same samples: StatisticsBuilder, PortfolioStatistics and Statistics (Common/Statistics).

Equity is dollars, performance is per cent a day, rates and ratios are fractions unless the name says per cent.
"""

from __future__ import annotations

import itertools
import math
import statistics as moments
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from operator import itemgetter
from statistics import NormalDist

from simulation.lean.clock import DAY_MS, utc_datetime
from simulation.lean.numbers import clean, decimal_text

_FEWEST_DAYS = 4
"""Daily returns without which LEAN computes no figures: the first two are left out and two are needed."""
_ALL_DIGITS = 1e15
_LARGEST_DECIMAL = Decimal((1 << 96) - 1)
TRADING_DAYS = 252
_EPOCH_DAY = date(1970, 1, 1).toordinal()
Points = Sequence[tuple[int, float]]
"""(UTC milliseconds, value), ascending."""
RateOn = Callable[[date], float]


@dataclass
class PortfolioStatistics:
    """LEAN's figures of one period; names as in its result file."""

    average_win_rate: float = 0.0
    average_loss_rate: float = 0.0
    profit_loss_ratio: float = 0.0
    win_rate: float = 0.0
    loss_rate: float = 0.0
    expectancy: float = 0.0
    start_equity: float = 0.0
    end_equity: float = 0.0
    compounding_annual_return: float = 0.0
    drawdown: float = 0.0
    total_net_profit: float = 0.0
    sharpe_ratio: float = 0.0
    probabilistic_sharpe_ratio: float = 0.0
    sortino_ratio: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0
    annual_standard_deviation: float = 0.0
    annual_variance: float = 0.0
    information_ratio: float = 0.0
    tracking_error: float = 0.0
    treynor_ratio: float = 0.0
    portfolio_turnover: float = 0.0
    value_at_risk99: float = 0.0
    value_at_risk95: float = 0.0
    drawdown_recovery: int = 0


@dataclass
class StatisticsInput:
    """What a run leaves behind for its statistics."""

    equity: Points
    performance: Points
    benchmark: Points
    turnover: Points
    profit_loss: Mapping[int, float]
    wins: Mapping[int, bool]
    starting_capital: float
    total_fees: float
    total_orders: int
    rate_on: RateOn = field(default=lambda _: 0.01)
    trading_days: int = TRADING_DAYS


def variance(values: Sequence[float]) -> float:
    """Sample variance; nothing for fewer than two values."""
    return _variance(tuple(values)) if len(values) > 1 else 0.0 * len(values)


@lru_cache(maxsize=16)
def _variance(values: tuple[float, ...]) -> float:
    """Worked out in fractions, so once for the five figures that need it of the same days."""
    return moments.variance(values)


def annual_variance(values: Sequence[float], days: int) -> float:
    """Variance of daily returns times the trading days of a year."""
    return variance(values) * days


def annual_performance(values: Sequence[float], days: int) -> float:
    """The mean daily return compounded over a year."""
    return float((sum(values) / len(values) + 1) ** days - 1)


def skewness(values: Sequence[float]) -> float:
    """Sample skewness, bias corrected; nan below three values."""
    count, deviation = len(values), math.sqrt(variance(values))
    if count < 3 or not deviation:
        return math.nan
    mean = sum(values) / count
    return count / ((count - 1) * (count - 2)) * sum(((v - mean) / deviation) ** 3 for v in values)


def excess_kurtosis(values: Sequence[float]) -> float:
    """Sample excess kurtosis, bias corrected; nan below four values."""
    count, deviation = len(values), math.sqrt(variance(values))
    if count < 4 or not deviation:
        return math.nan
    mean = sum(values) / count
    fourth = sum(((v - mean) / deviation) ** 4 for v in values)
    scale = count * (count + 1) / ((count - 1) * (count - 2) * (count - 3))
    return scale * fourth - 3 * (count - 1) ** 2 / ((count - 2) * (count - 3))


def probabilistic_sharpe_ratio(values: Sequence[float], benchmark_sharpe: float, daily_rate: float) -> float:
    """Probability that the true daily Sharpe ratio exceeds the benchmark's (Statistics.ProbabilisticSharpeRatio)."""
    deviation = math.sqrt(variance(values))
    observed = (sum(values) / len(values) - daily_rate) / deviation if deviation else deviation
    inside = 1 - skewness(values) * observed + (excess_kurtosis(values) - 1) / 4 * observed**2
    if math.isnan(inside) or inside < 0 or len(values) < 2:
        return 0.0 * observed
    spread = math.sqrt(inside / (len(values) - 1))
    return NormalDist().cdf((observed - benchmark_sharpe) / spread if spread else 0.0)


def value_at_risk(values: Sequence[float], days: int, confidence: float) -> float:
    """Normal quantile of the last year's daily returns, rounded to 3 places as LEAN does; a loss is negative."""
    last = list(values)[-days:]
    mean, deviation = sum(last) / len(last), math.sqrt(variance(last))
    return round(mean + deviation * NormalDist().inv_cdf(1 - confidence), 3)


def drawdown_metrics(equity: Points) -> tuple[float, int]:
    """Largest fall from a peak as a positive fraction (3 places), and the longest recovery in whole days."""
    if len(equity) < 2:
        return 0.0, 0
    peak_ms, peak = equity[0]
    worst, longest = 0.0, 0.0
    fell_from: int | None = None
    for when, value in equity:
        if value >= peak:
            if fell_from is not None:
                longest = max(longest, (when - fell_from) / DAY_MS)
                fell_from = None
            peak_ms, peak = when, value
        fall = value / peak - 1
        if fall < 0:
            worst = min(worst, fall)
            fell_from = peak_ms if fell_from is None else fell_from
    return round(abs(clean(worst)), 3), int(longest)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0 * numerator


def _compounded(growth: float, years: float) -> float:
    """Growth a year; nothing where a double has no answer (Statistics.CompoundingAnnualPerformance)."""
    if not years or growth < 0:
        return 0.0 * years
    try:
        return float(growth ** (1 / years)) - 1
    except OverflowError:
        return 0.0 * growth


def portfolio_statistics(data: StatisticsInput, returns: list[float], benchmark: list[float]) -> PortfolioStatistics:
    """LEAN's portfolio statistics; returns and benchmark are daily fractions."""
    made = PortfolioStatistics(start_equity=data.starting_capital)
    made.end_equity = data.equity[-1][1] if data.equity else data.starting_capital
    if data.turnover:
        made.portfolio_turnover = sum(value for _, value in data.turnover) / len(data.turnover)
    if not data.starting_capital or len(benchmark) < 2 or len(returns) < 2:
        return made
    _win_figures(made, data)
    made.total_net_profit = made.end_equity / data.starting_capital - 1
    years = (data.equity[-1][0] - data.equity[0][0]) / DAY_MS / 365
    growth = made.end_equity / data.starting_capital
    made.compounding_annual_return = _compounded(growth, years)
    _risk_figures(made, data, returns, benchmark)
    made.drawdown, made.drawdown_recovery = drawdown_metrics(data.equity)
    return made


def _win_figures(made: PortfolioStatistics, data: StatisticsInput) -> None:
    capital = data.starting_capital
    won: list[float] = []
    lost: list[float] = []
    for _, profit in sorted(data.profit_loss.items()):
        (won if profit > 0 else lost).append(profit / capital)
        capital += profit
    made.average_win_rate = _ratio(sum(won), len(won))
    made.average_loss_rate = _ratio(sum(lost), len(lost))
    made.profit_loss_ratio = _ratio(made.average_win_rate, abs(made.average_loss_rate))
    wins = sum(1 for flag in data.wins.values() if flag)
    made.win_rate = _ratio(wins, len(data.wins))
    made.loss_rate = _ratio(len(data.wins) - wins, len(data.wins))
    made.expectancy = made.win_rate * made.profit_loss_ratio - made.loss_rate


def _risk_figures(
    made: PortfolioStatistics, data: StatisticsInput, returns: list[float], benchmark: list[float]
) -> None:
    days = data.trading_days
    made.annual_variance = annual_variance(returns, days)
    made.annual_standard_deviation = math.sqrt(made.annual_variance)
    mine, others = annual_performance(returns, days), annual_performance(benchmark, days)
    days_of = [date.fromordinal(when // DAY_MS + _EPOCH_DAY) for when, _ in data.equity]
    rate = sum(data.rate_on(day) for day in days_of) / len(days_of)
    made.sharpe_ratio = _ratio(mine - rate, made.annual_standard_deviation)
    down = math.sqrt(annual_variance([value for value in returns if value < 0], days))
    made.sortino_ratio = _ratio(mine - rate, down)
    spread = variance(benchmark)
    made.beta = _ratio(_covariance(returns, benchmark), spread)
    if made.beta:
        made.alpha = mine - (rate + made.beta * (others - rate))
    if len(returns) == len(benchmark):
        differences = [a - b for a, b in zip(returns, benchmark, strict=True)]
        made.tracking_error = math.sqrt(annual_variance(differences, days))
    made.information_ratio = _ratio(mine - others, made.tracking_error)
    made.treynor_ratio = _ratio(mine - rate, made.beta)
    made.probabilistic_sharpe_ratio = probabilistic_sharpe_ratio(returns, 1 / math.sqrt(days), rate / days)
    made.value_at_risk99 = value_at_risk(returns, days, 0.99)
    made.value_at_risk95 = value_at_risk(returns, days, 0.95)


def _covariance(first: Sequence[float], second: Sequence[float]) -> float:
    count = min(len(first), len(second))
    if count < 2 or len(first) != len(second):
        return 0.0 * count
    mean_first, mean_second = sum(first) / count, sum(second) / count
    pairs = zip(first, second, strict=True)
    return sum((a - mean_first) * (b - mean_second) for a, b in pairs) / (count - 1)


# -------------------------------------------------------------------- periods


def benchmark_differences(points: Points) -> list[float]:
    """Relative changes of the benchmark, the first left out (StatisticsBuilder.CreateBenchmarkDifferences)."""
    changes = [_ratio(after - before, before) for (_, before), (_, after) in itertools.pairwise(points)]
    return changes[1:]


def _between(points: Points, first: date, last: date) -> Points:
    edges = (_begin_of(first), _begin_of(last + timedelta(days=1)))
    low, high = (bisect_left(points, edge, key=itemgetter(0)) for edge in edges)
    return points[low:high]


def _begin_of(day: date) -> int:
    """The UTC midnight at which a date begins."""
    return (day.toordinal() - _EPOCH_DAY) * DAY_MS


def performance_between(data: StatisticsInput, first: date, last: date) -> PortfolioStatistics:
    """Portfolio statistics of the days from first to last, both included (GetAlgorithmPerformance)."""
    equity = _between(data.equity, first, last)
    if not equity:
        return PortfolioStatistics()
    returns = [value / 100 for _, value in _between(data.performance, first, last)[2:]]
    whole = len(equity) == len(data.equity)
    part = StatisticsInput(
        equity=equity,
        performance=data.performance,
        benchmark=data.benchmark,
        turnover=_between(data.turnover, first, last),
        profit_loss={when: value for when, value in data.profit_loss.items() if _day_in(when, first, last)},
        wins={when: value for when, value in data.wins.items() if _day_in(when, first, last)},
        starting_capital=data.starting_capital if whole else equity[0][1],
        total_fees=data.total_fees,
        total_orders=data.total_orders,
        rate_on=data.rate_on,
        trading_days=data.trading_days,
    )
    return portfolio_statistics(part, returns, benchmark_differences(_between(data.benchmark, first, last)))


def _day_in(when: int, first: date, last: date) -> bool:
    return _begin_of(first) <= when < _begin_of(last + timedelta(days=1))


def total_performance(data: StatisticsInput) -> PortfolioStatistics:
    """Statistics of the whole run."""
    if not data.equity:
        return PortfolioStatistics(start_equity=data.starting_capital, end_equity=data.starting_capital)
    first, last = utc_datetime(data.equity[0][0]).date(), utc_datetime(data.equity[-1][0]).date()
    return performance_between(data, first, last)


def period_ranges(months: int, first: date, last: date) -> list[tuple[date, date]]:
    """LEAN's rolling windows: one per month end, `months` long, cut at the first day."""
    ends, day = [], last
    while True:
        ends.append(day)
        day = day.replace(day=1) - timedelta(days=1)
        if day < first:
            break
    ranges = [(first, ends[-1])]
    for end in reversed(ends[:-1]):
        start = _add_months(ranges[-1][1] + timedelta(days=1), 1 - months)
        ranges.append((max(start, first), end))
    return ranges


def _add_months(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, min(day.day, 28))


def rolling_performance(data: StatisticsInput) -> dict[str, tuple[date, date, PortfolioStatistics]]:
    """Statistics of rolling windows of 1, 3, 6 and 12 months, by LEAN's keys (M1_20240719)."""
    made: dict[str, tuple[date, date, PortfolioStatistics]] = {}
    if not data.equity:
        return made
    first, last = utc_datetime(data.equity[0][0]).date(), utc_datetime(data.equity[-1][0]).date()
    for months in (1, 3, 6, 12):
        for start, end in period_ranges(months, first, last):
            made[f"M{months}_{end:%Y%m%d}"] = (start, end, performance_between(data, start, end))
    return made


# -------------------------------------------------------------------- LEAN's table of strings


def _rounded(value: float, places: int) -> str:
    """A rounded number as C# prints a decimal of which trailing zeros are kept only where they were significant."""
    exact = decimal_text(value)
    digits = len(exact.partition(".")[2])
    return f"{round(clean(value), places):.{places}f}" if digits > places else exact


def _percent(value: float, places: int) -> str:
    """A share as a percentage. A C# decimal times 100 keeps the decimals of the share: 0.0034 is 0.340 %."""
    if abs(value) >= _ALL_DIGITS:  # a C# decimal takes 15 digits from a double, and ends at 2^96 - 1
        return f"{min(Decimal(f'{value:.15g}') * 100, _LARGEST_DECIMAL):f}%"
    exact = decimal_text(value)
    known = places if value and exact == "0" else len(exact.partition(".")[2])
    rounded = round(Decimal(decimal_text(value * 100)), places)
    return f"{rounded or abs(rounded):.{min(known, places)}f}%"


def _fell(data: StatisticsInput) -> bool:
    """Whether LEAN looked for a fall and found one: a run of two days has no figures, and a drawdown of a bare zero."""
    if len(data.performance) < _FEWEST_DAYS:
        return False
    peak = -math.inf
    for _, value in data.equity:
        if value < peak:
            return True
        peak = max(peak, value)
    return False


def _two_digits(value: float) -> float:
    """Two significant digits, halves to even (Extensions.RoundToSignificantDigits)."""
    scale = 10.0 ** (math.floor(math.log10(abs(value))) + 1)
    return clean(scale * round(value / scale, 2))


def _cents(value: float) -> str:
    """Dollars with two places, halves away from zero as C# formats a decimal."""
    return str(Decimal(decimal_text(value)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _double(value: float) -> str:
    """A double rounded to 3 places as C# prints it: a negative one that comes to nothing keeps its sign."""
    text = decimal_text(round(value, 3))
    return "-0" if text == "0" and value < 0 else text


def summary(data: StatisticsInput, made: PortfolioStatistics, capacity: float = 0.0, asset: str = "") -> dict[str, str]:
    """LEAN's statistics table (StatisticsBuilder.GetSummary)."""

    return {
        "Total Orders": str(data.total_orders),
        "Average Win": _percent(made.average_win_rate, 2),
        "Average Loss": _percent(made.average_loss_rate, 2),
        "Compounding Annual Return": _percent(made.compounding_annual_return, 3),
        "Drawdown": f"{made.drawdown * 100:.3f}%" if _fell(data) else "0%",
        "Expectancy": _rounded(made.expectancy, 3),
        "Start Equity": _rounded(made.start_equity, 2),
        "End Equity": _rounded(made.end_equity, 2),
        "Net Profit": _percent(made.total_net_profit, 3),
        "Sharpe Ratio": _double(made.sharpe_ratio),
        "Sortino Ratio": _double(made.sortino_ratio),
        "Probabilistic Sharpe Ratio": _percent(made.probabilistic_sharpe_ratio, 3),
        "Loss Rate": _percent(made.loss_rate, 0).replace(".%", "%"),
        "Win Rate": _percent(made.win_rate, 0).replace(".%", "%"),
        "Profit-Loss Ratio": _rounded(made.profit_loss_ratio, 2),
        "Alpha": _double(made.alpha),
        "Beta": _double(made.beta),
        "Annual Standard Deviation": _double(made.annual_standard_deviation),
        "Annual Variance": _double(made.annual_variance),
        "Information Ratio": _double(made.information_ratio),
        "Tracking Error": _double(made.tracking_error),
        "Treynor Ratio": _double(made.treynor_ratio),
        "Total Fees": f"${_cents(data.total_fees)}",
        "Estimated Strategy Capacity": f"${_two_digits(capacity):.2f}" if capacity else "$0",
        "Lowest Capacity Asset": asset,
        "Portfolio Turnover": _percent(made.portfolio_turnover, 2),
        "Drawdown Recovery": str(made.drawdown_recovery),
    }
