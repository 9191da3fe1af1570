"""One underlying of the model: its daily series, and everything about a day that contracts are valued from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache

import numpy as np

from simulation.market.asset_days import AssetDay, AssetSpec, Carry
from simulation.market.calendar import (
    OPEN_MINUTE,
    WEIGHT_OF_YEAR,
    FloatArray,
    IntArray,
    VarianceClock,
    calendar,
    weights_of,
)
from simulation.market.days import (
    Bar,
    Companionship,
    DayShape,
    MinutePath,
    companion_path,
    day_path,
    shaped_path,
    stream,
    to_tick,
    volatility_open,
)
from simulation.market.surface import (
    SurfaceDay,
    TermState,
    skew_strength,
    surface_day,
    surprise_of,
)

DAYS_KEPT = 6
CLOSINGS = 32  # sessions whose surfaces at the close are solved together
ANCHORS_KEPT = 800  # of two profiles of the day, over the year that volatilities are ranked in
DRIVEN_PATHS_KEPT = 80  # contract months of a future look at the same sessions, up to 65 days apart
PATHS_KEPT = 400  # minutes of the index's sessions: everything that moves with it is made of them, year after year


@dataclass(frozen=True)
class AssetSeries:
    """Daily prices of an underlying and of its volatility index (percent), same days; NaN open, high, low.

    Closes only.
    """

    days: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volatility: tuple[FloatArray, FloatArray, FloatArray, FloatArray]

    @property
    def volatility_close(self) -> FloatArray:
        """Closes of the volatility index, in percent."""
        return self.volatility[3]


def memory_of(closes: FloatArray, span: int) -> FloatArray:
    """Exponentially weighted mean of the closes before each day (the day itself not in it).

    The first value is the first close.
    """
    decay = 2.0 / (span + 1.0)
    result = np.empty(len(closes))
    value = float(closes[0])
    for row, close in enumerate(closes.tolist()):
        result[row] = value
        value += decay * (close - value)
    return result


class Asset:
    """An underlying with daily history: makes its days, keeps a few, and depends on nothing after the day asked for."""

    paths_kept = PATHS_KEPT

    def __init__(
        self,
        spec: AssetSpec,
        series: AssetSeries,
        seed: int,
        carry: Callable[[date, float], Carry],
        shapes: tuple[Mapping[int, DayShape], Mapping[int, DayShape]] | None = None,
    ) -> None:
        self._shapes, self._volatility_shapes = shapes or ({}, {})
        self.spec = spec
        self.series = series
        self.seed = seed
        self._carry = carry
        filled = self._filled_volatility()
        self._filled = self.filled_volatility = filled
        self._recent = memory_of(filled, 20)
        self._lasting = memory_of(filled, 126)
        self._days: OrderedDict[int, tuple[AssetDay, Callable[[], MinutePath]]] = OrderedDict()
        self._paths: OrderedDict[int, MinutePath] = OrderedDict()
        self._closings: dict[int, tuple[SurfaceDay, dict[int, int]]] = {}
        self._surprises: dict[int, float] = {}
        self._columns: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None = None

    def _filled_volatility(self) -> FloatArray:
        closes = self.series.volatility_close
        rows = np.maximum.accumulate(np.where(np.isnan(closes), 0, np.arange(len(closes))))
        return np.asarray(closes[rows])

    def row(self, day: date) -> int | None:
        """The row of ``day`` in the series.

        ``None`` on the first row (it has no yesterday) and where there is no data.
        """
        ordinal = day.toordinal()
        row = int(np.searchsorted(self.series.days, ordinal))
        if row == 0 or row >= len(self.series.days) or self.series.days[row] != ordinal:
            return None
        return row

    def day(self, day: date) -> AssetDay | None:
        """Everything about ``day``; ``None`` when the exchange is closed or the history does not reach it."""
        made = self._made(day)
        return None if made is None else made[0]

    def volatility(self, day: date) -> MinutePath | None:
        """Minutes of the volatility index (percent); ``None`` also where its source has no value that day."""
        row = self.row(day)
        if row is None or np.isnan(self.series.volatility_close[row]):
            return None
        made = self._made(day)
        return None if made is None else made[1]()

    def volatility_path(self, day: date) -> MinutePath | None:
        """The same, but also where the source published nothing: what the model itself goes by."""
        made = self._made(day)
        return None if made is None else made[1]()

    def minutes(self, day: date) -> MinutePath | None:
        """The session's minutes of the price alone; ``None`` when the exchange is closed or there is no data."""
        row = self.row(day)
        return None if row is None else self._minutes(day, row, weights_of(day, self.spec.profile))

    def _minutes(self, day: date, row: int, weights: FloatArray) -> MinutePath:
        known = self._paths.get(row)
        if known is None:
            known = self._paths[row] = self._spot(day, row, weights)
            self._surprises[row] = self._surprise(row, known, weights, last=True).item()
            if len(self._paths) > self.paths_kept:
                self._paths.popitem(last=False)
        return known

    def _made(self, day: date) -> tuple[AssetDay, Callable[[], MinutePath]] | None:
        ordinal = day.toordinal()
        known = self._days.get(ordinal)
        if known is not None:
            self._days.move_to_end(ordinal)
            return known
        row = self.row(day)
        if row is None:
            return None
        made = self._make(day, row)
        self._days[ordinal] = made
        if len(self._days) > DAYS_KEPT:
            self._days.popitem(last=False)
        return made

    def bar(self, row: int) -> Bar:
        """The day's four prices.

        Where only closes are known, an open that holds the source's share of the night's move.
        """
        series = self.series
        close = float(series.close[row])
        opens, highs, lows, _ = self._columns or (series.open, series.high, series.low, series.close)
        if not np.isnan(opens[row]):
            return Bar(float(opens[row]), float(highs[row]), float(lows[row]), close)
        before = float(series.close[row - 1])
        draw = stream(self.seed, f"{self.spec.ticker}/bar", int(series.days[row]))
        daily = float(self._filled[row - 1]) / 100.0 / np.sqrt(WEIGHT_OF_YEAR)
        share = self.spec.profile.overnight
        gap = self._overnight(row) + 0.8 * np.sqrt(share * (1.0 - share)) * daily * float(draw.standard_normal())
        opened = float(to_tick(np.array(before * np.exp(gap)), self.spec.tick))
        return self._extremes(Bar(opened, np.nan, np.nan, close), daily, draw)

    def columns(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Open, high, low and close of every row, as minutes will honour them; row 0 keeps what its source knows."""
        if self._columns is None:
            series = self.series
            opens, highs, lows = series.open.copy(), series.high.copy(), series.low.copy()
            for row in np.flatnonzero(np.isnan(opens[1:])) + 1:
                bar = self.bar(int(row))
                opens[row], highs[row], lows[row] = bar.open, bar.high, bar.low
            self._columns = (opens, highs, lows, series.close)
        return self._columns

    def _overnight(self, row: int) -> float:
        """The expected log move from yesterday's close to the open, given today's close."""
        moved = float(np.log(self.series.close[row] / self.series.close[row - 1]))
        return self.spec.profile.overnight * moved

    def _extremes(self, bar: Bar, daily: float, draw: np.random.Generator) -> Bar:
        """High and low of a day of which only open and close are known: exponential room, half a deviation wide."""
        up, down = daily * 0.5 * draw.exponential(size=2)
        edges = np.array([max(bar.open, bar.close) * np.exp(up), min(bar.open, bar.close) * np.exp(-down)])
        high, low = to_tick(edges, self.spec.tick)
        return Bar(bar.open, float(high), float(low), bar.close)

    def _volatility_bar(self, row: int, bar: Bar) -> Bar:
        opens, highs, lows, _ = self.series.volatility
        close = float(self._filled[row])
        if not np.isnan(highs[row]):
            return Bar(float(opens[row]), float(highs[row]), float(lows[row]), close)
        before = float(self.series.close[row - 1])
        opened = volatility_open(
            stream(self.seed, f"{self.spec.ticker}/volatility-open", int(self.series.days[row])),
            self.spec.volatility_law,
            (float(self._filled[row - 1]), close),
            float(np.log(bar.open / before)),
            self.spec.profile.unseen,
        )
        return Bar(opened, np.nan, np.nan, close)

    def _spot(self, day: date, row: int, weights: FloatArray) -> MinutePath:
        """The session's minutes of the underlying itself."""
        shape = self._shapes.get(day.toordinal())
        if shape is not None:
            generator = stream(self.seed, f"{self.spec.ticker}/minutes", day)
            noise = 0.35 * float(self._filled[row]) / 100.0 / WEIGHT_OF_YEAR**0.5
            return shaped_path(generator, self.bar(row), weights, shape, noise)
        return day_path(stream(self.seed, f"{self.spec.ticker}/minutes", day), self.bar(row), weights, self.spec.tick)

    def _make(self, day: date, row: int) -> tuple[AssetDay, Callable[[], MinutePath]]:
        weights = weights_of(day, self.spec.profile)

        def spot() -> MinutePath:
            return self._minutes(day, row, weights)

        @cache
        def volatility() -> MinutePath:
            return self._volatility_minutes(day, row, spot(), weights)

        def surface() -> SurfaceDay:
            anchor = anchor_years(VarianceClock(self.spec.profile), day)
            surprise = self._surprise(row, spot(), weights, last=False)
            return surface_day(self.spec.smile, volatility().points, anchor, self._state(day, row), surprise)

        def carry() -> Carry:
            return self._carry(day, float(self.series.close[row - 1]))

        ends = (lambda: self.bar(row).open, lambda: float(self.series.close[row]))
        return AssetDay(self.spec, day, spot, surface, carry, lambda: self._closing(row), ends), volatility

    def _volatility_minutes(self, day: date, row: int, spot: MinutePath, weights: FloatArray) -> MinutePath:
        """The session's minutes of the volatility index, published or not."""
        shown = Bar(float(spot.points[0]), float(spot.high.max()), float(spot.low.min()), float(spot.points[-1]))
        quoted = self._volatility_bar(row, shown)
        generator = stream(self.seed, f"{self.spec.ticker}/volatility", day)
        law = self.spec.volatility_law
        shape = self._volatility_shapes.get(day.toordinal())
        if shape is not None:
            return shaped_path(generator, quoted, weights, shape, law.noise)
        pull = Companionship(law.at(quoted.open), law.noise)
        return companion_path(generator, spot, quoted, weights, pull)

    def _closing(self, row: int) -> SurfaceDay:
        """The surface at a row's close; those of a block of sessions are solved at once.

        Who reads a day's chain file reads those of other days too, and one surface costs what thirty do.
        """
        first = row - row % CLOSINGS
        known = self._closings.get(first)
        if known is None:
            known = self._closings[first] = self._closings_from(first)
        surfaces, places = known
        return surfaces.at(places[row])

    def _closings_from(self, first: int) -> tuple[SurfaceDay, dict[int, int]]:
        """Surfaces at the closes of a block, and the place of each row among them.

        At the close the volatility index is what its series says: its minutes end there.
        """
        last = min(first + CLOSINGS, len(self.series.days))
        days = {row: date.fromordinal(int(self.series.days[row])) for row in range(max(first, 1), last)}
        rows = [row for row, day in days.items() if calendar().is_open(day)]
        clock = VarianceClock(self.spec.profile)
        anchors, surprises, states = [], [], []
        for row in rows:
            if row not in self._surprises:
                self._minutes(days[row], row, weights_of(days[row], self.spec.profile))
            anchors.append(anchor_years(clock, days[row])[-1])
            surprises.append(self._surprises[row])
            states.append(self._state(days[row], row))
        surface = surface_day(
            self.spec.smile, self._filled[rows], np.array(anchors), TermState.joined(states), np.array(surprises)
        )
        return surface, {row: place for place, row in enumerate(rows)}

    def _state(self, day: date, row: int) -> TermState:
        """What the surface of a day remembers."""
        lasting, recent = float(self._lasting[row]), float(self._recent[row])
        return TermState(self.spec.smile.lasting_variance(lasting), recent, lasting, skew_strength(day.year))

    def _surprise(self, row: int, spot: MinutePath, weights: FloatArray, *, last: bool) -> FloatArray:
        """How the session went so far over what was expected of it, at each minute or at the last alone."""
        # What a VIX is followed by on average: the root of 0.85 (minutes over days) times 0.74 (days over the VIX).
        yesterday = 0.8 * float(self._filled[row - 1]) / 100.0
        returns = np.diff(np.log(spot.points))
        return surprise_of(returns, weights, yesterday**2, WEIGHT_OF_YEAR, last=last)


class DrivenAsset(Asset):
    """An underlying that moves with the index.

    Its own closes (and bars, where real), minutes joint with the index's.
    """

    paths_kept = DRIVEN_PATHS_KEPT

    def __init__(
        self,
        spec: AssetSpec,
        series: AssetSeries,
        index: Asset,
        exposure: tuple[FloatArray, FloatArray],
        carry: Callable[[date, float], Carry],
    ) -> None:
        super().__init__(spec, series, index.seed, carry)
        self.index = index
        self._betas, self._own = exposure

    def row(self, day: date) -> int | None:
        """The row of ``day``; ``None`` where the driver or the index has no data."""
        return super().row(day) if self.index.row(day) is not None else None

    def _overnight(self, row: int) -> float:
        index, beta = self.index, float(self._betas[row])
        at = index.row(date.fromordinal(int(self.series.days[row])))
        if at is None:
            return super()._overnight(row)
        before = float(index.series.close[at - 1])
        gap, whole = np.log(index.bar(at).open / before), np.log(index.series.close[at] / before)
        own = float(np.log(self.series.close[row] / self.series.close[row - 1])) - beta * float(whole)
        return beta * float(gap) + self.spec.profile.overnight * own

    def _spot(self, day: date, row: int, weights: FloatArray) -> MinutePath:
        leader = self.index.minutes(day)
        if leader is None:
            return super()._spot(day, row, weights)
        session = float(weights.sum())
        law = Companionship(float(self._betas[row]), float(self._own[row]) * session**0.5, self.spec.tick)
        generator = stream(self.seed, f"{self.spec.ticker}/minutes", day)
        return companion_path(generator, leader, self.bar(row), weights, law)


def vix_fridays(day: date) -> tuple[date, date]:
    """The two weekly expirations that Cboe's VIX formula interpolates on ``day``.

    Fridays 24 to 30 and 31 to 37 days away.
    """
    near = day + timedelta(days=24)
    near += timedelta(days=(4 - near.weekday()) % 7)
    days = calendar()
    return days.on_or_before(near), days.on_or_before(near + timedelta(days=7))


@lru_cache(maxsize=ANCHORS_KEPT)
def anchor_years(clock: VarianceClock, day: date) -> FloatArray:
    """Variance time that the volatility index looks over from each minute of ``day``.

    As Cboe does it: the two weekly expirations around 30 days, interpolated linearly in calendar minutes. Shared by all
    underlyings of a profile, so that nobody may write to it.
    """
    near, following = vix_fridays(day)
    days = calendar()
    now = OPEN_MINUTE + np.arange(days.session_minutes(day) + 1)
    spans = []
    for expiry in (near, following):
        close = OPEN_MINUTE + days.session_minutes(expiry)
        spans.append((expiry - day).days * 1440.0 + close - now)
    share = (spans[1] - 30.0 * 1440.0) / (spans[1] - spans[0])
    today = clock.remaining_today(day)
    first = today + clock.after_today(day, near, morning=False)
    second = today + clock.after_today(day, following, morning=False)
    anchor = share * first + (1.0 - share) * second
    anchor.flags.writeable = False
    return np.asarray(anchor)
