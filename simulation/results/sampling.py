"""What the engine samples while it runs: the daily figures at midnight and the equity curve (BaseResultsHandler.cs).

The kernel calls `sample_day` at midnight of the algorithm's zone and at the end, and `sample_chart` after a step when
the next point of the equity curve is due. With `every_step` the curve's candles hold the range of all steps between two
points, as LEAN's do; without, each candle is one value and a run is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np

from simulation.account.standing import StandingAccount
from simulation.data.columns import FactorRow, Floats, Integers
from simulation.data.lean_folder import LeanFolder
from simulation.lean.clock import DAY_MS, FOREVER, HOUR_MS, zone_of
from simulation.lean.enums import DelistingType, Resolution, SecurityType
from simulation.lean.numbers import clean
from simulation.lean.symbols import Symbol
from simulation.results.capacity import CapacityEstimate

_CLOSE_TO_MIDNIGHT_MS = 8 * HOUR_MS
_LONGEST_CLOSURE_DAYS = 10
MINIMUM_STEP_MS = 240_000
NO_STEP = -1
MARGIN_SERIES = 40
OTHERS = "OTHERS"
SAMPLES = 4000
"""LEAN aims at this many points of the equity curve, at least four minutes apart."""


class Benchmark:
    """What the run is compared with: what the algorithm set, else SPY, by the hour and adjusted as LEAN subscribes it.

    Its prices are its own: a subscription of the algorithm to the same share does not move it (the recordings; LEAN,
    SecurityManager.CreateBenchmarkSecurity, UniverseSelection.cs:334).
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._bars: tuple[Integers, Floats] | None = None

    def value(self, utc_ms: int) -> float:
        """Dollars at an instant; 0 before the first bar, or where the market has none."""
        symbol = self._symbol()
        if symbol is None:
            return float(self._engine.benchmark_value())
        ends, closes = self._known(symbol)
        row = int(np.searchsorted(ends, utc_ms, "right")) - 1
        return float(closes[row]) if row >= 0 else float(0)

    def last_step_ms(self) -> int:
        """The last hour of the benchmark inside the run: until then LEAN's clock goes on where nothing else has data.

        It is filled forward to the end of the run. Minus one where the market has none: the clock stops with the last
        data, on a weekend before the run's last date too (recording fuzz march-573).
        """
        engine, symbol = self._engine, self._symbol()
        if symbol is None or not len(self._known(symbol)[0]):
            return NO_STEP
        hours = engine.hours_of(symbol)
        day = zone_of(hours.time_zone).date_of(engine.end_ms)
        for back in range(_LONGEST_CLOSURE_DAYS):
            closes = [close for _, close in hours.sessions_utc_ms(day - timedelta(days=back), False)]
            inside = [close for close in closes if close <= engine.end_ms]
            if inside:
                return int(max(inside))
        return NO_STEP

    def hours_between(self, low: int, high: int) -> list[int]:
        """Ends of the benchmark's hours in a stretch of UTC milliseconds, its ends left out; none without such bars."""
        symbol = self._symbol()
        if symbol is None or not len(self._known(symbol)[0]):
            return list(())
        hours = self._engine.hours_of(symbol)
        zone = zone_of(hours.time_zone)
        day, last = zone.date_of(low), zone.date_of(high)
        found: list[int] = []
        while day <= last:
            for opens, closes in hours.sessions_utc_ms(day, False):
                found.extend(range(opens // HOUR_MS * HOUR_MS + HOUR_MS, closes + 1, HOUR_MS))
            day += timedelta(days=1)
        return [moment for moment in found if low < moment < high]

    def _symbol(self) -> Symbol | None:
        given = self._engine.algorithm.benchmark
        if callable(given):
            return None
        return given if isinstance(given, Symbol) else Symbol.create(given or "SPY", SecurityType.EQUITY, "usa")

    def _known(self, symbol: Symbol) -> tuple[Integers, Floats]:
        if self._bars is None:
            self._bars = self._read(symbol)
        return self._bars

    def _read(self, symbol: Symbol) -> tuple[Integers, Floats]:
        """Ends and adjusted closes: hours of a folder; days of a model, whose hours are made of every minute it has."""
        source = self._engine.source
        day = self._engine.algorithm.start_date.date()
        by_hours = isinstance(source, LeanFolder)
        block = source.trades(symbol, Resolution.HOUR if by_hours else Resolution.DAILY, day)
        if block is None:
            return np.empty(0, dtype=np.int64), np.empty(0)
        rows = source.factor_file(symbol) if symbol.security_type is SecurityType.EQUITY else None
        known_from = block.end if by_hours else block.end - _CLOSE_TO_MIDNIGHT_MS
        return known_from, block.close * _factors(rows or (), block.start)


def _factors(rows: Iterable[FactorRow], start: Integers) -> Floats:
    """What each bar's price is multiplied by: the first row of the factor file that is not before its day."""
    known = sorted(rows, key=lambda row: row.day)
    if not known:
        return np.ones(len(start))
    epoch = date(1970, 1, 1).toordinal()
    days = np.array([row.day.toordinal() - epoch for row in known])
    scale = np.array([row.price_factor * row.split_factor for row in known] + [1.0])
    return np.asarray(scale[np.searchsorted(days, start // DAY_MS)])


class Samples:
    """Series of (UTC milliseconds, value); the equity curve holds (UTC ms, open, high, low, close)."""

    def __init__(self, engine: Any, every_step: bool = False) -> None:
        self._engine = engine
        self.every_step = every_step
        self.equity: list[tuple[int, float, float, float, float]] = []
        self.daily: list[tuple[int, float]] = []
        self.series: dict[str, list[tuple[int, float]]] = {
            name: [] for name in ("performance", "benchmark", "drawdown", "turnover", "capacity")
        }
        self.exposure: dict[str, list[tuple[int, float]]] = {}
        self.sales: dict[str, list[tuple[int, float]]] = {}
        self.margin: dict[str, list[tuple[int, float | None]]] = {}
        self.capacity: CapacityEstimate | None = None
        self.starting_capital = 0.0
        self.log_edges: list[int] = []
        self.benchmark = Benchmark(engine)
        self._candle: list[float] | None = None
        self._standing: StandingAccount | None = None
        self._waiting: list[int] = []
        self._day_value = 0.0
        self._highest = 0.0
        self._sold = [0.0, 0.0]
        self._last_turnover_ms = -1

    def start(self) -> None:
        """Notes the capital at the first instant after warm-up."""
        value = self._value()
        self.starting_capital = self._day_value = self._highest = value
        self._candle = None
        self._waiting.clear()
        if self.every_step:
            self.capacity = CapacityEstimate(self._engine)

    def _value(self) -> float:
        return float(self._engine.portfolio.total_portfolio_value)

    def before_orders(self) -> None:
        """Called with new prices before anything trades on them: excursions of open trades."""
        self._engine.portfolio.trade_builder.see_prices(self._engine.securities, self._engine.data_ms)

    def see(self) -> None:
        """The end of a step, where every step is followed: what the account is worth, at once or together with others.

        Its instants wait while neither cash nor what is held changes and every price of it has a path.
        """
        if self.capacity is not None:
            self.capacity.update()
        portfolio, ms = self._engine.portfolio, self._engine.data_ms
        if self._standing is None or not self._standing.stands(portfolio, ms):
            self._widen_waiting()
            self._standing = StandingAccount.of(portfolio, ms)
        if self._standing is None:
            self._widen()
        else:
            self._waiting.append(ms)

    def follow(self, instants: list[int]) -> bool:
        """Takes in steps in which nothing changes but prices, in UTC milliseconds and in their order; false, with
        nothing taken in, where each must be looked at by itself."""
        portfolio, standing = self._engine.portfolio, self._standing
        if not self.every_step:
            return True
        if standing is None or not standing.stands(portfolio, instants[-1]):
            return False
        if not portfolio.trade_builder.follow(self._engine.securities, instants):
            return False
        self._waiting += instants
        return True

    def worth_at(self, instants: list[int]) -> tuple[float, float] | None:
        """The least and the most that the account is worth at some instants to come, in which nothing changes but
        prices; None where it has to be valued at each."""
        standing = self._standing
        if standing is None or not standing.stands(self._engine.portfolio, instants[-1]):
            return None
        values = standing.values(np.array(instants, dtype=np.int64))
        return clean(values.min().item()), clean(values.max().item())

    def _widen_waiting(self) -> None:
        """Widens the current candle by what the account was worth at the instants that wait."""
        if self._waiting and self._standing is not None:
            values = self._standing.values(np.array(self._waiting, dtype=np.int64))
            self._waiting.clear()
            for place in dict.fromkeys((0, int(values.argmax()), int(values.argmin()), len(values) - 1)):
                self._widen_by(round(clean(values.item(place)), 4))

    def quiet_until(self, snapshot: Mapping[Symbol, object]) -> int:
        """Until when steps leave nothing to sample, with these symbols subscribed, while nothing is held and no money
        moves: UTC milliseconds."""
        if self.capacity is None:
            return FOREVER
        return 0 if self.capacity.watches(snapshot) else self.capacity.quiet_until()

    @property
    def weighs_at(self) -> int:
        """When the capacity is weighed next, at the earliest: UTC milliseconds."""
        return FOREVER if self.capacity is None else self.capacity.quiet_until()

    def watcher(self, snapshot: Mapping[Symbol, object]) -> Callable[[], None] | None:
        """What has to look at each step between two weighings, with these symbols subscribed; None where nothing."""
        capacity = self.capacity
        return capacity.update if capacity is not None and capacity.watches(snapshot) else None

    def reopen(self, delistings: Iterable[DelistingType]) -> None:
        """A contract that leaves makes LEAN's next slice one of the same instant: the next candle opens in it."""
        if self.every_step and DelistingType.DELISTED in delistings:
            self._widen()

    def _widen(self) -> None:
        """Widens the current candle by what waits and by the portfolio's value now."""
        self._widen_waiting()
        self._widen_by(round(self._value(), 4))

    def _widen_by(self, value: float) -> None:
        if self._candle is not None and value == self._candle[3]:
            return  # it lies within the candle already
        if self._candle is None:
            self._candle = [value, value, value, value]
        else:
            candle = self._candle
            candle[1], candle[2], candle[3] = max(candle[1], value), min(candle[2], value), value

    def final_capacity(self) -> tuple[float, str]:
        """The last estimate of the strategy's capacity in dollars, and the identifier of the asset that limits it."""
        if self.capacity is None or not self._engine.order_events:
            return 0.0, ""
        for _ in range(2):  # LEAN forces it at the end of the loop and again when it leaves
            self.capacity.update(force=True)
        asset = self.capacity.lowest_asset
        return self.capacity.capacity, "" if asset is None else str(asset.id)

    def sample_chart(self, utc_ms: int) -> None:
        """A point of the equity curve; what was logged since the last one is gathered."""
        self.log_edges.append(len(self._engine.algorithm.logs.entries))
        self._sample_equity(utc_ms)

    def _sample_equity(self, utc_ms: int) -> None:
        self._widen()
        candle = self._candle
        if candle is not None and (not self.equity or utc_ms > self.equity[-1][0]):
            self.equity.append((utc_ms, candle[0], candle[1], candle[2], candle[3]))
        self._candle = None

    def sample_day(self, utc_ms: int) -> None:
        """The daily figures: return, benchmark, drawdown, sales, exposure, turnover, margin."""
        if not self.starting_capital:
            self.start()
        value = self._value()
        before = self._day_value
        gain = round((value - before) * 100 / before, 10) if before else before
        self._highest = max(self._highest, value)
        self._add(self.daily, utc_ms, value)
        self._fill(utc_ms)
        self._sample_equity(utc_ms)
        self._add(self.series["benchmark"], utc_ms, self.benchmark.value(utc_ms))
        self._add(self.series["performance"], utc_ms, gain)
        if self._highest:
            self._add(self.series["drawdown"], utc_ms, round((value / self._highest - 1) * 100, 2))
        self._sample_sales(utc_ms)
        self._sample_exposure(utc_ms, value)
        self._add(self.series["capacity"], utc_ms, 0.0 if self.capacity is None else self.capacity.capacity)
        self._sample_turnover(utc_ms, value)
        self._sample_margin(utc_ms, value)
        self._day_value = value

    def _fill(self, utc_ms: int) -> None:
        """Points of the curve at hours in which nothing but LEAN's benchmark had data."""
        if self.every_step and self.equity:
            last, step, value = self.equity[-1][0], int(self._engine.sample_step_ms), self.equity[-1][4]
            for moment in self.benchmark.hours_between(last, utc_ms):
                if moment > last + step:
                    self.equity.append((moment, value, value, value, value))
                    last = moment

    @staticmethod
    def _add(series: list[tuple[int, float]], utc_ms: int, value: float) -> None:
        if not series or utc_ms > series[-1][0]:
            series.append((utc_ms, value))

    def _sample_sales(self, utc_ms: int) -> None:
        held = [item for item in self._engine.portfolio.values() if item.total_sale_volume]
        for item in sorted(held, key=lambda one: -float(one.total_sale_volume))[:30]:
            self._add(self.sales.setdefault(item.symbol.value, []), utc_ms, item.total_sale_volume)

    def _sample_exposure(self, utc_ms: int, value: float) -> None:
        if not value:
            return
        sides: dict[tuple[str, str], float] = {}
        for item in self._engine.portfolio.values():
            kind = item.symbol.security_type.to_string()
            for side in ("Long", "Short"):
                sides.setdefault((kind, side), 0.0)
            worth = item.holdings_value
            if worth:
                sides[kind, "Long" if worth > 0 else "Short"] += worth
        for (kind, side), worth in sorted(sides.items(), key=lambda item: item[0][1]):  # the long sides come first
            name = f"{kind} - {side} Ratio"
            self._add(self.exposure.setdefault(name, []), utc_ms, round(worth / value, 4) + 0.0)

    def _sample_turnover(self, utc_ms: int, value: float) -> None:
        engine = self._engine
        if not value or engine.zone.local(utc_ms) == engine.algorithm.start_date:
            return
        sold = engine.portfolio.total_sale_volume
        again = utc_ms == self._last_turnover_ms
        share = (sold - (self._sold[1] if again else self._sold[0])) / value
        self._sold = [sold, self._sold[0]]
        self._last_turnover_ms = utc_ms
        series = self.series["turnover"]
        if again and series:
            series.pop()
        series.append((utc_ms, share))

    def _sample_margin(self, utc_ms: int, value: float) -> None:
        """Shares of the portfolio by group: the largest forty by name, the rest as one (PortfolioMarginChart.cs)."""
        if not value:
            return
        shares: list[tuple[str, float]] = []
        for group in self._engine.portfolio.positions.groups:
            if group.positions:
                names = ", ".join(position.symbol.value for position in group.positions)
                shares.append((names, float(f"{group.reserved_buying_power() / value:.4g}")))
        ranked = dict.fromkeys(name for name, _ in sorted(shares, key=lambda item: -item[1]))
        largest = set(list(ranked)[:MARGIN_SERIES])
        rest: float | None = None
        for name, share in shares:
            if name in largest:
                self.margin.setdefault(name, []).append((utc_ms, clean(share * 100)))
            else:
                rest = clean((rest or 0.0) + share * 100)
        if rest is not None:
            self.margin.setdefault(OTHERS, []).append((utc_ms, rest))
        for series in self.margin.values():
            if series[-1][0] != utc_ms and series[-1][1] is not None:
                series.append((utc_ms, None))
