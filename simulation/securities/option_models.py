"""Option price models as algorithms set them: LEAN's own (by its indicators), those named after QuantLib's engines, the
null model, and the algorithm's own `evaluate`.

The QuantLib family is answered by two engines: Black-Scholes for European contracts, a binomial tree of 100 steps with
early exercise for American ones. Terms, dates and the search for the volatility are those of LEAN's QLOptionPriceModel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from simulation.lean.enums import OptionPricingModelType, OptionRight, OptionStyle, SecurityType
from simulation.lean.names import Named, signed
from simulation.lean.symbols import symbol_of
from simulation.securities.pricing import (
    DEFAULT_RATE,
    NOTHING,
    Greeks,
    OptionPriceModelResult,
    Pricer,
    Terms,
    american_tree_price,
    black_scholes_greeks,
    black_scholes_price,
    cox_ross_rubinstein_price,
    forward_tree_price,
    implied_volatility,
    mirror_of,
    terms_of,
    tree_greeks,
)

SETTLEMENT_DAYS = 1
PRICERS: dict[OptionPricingModelType, Pricer] = {
    OptionPricingModelType.BLACK_SCHOLES: black_scholes_price,
    OptionPricingModelType.BINOMIAL_COX_ROSS_RUBINSTEIN: cox_ross_rubinstein_price,
    OptionPricingModelType.FORWARD_TREE: forward_tree_price,
}


class ArgumentException(ValueError):  # noqa: N818 - the name that algorithms catch
    """C#'s error about an argument, as `except ArgumentException` of an algorithm names it."""


class RegressionTestException(Exception):  # noqa: N818 - the name that algorithms raise
    """What LEAN's own regression algorithms raise when something is not as they expect."""


class OptionPriceModelParameters(Named):
    """What a price model is asked with: the contract's security, the slice, the contract of the chain."""

    def __init__(self, security: Any = None, slice: Any = None, contract: Any = None) -> None:
        self.security, self.slice, self.contract = security, slice, contract


class OptionPriceModel(Named):
    """Base of price models: `evaluate` gives a contract's price, volatility and Greeks."""

    @signed("parameters")
    def evaluate(self, parameters: Any) -> OptionPriceModelResult:
        """Price, volatility and Greeks of one contract. Raises TypeError in a model without a formula of its own."""
        raise TypeError(f"{type(self).__name__} has no evaluate(parameters) of its own")


class CurrentPriceOptionPriceModel(OptionPriceModel):
    """Takes the market's price for the theoretical one and gives neither volatility nor Greeks."""

    @signed("parameters", "security, slice, contract")
    def evaluate(self, *arguments: Any) -> OptionPriceModelResult:
        """The security's price."""
        return OptionPriceModelResult(_parameters(arguments).security.price, Greeks())


class IndicatorBasedOptionPriceModel(OptionPriceModel):
    """LEAN's default: its volatility and Greek indicators at the instant's prices, with the other right's price."""

    def __init__(
        self,
        option_model: OptionPricingModelType | None = None,
        iv_model: OptionPricingModelType | None = None,
        dividend_yield_model: Any = None,
        risk_free_interest_rate_model: Any = None,
        use_mirror_contract: bool = True,
        security_provider: Any = None,
    ) -> None:
        del security_provider  # the run's own securities
        self._models = option_model, iv_model
        self._rates = risk_free_interest_rate_model, dividend_yield_model
        self._mirrored = use_mirror_contract

    def evaluate(self, parameters: Any) -> OptionPriceModelResult:
        """Price, volatility and Greeks at the prices of this instant; zeros without prices or after expiry."""
        security = parameters.security
        engine = security._engine
        spot, price, local = security.underlying.price, security.price, security.local_time
        if not spot or not price or local.date() > security.expiry.date():
            return NOTHING
        terms = with_rates(terms_of(engine, security, local, spot), self._rates, local)
        mirror = engine.securities.get(mirror_of(security.symbol)) if self._mirrored else None
        other = None if mirror is None or not mirror.price else float(mirror.price)
        pricer, inverted = pricers(security, *self._models)
        volatility = smoothed_volatility(inverted, terms, spot, (price, other))
        theory = pricer(terms, spot, volatility, terms.years) if volatility else 0.0
        return OptionPriceModelResult(round(theory, 7), volatility, greeks_of(pricer, terms, spot, volatility))


