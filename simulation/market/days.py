"""Minutes inside a day: paths that start, peak, bottom and end exactly where the daily bar says, at the tick.

A path is a Brownian bridge in log prices whose variance follows the session's weights, folded into the day's range
and stretched so that it touches both ends of it. Several candidates are drawn at once and the one that needs least
stretching is kept; how far it had to be folded counts little, because bridges that hardly leave their line are too
calm and make the morning foretell the close. Everything is drawn from a counter-based generator keyed by seed,
purpose and date: a day never depends on another day's draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import cast

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from simulation.market.calendar import FloatArray

CANDIDATES = 16
TICK = 0.01
FOLDED = 0.2  # weight of the folding beside the stretching
LEAST_SCALE, MOST_SCALE = 0.72, 1.25  # of candidates over what the day's range says
SCALES = np.geomspace(LEAST_SCALE, MOST_SCALE, CANDIDATES)[:, None]
RANGE_OF_MOTION = 1.665  # root of the expected squared range of a unit Brownian motion, sqrt(4 ln 2) (Parkinson, 1980)


class _Key(ISeedSequence):
    """Hands Philox its key; given the key itself it would first ask the system for entropy that it does not use."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def generate_state(self, n_words: int, dtype: object = np.uint64) -> NDArray[np.uint64]:
        """The digest as words, lowest first."""
        return np.frombuffer(self._digest, dtype="<u8", count=n_words)


