"""European contracts drawn at random, and QuantLib's answer to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import QuantLib as ql  # noqa: N813 - the name that its own documentation uses

from greeks.black_scholes import Backend, FloatArray, Greeks, european_greeks

MINUTE = 1.0 / (365.0 * 24.0 * 60.0)


@dataclass(frozen=True)
class Sample:
    """Random contracts: one minute to three years, 3 % to 300 % volatility, strikes a tenth to ten times the spot."""

    spot: FloatArray
    strike: FloatArray
    years: FloatArray
    volatility: FloatArray
    rate: FloatArray
    dividend_yield: FloatArray
    is_call: Any

    @property
    def inputs(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def priced(sample: Sample, backend: Backend = Backend.AUTOMATIC) -> Greeks:
    """The sample's Greeks."""
    spot, strike, years, volatility, rate, dividend, call = sample.inputs
    return european_greeks(spot, strike, years, volatility, rate, dividend, call, backend)


def draw(count: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    spot = rng.uniform(10.0, 6000.0, count)
    years = np.exp(rng.uniform(math.log(MINUTE), math.log(3.0), count))
    volatility = np.exp(rng.uniform(math.log(0.03), math.log(3.0), count))
    deviations = np.clip(rng.normal(0.0, 1.5, count) * volatility * np.sqrt(years), -2.3, 2.3)
    strike = np.where(rng.random(count) < 0.7, spot * np.exp(deviations), spot * np.exp(rng.normal(0.0, 0.3, count)))
    rate, dividend_yield = rng.uniform(-0.01, 0.08, count), rng.uniform(0.0, 0.04, count)
    return Sample(spot, strike, years, volatility, rate, dividend_yield, rng.random(count) < 0.5)


def quantlib(sample: Sample) -> FloatArray:
    """Rows of price, delta, gamma, vega, theta and rho in our units, one contract at a time."""
    rows = []
    for spot, strike, years, vol, rate, dividend, call in zip(*(a.tolist() for a in sample.inputs), strict=True):
        payoff = ql.PlainVanillaPayoff(ql.Option.Call if call else ql.Option.Put, strike)
        forward, discount = spot * math.exp((rate - dividend) * years), math.exp(-rate * years)
        found = ql.BlackCalculator(payoff, forward, vol * math.sqrt(years), discount)
        rows.append(
            (
                found.value(),
                found.delta(spot),
                found.gamma(spot),
                found.vega(years) / 100.0,
                found.theta(spot, years) / 365.0,
                found.rho(years) / 100.0,
            )
        )
    return np.array(rows).T