def with_rates(terms: Terms, models: tuple[Any, Any], local: datetime) -> Terms:
    """Terms with the rate and the dividend yield of an algorithm's own models, where it has any."""
    rate, dividend = (None if model is None else float(rate_at(model, local)) for model in models)
    return Terms(
        terms.call,
        terms.strike,
        terms.years,
        terms.rate if rate is None else rate,
        terms.dividend if dividend is None else dividend,
    )


def rate_at(model: Any, local: datetime) -> float:
    """A rate as a number, or as LEAN's rate and yield models give it: a fraction a year."""
    for name in ("get_interest_rate", "get_dividend_yield"):
        ask = getattr(model, name, None)
        if ask is not None:
            return float(ask(local))
    return float(model)


def pricers(security: Any, option_model: Any = None, iv_model: Any = None) -> tuple[Pricer, Pricer]:
    """The pricers of the Greeks and of the volatility: the chosen ones, else LEAN's for the style of the contract."""
    if security.type == SecurityType.FUTURE_OPTION:
        default = cox_ross_rubinstein_price
    else:
        default = black_scholes_price if security.style == OptionStyle.EUROPEAN else forward_tree_price
    chosen = default if option_model is None else PRICERS[OptionPricingModelType(option_model)]
    return chosen, chosen if iv_model is None else PRICERS[OptionPricingModelType(iv_model)]


def smoothed_volatility(
    pricer: Pricer, terms: Terms, spot: float, prices: tuple[float, float | None], smoothing: Any = None
) -> float:
    """The implied volatility of a contract; with the other right's price the one out of the money of the two
    (ImpliedVolatility.cs). 0 when there is none.

    smoothing: the algorithm's own function of both volatilities.
    """
    found = implied_volatility(pricer, terms, spot, prices[0])
    if prices[1] is not None:
        flipped = Terms(not terms.call, terms.strike, terms.years, terms.rate, terms.dividend)
        other = implied_volatility(pricer, flipped, spot, prices[1])
        in_the_money = terms.strike > spot if not terms.call else terms.strike < spot
        if other is not None and found is not None and smoothing is not None:
            found = float(smoothing(found, other))
        elif other is not None and (found is None or in_the_money):
            found = other
    return round(found or 0.0, 7)


def greeks_of(pricer: Pricer, terms: Terms, spot: float, volatility: float) -> Greeks:
    """The sensitivities by a pricer."""
    if pricer is black_scholes_price:
        return black_scholes_greeks(terms, spot, volatility)
    return tree_greeks(pricer, terms, spot, volatility)


# -- the QuantLib family ---------------------------------------------------------------------------------------------


class QLOptionPriceModel(OptionPriceModel):
    """A model named after a QuantLib engine. Raises ArgumentException for a style that its engine cannot price."""

    def __init__(self, *_: Any, allowed_option_styles: Sequence[OptionStyle] | None = None, **__: Any) -> None:
        every = (OptionStyle.AMERICAN, OptionStyle.EUROPEAN)
        self.allowed_option_styles = list(every if allowed_option_styles is None else allowed_option_styles)
        self.enable_greek_approximation = True
        self.volatility_estimator_warmed_up = False

    @signed("parameters", "security, slice, contract")
    def evaluate(self, *arguments: Any) -> OptionPriceModelResult:
        """Price at the estimated volatility, implied volatility of the market's price, Greeks at that volatility."""
        security = _parameters(arguments).security
        style = security.style
        if style not in self.allowed_option_styles:
            name = type(self).__name__
            raise ArgumentException(
                f"{style.to_string()} style options are not supported by option price model '{name}'"
            )
        spot, price, today = security.underlying.price, security.price, security.local_time.date()
        if not spot or not price or today > security.expiry.date():
            return NOTHING
        hours = security.exchange.hours
        maturity = security.expiry + timedelta(days=SETTLEMENT_DAYS)
        if not hours.is_date_open(maturity):
            maturity = hours.get_next_trading_day(maturity)
        years = (maturity.date() - today).days / 365
        rates = security._engine.source.interest_rates()
        rate = DEFAULT_RATE if rates is None else rates.at(today)
        terms = Terms(security.right == OptionRight.CALL, security.strike_price, years, rate, 0.0)
        pricer = black_scholes_price if style == OptionStyle.EUROPEAN else american_tree_price
        estimate = float(getattr(security.underlying.volatility_model, "volatility", 0.0) or 0.0)
        self.volatility_estimator_warmed_up = estimate > 0
        guess = estimate or math.sqrt(2 * math.pi / years) * price / spot  # Brenner and Subrahmanyam (1988)
        found = implied_volatility(pricer, terms, spot, price) or 0.0
        theory = max(pricer(terms, spot, guess, years), 0.0)
        return OptionPriceModelResult(theory, found, partial(greeks_of, pricer, terms, spot, found))