def stream(seed: int, purpose: str, day: date | int = 0) -> np.random.Generator:
    """A generator of its own for each (seed, purpose, day): the same values whatever else was drawn before."""
    ordinal = day if isinstance(day, int) else day.toordinal()
    digest = blake2b(f"{seed}|{purpose}|{ordinal}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(cast(np.random.SeedSequence, _Key(digest))))


@dataclass(frozen=True)
class MinutePath:
    """One session.

    ``points`` at the open and at each minute's end, and each minute's high and low, in points at the tick.
    """

    points: FloatArray
    high: FloatArray
    low: FloatArray

    @property
    def open(self) -> FloatArray:
        """Each minute's first price: the end of the minute before."""
        return self.points[:-1]

    @property
    def close(self) -> FloatArray:
        """Each minute's last price."""
        return self.points[1:]


@dataclass(frozen=True)
class Bar:
    """The four prices that a path must honour."""

    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class DayShape:
    """Levels that a session passes through, in points, by minutes after the open."""

    minute: FloatArray
    level: FloatArray


def shaped_path(
    generator: np.random.Generator, bar: Bar, weights: FloatArray, shape: DayShape, noise: float
) -> MinutePath:
    """A session through the shape's levels: lines between them in logs, with noise that is zero at each.

    The bar's prices exact.
    """
    now = np.arange(len(weights) + 1, dtype=np.float64)
    minute = np.concatenate(([0.0], shape.minute, [now[-1]]))
    level = np.log(np.concatenate(([bar.open], shape.level, [bar.close])))
    order = np.argsort(minute, kind="stable")
    base = np.interp(now, minute[order], level[order])
    walk = bridges(generator, weights, 6) * noise
    pins = np.unique(np.clip(minute, 0, now[-1]).astype(np.int64))
    walk -= np.stack([np.interp(now, pins, row[pins]) for row in walk])
    high, low = max(bar.high, float(np.exp(level.max()))), min(bar.low, float(np.exp(level.min())))
    whole = Bar(bar.open, round(high, 2), round(low, 2), bar.close) if np.isnan(bar.high) else bar
    points = honour(fit(base + walk, whole), whole)
    return minutes_of(generator, points, np.full(len(weights), 1e-8), whole)


def bridges(generator: np.random.Generator, weights: FloatArray, candidates: int) -> FloatArray:
    """Unit bridges from 0 to 0, one a row, over the session's weights; ``len(weights) + 1`` columns."""
    share = weights / weights.sum()
    steps = generator.standard_normal((candidates, len(weights))) * np.sqrt(share)
    walk = np.zeros((candidates, len(weights) + 1))
    np.cumsum(steps, axis=1, out=walk[:, 1:])
    passed = np.concatenate(([0.0], np.cumsum(share)))
    return np.asarray(walk - passed * walk[:, -1:])


def fold(paths: FloatArray, low: float, high: float) -> FloatArray:
    """Reflects values outside ``low`` to ``high`` back into it, as often as needed."""
    width = high - low
    if width <= 0.0:
        return np.full_like(paths, low)
    above = paths - low
    outside = (above < 0.0) | (above >= 2.0 * width)
    above[outside] %= 2.0 * width  # the others are their own remainder, which takes long to find
    return np.asarray(low + width - np.abs(above - width))


def _stretch(path: FloatArray, upper: float, high: float) -> FloatArray:
    """Moves what lies above ``upper`` so that the maximum becomes ``high``; a tent where nothing lies above it."""
    room, reach = high - upper, float(path.max()) - upper
    if room <= 0.0:
        return np.minimum(path, high)
    if reach > 0.25 * room:
        return np.where(path > upper, upper + (path - upper) * (room / reach), path)
    inner = path[1:-1]
    peak = 1 + int(np.argmax(inner))
    distance = np.abs(np.arange(len(path)) - peak) / max(4.0, 0.08 * len(path))
    tent = np.maximum(0.0, 1.0 - distance)
    tent[0] = tent[-1] = 0.0
    return np.asarray(path + tent * (high - path[peak]))


def fit(paths: FloatArray, bar: Bar) -> FloatArray:
    """The candidate of log ``paths`` (each from the bar's open to its close) closest to the bar's range.

    Made to touch both ends of it.
    """
    first, last, high, low = (float(np.log(price)) for price in (bar.open, bar.close, bar.high, bar.low))
    upper, lower = max(first, last), min(first, last)
    folded = fold(paths, low, high)
    misfit = np.abs(high - folded.max(axis=1)) + np.abs(folded.min(axis=1) - low)
    misfit += FOLDED * np.abs(paths - folded).max(axis=1)  # a path folded far was too wild for this day
    path = folded[int(np.argmin(misfit))]
    path = _stretch(path, upper, high)
    path = -_stretch(-path, -lower, -low)
    return np.asarray(np.clip(path, low, high))


def to_tick(prices: FloatArray, tick: float) -> FloatArray:
    """Prices at the nearest tick, free of binary dust."""
    return np.asarray((np.rint(prices / tick) * tick).round(6))


def honour(path: FloatArray, bar: Bar, tick: float = TICK) -> FloatArray:
    """Log ``path`` as prices at the tick with the bar's four prices exact; the bar's own prices must be at the tick."""
    points = np.clip(to_tick(np.exp(path), tick), bar.low, bar.high)
    if bar.high > max(bar.open, bar.close):
        points[1 + int(np.argmax(path[1:-1]))] = bar.high
    inside = points[1:-1] < bar.high
    if bar.low < min(bar.open, bar.close):
        values = np.where(inside, path[1:-1], np.inf)
        points[1 + int(np.argmin(values))] = bar.low
    points[0], points[-1] = bar.open, bar.close
    return np.asarray(points)


def minutes_of(
    generator: np.random.Generator, points: FloatArray, variance: FloatArray, bar: Bar, tick: float = TICK
) -> MinutePath:
    """Adds each minute's high and low.

    The exact law of a bridge's extremes between its ends, kept within the day's range.
    """
    first, last = points[:-1], points[1:]
    relative = np.log(last / first)
    draws = generator.random((2, len(first)))
    spread = np.sqrt(relative**2 - 2.0 * variance * np.log1p(-draws))
    high = np.exp(0.5 * (relative + spread[0])) * first
    low = np.exp(0.5 * (relative - spread[1])) * first
    high = np.clip(to_tick(high, tick), np.maximum(first, last), bar.high)
    low = np.clip(to_tick(low, tick), bar.low, np.minimum(first, last))
    return MinutePath(points, high, low)


def day_path(generator: np.random.Generator, bar: Bar, weights: FloatArray, tick: float = TICK) -> MinutePath:
    """A session of the index.

    Open, high, low and close of ``bar`` exactly, variance spread over the minutes by ``weights``.
    """
    first, last = float(np.log(bar.open)), float(np.log(bar.close))
    width = float(np.log(bar.high / bar.low))
    if width <= 0.0:
        flat = np.full(len(weights) + 1, bar.open)
        return MinutePath(flat, flat[1:], flat[1:])
    scale = width / RANGE_OF_MOTION * SCALES
    passed = np.concatenate(([0.0], np.cumsum(weights / weights.sum())))
    paths = first + (last - first) * passed + scale * bridges(generator, weights, CANDIDATES)
    path = fit(paths, bar)
    points = honour(path, bar, tick)
    variance = (width / RANGE_OF_MOTION) ** 2 * weights / weights.sum()
    return minutes_of(generator, points, variance, bar, tick)


@dataclass(frozen=True)
class VolatilityLaw:
    """How a volatility index moves with its own index, in logs.

    ``leverage``: log change of the volatility index per log return of its index, at a level of ``reference``
    percent; it falls with the power 0.7 of the level (S&P 500 and VIX in the arch data, 2014 to 2018: -10 under
    14, -9.1 from 14 to 20, -5.7 over 20); a ``reference`` of 0 keeps it constant. ``noise``: deviation of a
    session's log move that the index does not explain.
    """

    leverage: float = -9.0
    noise: float = 0.030
    reference: float = 15.0

    def at(self, level: float) -> float:
        """Leverage at a level of the volatility index, in percent."""
        if self.reference <= 0.0:
            return self.leverage
        return self.leverage * float(np.clip((self.reference / level) ** 0.7, 0.35, 1.15))


def volatility_open(
    generator: np.random.Generator,
    law: VolatilityLaw,
    closes: tuple[float, float],
    overnight_return: float,
    unseen: float,
) -> float:
    """The open of a volatility index of which only ``closes`` (yesterday's and today's) are known.

    It has moved with the overnight return that the index shows and, where the index's first print hides the night
    (``unseen``, the share of it), by a quarter of the rest of the day's change and noise of its own. Cboe's VIX, 2014
    to 2018: the open moved by 0.30 of the day's change with a deviation of 0.038, 0.029 on quiet and 0.06 on large
    days, more at a higher level; so what is left of the day is hardly foretold by it.
    """
    previous, close = closes
    change = float(np.log(close / previous))
    known = law.at(previous) * overnight_return
    opened = known + (0.03 + 0.24 * unseen) * (change - known)
    scale = law.noise / 0.03 * (0.4 + 0.6 * unseen) * float(np.clip(previous / 14.0, 0.5, 3.0)) ** 0.6
    opened += scale * (0.026 + 0.175 * abs(change)) * float(generator.standard_normal())
    bounded = float(np.clip(opened, min(0.0, change) - 0.15, max(0.0, change) + 0.15))
    return round(previous * float(np.exp(bounded)), 2)


@dataclass(frozen=True)
class Companionship:
    """How a price moves with the index within a session.

    Its log move per log move of the index, and a deviation of its own.
    """

    exposure: float
    noise: float
    tick: float = TICK


def companion_path(
    generator: np.random.Generator, index: MinutePath, bar: Bar, weights: FloatArray, law: Companionship
) -> MinutePath:
    """A session of something that moves with the index's own minutes, from the bar's open to its close.

    Honours the bar's high and low too when they are known (not NaN).
    """
    passed = np.concatenate(([0.0], np.cumsum(weights / weights.sum())))
    moved = np.log(index.points / index.points[0])
    around = moved - passed * moved[-1]
    trend = float(np.log(bar.close / bar.open))
    is_free = bool(np.isnan(bar.high))  # then the first candidate is taken
    own = bridges(generator, weights, 1 if is_free else 6) * law.noise
    paths = float(np.log(bar.open)) + passed * trend + law.exposure * around + own
    if not is_free:
        points = honour(fit(paths, bar), bar, law.tick)
        return minutes_of(generator, points, np.full(len(weights), 1e-7), bar, law.tick)
    points = np.maximum(to_tick(np.exp(paths[0]), law.tick), law.tick)
    points[0], points[-1] = bar.open, bar.close
    return MinutePath(points, np.maximum(points[:-1], points[1:]), np.minimum(points[:-1], points[1:]))
