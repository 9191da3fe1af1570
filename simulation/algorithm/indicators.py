"""The indicators that algorithms of this kind use, with LEAN's warm-up counts and formulas."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from simulation.lean.dictionaries import EventHandlers, RollingWindow
from simulation.lean.enums import MovingAverageType
from simulation.lean.names import Named, signed


class IndicatorDataPoint(Named):
    """A value with the end of its bar."""

    __slots__ = ("end_time", "symbol", "value")

    def __init__(self, *arguments: Any) -> None:
        self.value = float(arguments[-1]) if arguments else 0.0
        self.end_time: datetime = arguments[-2] if len(arguments) > 1 else datetime(1, 1, 1)
        self.symbol = arguments[0] if len(arguments) > 2 else None

    @property
    def time(self) -> datetime:
        """Same as end_time."""
        return self.end_time

    @property
    def price(self) -> float:
        """The value."""
        return self.value

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.end_time} - {self.value}"


class Indicator(Named):
    """Base: `update(time, value)` or `update(bar)`, `current.value`, `is_ready`, `updated += handler`."""

    period = 1
    uses_bars = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples = 0
        self.current = IndicatorDataPoint()
        self.previous = IndicatorDataPoint()
        self.updated = EventHandlers()
        self.window = RollingWindow(2)

    @property
    def warm_up_period(self) -> int:
        """Bars needed before the value means something."""
        return self.period

    @property
    def is_ready(self) -> bool:
        """Whether enough bars have come."""
        return self.samples >= self.warm_up_period

    @signed("input", "time, value")
    def update(self, *arguments: Any) -> bool:
        """Takes (time, value), a data point or a bar; whether the indicator is ready."""
        if len(arguments) == 2 and not isinstance(arguments[0], str):
            point: Any = IndicatorDataPoint(*arguments)
        else:
            point = arguments[-1]
        self.samples += 1
        value = self._compute(point if self.uses_bars else float(point.value), point)
        if value is not None:
            self.previous = self.current
            self.current = IndicatorDataPoint(point.end_time, value)
            self.window.add(self.current)
            self.updated.fire(self, self.current)
        return self.is_ready

    def _compute(self, value: Any, point: Any) -> float | None:
        raise TypeError(f"{type(self).__name__} has no formula of its own; use one of the indicators that do")

    def reset(self) -> None:
        """Begins anew."""
        self.samples = 0
        self.current = IndicatorDataPoint()
        self.previous = IndicatorDataPoint()

    def __float__(self) -> float:
        return self.current.value

    def __getitem__(self, index: int) -> Any:
        return self.window[index]

    def __lt__(self, other: Any) -> bool:
        return float(self) < float(other)

    def __gt__(self, other: Any) -> bool:
        return float(self) > float(other)

    def __str__(self) -> str:
        return str(self.current.value)


def _named(default: str, arguments: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """An indicator's optional leading name."""
    values = list(arguments)
    name = values.pop(0) if values and isinstance(values[0], str) else default
    return name, values


class _Windowed(Indicator):
    """An indicator of the last `period` values."""

    def __init__(self, *arguments: Any) -> None:
        name, values = _named(type(self).__name__, arguments)
        self.period = int(values[0])
        super().__init__(name)
        self._window: deque[float] = deque(maxlen=self._length())

    def _length(self) -> int:
        return self.period

    def _compute(self, value: float, point: Any) -> float | None:
        del point
        self._window.append(value)
        return self._of(self._window)

    def _of(self, window: deque[float]) -> float:
        return sum(window) / len(window)

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self._window.clear()


class SimpleMovingAverage(_Windowed):
    """Mean of the last values."""


class Sum(_Windowed):
    """Sum of the last values."""

    def _of(self, window: deque[float]) -> float:
        return sum(window)


class Maximum(_Windowed):
    """Largest of the last values."""

    def _of(self, window: deque[float]) -> float:
        return max(window)


class Minimum(_Windowed):
    """Smallest of the last values."""

    def _of(self, window: deque[float]) -> float:
        return min(window)


class StandardDeviation(_Windowed):
    """Population standard deviation of the last values."""

    def _of(self, window: deque[float]) -> float:
        mean = sum(window) / len(window)
        return math.sqrt(max(sum((value - mean) ** 2 for value in window) / len(window), 0.0))