def _parameters(arguments: tuple[Any, ...]) -> Any:
    return arguments[0] if len(arguments) == 1 else OptionPriceModelParameters(*arguments)


class QLOptionPriceModelProvider(Named):
    """Gives QuantLib's models by the style of an option or by kind."""

    INSTANCE: ClassVar[QLOptionPriceModelProvider]

    def get_option_price_model(
        self, symbol: Any, pricing_model_type: OptionPricingModelType | None = None
    ) -> QLOptionPriceModel:
        """Black-Scholes for European options, a binomial tree for American ones, unless the kind is told.

        Raises ArgumentException for a kind that QuantLib's provider lacks.
        """
        kind = pricing_model_type
        if kind is None:
            american = symbol_of(symbol).id.option_style == OptionStyle.AMERICAN
            kinds = OptionPricingModelType
            kind = kinds.BINOMIAL_COX_ROSS_RUBINSTEIN if american else kinds.BLACK_SCHOLES
        if kind == OptionPricingModelType.BLACK_SCHOLES:
            return QLOptionPriceModel(allowed_option_styles=[OptionStyle.EUROPEAN])
        if kind == OptionPricingModelType.BINOMIAL_COX_ROSS_RUBINSTEIN:
            return QLOptionPriceModel()
        raise ArgumentException(f"Unsupported pricing model type: {kind.to_string()}")


QLOptionPriceModelProvider.INSTANCE = QLOptionPriceModelProvider()


def _engine(*styles: OptionStyle) -> Callable[[], QLOptionPriceModel]:
    def make() -> QLOptionPriceModel:
        """A model after one of QuantLib's engines."""
        return QLOptionPriceModel(allowed_option_styles=styles or None)

    return make


class _QuantLib(Named):
    """`OptionPriceModels.QuantLib`: models by the names of QuantLib's engines."""

    black_scholes = staticmethod(_engine(OptionStyle.EUROPEAN))
    barone_adesi_whaley = staticmethod(_engine(OptionStyle.AMERICAN))
    bjerksund_stensland = staticmethod(_engine(OptionStyle.AMERICAN))
    integral = staticmethod(_engine(OptionStyle.EUROPEAN))
    crank_nicolson_fd = staticmethod(_engine())
    binomial_jarrow_rudd = staticmethod(_engine())
    binomial_cox_ross_rubinstein = staticmethod(_engine())
    additive_equiprobabilities = staticmethod(_engine())
    binomial_trigeorgis = staticmethod(_engine())
    binomial_tian = staticmethod(_engine())
    binomial_leisen_reimer = staticmethod(_engine())
    binomial_joshi = staticmethod(_engine())


class OptionPriceModels(Named):
    """LEAN's ready-made price models."""

    QuantLib = _QuantLib

    @staticmethod
    def null() -> OptionPriceModel:
        """The market's price, without volatility and Greeks."""
        return CurrentPriceOptionPriceModel()

    @staticmethod
    def black_scholes() -> OptionPriceModel:
        """The closed form."""
        return IndicatorBasedOptionPriceModel(OptionPricingModelType.BLACK_SCHOLES)

    @staticmethod
    def forward_tree() -> OptionPriceModel:
        """A tree around the forward."""
        return IndicatorBasedOptionPriceModel(OptionPricingModelType.FORWARD_TREE)

    @staticmethod
    def binomial_cox_ross_rubinstein() -> OptionPriceModel:
        """Cox, Ross and Rubinstein's tree."""
        return IndicatorBasedOptionPriceModel(OptionPricingModelType.BINOMIAL_COX_ROSS_RUBINSTEIN)


_DEFAULT = IndicatorBasedOptionPriceModel()


def evaluate(engine: Any, security: Any, contract: Any) -> OptionPriceModelResult:
    """Evaluates a contract by its security's model: the one that was set, else LEAN's default for its style."""
    model = _DEFAULT if security.price_model is None else security.price_model
    ask: Any = getattr(model, "evaluate", None) or model.Evaluate
    found: OptionPriceModelResult = ask(OptionPriceModelParameters(security, engine.current_slice, contract))
    return found
