"""The one stress engine: what is held, or might be, after a large move, with time value, at today's volatilities.

Group risk, sizing, the margin after a fall and the report read it. Everything held is priced together and kept in the
cache until a position changes, an underlying moves past ``sizing.stress_tolerance`` or the time to live is over.
Dollars, money in is positive; a profit of NaN is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import IntEnum
from itertools import accumulate
from math import isfinite
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.book import Book
from core.bus import EventBus
from core.cache import AnyPosition, Dependency, PriceOf, TimeToLive, UnifiedIntelligentCache
from core.contracts import MOST_POINTS, AssetKind, Leg, Package, uncovered
from core.events import PositionChanged
from core.factory import Manager
from core.gateway import Gateway
from core.instruments import contract_named, facts_of, group_name, unit_of
from core.settings.fields import CorrelationSettings, MarginSettings, SizingSettings
from greeks.black_scholes import FloatArray, Layout
from greeks.exposure import UNOWNED, Priced, revalued, share_counts, volatility_rise, worst_value
from greeks.service import CentralGreeksService

EQUITY_GROUPS: Final = frozenset({"A1", "A2"})
_KEY: Final = "greeks.stress"

# SPAN's sixteen scenarios (CME, "SPAN Overview"): shares of the price scan, signs of the volatility scan, and how much
# of the loss counts. The last two stand for a move of three ranges, of which a third counts.
_THIRDS: Final = (0.0, 1.0 / 3.0, -1.0 / 3.0, 2.0 / 3.0, -2.0 / 3.0, 1.0, -1.0)
SCAN_MOVES: Final = np.array([*(move for move in _THIRDS for _ in range(2)), 3.0, -3.0])
SCAN_VOLATILITIES: Final = np.array([*((1.0, -1.0) * len(_THIRDS)), 0.0, 0.0])
SCAN_COVER: Final = np.array([*((1.0,) * 2 * len(_THIRDS)), 0.33, 0.33])


class Node(IntEnum):
    """Where everything is valued: now, at the adverse move down and up, and at the crash's move down and up."""

    NOW = 0
    DOWN = 1
    UP = 2
    CRASH = 3
    SURGE = 4