class Variance(StandardDeviation):
    """Population variance of the last values."""

    def _of(self, window: deque[float]) -> float:
        return super()._of(window) ** 2


class Momentum(_Windowed):
    """Change over `period` values."""

    def _length(self) -> int:
        return self.period + 1

    @property
    def warm_up_period(self) -> int:
        """One more than the period."""
        return self.period + 1

    def _of(self, window: deque[float]) -> float:
        return window[-1] - window[0]


class RateOfChange(Momentum):
    """Relative change over `period` values."""

    def _of(self, window: deque[float]) -> float:
        return (window[-1] - window[0]) / window[0] if window[0] else 0.0 * window[-1]


class RateOfChangePercent(RateOfChange):
    """Relative change in percent."""

    def _of(self, window: deque[float]) -> float:
        return super()._of(window) * 100


class MomentumPercent(RateOfChangePercent):
    """Same as RateOfChangePercent."""


class LinearWeightedMovingAverage(_Windowed):
    """Mean with weights 1, 2, 3 ... towards the newest."""

    def _of(self, window: deque[float]) -> float:
        weights = range(1, len(window) + 1)
        return sum(weight * value for weight, value in zip(weights, window, strict=True)) / sum(weights)


class Identity(Indicator):
    """The value itself."""

    def _compute(self, value: float, point: Any) -> float:
        del point
        return value


class ExponentialMovingAverage(Indicator):
    """Exponential average, seeded with the mean of the first `period` values (ExponentialMovingAverage.cs)."""

    def __init__(self, *arguments: Any) -> None:
        name, values = _named(type(self).__name__, arguments)
        self.period = int(values[0])
        super().__init__(name)
        self._factor = float(values[1]) if len(values) > 1 else self._smoothing()
        self._seed = SimpleMovingAverage(self.period)

    def _smoothing(self) -> float:
        return 2.0 / (1.0 + self.period)

    def _compute(self, value: float, point: Any) -> float:
        if self.samples <= self.period:
            self._seed.update(point.end_time, value)
            return self._before(self._seed.current.value)
        # As a step towards the value: a float average that nears a constant then stays on its side of it, as LEAN's
        # decimals do, so that two averages of one flat price keep their order.
        return self.current.value + self._factor * (value - self.current.value)

    def _before(self, mean: float) -> float:
        """The value up to the first full period: nothing, then the mean."""
        return mean if self.samples == self.period else 0.0

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self._seed.reset()


class WilderMovingAverage(ExponentialMovingAverage):
    """Wilder's average: factor 1 / period, seeded with the mean."""

    def _smoothing(self) -> float:
        return 1.0 / self.period

    def _before(self, mean: float) -> float:
        return mean


_AVERAGES: dict[MovingAverageType, Callable[[int], Indicator]] = {
    MovingAverageType.SIMPLE: SimpleMovingAverage,
    MovingAverageType.EXPONENTIAL: ExponentialMovingAverage,
    MovingAverageType.WILDERS: WilderMovingAverage,
    MovingAverageType.LINEAR_WEIGHTED_MOVING_AVERAGE: LinearWeightedMovingAverage,
}


def moving_average(kind: MovingAverageType, period: int) -> Indicator:
    """The average of a type. Raises ValueError for a type that the embedded engine has not."""
    make = _AVERAGES.get(kind)
    if make is None:
        raise ValueError(
            f"moving average type {kind} is not implemented in the embedded engine; the real LEAN engine has it"
        )
    return make(period)


class TrueRange(Indicator):
    """Largest of high - low and the gaps to the previous close."""

    uses_bars = True
    period = 2

    def __init__(self, name: str = "TR") -> None:
        super().__init__(name)
        self._close: float | None = None

    def _compute(self, value: Any, point: Any) -> float:
        del point
        close, self._close = self._close, float(value.close)
        if close is None:
            return float(value.high - value.low)
        return float(max(value.high - value.low, abs(value.high - close), abs(value.low - close)))

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self._close = None


