"""LEAN's own price models for the contracts of a chain: implied volatility and Greeks as its backtests show them
(lean-facts 3.2).

European options: Black-Scholes. American: a forward tree of 200 steps in which, as in LEAN, only calls may be
exercised early. The root
of the implied volatility is sought with LEAN's accuracy (a ten-thousandth of the price), so its figures carry LEAN's
own error.
Volatility and rates are fractions a year; vega and rho per percentage point; theta a year, theta_per_day a day.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

import numpy as np

from simulation.lean.enums import OptionRight, SecurityType
from simulation.lean.identifiers import is_morning_settled
from simulation.lean.names import Named, signed
from simulation.lean.symbols import Symbol

STEPS = 200
AMERICAN_STEPS = 100
"""QLOptionPriceModelProvider.cs: steps of the trees named after QuantLib's."""
DEFAULT_RATE = 0.01
EPSILON = 2.0**-52
TRAILING_YEAR = timedelta(days=350)
CorporateEvents = list[tuple[date, float | None, float]]
Pricer = Callable[["Terms", float, float, float], float]


@dataclass(frozen=True, slots=True)
class Terms:
    """What an option's price depends on but the volatility: `years` to expiry, continuous `rate` and `dividend`."""

    call: bool
    strike: float
    years: float
    rate: float
    dividend: float


class Greeks(Named):
    """Sensitivities of one contract; an algorithm's own price model makes them too."""

    __slots__ = ("delta", "gamma", "lambda_", "rho", "theta_per_day", "vega")

    def __init__(
        self,
        delta: float = 0.0,
        gamma: float = 0.0,
        vega: float = 0.0,
        theta: float = 0.0,
        rho: float = 0.0,
        lambda_: float = 0.0,
    ) -> None:
        self.delta, self.gamma, self.vega, self.rho, self.lambda_ = delta, gamma, vega, rho, lambda_
        self.theta_per_day = theta / 365

    @property
    def theta(self) -> float:
        """Change per year."""
        return self.theta_per_day * 365

    @theta.setter
    def theta(self, value: float) -> None:
        self.theta_per_day = value / 365


def _rounded(values: Iterable[float]) -> Greeks:
    """Delta, gamma, vega, theta a day and rho with LEAN's seven places."""
    made = Greeks()
    made.delta, made.gamma, made.vega, made.theta_per_day, made.rho = (round(value, 7) for value in values)
    return made


class OptionPriceModelResult(Named):
    """A model's price, implied volatility and Greeks; each may be given as a function that is asked once."""

    NONE: ClassVar[OptionPriceModelResult]

    @signed("", "theoretical_price, greeks", "theoretical_price, implied_volatility, greeks")
    def __init__(self, *values: Any) -> None:
        """(price, [implied volatility,] Greeks)."""
        price, *rest = values or (0.0, Greeks())
        self._values = {"price": price, "volatility": rest[0] if len(rest) > 1 else 0.0, "greeks": rest[-1]}

    def _value(self, name: str) -> Any:
        found = self._values[name]
        if callable(found):
            found = self._values[name] = found()
        return found

    @property
    def theoretical_price(self) -> float:
        """The model's price."""
        return self._value("price")  # type: ignore[no-any-return]

    @theoretical_price.setter
    def theoretical_price(self, value: float) -> None:
        self._values["price"] = value

    @property
    def implied_volatility(self) -> float:
        """Annualised, as a fraction; 0 when it cannot be found."""
        return self._value("volatility")  # type: ignore[no-any-return]

    @implied_volatility.setter
    def implied_volatility(self, value: float) -> None:
        self._values["volatility"] = value

    @property
    def greeks(self) -> Greeks:
        """The sensitivities."""
        return self._value("greeks")  # type: ignore[no-any-return]

    @greeks.setter
    def greeks(self, value: Greeks) -> None:
        self._values["greeks"] = value


NOTHING = OptionPriceModelResult.NONE = OptionPriceModelResult(0.0, 0.0, Greeks())