@dataclass(frozen=True, slots=True)
class Stressed:
    """One position (or package) on one underlying, valued at each ``Node``.

    ``legs`` have signed contracts as ratios; ``prices`` are points by (leg, node), ``spots`` by node. ``profits``
    are dollars by node against now. ``largest_loss`` is dollars from here to the worst price at the nearest expiry,
    ``inf`` where it has no floor, NaN of what is held: nobody asks for it. ``naked`` counts short options that none of
    its longs cover. ``scan``: of options on futures, dollars lost at the worst of a scan of prices and volatilities as
    CME's SPAN makes it. ``sizing_loss``: of a proposal with naked short options, dollars lost at the worse side of
    ``sizing.stress_move``.
    """

    position: str
    ticker: str
    legs: tuple[Leg, ...]
    spots: FloatArray
    prices: FloatArray
    value: float
    profits: FloatArray
    largest_loss: float
    naked: int
    scan: float | None = None
    sizing_loss: float | None = None
    known: bool = field(init=False)
    """Whether every leg has a price and a volatility."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", all(map(isfinite, self.profits.tolist())))

    @property
    def loss(self) -> float:
        """Dollars lost at the worse side of the adverse move, zero or positive; NaN when unknown."""
        worst = float(np.min(self.profits[[Node.DOWN, Node.UP]]))
        return max(-worst, 0.0) if worst == worst else worst  # NaN is not equal to itself


@dataclass(frozen=True, slots=True)
class StressBook:
    """Everything held or on its way, by position id; shares and contracts of nobody under names of their own."""

    rows: tuple[Stressed, ...]
    unknown: tuple[str, ...]
    """Positions of which a leg has no price or no volatility."""

    def of(self, position: str) -> Stressed | None:
        """A position's row."""
        return next((row for row in self.rows if row.position == position), None)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What no price changes of positions that are stressed together: made once for what is held.

    By position: its legs, where they stand among all, dollars a point of each, short options that nothing covers, and
    the last expiry. ``weight_at``: which of the ``tickers`` each contract has.
    """

    names: tuple[str, ...]
    legs: tuple[tuple[Leg, ...], ...]
    at: tuple[slice, ...]
    units: tuple[FloatArray, ...]
    naked: tuple[int, ...]
    last: tuple[date, ...]
    layout: Layout
    tickers: tuple[str, ...]
    weight_at: NDArray[np.intp]

    @staticmethod
    def of(groups: Mapping[str, Sequence[Leg]]) -> _Frame:
        """Of legs by position; each has at least one."""
        legs = tuple(tuple(each) for each in groups.values())
        ends = list(accumulate(map(len, legs)))
        contracts = [leg.contract for each in legs for leg in each]
        tickers = list(dict.fromkeys(contract.underlying.ticker for contract in contracts))
        return _Frame(
            names=tuple(groups),
            legs=legs,
            at=tuple(slice(end - len(each), end) for end, each in zip(ends, legs, strict=True)),
            units=tuple(_units(each) for each in legs),
            naked=tuple(uncovered(each) for each in legs),
            last=tuple(max(leg.contract.expiry for leg in each) for each in legs),
            layout=Layout.of(contracts),
            tickers=tuple(tickers),
            weight_at=np.array([tickers.index(contract.underlying.ticker) for contract in contracts], dtype=np.intp),
        )


class StressEngine(Manager):
    """Revalues what is held and what is proposed at the nodes of the stress."""

    def __init__(
        self,
        service: CentralGreeksService,
        bus: EventBus,
        cache: UnifiedIntelligentCache,
        gateway: Gateway,
        book: Book,
        correlation: CorrelationSettings,
        sizing: SizingSettings,
        margin: MarginSettings,
    ) -> None:
        self._service = service
        self._cache = cache
        self._gateway = gateway
        self._book = book
        self._sizing = sizing
        self._margin = margin
        self._needs: tuple[object, tuple[Dependency, ...]] | None = None
        self._lot: tuple[datetime, Package, Stressed] | None = None
        self._frame: tuple[object, _Frame] | None = None
        bus.subscribe(PositionChanged, self._on_position_changed, component="stress", critical=True)
        adverse, crash = correlation.adverse_move, correlation.crash_move
        self._moves = np.array([0.0, -adverse, adverse, -crash, crash])
        self._sizing_moves = np.array([0.0, -sizing.stress_move, sizing.stress_move])

    def beside(self, service: CentralGreeksService, gateway: Gateway) -> StressEngine:
        """The same engine over other figures, for a market that is only thought of; it hears of no event."""
        twin = copy(self)
        twin._service, twin._gateway, twin._book = service, gateway, Book()
        twin._needs = twin._lot = twin._frame = None
        return twin

    def held(self) -> StressBook:
        """What is held and on its way, from the cache while nothing that it rests on changed."""
        pending, unowned = tuple(self._book.pending), tuple(self._book.unowned.items())
        if self._needs is None or self._needs[0] != (pending, unowned):
            self._needs = ((pending, unowned), self._dependencies())
        key = (_KEY, pending, unowned)
        found = self._cache.get_or_compute(key, self._compute, depends_on=self._needs[1])
        if found.unknown:  # the next quote may tell: ask again next time
            self._cache.invalidate(key)
        return found

    def _on_position_changed(self, _event: PositionChanged) -> None:
        self._needs = None

    def one_lot(self, package: Package, name: str = "proposal") -> Stressed:
        """One package that is not held, valued alone; NaN where a leg is unknown."""
        now = self._service.now
        kept = self._lot
        if (
            kept is None or kept[0] != now or kept[1] != package or not kept[2].known
        ):  # several rules ask of one proposal
            kept = self._lot = (now, package, self._alone(_Frame.of({name: package.legs})))
        return kept[2]

    def _alone(self, frame: _Frame) -> Stressed:
        """One package by itself, with what only a proposal is asked for: its largest loss, and the move of sizing."""
        moves = np.concatenate((self._moves, self._sizing_moves)) if frame.naked[0] else self._moves
        (found,), now = self._rows(frame, moves)
        now, count = replace(now, price=found.prices[:, Node.NOW]), len(Node)
        largest = found.value - worst_value(now, frame.units[0])
        whole, shown = replace(found, largest_loss=largest), slice(0, count)
        if not frame.naked[0]:
            return whole
        sized = replace(whole, profits=found.profits[count:]).loss
        spots, prices, profits = found.spots[shown], found.prices[:, shown], found.profits[shown]
        return replace(whole, spots=spots, prices=prices, profits=profits, sizing_loss=sized)

    def _compute(self) -> StressBook:
        book = self._book
        held = (tuple(book.positions.values()), tuple(book.pending.items()), tuple(book.unowned.items()))
        if self._frame is None or self._frame[0] != held:
            groups = {position.id: position.legs for position in book.exposed()} | self._unowned()
            self._frame = (held, _Frame.of({name: legs for name, legs in groups.items() if legs}))
        frame = self._frame[1]
        whole = (*(self._rows(frame, self._moves)[0] if frame.names else ()), *self._shares())
        return StressBook(whole, tuple(row.position for row in whole if not row.known))

    def _unowned(self) -> dict[str, tuple[Leg, ...]]:
        """What belongs to no package, by underlying: a person's legs are taken together as a broker would."""
        found: dict[str, list[Leg]] = {}
        for name, quantity in sorted(self._book.unowned.items()):
            contract = contract_named(name)
            if contract is not None and quantity == quantity and round(quantity):
                name = f"{UNOWNED} {contract.underlying.price_key}"
                found.setdefault(name, []).append(Leg(contract, round(quantity)))
        return {name: tuple(legs) for name, legs in found.items()}

    def _rows(self, frame: _Frame, at_moves: FloatArray) -> tuple[list[Stressed], Priced]:
        """Every position of a frame at the moves, of which the first is none; and what its contracts are now."""
        now = self._service.placed(frame.layout)
        weights = np.array([self._weight(ticker) for ticker in frame.tickers])[frame.weight_at]
        moves = at_moves * weights[:, None]
        rise = volatility_rise(now, self._sizing.stress_vix, self._sizing.stress_vix_days)[:, None]
        prices = revalued(now, moves, rise * (at_moves != 0.0), 0.0)
        changes, spots = prices - prices[:, :1], now.spot[:, None] * (1.0 + moves)
        today, rows = self._service.now.date(), []
        for which, (legs, at, units) in enumerate(zip(frame.legs, frame.at, frame.units, strict=True)):
            underlying, profits = legs[0].contract.underlying, units @ changes[at]
            row = Stressed(
                position=frame.names[which],
                ticker=underlying.ticker,
                legs=legs,
                spots=spots[at.start],
                prices=prices[at],
                value=float(units @ prices[at, Node.NOW]),
                profits=np.minimum(profits, 0.0) if frame.last[which] <= today else profits,
                largest_loss=np.nan,
                naked=frame.naked[which],
                scan=self._scan(legs, units, now, prices, at) if underlying.kind is AssetKind.FUTURE else None,
            )
            rows.append(row)  # what ends today hedges nothing of tomorrow: its losses alone
        return rows, now

    def _scan(self, legs: Sequence[Leg], units: FloatArray, now: Priced, prices: FloatArray, at: slice) -> float:
        """Worst loss of options on futures over the scan's scenarios."""
        some = now.rows(np.arange(at.start, at.stop))
        moves = self._margin.scan_of(legs[0].contract.underlying.ticker) * SCAN_MOVES
        points = 100.0 * some.volatility[:, None] * self._margin.future_volatility_scan * SCAN_VOLATILITIES
        changes = units @ (revalued(some, moves, points, 0.0) - prices[at, :1])
        return max(float(-np.min(changes * SCAN_COVER)), 0.0)

    def _weight(self, ticker: str) -> float:
        if group_name(ticker) not in EQUITY_GROUPS:
            return 1.0
        beta = self._service.beta(ticker)
        return np.nan if beta is None else beta

    def _shares(self) -> list[Stressed]:
        """Shares that assignments left, and what a person holds that is no option of a root that the house knows."""
        rows = []
        rows += [self._share(name, np.nan, np.nan) for name, count in self._book.unowned.items() if count != count]
        for ticker, quantity in share_counts(self._book).items():
            tick = self._gateway.tick(ticker)
            rows.append(self._share(ticker, quantity, np.nan if tick is None else tick.price))
        strangers = [name for name in self._book.unowned if contract_named(name) is None and facts_of(name) is None]
        prices = {row.name: row.price for row in self._gateway.holdings()} if strangers else {}
        for name in sorted(strangers):
            quantity, price = self._book.unowned[name], prices.get(name, 0.0)
            if quantity != quantity:
                continue  # unknown already
            if not name.isalpha():  # an option, or a future: nobody here can say what it may lose
                rows.append(self._share(name, quantity, np.nan))
            elif price > 0.0 or not quantity > 0.0:  # shares at the broker's own price; sold ones without are unknown
                rows.append(self._share(name, quantity, price))
        return rows

    def _share(self, ticker: str, quantity: float, price: float) -> Stressed:
        unit, spots = (
            unit_of(ticker),
            (price if 0.0 < price < MOST_POINTS else np.nan) * (1.0 + self._moves * self._weight(ticker)),
        )
        profits, none = quantity * unit * (spots - spots[Node.NOW]), np.zeros((0, len(Node)))
        value = float(quantity * unit * spots[Node.NOW])
        return Stressed(f"shares {ticker}", ticker, (), spots, none, value, profits, abs(value), 0)

    def _dependencies(self) -> tuple[Dependency, ...]:
        tickers = {leg.contract.underlying.price_key for position in self._book.exposed() for leg in position.legs}
        tickers |= set(share_counts(self._book)) | {name.split()[-1] for name in self._unowned()}
        prices = (PriceOf(ticker, self._sizing.stress_tolerance) for ticker in sorted(tickers))
        return (AnyPosition(), TimeToLive(float(self._sizing.stress_seconds)), *prices)


def _units(legs: Sequence[Leg]) -> FloatArray:
    """Dollars a point of each leg, signed."""
    return np.array([leg.ratio * leg.contract.multiplier for leg in legs], dtype=np.float64)
