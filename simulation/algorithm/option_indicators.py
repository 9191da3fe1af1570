"""LEAN's indicators of one option contract: implied volatility, delta, gamma, vega, theta and rho, with its models of
rates and dividend yields (Indicators/OptionIndicatorBase.cs, ImpliedVolatility.cs, OptionGreekIndicatorBase.cs).

An indicator computes when contract, underlying and, where there is one, the contract of the other right have a point of
the same time. Volatility and rates are fractions a year; vega and rho per percentage point, theta a day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from simulation.algorithm.indicators import Identity, Indicator
from simulation.data.market_hours import MarketHoursDatabase
from simulation.lean.clock import Zone, zone_of
from simulation.lean.enums import OptionPricingModelType, OptionRight, OptionStyle, SecurityType
from simulation.lean.names import Named, signed
from simulation.lean.symbols import Symbol, symbol_of
from simulation.securities.option_models import PRICERS, greeks_of, smoothed_volatility
from simulation.securities.pricing import (
    DEFAULT_RATE,
    Pricer,
    Terms,
    black_scholes_price,
    corporate_events,
    cox_ross_rubinstein_price,
    forward_tree_price,
    settlement_time,
    yearly_dividends,
)

YEAR = timedelta(days=365)
_STEPS = (timedelta(hours=1), timedelta(minutes=1))


def _hours_of(symbol: Any) -> Any:
    return MarketHoursDatabase.from_data_folder().get_exchange_hours(symbol.id.market, symbol, symbol.security_type)


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


# -- rates and yields ------------------------------------------------------------------------------------------------


class ConstantRiskFreeRateInterestRateModel(Named):
    """One rate for ever."""

    def __init__(self, risk_free_rate: float) -> None:
        self._rate = float(risk_free_rate)

    def get_interest_rate(self, date: date) -> float:
        """The rate, a fraction a year."""
        del date
        return self._rate


class FuncRiskFreeRateInterestRateModel(Named):
    """A rate that a function of the date gives."""

    def __init__(self, get_interest_rate_func: Callable[[Any], float]) -> None:
        self._ask = get_interest_rate_func

    def get_interest_rate(self, date: date) -> float:
        """The rate of a date, a fraction a year."""
        return float(self._ask(date))


class InterestRateProvider(Named):
    """The rates of the data folder."""

    _source: ClassVar[Any] = None

    @classmethod
    def use(cls, source: Any) -> None:
        """States the data of the run that begins (engine only)."""
        cls._source = source

    def get_interest_rate(self, date: date) -> float:
        """The rate of a date, a fraction a year; 1 % without a file."""
        rates = None if self._source is None else self._source.interest_rates()
        return DEFAULT_RATE if rates is None else float(rates.at(_day(date)))


class ConstantDividendYieldModel(Named):
    """One yield for ever."""

    def __init__(self, dividend_yield: float) -> None:
        self._yield = float(dividend_yield)

    @signed("date", "date, security_price")
    def get_dividend_yield(self, *_: Any) -> float:
        """The yield, a fraction a year."""
        return self._yield


class DividendYieldProvider(Named):
    """Dividends of the last year over the price, by the factor file of a share; SPY when none is named."""

    @signed("", "symbol")
    def __init__(self, *symbol: Any) -> None:
        self._symbol = symbol_of(symbol[0]) if symbol else Symbol.create("SPY", SecurityType.EQUITY, "usa")
        self._events: Any = None

    @staticmethod
    def create_for_option(option_symbol: Any) -> Any:
        """The yields of an option: its share's; SPY's for an index (by LEAN's look at the value); none for futures."""
        option = symbol_of(option_symbol)
        if option.security_type == SecurityType.OPTION:
            return DividendYieldProvider(option.underlying)
        return DividendYieldProvider() if option.security_type == SecurityType.INDEX_OPTION else _NO_YIELD

    @signed("date", "date, security_price")
    def get_dividend_yield(self, *terms: Any) -> float:
        """The yield at a date and price, a fraction a year; 0 without a price or dividends."""
        if self._events is None:
            source = InterestRateProvider._source
            self._events = () if source is None else corporate_events(source, self._symbol, _hours_of(self._symbol))
        price = float(terms[1]) if len(terms) > 1 else 0.0
        return yearly_dividends(self._events, _day(terms[0])) / price if price else 0.0 * price


_NO_YIELD = ConstantDividendYieldModel(0.0)


class OptionGreekIndicatorsHelper(Named):
    """LEAN's price functions as algorithms call them."""

    @staticmethod
    def _price(pricer: Pricer, *terms: Any) -> float:
        volatility, spot, strike, years, rate, dividend, right = terms
        return pricer(Terms(right == OptionRight.CALL, strike, years, rate, dividend), spot, volatility, years)

    @staticmethod
    @signed(
        "volatility, spot_price, strike_price, time_to_expiration, risk_free_rate, dividend_yield, option_type",
    )
    def black_theoretical_price(*terms: Any) -> float:
        """The closed form."""
        return OptionGreekIndicatorsHelper._price(black_scholes_price, *terms)

    @staticmethod
    @signed(
        "volatility, spot_price, strike_price, time_to_expiration, risk_free_rate, dividend_yield, option_type, "
        "steps=..."
    )
    def crr_theoretical_price(*terms: Any) -> float:
        """Cox, Ross and Rubinstein's tree of 200 steps."""
        return OptionGreekIndicatorsHelper._price(cox_ross_rubinstein_price, *terms[:7])

    @staticmethod
    @signed(
        "volatility, spot_price, strike_price, time_to_expiration, risk_free_rate, dividend_yield, option_type, "
        "steps=..."
    )
    def forward_tree_theoretical_price(*terms: Any) -> float:
        """The tree around the forward, of 200 steps."""
        return OptionGreekIndicatorsHelper._price(forward_tree_price, *terms[:7])

    @staticmethod
    def time_till_expiry(expiry: datetime, reference_date: datetime) -> float:
        """Years of 365 days."""
        return (expiry - reference_date) / YEAR


# -- indicators ------------------------------------------------------------------------------------------------------


class _Input:
    """The last point of one symbol and its time in UTC, cut to the step of the data."""

    __slots__ = ("point", "stamp", "zone")

    def __init__(self, symbol: Any) -> None:
        self.zone: Zone = zone_of(_hours_of(symbol).time_zone)
        self.point: Any = None
        self.stamp: int | None = None

    def take(self, point: Any, step: int) -> None:
        """Keeps a point."""
        self.point = point
        self.stamp = self.zone.utc_ms(point.end_time) // step * step


class OptionIndicatorBase(Indicator):
    """What all of them share: the inputs, the prices, the rate and the yield."""

    uses_bars = True

    def __init__(self, *arguments: Any) -> None:
        """([name], option, rate or its model, yield or its model, contract of the other right, pricing model)."""
        name, values = _named(type(self).__name__, arguments)
        option, rate, dividend, mirror, model = (*values, *(None, 0.05, 0.0, None, None)[len(values) :])[:5]
        super().__init__(name)
        self.option_symbol = symbol_of(option)
        if not self.option_symbol.has_underlying:
            raise ValueError(f"{type(self).__name__} takes the symbol of an option, not {self.option_symbol}")
        self._rates = rate if hasattr(rate, "get_interest_rate") else ConstantRiskFreeRateInterestRateModel(rate)
        self._yields = dividend if hasattr(dividend, "get_dividend_yield") else ConstantDividendYieldModel(dividend)
        self._mirror = None if mirror is None else symbol_of(mirror)
        self._pricer = _pricer(self.option_symbol, model)
        names = [symbol for symbol in (self.option_symbol, self.option_symbol.underlying, self._mirror) if symbol]
        self._inputs = {symbol: _Input(symbol) for symbol in names}
        self._step, self._value, self._computed = 1, 0.0, False
        self._expiry: datetime | None = None
        self.risk_free_rate, self.dividend_yield = Identity(f"{name}_RiskFreeRate"), Identity(f"{name}_DividendYield")
        self.price, self.underlying_price = Identity(f"{name}_Close"), Identity(f"{name}_UnderlyingClose")
        self.opposite_price = None if mirror is None else Identity(f"{name}_OppositeClose")

    @property
    def expiry(self) -> datetime:
        """When the contract settles, in the exchange's zone."""
        if self._expiry is None:
            self._expiry = settlement_time(self.option_symbol, _hours_of(self.option_symbol))
        return self._expiry

    @property
    def right(self) -> OptionRight:
        """CALL or PUT."""
        return self.option_symbol.id.option_right

    @property
    def strike(self) -> float:
        """Strike."""
        return self.option_symbol.id.strike_price

    @property
    def style(self) -> OptionStyle:
        """AMERICAN or EUROPEAN."""
        return self.option_symbol.id.option_style

    @property
    def use_mirror_contract(self) -> bool:
        """Whether the contract of the other right is looked at too."""
        return self._mirror is not None

    @property
    def is_ready(self) -> bool:
        """Whether all contracts have had points of one time."""
        return self._computed

    def _compute(self, value: Any, point: Any) -> float:
        """0 for the first point of all, as in LEAN; else the last value until all points are of one time."""
        del value
        taken = self._inputs.get(point.symbol)
        if taken is None:
            raise ValueError(
                f"{point.symbol} is none of the symbols of {self.name}: {', '.join(map(str, self._inputs))}"
            )
        if self.samples == 1:
            self._step = _step_of(point)
            taken.take(point, self._step)
            self._note(point)
            return self._value
        taken.take(point, self._step)
        self._note(point)
        if len({entry.stamp for entry in self._inputs.values()}) == 1:
            self._computed = True
            self._value = round(self._indicate(), 7)
        return self._value

    def _note(self, point: Any) -> None:
        if point.symbol == self.option_symbol:
            self.price.update(point.end_time, point.value)
        elif point.symbol == self._mirror:
            assert self.opposite_price is not None
            self.opposite_price.update(point.end_time, point.value)
        else:
            self.underlying_price.update(point.end_time, point.value)

    def _terms(self) -> Terms:
        """Terms at the time of the contract's price; the rate and the yield are shown."""
        moment, spot = self.price.current.end_time, self.underlying_price.current.value
        self.risk_free_rate.update(moment, self._rates.get_interest_rate(moment))
        self.dividend_yield.update(moment, self._yields.get_dividend_yield(moment, spot))
        years = OptionGreekIndicatorsHelper.time_till_expiry(self.expiry, moment)
        rate, dividend = self.risk_free_rate.current.value, self.dividend_yield.current.value
        return Terms(self.right == OptionRight.CALL, self.strike, years, rate, dividend)

    def _indicate(self) -> float:
        raise TypeError(f"{type(self).__name__} has no formula of its own")

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self._computed, self._value = False, 0.0
        self._inputs = {symbol: _Input(symbol) for symbol in self._inputs}
        for part in (self.risk_free_rate, self.dividend_yield, self.price, self.underlying_price, self.opposite_price):
            if part is not None:
                part.reset()


def _named(default: str, arguments: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """An indicator's optional leading name: a text, followed by an option."""
    values = list(arguments)
    if isinstance(values[0], str) and len(values) > 1 and not isinstance(values[1], int | float):
        return values.pop(0), values
    return default, values


def _pricer(option: Any, model: OptionPricingModelType | None) -> Pricer:
    if model is not None:
        return PRICERS[OptionPricingModelType(model)]
    return black_scholes_price if option.id.option_style == OptionStyle.EUROPEAN else forward_tree_price


def _step_of(point: Any) -> int:
    """Milliseconds to which the times of all inputs are cut: a day, an hour, a minute or none."""
    span = point.end_time - point.time
    if span > _STEPS[0]:
        return 86_400_000
    return next((int(step.total_seconds() * 1000) for step in _STEPS if span >= step), 1)


_MODELS = "option, risk_free_rate_model, dividend_yield_model, mirror_option=None, option_model=None"
_YIELD = "option, risk_free_rate_model, dividend_yield=0.0, mirror_option=None, option_model=None"
_RATE = "option, risk_free_rate=0.05, dividend_yield=0.0, mirror_option=None, option_model=None"


class ImpliedVolatility(OptionIndicatorBase):
    """The volatility at which the model gives the contract's price."""

    @signed(*(f"{lead}{terms}" for lead in ("", "name, ") for terms in (_MODELS, _YIELD, _RATE)))
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._smoothing: Callable[[float, float], float] | None = None
        self.theoretical_price = Identity(f"{self.name}_TheoreticalPrice")

    def set_smoothing_function(self, function: Callable[[float, float], float]) -> None:
        """How the volatilities of both rights become one; out of the money counts until one is set."""
        self._smoothing = function

    def _indicate(self) -> float:
        terms, spot = self._terms(), self.underlying_price.current.value
        own: Any = getattr(self, "calculate_iv", None) or getattr(self, "CalculateIV", None)
        if own is not None:
            found = float(own(terms.years))
        else:
            other = None if self.opposite_price is None else self.opposite_price.current.value
            prices = self.price.current.value, other
            found = smoothed_volatility(self._pricer, terms, spot, prices, self._smoothing)
        if found:
            theory = self._pricer(terms, spot, round(found, 7), terms.years)
            self.theoretical_price.update(self.price.current.end_time, theory)
        return found

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self.theoretical_price.reset()


class OptionGreeksIndicatorBase(OptionIndicatorBase):
    """A sensitivity at the implied volatility of the same points."""

    _sensitivity = ""

    @signed(*(f"{lead}{terms}, iv_model=None" for lead in ("", "name, ") for terms in (_MODELS, _YIELD, _RATE)))
    def __init__(self, *arguments: Any) -> None:
        name, values = _named(type(self).__name__, arguments)
        super().__init__(name, *values[:5])
        iv_model = values[5] if len(values) > 5 else None
        volatility = (self.option_symbol, self._rates, self._yields, self._mirror, iv_model)
        self._volatility = ImpliedVolatility(f"{name}_IV", *volatility)
        self._given = False

    @property
    def implied_volatility(self) -> ImpliedVolatility:
        """The indicator of the volatility: its own, or the one that was given."""
        return self._volatility

    @implied_volatility.setter
    def implied_volatility(self, value: ImpliedVolatility) -> None:
        self._volatility, self._given = value, True

    @property
    def is_ready(self) -> bool:
        """Whether there is a volatility."""
        return self._volatility.is_ready

    def _indicate(self) -> float:
        if not self._given:
            for entry in self._inputs.values():
                self._volatility.update(entry.point)
        terms, spot = self._terms(), self.underlying_price.current.value
        if terms.years < 0:
            return 0.0 * spot
        found = greeks_of(self._pricer, terms, spot, self._volatility.current.value)
        return float(getattr(found, self._sensitivity))

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self._volatility.reset()


class Delta(OptionGreeksIndicatorBase):
    """Change per point of the underlying."""

    _sensitivity = "delta"


class Gamma(OptionGreeksIndicatorBase):
    """Change of delta per point of the underlying."""

    _sensitivity = "gamma"


class Vega(OptionGreeksIndicatorBase):
    """Change per percentage point of volatility."""

    _sensitivity = "vega"


class Theta(OptionGreeksIndicatorBase):
    """Change per day."""

    _sensitivity = "theta_per_day"


class Rho(OptionGreeksIndicatorBase):
    """Change per percentage point of the rate."""

    _sensitivity = "rho"