def _cumulative(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _d1(terms: Terms, spot: float, volatility: float) -> float:
    spread = volatility * math.sqrt(max(0.0, terms.years))
    if not spread:
        return 10.0
    return (
        math.log(spot / terms.strike) + (terms.rate - terms.dividend + 0.5 * volatility * volatility) * terms.years
    ) / spread


def black_scholes_price(terms: Terms, spot: float, volatility: float, years: float) -> float:
    """The price of a European option; 0 at and after expiry."""
    if years <= 0:
        return 0.0 * spot
    own = Terms(terms.call, terms.strike, years, terms.rate, terms.dividend)
    d1 = _d1(own, spot, volatility)
    d2 = d1 - volatility * math.sqrt(years)
    carried, discounted = spot * math.exp(-own.dividend * years), own.strike * math.exp(-own.rate * years)
    if own.call:
        return carried * _cumulative(d1) - discounted * _cumulative(d2)
    return discounted * _cumulative(-d2) - carried * _cumulative(-d1)


def _tree(
    terms: Terms, spot: float, years: float, up: float, up_probability: float, steps: int = STEPS, puts: bool = False
) -> float:
    """A binomial tree; calls may be exercised early, puts only where it is asked for."""
    step = years / steps
    sign = 1.0 if terms.call else -1.0
    powers = up ** np.arange(-steps, steps + 1, dtype=np.float64)
    exercise = np.maximum(sign * (spot * powers - terms.strike), 0.0)
    values = exercise[::2].copy()
    factor = math.exp(-terms.rate * step)
    low, high = factor * (1 - up_probability), factor * up_probability
    for period in range(steps - 1, -1, -1):
        values = values[:-1] * low + values[1:] * high
        if terms.call or puts:
            values = np.maximum(values, exercise[steps - period : steps + period + 1 : 2])
    return float(values[0])


def forward_tree_price(terms: Terms, spot: float, volatility: float, years: float) -> float:
    """The price by a tree around the forward; 0 at and after expiry."""
    if years <= 0:
        return 0.0 * spot
    step = years / STEPS
    growth = math.exp((terms.rate - terms.dividend) * step)
    move = volatility * math.sqrt(step)
    up, down = math.exp(move) * growth, math.exp(-move) * growth
    if not up - down:
        up, down = 1.0001, 0.9999
    return _tree(terms, spot, years, up, (growth - down) / (up - down))


def cox_ross_rubinstein_price(terms: Terms, spot: float, volatility: float, years: float) -> float:
    """The price by Cox, Ross and Rubinstein's tree; 0 at and after expiry."""
    if years <= 0:
        return 0.0 * spot
    step = years / STEPS
    up = math.exp(volatility * math.sqrt(step))
    if not up - 1:
        up = 1.0001
    down = 1 / up
    return _tree(terms, spot, years, up, (math.exp((terms.rate - terms.dividend) * step) - down) / (up - down))


def american_tree_price(terms: Terms, spot: float, volatility: float, years: float) -> float:
    """The price by Cox, Ross and Rubinstein's tree of 100 steps, calls and puts exercised early; 0 at and after
    expiry."""
    if years <= 0:
        return 0.0 * spot
    step = years / AMERICAN_STEPS
    up = math.exp(max(volatility, 1e-4) * math.sqrt(step))
    probability = (math.exp((terms.rate - terms.dividend) * step) - 1 / up) / (up - 1 / up)
    return _tree(terms, spot, years, up, probability, AMERICAN_STEPS, puts=True)


# -- implied volatility ----------------------------------------------------------------------------------------------


def find_root(function: Callable[[float], float], low: float, high: float, accuracy: float) -> float | None:
    """Brent's method, stopping when the function is within the accuracy of 0 or the bracket within half of it; None
    without a root."""
    f_low, f_high = function(low), function(high)
    root, f_root = high, f_high
    if (f_low > 0) == (f_high > 0):
        return None
    step = before = 0.0
    middle = math.nan
    for _ in range(101):
        if (f_root > 0) == (f_high > 0):
            high, f_high = low, f_low
            before = step = root - low
        if abs(f_high) < abs(f_root):
            low, root, high = root, high, root
            f_low, f_root, f_high = f_root, f_high, f_root
        tolerance = EPSILON * abs(root) + 0.5 * accuracy
        last, middle = middle, (high - root) / 2
        if abs(middle) <= tolerance or abs(f_root) < accuracy:
            return root
        if not middle - last:
            return None
        moved = None
        if abs(before) >= tolerance and abs(f_low) > abs(f_root):
            moved = _interpolated((low, root, high), (f_low, f_root, f_high), (middle, tolerance, before))
        before, step = (step, moved) if moved is not None else (middle, middle)
        low, f_low = root, f_root
        root += step if abs(step) > tolerance else math.copysign(tolerance, middle)
        f_root = function(root)
    return None


def _interpolated(
    points: tuple[float, float, float], values: tuple[float, float, float], limits: tuple[float, float, float]
) -> float | None:
    """An inverse quadratic (or secant) step, None when it leaves the bracket or converges too slowly."""
    low, root, high = points
    f_low, f_root, f_high = values
    middle, tolerance, before = limits
    s = f_root / f_low
    if abs(low - high) <= 1e-15 * max(abs(low), abs(high)):
        p, q = 2.0 * middle * s, 1.0 - s
    else:
        q, r = f_low / f_high, f_root / f_high
        p = s * (2.0 * middle * q * (q - r) - (root - low) * (r - 1.0))
        q = (q - 1.0) * (r - 1.0) * (s - 1.0)
    if p > 0:
        q = -q
    p = abs(p)
    if 2.0 * p < min(3.0 * middle * q - abs(tolerance * q), abs(before * q)):
        return p / q
    return None


def implied_volatility(pricer: Pricer, terms: Terms, spot: float, price: float) -> float | None:
    """The volatility at which a model gives a price; sought around the Black-Scholes one for trees
    (ImpliedVolatility.cs)."""
    low, high = 1e-7, 4.0
    accuracy = max(1e-4, 1e-4 * price)
    if pricer is not black_scholes_price:
        guess = implied_volatility(black_scholes_price, terms, spot, price)
        if guess:
            low, high = max(low, guess * 0.5), min(high, guess * 1.5)
    return find_root(lambda volatility: pricer(terms, spot, volatility, terms.years) - price, low, high, accuracy)


# -- Greeks ----------------------------------------------------------------------------------------------------------


def black_scholes_greeks(terms: Terms, spot: float, volatility: float) -> Greeks:
    """Sensitivities of the closed form; none at and after expiry."""
    years = terms.years
    if years <= 0:
        return Greeks()
    d1 = _d1(terms, spot, volatility)
    d2 = d1 - volatility * math.sqrt(years)
    discount, carry = math.exp(-terms.rate * years), math.exp(-terms.dividend * years)
    least = max(volatility, 0.01)
    delta = carry * (_cumulative(d1) if terms.call else -_cumulative(-d1))
    gamma = _density(-d1) / spot / least / math.sqrt(years)
    vega = spot * math.sqrt(years) * _density(d1) * carry / 100
    theta = -spot * least * _density(d1) * carry * 0.5 / math.sqrt(years)
    n1 = _cumulative(d1) if terms.call else -_cumulative(-d1)
    n2 = -_cumulative(d2) if terms.call else _cumulative(-d2)
    theta += terms.dividend * spot * n1 * carry + terms.rate * terms.strike * discount * n2
    rho = terms.strike * years * discount * (_cumulative(d2) if terms.call else -_cumulative(-d2)) / 100
    return _rounded((delta, gamma, vega, theta / 365, rho))


def tree_greeks(pricer: Pricer, terms: Terms, spot: float, volatility: float) -> Greeks:
    """Sensitivities by differences of a tree's prices; none at and after expiry."""
    years = terms.years
    if years <= 0:
        return Greeks()
    step = years / STEPS
    price = pricer(terms, spot, volatility, years)
    growth = math.exp((terms.rate - terms.dividend) * step) if pricer is forward_tree_price else 1.0
    move = volatility * math.sqrt(step)
    up, down = math.exp(move) * growth, math.exp(-move) * growth
    delta = _slope(
        pricer(terms, spot * up, volatility, years) - pricer(terms, spot * down, volatility, years), spot * (up - down)
    )
    wide = math.exp(2 * move)
    above, below = spot * wide, spot / wide
    upper = _slope(pricer(terms, above, volatility, years) - price, above - spot)
    lower = _slope(price - pricer(terms, below, volatility, years), spot - below)
    gamma = _slope((upper - lower) * 2, above - below)
    vega = (pricer(terms, spot, volatility + 0.01, years) - price) / 0.01 / 100
    theta = (pricer(terms, spot, volatility, years - 2 * step) - price) * 0.5 / step / 365
    dearer = Terms(terms.call, terms.strike, years, terms.rate + 0.0001, terms.dividend)
    rho = (pricer(dearer, spot, volatility, years) - price) / 0.0001 / 100
    return _rounded((delta, gamma, vega, theta, rho))


def _slope(rise: float, run: float) -> float:
    return rise / run if run else 0.0 * rise


def mirror_of(symbol: Any) -> Any:
    """The contract of the other right at the same strike and expiry."""
    other = OptionRight.PUT if symbol.id.option_right == OptionRight.CALL else OptionRight.CALL
    return Symbol.create_option(
        symbol.underlying,
        symbol.id.symbol,
        symbol.id.market,
        symbol.id.option_style,
        other,
        symbol.id.strike_price,
        symbol.id.date,
    )


def terms_of(engine: Any, security: Any, local: datetime, spot: float) -> Terms:
    """What the price of a contract depends on at a local time: the run's interest rates, the dividends of a year."""
    years = (settlement_time(security.symbol, security.exchange.hours) - local).total_seconds() / 86400 / 365
    rates = engine.source.interest_rates()
    rate = DEFAULT_RATE if rates is None else rates.at(local.date())
    dividend = rate if security.type == SecurityType.FUTURE_OPTION else dividend_yield(engine, security, local, spot)
    return Terms(security.right == OptionRight.CALL, security.strike_price, years, rate, dividend)


def settlement_time(symbol: Any, hours: Any) -> datetime:
    """When a contract settles, in the exchange's zone (OptionSymbol.cs:129)."""
    expiry = symbol.id.date
    day = expiry if hours.is_date_open(expiry) else hours.get_previous_trading_day(expiry)
    closing: datetime = hours.get_last_daily_market_close(day, False)
    if closing >= expiry + timedelta(days=1):
        closing = expiry + timedelta(days=1)
    if symbol.security_type == SecurityType.INDEX_OPTION and closing.date() == expiry.date():
        if is_morning_settled(symbol.id.symbol):
            return hours.get_next_market_open(expiry, False)  # type: ignore[no-any-return]
        return expiry + timedelta(hours=15)  # type: ignore[no-any-return]
    return closing


def dividend_yield(engine: Any, security: Any, local: datetime, spot: float) -> float:
    """Dividends of a year over the price, for options on shares; none for indices (GreeksIndicators.cs:98)."""
    if security.type != SecurityType.OPTION:
        return 0.0 * spot
    underlying = security.underlying
    known: dict[Any, CorporateEvents] = vars(engine).setdefault("_corporate_events", {})
    if underlying.symbol not in known:
        known[underlying.symbol] = corporate_events(engine.source, underlying.symbol, underlying.exchange.hours)
    return yearly_dividends(known[underlying.symbol], local.date()) / spot


def yearly_dividends(all_events: CorporateEvents, today: date) -> float:
    """Dollars a share in the 350 days up to the last dividend, in today's shares (DividendYieldProvider.cs)."""
    events = [event for event in all_events if event[0] <= today]
    last = next((day for day, amount, _ in reversed(events) if amount is not None), None)
    total, shares = 0.0, 1.0
    for day, amount, split in reversed(events if last is not None else ()):
        if last is not None and day < last - TRAILING_YEAR:
            break
        if amount is None:
            shares *= split
        else:
            total += amount * shares
    return total


def corporate_events(source: Any, symbol: Any, hours: Any) -> CorporateEvents:
    """Dividends and splits of a factor file, ascending: first trading day after, dollars a share of a dividend or None,
    new price over old of a split."""
    found: CorporateEvents = []
    for row, following in itertools.pairwise(source.factor_file(symbol) or ()):
        day = hours.get_next_trading_day(datetime(row.day.year, row.day.month, row.day.day)).date()
        if following.price_factor and abs(row.price_factor - following.price_factor) > 1e-12:
            ratio = row.price_factor / following.price_factor
            found.append((day, round(row.reference_price * (1 - ratio), 3), 1.0))
        else:
            found.append((day, None, row.split_factor / following.split_factor))
    return found