class AverageTrueRange(Indicator):
    """Average of the true range; the first bar's range is its high less its low (AverageTrueRange.cs)."""

    uses_bars = True

    def __init__(self, *arguments: Any) -> None:
        name, values = _named("ATR", arguments)
        self.period = int(values[0])
        super().__init__(name)
        self.true_range = TrueRange()
        self._average = moving_average(values[1] if len(values) > 1 else MovingAverageType.WILDERS, self.period)

    @property
    def warm_up_period(self) -> int:
        """As many bars as the average needs."""
        return self._average.warm_up_period

    @property
    def is_ready(self) -> bool:
        """Whether the average is full."""
        return self._average.is_ready

    def _compute(self, value: Any, point: Any) -> float:
        self.true_range.update(value)
        self._average.update(point.end_time, self.true_range.current.value)
        return self._average.current.value

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self.true_range.reset()
        self._average.reset()


class RelativeStrengthIndex(Indicator):
    """Wilder's relative strength index, 0 to 100 (RelativeStrengthIndex.cs)."""

    def __init__(self, *arguments: Any) -> None:
        name, values = _named("RSI", arguments)
        self.period = int(values[0])
        super().__init__(name)
        kind = values[1] if len(values) > 1 else MovingAverageType.WILDERS
        self.average_gain, self.average_loss = moving_average(kind, self.period), moving_average(kind, self.period)
        self._last: float | None = None

    @property
    def warm_up_period(self) -> int:
        """One more than the period."""
        return self.period + 1

    def _compute(self, value: float, point: Any) -> float:
        last, self._last = self._last, value
        if last is None:
            return 50.0
        change = value - last
        self.average_gain.update(point.end_time, max(change, 0.0))
        self.average_loss.update(point.end_time, max(-change, 0.0))
        loss = round(self.average_loss.current.value, 10)
        if not loss:
            return 100.0
        return 100.0 - 100.0 / (1.0 + self.average_gain.current.value / loss)

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self._last = None
        self.average_gain.reset()
        self.average_loss.reset()


class MovingAverageConvergenceDivergence(Indicator):
    """Fast less slow average, its signal line and their difference."""

    def __init__(self, *arguments: Any) -> None:
        name, values = _named("MACD", arguments)
        fast, slow, signal = (int(value) for value in values[:3])
        kind = values[3] if len(values) > 3 else MovingAverageType.EXPONENTIAL
        self.period = slow + signal - 1
        super().__init__(name)
        self.fast, self.slow, self.signal = (
            moving_average(kind, fast),
            moving_average(kind, slow),
            moving_average(kind, signal),
        )
        self.histogram = Identity(f"{name}_Histogram")

    @property
    def is_ready(self) -> bool:
        """Whether the signal line is full."""
        return self.signal.is_ready

    def _compute(self, value: float, point: Any) -> float:
        self.fast.update(point.end_time, value)
        self.slow.update(point.end_time, value)
        macd = self.fast.current.value - self.slow.current.value
        if self.slow.is_ready:
            self.signal.update(point.end_time, macd)
            self.histogram.update(point.end_time, macd - self.signal.current.value)
        return macd


class BollingerBands(Indicator):
    """A moving average with bands of k standard deviations."""

    def __init__(self, *arguments: Any) -> None:
        name, values = _named("BB", arguments)
        self.period = int(values[0])
        super().__init__(name)
        self._width = float(values[1])
        self.standard_deviation = StandardDeviation(self.period)
        self.middle_band = moving_average(values[2] if len(values) > 2 else MovingAverageType.SIMPLE, self.period)
        self.upper_band, self.lower_band = Identity(f"{name}_UpperBand"), Identity(f"{name}_LowerBand")
        self.band_width = Identity(f"{name}_BandWidth")

    def _compute(self, value: float, point: Any) -> float:
        self.standard_deviation.update(point.end_time, value)
        self.middle_band.update(point.end_time, value)
        middle = self.middle_band.current.value
        reach = self._width * self.standard_deviation.current.value
        self.upper_band.update(point.end_time, middle + reach)
        self.lower_band.update(point.end_time, middle - reach)
        self.band_width.update(point.end_time, 200 * reach / middle if middle else 0.0)
        return value


class Delay(_Windowed):
    """The value of `period` bars ago."""

    def _length(self) -> int:
        return self.period + 1

    @property
    def warm_up_period(self) -> int:
        """One more than the period."""
        return self.period + 1

    def _of(self, window: deque[float]) -> float:
        return window[0]
