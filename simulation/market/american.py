"""What early exercise adds to a European price, for a contract's day or for a chain at a minute.

Two engines, each where it is exact. Where holding costs accrue evenly (futures; funds that pay nothing before the
expiry): QuantLib's QdFpAmericanEngine, fast scheme (Andersen, Lake and Offengenden, 2016). Where dividends fall into
the option's life: finite differences, because exercise then hangs on single evenings and QuantLib's fast engines know
yields only. Dividends are a share of the price, as the funds of this model declare them; between ex-dates the price
without them is lognormal, and variance until an ex-date's eve is what the surface has for that evening.

Neither engine runs for each minute. Prices depend on four numbers only: depth in the money in deviations, total
variance, and what rate and yield come to until expiry. So QuantLib's premiums are kept on a lattice of these that all
contracts and days share, filled where somebody looks, and the finite differences' on profiles over all strikes of an
expiration, one for each level of variance; in between, cubic interpolation. A node's value depends on its place
alone, hence results do not depend on who looked before. The tests hold both against QuantLib itself.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from math import ceil, exp, sqrt
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from simulation.market.asset_days import AssetDay
from simulation.market.calendar import FloatArray, calendar
from simulation.market.surface import black

Function = TypeVar("Function", bound=Callable[..., Any])
SMALLEST_SHARE = 1e-6  # of the strike: interest or dividends to be earned by exercise under which there is no premium
DEEPEST, SHALLOWEST = 6.0, -4.0  # deviations in the money between which premiums are tabulated


def _compiled(function: Function) -> Function:
    """The function as machine code, cached on disk beside the source or, where that is read-only, in a new folder."""
    numba = importlib.import_module("numba")
    try:
        return cast(Function, numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:
        numba.config.CACHE_DIR = os.path.join(tempfile.mkdtemp(prefix="market-numba-"))
        return cast(Function, numba.njit(cache=True, error_model="numpy")(function))


LANES = 4  # levels of variance solved side by side: a level alone would wait for each of its divisions


def march(terms: FloatArray, steps: FloatArray, rows: NDArray[np.int64], out: FloatArray) -> None:
    """Solves four levels of variance from expiry to now and writes the premium of exercise at the rows asked for.

    Forward measure, log forward over strike in deviations, depth in the money falling with the index. ``terms``: sign,
    and root of total variance of each level. ``steps``: one row a step of share of variance, interest factor and price
    over escrowed price at its end, weight of the implicit side, and that price ratio before a dividend when the step
    ends on its eve (else 0); the first row is expiry. ``rows``: where in ``out`` a step's premium goes, or -1; there
    the levels of one depth lie side by side. Crank and Nicolson with Brennan and Schwartz's (1977) elimination; on an
    eve the kink of the choice is averaged over its cell.
    """
    sign, count = terms[0], out.shape[1]
    width = (DEEPEST - SHALLOWEST) / (count // LANES - 1)
    level, american, european = np.empty(count), np.empty(count), np.empty(count)
    diagonal, early, late = np.empty(count), np.empty(count), np.empty(count)
    below, above = np.empty(count), np.empty(count)
    for i in range(count):
        root = terms[1 + i % LANES]
        level[i] = exp(root * sign * (DEEPEST - width * (i // LANES)))
        european[i] = max(sign * (level[i] - 1.0), 0.0)
        american[i] = max(european[i], sign * (steps[0, 2] * level[i] - steps[0, 1]))
        below[i] = 0.5 / (width * width) - 0.25 * root * sign / width
        above[i] = 0.5 / (width * width) + 0.25 * root * sign / width
    edge = count - LANES
    linked = below.copy()
    linked[edge - LANES :] = 0.0
    for n in range(1, steps.shape[0]):
        implicit, explicit = steps[n, 3] * steps[n, 0], (1.0 - steps[n, 3]) * steps[n, 0]
        diagonal[edge:] = 1.0
        early[edge:], late[edge:] = american[edge:], european[edge:]
        for i in range(edge - 1, LANES - 1, -1):
            up, down = i - LANES, i + LANES
            factor = -implicit * above[i] / diagonal[down]
            here = below[i] + above[i]
            for_american = american[i] + explicit * (
                below[i] * american[up] - here * american[i] + above[i] * american[down]
            )
            for_european = european[i] + explicit * (
                below[i] * european[up] - here * european[i] + above[i] * european[down]
            )
            early[i] = for_american - factor * early[down]
            late[i] = for_european - factor * late[down]
            diagonal[i] = 1.0 + implicit * here - factor * (-implicit * linked[i])
        interest, gain = steps[n, 1], steps[n, 2]
        american[:LANES] = np.maximum(american[:LANES], sign * (gain * level[:LANES] - interest))
        for i in range(LANES, edge):
            european[i] = (late[i] + implicit * below[i] * european[i - LANES]) / diagonal[i]
            held = (early[i] + implicit * below[i] * american[i - LANES]) / diagonal[i]
            american[i] = max(held, sign * (gain * level[i] - interest))
        if steps[n, 4] > 0.0:
            gained = sign * (steps[n, 4] * level - interest) - american
            american[:LANES] += np.maximum(gained[:LANES], 0.0)
            for i in range(LANES, edge):
                slant = 0.25 * abs(gained[i - LANES] - gained[i + LANES])
                if abs(gained[i]) < slant:
                    american[i] += (slant + gained[i]) ** 2 / (4.0 * slant)
                else:
                    american[i] += max(gained[i], 0.0)
        if rows[n] >= 0:
            for i in range(count):
                out[rows[n], i] = (american[i] - european[i]) / interest


def read(table: FloatArray, at: FloatArray, base: NDArray[np.int64], out: FloatArray) -> None:
    """Cubic interpolation (Lagrange, four points an axis) of a table of three axes at the columns of ``at``.

    ``base``: whole steps of the first axis that come on top, apart so that no digit of ``at`` depends on the table.
    """
    weights = np.empty((3, 4))
    first = np.empty(3, dtype=np.int64)
    for row in range(at.shape[1]):
        for axis in range(3):
            size, steps = table.shape[axis], base[row] if axis == 0 else 0
            start = min(max(int(np.floor(at[axis, row])) - 1 + steps, 0), size - 4)
            x = at[axis, row] - (start - steps)
            first[axis] = start
            weights[axis, 0] = -(x - 1.0) * (x - 2.0) * (x - 3.0) / 6.0
            weights[axis, 1] = x * (x - 2.0) * (x - 3.0) / 2.0
            weights[axis, 2] = -x * (x - 1.0) * (x - 3.0) / 2.0
            weights[axis, 3] = x * (x - 1.0) * (x - 2.0) / 6.0
        total = 0.0
        for i in range(4):
            for j in range(4):
                line = 0.0
                for k in range(4):
                    line += weights[2, k] * table[first[0] + i, first[1] + j, first[2] + k]
                total += weights[0, i] * weights[1, j] * line
        out[row] = total


@lru_cache(maxsize=1)
def _kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """The two loops as machine code, made (or loaded) when the first American contract is looked at."""
    return _compiled(march), _compiled(read)


def _interpolated(
    table: FloatArray, axes: tuple[FloatArray, FloatArray, FloatArray], base: NDArray[np.int64] | None = None
) -> FloatArray:
    out = np.empty(len(axes[0]))
    _kernels()[1](table, np.stack(axes), np.zeros(len(out), dtype=np.int64) if base is None else base, out)
    return out


# --- QuantLib, where holding costs accrue evenly ---------------------------------------------------------------------

DEPTH_STEP = 0.125  # deviations
LOG_STEP = 0.4  # in log variance, and in the log of what rate and yield come to
SMALLEST_VARIANCE, LARGEST_VARIANCE = 1e-8, 4.0
LARGEST_COST, COST_SCALE = 0.5, 0.1
UNIT = 100.0  # QuantLib's strike: prices scale with it
YEAR = 365
AT_FIRST = round((DEEPEST - 0.5) / DEPTH_STEP)  # index from which on a node is always QuantLib's
NO_GAIN = 2e-6  # of the strike: what waiting may seem to be worth by the engine's own error


class QuickPrices:
    """QuantLib's fast American engine for one year and a strike of 100; only its four quotes ever change.

    Its dates lie where no evaluation date of this process, and no clock, can reach them.
    """

    def __init__(self) -> None:
        quantlib = importlib.import_module("QuantLib")
        today, count = quantlib.Date(1, 1, 2150), quantlib.Actual365Fixed()
        self._quotes = [quantlib.SimpleQuote(value) for value in (UNIT, 0.02, 0.02, 0.2)]
        spot, interest, earned, volatility = (quantlib.QuoteHandle(quote) for quote in self._quotes)
        curves = [
            quantlib.YieldTermStructureHandle(quantlib.FlatForward(today, rate, count)) for rate in (earned, interest)
        ]
        surface = quantlib.BlackConstantVol(today, quantlib.NullCalendar(), volatility, count)
        handle = quantlib.BlackVolTermStructureHandle(surface)
        process = quantlib.BlackScholesMertonProcess(spot, curves[0], curves[1], handle)
        engine = quantlib.QdFpAmericanEngine(process, quantlib.QdFpAmericanEngine.fastScheme())
        exercise = quantlib.AmericanExercise(today, today + YEAR)
        self._options = {
            sign: quantlib.VanillaOption(quantlib.PlainVanillaPayoff(kind, UNIT), exercise)
            for sign, kind in ((1.0, quantlib.Option.Call), (-1.0, quantlib.Option.Put))
        }
        for option in self._options.values():
            option.setPricingEngine(engine)

    def price(self, sign: float, spot: float, variance: float, interest: float, earned: float) -> float:
        """American price over the strike; ``spot`` too; ``interest`` and ``earned`` are rate and yield times years."""
        for quote, value in zip(self._quotes, (UNIT * spot, interest, earned, sqrt(variance)), strict=True):
            quote.setValue(value)
        return float(self._options[sign].NPV()) / UNIT


@lru_cache(maxsize=1)
def quick_prices() -> QuickPrices:
    """The engine, built when the first American contract is looked at."""
    return QuickPrices()


def _cost_place(cost: FloatArray) -> FloatArray:
    """Place on the lattice of what rate and yield come to: even steps of its log while small, of itself when large."""
    known = np.maximum(cost, SMALLEST_SHARE)
    return np.asarray((np.log(known / SMALLEST_SHARE) + known / COST_SCALE) / LOG_STEP)


@lru_cache(maxsize=2)
def _axes(levels: int, costs: int) -> tuple[FloatArray, FloatArray]:
    """Total variance, and what rate and yield come to, at the lattice's places."""
    whole = lambertw(np.exp(np.arange(costs) * LOG_STEP + np.log(SMALLEST_SHARE / COST_SCALE))).real
    return SMALLEST_VARIANCE * np.exp(np.arange(levels) * LOG_STEP), np.asarray(COST_SCALE * whole)


