"""The part of QCAlgorithm that makes indicators and consolidators and keeps them fed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from simulation.algorithm import indicators as made
from simulation.algorithm import option_indicators as of_options
from simulation.algorithm.consolidators import DataConsolidator, consolidator_for
from simulation.engine.history import Request, bars_back, default_kinds, points
from simulation.engine.kernel import Engine
from simulation.lean.bars import QuoteBar, TradeBar
from simulation.lean.dictionaries import EventHandlers
from simulation.lean.enums import MovingAverageType, Resolution, TickType
from simulation.lean.names import Named, signed
from simulation.lean.symbols import symbol_of

Selector = Callable[[Any], float]
GREEK_TERMS = (
    "symbol, mirror_option=None, risk_free_rate=None, dividend_yield=None, option_model=None, iv_model=None, "
    "resolution=None"
)


class IndicatorApi(Named):
    """sma, ema, atr ... , register_indicator, warm_up_indicator, consolidate."""

    _engine: Engine
    settings: Any
    history: Any
    _automatic_warm_up = False
    _risk_free_model: Any = of_options.InterestRateProvider()

    @property
    def enable_automatic_indicator_warm_up(self) -> bool:
        """Whether new indicators are warmed up from history at once."""
        return self._automatic_warm_up or bool(self.settings.automatic_indicator_warm_up)

    @enable_automatic_indicator_warm_up.setter
    def enable_automatic_indicator_warm_up(self, value: bool) -> None:
        self._automatic_warm_up = value

    def _kept(self, symbol: Any, indicator: Any, resolution: Resolution | None, selector: Selector | None) -> Any:
        if self.enable_automatic_indicator_warm_up:
            self.warm_up_indicator(symbol, indicator, resolution, selector)
        self.register_indicator(symbol, indicator, resolution, selector)
        return indicator

    def sma(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Simple moving average."""
        return self._kept(symbol, made.SimpleMovingAverage(f"SMA({period})", period), resolution, selector)

    def ema(
        self,
        symbol: Any,
        period: int,
        *arguments: Any,
        resolution: Resolution | None = None,
        selector: Selector | None = None,
    ) -> Any:
        """Exponential moving average: (symbol, period, [smoothing factor], resolution, selector)."""
        values = list(arguments)
        factor = [values.pop(0)] if values and isinstance(values[0], float) else []
        resolution = values.pop(0) if values else resolution
        selector = values.pop(0) if values else selector
        return self._kept(
            symbol, made.ExponentialMovingAverage(f"EMA({period})", period, *factor), resolution, selector
        )

    def wwma(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Wilder's moving average."""
        return self._kept(symbol, made.WilderMovingAverage(f"WWMA({period})", period), resolution, selector)

    def lwma(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Linearly weighted moving average."""
        return self._kept(symbol, made.LinearWeightedMovingAverage(f"LWMA({period})", period), resolution, selector)

    def atr(
        self,
        symbol: Any,
        period: int,
        type: MovingAverageType = MovingAverageType.SIMPLE,
        resolution: Resolution | None = None,
        selector: Selector | None = None,
    ) -> Any:
        """Average true range."""
        return self._kept(symbol, made.AverageTrueRange(f"ATR({period})", period, type), resolution, selector)

    def tr(self, symbol: Any, resolution: Resolution | None = None, selector: Selector | None = None) -> Any:
        """True range."""
        return self._kept(symbol, made.TrueRange("TR"), resolution, selector)

    def rsi(
        self,
        symbol: Any,
        period: int,
        moving_average_type: MovingAverageType = MovingAverageType.WILDERS,
        resolution: Resolution | None = None,
        selector: Selector | None = None,
    ) -> Any:
        """Relative strength index."""
        return self._kept(
            symbol, made.RelativeStrengthIndex(f"RSI({period})", period, moving_average_type), resolution, selector
        )

    def macd(
        self,
        symbol: Any,
        fast_period: int,
        slow_period: int,
        signal_period: int,
        type: MovingAverageType = MovingAverageType.EXPONENTIAL,
        resolution: Resolution | None = None,
        selector: Selector | None = None,
    ) -> Any:
        """Moving average convergence divergence."""
        name = f"MACD({fast_period},{slow_period},{signal_period})"
        indicator = made.MovingAverageConvergenceDivergence(name, fast_period, slow_period, signal_period, type)
        return self._kept(symbol, indicator, resolution, selector)

    def bb(
        self,
        symbol: Any,
        period: int,
        k: float,
        moving_average_type: MovingAverageType = MovingAverageType.SIMPLE,
        resolution: Resolution | None = None,
        selector: Selector | None = None,
    ) -> Any:
        """Bollinger bands."""
        return self._kept(
            symbol, made.BollingerBands(f"BB({period},{k})", period, k, moving_average_type), resolution, selector
        )

    def std(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Standard deviation."""
        return self._kept(symbol, made.StandardDeviation(f"STD({period})", period), resolution, selector)

    def var(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Variance."""
        return self._kept(symbol, made.Variance(f"VAR({period})", period), resolution, selector)

    def sum(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Sum."""
        return self._kept(symbol, made.Sum(f"SUM({period})", period), resolution, selector)

    def max(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Largest value; highs unless told otherwise."""
        return self._kept(
            symbol, made.Maximum(f"MAX({period})", period), resolution, selector or (lambda bar: bar.high)
        )

    def min(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Smallest value; lows unless told otherwise."""
        return self._kept(symbol, made.Minimum(f"MIN({period})", period), resolution, selector or (lambda bar: bar.low))

    def mom(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Momentum."""
        return self._kept(symbol, made.Momentum(f"MOM({period})", period), resolution, selector)

    def momp(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Momentum in percent."""
        return self._kept(symbol, made.MomentumPercent(f"MOMP({period})", period), resolution, selector)

    def roc(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Rate of change."""
        return self._kept(symbol, made.RateOfChange(f"ROC({period})", period), resolution, selector)

    def rocp(
        self, symbol: Any, period: int, resolution: Resolution | None = None, selector: Selector | None = None
    ) -> Any:
        """Rate of change in percent."""
        return self._kept(symbol, made.RateOfChangePercent(f"ROCP({period})", period), resolution, selector)

    @signed("symbol, selector=None, field_name=None", "symbol, resolution, selector=None, field_name=None")
    def identity(self, symbol: Any, *arguments: Any) -> Any:
        """The value itself: (symbol, [resolution], [selector])."""
        resolution = next((value for value in arguments if isinstance(value, Resolution)), None)
        selector = next((value for value in arguments if callable(value)), None)
        return self._kept(symbol, made.Identity("Identity"), resolution, selector)

    # -- of options --------------------------------------------------------------------------------------------------

    def set_risk_free_interest_rate_model(self, model: Any) -> None:
        """Replaces the rates of new option indicators: an object with `get_interest_rate(date)`."""
        self._risk_free_model = model

    @property
    def risk_free_interest_rate_model(self) -> Any:
        """The rates of the data folder until another model is set."""
        return self._risk_free_model

    def _of_option(self, kind: Callable[..., Any], symbol: Any, terms: list[Any], resolution: Any) -> Any:
        """Makes an option indicator and feeds it: quotes of the contracts, bars of the underlying. terms: contract of
        the other right, rate, yield, models."""
        option = symbol_of(symbol)
        mirror, rate, dividend, *models = terms
        mirror = None if mirror is None else symbol_of(mirror)
        # As a function: the model may be replaced after the indicator was made (QCAlgorithm.Indicators.cs:4436).
        rates = rate if rate is not None else of_options.FuncRiskFreeRateInterestRateModel(self._rate_of)
        yields = dividend if dividend is not None else of_options.DividendYieldProvider.create_for_option(option)
        indicator = kind(f"{kind.__name__}({option})", option, rates, yields, mirror, *models)
        symbols = [option, option.underlying, *([] if mirror is None else [mirror])]
        for each in symbols:
            self.register_indicator(each, indicator, self.resolve_consolidator(each, resolution, _bar_of(each, option)))
        if self.enable_automatic_indicator_warm_up:
            for each in symbols:
                self.warm_up_indicator(each, indicator, resolution)
        return indicator

    def _rate_of(self, date: Any) -> float:
        return float(self._risk_free_model.get_interest_rate(date))

    @signed(
        "symbol, mirror_option=None, risk_free_rate=None, dividend_yield=None, option_model=None, resolution=None",
    )
    def iv(self, symbol: Any, *terms: Any) -> Any:
        """Implied volatility of a contract."""
        given = [*terms, *(None,) * (5 - len(terms))]
        return self._of_option(of_options.ImpliedVolatility, symbol, given[:4], given[4])

    @signed(GREEK_TERMS)
    def d(self, symbol: Any, *terms: Any) -> Any:
        """Delta of a contract."""
        return self._greek(of_options.Delta, symbol, terms)

    @signed(GREEK_TERMS)
    def g(self, symbol: Any, *terms: Any) -> Any:
        """Gamma of a contract."""
        return self._greek(of_options.Gamma, symbol, terms)

    @signed(GREEK_TERMS, "symbol, period, resolution=None, selector=None")
    def v(self, symbol: Any, *terms: Any) -> Any:
        """Vega of a contract; with a number of bars the variance of a price."""
        if terms and isinstance(terms[0], int):
            return self.var(symbol, *terms)
        return self._greek(of_options.Vega, symbol, terms)

    @signed(GREEK_TERMS)
    def t(self, symbol: Any, *terms: Any) -> Any:
        """Theta a day of a contract."""
        return self._greek(of_options.Theta, symbol, terms)

    @signed(GREEK_TERMS)
    def r(self, symbol: Any, *terms: Any) -> Any:
        """Rho of a contract."""
        return self._greek(of_options.Rho, symbol, terms)

    def _greek(self, kind: Callable[..., Any], symbol: Any, terms: tuple[Any, ...]) -> Any:
        given = [*terms, *(None,) * (6 - len(terms))]
        return self._of_option(kind, symbol, given[:5], given[5])

    # -- feeding -----------------------------------------------------------------------------------------------------

    def register_indicator(
        self, symbol: Any, indicator: Any, how: Any = None, selector: Selector | None = None
    ) -> None:
        """Feeds an indicator with a symbol's bars: of a resolution, a timedelta, or a consolidator."""
        symbol = symbol_of(symbol)
        consolidator = how
        if not isinstance(how, DataConsolidator) and not hasattr(how, "data_consolidated"):
            consolidator = self.resolve_consolidator(symbol, how)
        consolidator.data_consolidated += lambda sender, bar: _push(indicator, bar, selector)
        self._engine.consolidators.add(symbol, consolidator)

    def unregister_indicator(self, indicator: Any) -> None:
        """Stops feeding an indicator by dropping its handlers."""
        indicator.updated = EventHandlers()

    deregister_indicator = unregister_indicator

    @signed("symbol, resolution, data_type=None", "symbol, time_span, data_type=None")
    def resolve_consolidator(self, symbol: Any, period: Any, data_type: type | None = None) -> DataConsolidator:
        """The consolidator of a resolution or timedelta."""
        kind = TickType.QUOTE if data_type is QuoteBar else TickType.TRADE
        return consolidator_for(self._engine, symbol_of(symbol), period, kind)

    def consolidate(self, symbol: Any, period: Any, *arguments: Any) -> DataConsolidator:
        """Calls a handler with bars of a period: (symbol, period, [tick type or bar type], handler)."""
        symbol = symbol_of(symbol)
        values = list(arguments)
        handler = values.pop()
        given = values[0] if values else None
        kind = given if isinstance(given, TickType) else TickType.QUOTE if given is QuoteBar else TickType.TRADE
        consolidator = consolidator_for(self._engine, symbol, period, kind)
        consolidator.data_consolidated += lambda sender, bar: handler(bar)
        self._engine.consolidators.add(symbol, consolidator, kind)
        return consolidator

    def warm_up_indicator(
        self, symbol: Any, indicator: Any, resolution: Any = None, selector: Selector | None = None
    ) -> None:
        """Feeds an indicator with as many past bars as it needs."""
        symbol = symbol_of(symbol)
        engine = self._engine
        specs = [spec for spec in engine.configs.get(symbol, []) if not spec.internal]
        finest = min((spec.resolution for spec in specs), default=Resolution.MINUTE)
        chosen = resolution if isinstance(resolution, Resolution) else finest
        period = resolution if isinstance(resolution, timedelta) else None
        count = int(indicator.warm_up_period)
        if period is not None:
            count *= max(int(period.total_seconds() // 60), 1)
        kind = default_kinds(symbol, chosen)[0]
        low = bars_back(engine, symbol, chosen, count, False)
        bars = points(engine, Request(symbol, kind, chosen, low, engine.utc_ms, True, False))
        if period is None:
            for bar in bars:
                _push(indicator, bar, selector)
            return
        consolidator = consolidator_for(engine, symbol, period, kind)
        consolidator.data_consolidated += lambda sender, bar: _push(indicator, bar, selector)
        for bar in bars:
            consolidator.update(bar)
        if bars:
            consolidator.scan(bars[-1].end_time)

    def indicator_history(
        self, indicator: Any, symbol: Any, period: int, resolution: Resolution | None = None
    ) -> list[Any]:
        """The indicator's values over past bars."""
        indicator.reset()
        values: list[Any] = []
        for bar in self.history[TradeBar](
            symbol, period + int(indicator.warm_up_period) - 1, resolution or Resolution.MINUTE
        ):
            _push(indicator, bar, None)
            if indicator.is_ready:
                values.append(indicator.current)
        return values


def _bar_of(symbol: Any, option: Any) -> type | None:
    return None if symbol == option.underlying else QuoteBar


def _push(indicator: Any, bar: Any, selector: Selector | None) -> None:
    if getattr(indicator, "uses_bars", False):
        indicator.update(bar)
    elif isinstance(indicator, made.Indicator):
        indicator.update(bar.end_time, selector(bar) if selector is not None else bar.value)
    else:
        indicator.update(bar)
