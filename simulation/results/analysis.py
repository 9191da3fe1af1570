"""What LEAN's analyzer finds in a finished run (Engine/Results/Analysis): the `analysis` block of the result file.

Offered: days on which the equity stood still, fills at stale prices and outside regular hours, unused margin, more than
ten parameters, a Sharpe ratio under the benchmark's over the run or over a known crisis, daily returns that are not
significantly over the benchmark's. LEAN's analyzer has some sixty more; those need its logs, its clock or its own
random numbers, and say nothing here. Their words are LEAN's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from simulation.lean.bars import TradeBar
from simulation.lean.clock import EPOCH, zone_of
from simulation.lean.enums import OrderStatus, Resolution, SecurityType
from simulation.lean.numbers import decimal_text
from simulation.lean.symbols import Symbol
from simulation.results import analysis_texts as texts
from simulation.results.results_text import iso
from simulation.results.sampling import Samples

DAY_S = 86_400
_LITTLE_MARGIN_PERCENT = 50.0
_SMOOTHED_DAYS = 3
_SIGNIFICANT = 0.05
_FROM_DELISTING = "liquidate from delisting"
_STALE = "warning: fill at stale price"
_FEW_PARAMETERS = 10
_SEGMENTS = 5
_OUTPERFORM = "Try adjusting the trading rules and/or the universe to get a strategy that outperforms the benchmark."
Curve = dict[int, float]
"""Value by second since 1970."""


def findings(engine: Any, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was found, weightiest first. events: the run's order events as they are written, in order."""
    equity, benchmark = curves(engine)
    found = (
        _flat_equity(equity),
        _stale_fills(engine, events),
        _outside_hours(engine, events),
        _unused_margin(engine.samples),
        _many_parameters(engine.algorithm),
        _worse_than_benchmark(engine, equity, benchmark),
        _worse_in_a_crisis(engine, equity, benchmark),
        _insignificant(equity, benchmark),
    )
    return [one for one in found if one is not None]


def _finding(name: str, issue: str, sample: Any, solutions: Sequence[str], count: int = 1) -> dict[str, Any]:
    made: dict[str, Any] = {"name": f"{name}Analysis", "issue": issue, "sample": sample}
    if count > 1:
        made["count"] = count
    return made | {"solutions": list(solutions)}


# -------------------------------------------------------------------- fills and margin