class Lattice:
    """Premiums of one right and one ratio of rate to yield: log variance, log of costs until expiry, depth."""

    def __init__(self, sign: float, interest: float, earned: float) -> None:
        self.sign = sign
        self.shares = (interest, earned)  # rate and yield over the larger of the two
        sizes = (
            int(np.log(LARGEST_VARIANCE / SMALLEST_VARIANCE) / LOG_STEP) + 2,
            int(_cost_place(np.array([LARGEST_COST]))[0]) + 2,
            round((DEEPEST - SHALLOWEST) / DEPTH_STEP) + 1,
        )
        self._variances, self._costs = _axes(sizes[0], sizes[1])
        self._table = np.full(sizes, np.nan)
        self._boundaries: dict[tuple[int, int], int] = {}

    def at(self, depth: FloatArray, variance: FloatArray, cost: FloatArray) -> FloatArray:
        """Premium over strike; ``cost`` is the larger of rate and yield times years to expiry."""
        axes = (
            np.log(np.maximum(variance, SMALLEST_VARIANCE) / SMALLEST_VARIANCE) / LOG_STEP,
            _cost_place(cost),
            (DEEPEST - np.maximum(depth, SHALLOWEST)) / DEPTH_STEP,
        )
        found = _interpolated(self._table, axes)
        missing = np.isnan(found)
        if bool(missing.any()):
            self._fill([axis[missing] for axis in axes])
            found = _interpolated(self._table, axes)
        return found

    def beyond(self, moneyness: FloatArray, variance: FloatArray, cost: FloatArray) -> FloatArray:
        """Premium over strike deeper in the money than the lattice reaches: a straight line in the price."""
        edges = [np.full(len(moneyness), DEEPEST - inward) for inward in (0.0, 0.5)]
        premiums = [self.at(edge, variance, cost) for edge in edges]
        prices = [np.exp(self.sign * edge * np.sqrt(variance)) for edge in edges]
        slope = (premiums[0] - premiums[1]) / (prices[0] - prices[1])
        return np.asarray(np.maximum(premiums[0] + slope * (np.exp(moneyness) - prices[0]), 0.0))

    def _fill(self, axes: list[FloatArray]) -> None:
        first = [
            np.clip(np.floor(axis).astype(np.int64) - 1, 0, size - 4)
            for axis, size in zip(axes, self._table.shape, strict=True)
        ]
        low = [int(axis.min()) for axis in first]
        box = tuple(slice(edge, int(axis.max()) + 4) for edge, axis in zip(low, first, strict=True))
        wanted = np.zeros(self._table[box].shape, dtype=bool)
        cells = {*zip(*((axis - edge).tolist() for axis, edge in zip(first, low, strict=True)), strict=True)}
        for level, cost, depth in cells:
            wanted[level : level + 4, cost : cost + 4, depth : depth + 4] = True
        inside = np.nonzero(wanted & np.isnan(self._table[box]))
        nodes = tuple(index + edge for index, edge in zip(inside, low, strict=True))
        forward, variance, interest, earned = self._terms(*nodes)
        european = black(forward, 1.0, variance, np.exp(-interest), self.sign)
        best = self.sign * (forward * np.exp(earned - interest) - 1.0)
        terms = zip(*(part.tolist() for part in (forward, variance, interest, earned)), strict=True)
        places = zip(*(index.tolist() for index in nodes), strict=True)
        for row, ((level, cost, depth), at) in enumerate(zip(places, terms, strict=True)):
            if depth >= AT_FIRST or depth > self._exercised(level, cost):
                best[row] = max(best[row], self._price(*at))
        self._table[nodes] = best - european

    def _terms(
        self, level: NDArray[np.int64], cost: NDArray[np.int64], depth: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Forward over strike, total variance, and what rate and yield come to, at nodes."""
        variance, whole = self._variances[level], self._costs[cost]
        forward = np.exp(self.sign * (DEEPEST - depth * DEPTH_STEP) * np.sqrt(variance))
        return forward, variance, self.shares[0] * whole, self.shares[1] * whole

    def _price(self, forward: float, variance: float, interest: float, earned: float) -> float:
        return quick_prices().price(self.sign, forward * exp(earned - interest), variance, interest, earned)

    def _exercised(self, level: int, cost: int) -> int:
        """The largest index (least depth) at which exercise is best, by halving; -1 when it nowhere is."""
        known = self._boundaries.get((level, cost))
        if known is None:
            known, open_end = -1, AT_FIRST
            depths = np.arange(AT_FIRST)
            terms = self._terms(np.full(AT_FIRST, level), np.full(AT_FIRST, cost), depths)
            every = list(zip(*(part.tolist() for part in terms), strict=True))
            while open_end - known > 1:
                middle = (known + open_end) // 2
                forward, variance, interest, earned = every[middle]
                intrinsic = self.sign * (forward * exp(earned - interest) - 1.0)
                gain = self._price(forward, variance, interest, earned) - intrinsic
                known, open_end = (middle, open_end) if gain < NO_GAIN else (known, middle)
            self._boundaries[level, cost] = known
        return known


@lru_cache(maxsize=48)
def lattice(sign: float, interest: float, earned: float) -> Lattice:
    """The lattice of a right and a ratio; what is in it does not depend on who made it."""
    return Lattice(sign, interest, earned)


# --- finite differences, where dividends fall into the option's life -------------------------------------------------

NODES, EVE_NODES = 161, 481  # of a profile; more when its kink is tonight
STEPS, LEAST_STEPS = 40, 5  # of the whole life, and of each stretch between ex-dates
LEVEL_STEP, EVE_LEVEL_STEP = 0.4, 0.1  # in log variance between profiles
TODAY_ROWS, EVE_ROWS = (
    4,
    9,
)  # moments of today kept: three steps, or eight when the last evening before an ex-date is today


@dataclass(frozen=True, slots=True)
class Timetable:
    """The life of an expiration as seen from a day, backwards from expiry.

    ``steps`` and ``rows`` as `march` reads them; ``dusk`` is the share of the variance at the day's open that is left
    at its close, ``elapsed`` the share of today's variance that is over at each minute.
    """

    steps: FloatArray
    rows: NDArray[np.int64]
    dusk: float
    elapsed: FloatArray

    @property
    def kept(self) -> int:
        """Moments of the day that a profile holds."""
        return int(self.rows.max()) + 1

    @property
    def nodes(self) -> int:
        """Strikes of a profile."""
        return EVE_NODES if self.kept == EVE_ROWS else NODES

    @property
    def level_step(self) -> float:
        """Log variance between profiles."""
        return EVE_LEVEL_STEP if self.kept == EVE_ROWS else LEVEL_STEP

    def positions(self) -> tuple[FloatArray, FloatArray]:
        """At each minute: variance left as a share of the open's, and the place among the day's kept moments."""
        left = 1.0 - self.elapsed * (1.0 - self.dusk)
        return left, np.sqrt(np.maximum(1.0 - self.elapsed, 0.0)) * (self.kept - 1.0)


@dataclass(frozen=True, slots=True)
class _Evening:
    """The last exercise before an ex-date: variance and years left then, price over escrowed price before and after."""

    left: float
    years: float
    before: float
    after: float


def _evenings(state: AssetDay, expiry: date) -> list[_Evening]:
    """The evenings before each ex-date in an expiration's life, the last first."""
    carry, today = state.carry, state.day.toordinal()
    whole, years = state.at_open(expiry)
    found, escrowed = [], 0.0
    for ordinal, amount in sorted(carry.dividends, reverse=True):
        if not today < ordinal <= expiry.toordinal():
            continue
        evening = calendar().on_or_before(date.fromordinal(ordinal) - timedelta(days=1))
        after = 1.0 / (1.0 - escrowed)
        escrowed += amount * exp(-carry.rate * (ordinal - today) / 365.0) / float(state.spot.points[0])
        theta, then = state.at_open(evening)
        left = max(1.0 - theta / whole, 0.0)
        found.append(_Evening(left, years - then, 1.0 / (1.0 - escrowed), after))
    return found


@lru_cache(maxsize=256)
def _stretch(count: int) -> tuple[tuple[float, float, float], ...]:
    """Steps between two marks: share passed at each one's end, its own share, and weight of its implicit side."""
    shares = [(step / count) ** 2 for step in range(count + 1)]
    return tuple(
        (shares[step], shares[step] - shares[step - 1], 1.0 if step < 3 else 0.5) for step in range(1, count + 1)
    )


def timetable(state: AssetDay, expiry: date, sign: float, rate: float) -> Timetable:
    """Time steps from ``expiry`` back to the open of ``state``'s day, each evening before an ex-date among them.

    On such an evening the holder of a call may take the dividend by exercise; a put is better exercised after it.
    """
    evenings = _evenings(state, expiry)
    (whole, years), (today, hours) = state.at_open(expiry), state.at_open(state.day)
    dusk = max(1.0 - today / whole, 0.0)
    night = years - hours
    eve = bool(evenings) and evenings[-1].left >= dusk - 1e-9
    kept = EVE_ROWS if eve else TODAY_ROWS
    marks = [(one.left, one.years, one.after, one.before if sign > 0 else 0.0) for one in evenings]
    if not eve:
        marks.append((dusk, night, evenings[-1].before, 0.0))
    marks.append((1.0, years, evenings[-1].before, 0.0))
    rows: list[tuple[float, float, float, float, float]] = [(0.0, 1.0, evenings[0].after, 1.0, 0.0)]
    at = (0.0, 0.0)
    for number, (left, time, gain, eve_gain) in enumerate(marks):
        length, later = left - at[0], time - at[1]
        count = kept - 1 if number == len(marks) - 1 else max(LEAST_STEPS, ceil(STEPS * length))
        for share, part, weight in _stretch(count):
            rows.append((length * part, exp(rate * (at[1] + share * later)), gain, weight, 0.0))
        rows[-1] = (*rows[-1][:4], eve_gain)
        at = (left, time)
    where = np.full(len(rows), -1, dtype=np.int64)
    where[-kept:] = np.arange(kept)
    over_today = state.remaining / max(float(state.remaining[0]), 1e-300)
    return Timetable(np.array(rows), where, dusk, 1.0 - over_today)


class Profiles:
    """Premiums of one expiration and right on one day over all strikes: log variance, moment of the day, depth."""

    def __init__(self, plan: Timetable, sign: float) -> None:
        self._plan = plan
        self._sign = sign
        self._left, self._moment = plan.positions()
        self._levels: dict[int, FloatArray] = {}

    def _table(self, first: int, last: int) -> FloatArray:
        """The levels from ``first`` to ``last``, those not yet known solved a few at a time."""
        missing = [number for number in range(first, last + 1) if number not in self._levels]
        for at in range(0, len(missing), LANES):
            some = missing[at : at + LANES]
            some += range(some[-1] + 1, some[-1] + 1 + LANES - len(some))
            roots = [exp(0.5 * self._plan.level_step * number) for number in some]
            solved = np.empty((self._plan.kept, self._plan.nodes * LANES))
            _kernels()[0](np.array([self._sign, *roots]), self._plan.steps, self._plan.rows, solved)
            levels = solved.reshape(self._plan.kept, self._plan.nodes, LANES)
            self._levels.update((number, np.ascontiguousarray(levels[:, :, lane])) for lane, number in enumerate(some))
        return np.stack([self._levels[number] for number in range(first, last + 1)])

    def at(self, depth: FloatArray, variance: FloatArray, minute: NDArray[np.int64]) -> FloatArray:
        """Premium over strike at minutes of the day (0 is the open); a profile's depth is in deviations of the open."""
        left = self._left[minute]
        level = np.log(variance / left) / self._plan.level_step
        whole = np.floor(level)
        first = int(whole.min()) - 1
        table = self._table(first, int(whole.max()) + 2)
        place = (DEEPEST - np.maximum(depth * np.sqrt(left), SHALLOWEST)) * (
            (self._plan.nodes - 1) / (DEEPEST - SHALLOWEST)
        )
        return _interpolated(table, (level - whole, self._moment[minute], place), whole.astype(np.int64) - first)

    def beyond(self, moneyness: FloatArray, discount: FloatArray) -> FloatArray:
        """Premium over strike deeper in the money than the profiles reach: the best certain moment to exercise."""
        over = np.exp(moneyness)
        past = self._plan.steps[: len(self._plan.steps) - self._plan.kept + 1, 1:]
        gains = np.concatenate((past[:, 1], past[past[:, 3] > 0.0, 3]))
        interest = np.concatenate((past[:, 0], past[past[:, 3] > 0.0, 0]))
        best = (self._sign * (np.multiply.outer(gains, over) - interest[:, None])).max(axis=0)
        return np.asarray(discount * np.maximum(best - self._sign * (over - 1.0), 0.0))
