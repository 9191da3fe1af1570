"""American contracts drawn at random, and QuantLib's answer to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import QuantLib as ql  # noqa: N813 - the name that its own documentation uses

from greeks.black_scholes import FloatArray


@dataclass(frozen=True)
class Sample:
    """Random contracts as the method trades them: a day to two years, 8 % to 100 % volatility."""

    spot: FloatArray
    strike: FloatArray
    days: FloatArray
    volatility: FloatArray
    rate: FloatArray
    dividend_yield: FloatArray
    is_call: Any

    @property
    def inputs(self) -> tuple[Any, ...]:
        spot, strike, days, volatility, rate, dividend, call = (getattr(self, field.name) for field in fields(self))
        return spot, strike, days / 365.0, volatility, rate, dividend, call


def draw(count: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    spot = rng.uniform(50.0, 600.0, count)
    days = np.maximum(1.0, np.round(np.exp(rng.uniform(0.0, math.log(730.0), count))))
    volatility = np.exp(rng.uniform(math.log(0.08), 0.0, count))
    strike = spot * np.exp(rng.normal(0.0, 1.0, count) * volatility * np.sqrt(days / 365.0))
    rate, dividend = rng.uniform(0.0, 0.08, count), rng.uniform(0.0, 0.06, count)
    kind = rng.random(count)
    dividend = np.where(kind < 0.2, rate, np.where(kind < 0.4, 0.0, dividend))  # futures, and shares that pay nothing
    return Sample(spot, strike, days, volatility, rate, dividend, rng.random(count) < 0.4)


def quantlib(sample: Sample, engine: Any) -> FloatArray:
    """Rows of price and delta, one contract at a time."""
    today = ql.Date(1, 7, 2024)
    ql.Settings.instance().evaluationDate = today
    count = ql.Actual365Fixed()
    rows = []
    for at in range(sample.spot.size):
        vol = ql.BlackConstantVol(today, ql.NullCalendar(), float(sample.volatility[at]), count)
        process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(ql.SimpleQuote(float(sample.spot[at]))),
            ql.YieldTermStructureHandle(ql.FlatForward(today, float(sample.dividend_yield[at]), count)),
            ql.YieldTermStructureHandle(ql.FlatForward(today, float(sample.rate[at]), count)),
            ql.BlackVolTermStructureHandle(vol),
        )
        right = ql.Option.Call if sample.is_call[at] else ql.Option.Put
        payoff = ql.PlainVanillaPayoff(right, float(sample.strike[at]))
        option = ql.VanillaOption(payoff, ql.AmericanExercise(today, today + int(sample.days[at])))
        option.setPricingEngine(engine(process))
        rows.append((option.NPV(), option.delta() if engine is finite_differences else math.nan))
    return np.array(rows).T


def finite_differences(process: Any) -> Any:
    return ql.FdBlackScholesVanillaEngine(process, 2000, 2000)