def _stale_fills(engine: Any, events: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    pairs = zip(engine.order_events, events, strict=True)
    stale = [written for event, written in pairs if _STALE in (event.message or "").lower()]
    if not stale:
        return None
    issue = "Some orders filled at stale prices."
    return _finding("StaleOrderFills", issue, stale[0], texts.STALE_FILLS, len(stale))


def _many_parameters(algorithm: Any) -> dict[str, Any] | None:
    count = len(algorithm.parameters)
    if count <= _FEW_PARAMETERS:
        return None
    issue = "The algorithm has so many numeric parameters it's at risk of overfitting."
    return _finding("ParameterCount", issue, f"{count} Parameters Detected", texts.PARAMETERS)


def _outside_hours(engine: Any, events: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    pairs = zip(engine.order_events, events, strict=True)
    late = [written for event, written in pairs if _is_outside(engine, event)]
    if not late:
        return None
    return _finding(
        "OrderFillsDuringExtendedMarketHours",
        "The algorithm filled orders during extended market hours.Filling orders during extended market hours can "
        "cause a lot of slippage since there is less liquidity than during regular trading hours.",
        late[0],
        [
            "If you don't intend to trading during extended market hours, add a guard before you place orders.\n"
            "```\nif self.is_market_open(self._symbol):\n    self.market_order(self._symbol, quantity)\n```"
        ],
        len(late),
    )


def _is_outside(engine: Any, event: Any) -> bool:
    """A fill at a moment that is neither inside a regular session nor its very end."""
    if event.status is not OrderStatus.FILLED or _FROM_DELISTING in (event.message or "").lower():
        return False
    security = engine.securities.everything.get(event.symbol)
    if security is None:
        return False
    hours = security.exchange.hours
    local = zone_of(hours.time_zone).local(event.utc_ms)
    return not (hours.is_open(local, False) or hours.is_open(local - timedelta(microseconds=1), False))


def _unused_margin(samples: Samples) -> dict[str, Any] | None:
    """Days on which the average of the last three days' margin was under half of the portfolio."""
    total: dict[int, float] = {}
    for series in samples.margin.values():
        for utc_ms, share in series:
            total[utc_ms] = total.get(utc_ms, 0.0) + (share or 0.0)
    values = [total[moment] for moment in sorted(total)]
    means = [np.mean(values[max(0, end - _SMOOTHED_DAYS) : end]) for end in range(1, len(values) + 1)]
    low = sum(1 for mean in means if mean < _LITTLE_MARGIN_PERCENT)
    if not low:
        return None
    return _finding(
        "PortfolioMarginUsage",
        "The algorithm sometimes only utilizes a small proportion of the margin available.",
        f"Number of days when the 3-day SMA of the margin usage drops below 50%: {low}",
        [
            "Adjust the strategy logic or position sizing to utilize more margin.",
            "If the algorithm logic leads to periods of time when the portfolio sits in cash, consider holding a "
            '"risk-free" asset during these periods.',
        ],
    )


# -------------------------------------------------------------------- against SPY


def _flat_equity(equity: Curve) -> dict[str, Any] | None:
    """Stretches of sessions that ended at one value; the five longest are shown."""
    segments: list[tuple[int, int, int]] = []
    for _, group in groupby(equity.items(), key=lambda item: decimal_text(item[1])):
        moments = [moment for moment, _ in group]
        if len(moments) > 1:
            segments.append((moments[0], moments[-1], len(moments)))
    if not segments:
        return None
    longest = sorted(segments, key=lambda segment: -segment[2])[:_SEGMENTS]
    sample = [{"start": _utc(start), "end": _utc(end), "trading_days": days} for start, end, days in longest]
    issue = "The equity curve is flat for several days in a row."
    count = len(segments) if len(segments) > _SEGMENTS else 1
    return _finding("FlatEquityCurve", issue, sample, texts.FLAT_EQUITY, count)


def _utc(moment: int) -> str | None:
    return iso(EPOCH + timedelta(seconds=moment))


def _worse_in_a_crisis(engine: Any, equity: Curve, benchmark: Curve) -> dict[str, Any] | None:
    """LEAN's list of crises that lie in the run whole; the first in which SPY had the better Sharpe ratio is shown."""
    worse: list[dict[str, Any]] = []
    for name, start, end in texts.CRISES:
        low, high = (int((moment - EPOCH).total_seconds()) for moment in (start, end))
        if not equity or low < min(equity) or high > max(equity):
            continue
        parts = [
            {moment: value for moment, value in curve.items() if low <= moment <= high} for curve in (equity, benchmark)
        ]
        if not all(parts):
            continue
        free = _free_rate(engine, min(parts[0]), max(parts[0]))
        ours, theirs = (_sharpe(_returns(part).values(), free) for part in parts)
        if ours < theirs:
            worse.append({"crisisEvent": name, "backtestSharpe": ours, "benchmarkSharpe": theirs})
    if not worse:
        return None
    issue = "The strategy underperformed the benchmark during some crisis events in terms of risk-adjusted returns."
    return _finding("CrisisEvents", issue, worse[0], texts.CRISIS, len(worse))


def curves(engine: Any) -> tuple[Curve, Curve]:
    """The equity and SPY at the midnights after SPY's sessions; both empty where the market has no daily SPY.

    LEAN steps in days of 24 hours from the first midnight, so that midnights after a change of the clocks are not met.
    """
    benchmark = _benchmark(engine)
    equity = {point[0] // 1000: point[4] for point in engine.samples.equity}
    if not benchmark or not equity:
        return {}, {}
    first, last = max(min(equity), min(benchmark)), min(max(equity), max(benchmark))
    common = [moment for moment in range(first, last + 1, DAY_S) if moment in benchmark and moment in equity]
    return {moment: equity[moment] for moment in common}, {moment: benchmark[moment] for moment in common}


def _benchmark(engine: Any) -> Curve:
    algorithm = engine.algorithm
    spy = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    start, end = algorithm.start_date - timedelta(days=3), algorithm.end_date + timedelta(days=1)
    zone = zone_of(engine.hours_of(spy).time_zone)
    made: Curve = {}
    for bar in algorithm.history[TradeBar](spy, start, end, Resolution.DAILY):
        midnight = bar.end_time.date() + timedelta(days=1 if algorithm.settings.daily_precise_end_time else 0)
        made[zone.midnight_ms(midnight) // 1000] = float(bar.close)
    return made


def _returns(curve: Curve) -> dict[int, Decimal]:
    exactly = {moment: Decimal(decimal_text(value)) for moment, value in curve.items()}
    return {now: exactly[now] / exactly[before] - 1 for before, now in pairwise(exactly)}


def _sharpe(returns: Iterable[Decimal], free: float) -> float:
    values = [float(gain) for gain in returns]
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return (float(np.mean(values)) - free) / deviation if deviation else deviation


def _free_rate(engine: Any, first: int, last: int) -> float:
    """The average interest rate of the days in between; 0 where the market has none."""
    rates = engine.source.interest_rates()
    if rates is None:
        return float(0)
    begin: date = (EPOCH + timedelta(seconds=first)).date()
    days = [begin + timedelta(days=number) for number in range((last - first) // DAY_S + 1)]
    return float(np.mean([rates.at(day) for day in days]))


def _worse_than_benchmark(engine: Any, equity: Curve, benchmark: Curve) -> dict[str, Any] | None:
    if not equity:
        return None
    free = _free_rate(engine, min(equity), max(equity))
    ours, theirs = _sharpe(_returns(equity).values(), free), _sharpe(_returns(benchmark).values(), free)
    if not ours < theirs:
        return None
    return _finding(
        "PerformanceRelativeToBenchmark",
        "The strategy has a lower Sharpe ratio than the benchmark.",
        {"backtestSharpe": ours, "benchmarkSharpe": theirs},
        [_OUTPERFORM],
    )


def _insignificant(equity: Curve, benchmark: Curve) -> dict[str, Any] | None:
    theirs = _returns(benchmark)
    excess = [float(gain - theirs[moment]) for moment, gain in list(_returns(equity).items())[1:]]
    chance = one_sided(excess)
    if chance <= _SIGNIFICANT:
        return None
    return _finding(
        "StatisticalSignificanceOfDailyReturns",
        "The distribution of the strategy's daily returns in excess of the benchmark's daily returns has a p-value "
        "above 0.05. Therefore, we fail to reject the null hypothesis that the mean of this distribution is above "
        "zero.",
        {"pValue": chance},
        [_OUTPERFORM],
    )


def one_sided(values: Sequence[float]) -> float:
    """Half of the two-sided p-value of Student's test that the mean is zero; a half for too few values."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    if not deviation:
        return 0.5
    from scipy.special import stdtr  # only here: a run without result files does not wait for it

    t = float(np.mean(values)) / (deviation / float(np.sqrt(len(values))))
    return float(stdtr(len(values) - 1, -abs(t)))
