"""The one stress engine: what is held, or might be, after a large move, with time value, at today's volatilities.

Group risk, sizing, the margin after a fall and the report read it. Everything held is priced together and kept in the
cache until a position changes, an underlying moves past ``sizing.stress_tolerance`` or the time to live is over.
Dollars, money in is positive; a profit of NaN is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final

import numpy as np

from core.book import Book
from core.bus import EventBus
from core.cache import AnyPosition, Dependency, PriceOf, TimeToLive, UnifiedIntelligentCache
from core.contracts import AssetKind, Contract, Leg, Package
from core.events import PositionChanged
from core.factory import Manager
from core.gateway import Gateway
from core.instruments import contract_named, group_name, underlying_named, unit_of
from core.settings.fields import CorrelationSettings, MarginSettings, SizingSettings
from greeks.black_scholes import FloatArray
from greeks.exposure import Priced, revalued, volatility_rise, worst_value
from greeks.service import UNOWNED, CentralGreeksService

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

    @property
    def known(self) -> bool:
        """Whether every leg has a price and a volatility."""
        return bool(np.isfinite(self.profits).all())

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
        bus.subscribe(PositionChanged, self._on_position_changed, component="stress", critical=True)
        adverse, crash = correlation.adverse_move, correlation.crash_move
        self._moves = np.array([0.0, -adverse, adverse, -crash, crash])
        self._sizing_moves = np.array([0.0, -sizing.stress_move, sizing.stress_move])

    def beside(self, service: CentralGreeksService, gateway: Gateway) -> StressEngine:
        """The same engine over other figures, for a market that is only thought of; it hears of no event."""
        twin = copy(self)
        twin._service, twin._gateway, twin._book, twin._needs, twin._lot = service, gateway, Book(), None, None
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
            lot = {name: package.legs}
            (found,) = self._rows(lot, self._moves)
            if found.naked:
                found = replace(found, sizing_loss=self._rows(lot, self._sizing_moves)[0].loss)
            kept = self._lot = (now, package, found)
        return kept[2]

    def _compute(self) -> StressBook:
        groups = {position.id: position.legs for position in self._book.exposed()}
        groups |= self._unowned()
        rows = self._rows({name: legs for name, legs in groups.items() if legs}, self._moves, with_worst=False)
        whole = (*rows, *self._shares())
        return StressBook(whole, tuple(row.position for row in whole if not row.known))

    def _unowned(self) -> dict[str, tuple[Leg, ...]]:
        """What belongs to no package, by underlying: a person's legs are taken together as a broker would."""
        found: dict[str, list[Leg]] = {}
        for name, quantity in sorted(self._book.unowned.items()):
            contract = contract_named(name)
            if contract is not None and round(quantity):
                name = f"{UNOWNED} {contract.underlying.price_key}"
                found.setdefault(name, []).append(Leg(contract, round(quantity)))
        return {name: tuple(legs) for name, legs in found.items()}

    def _rows(
        self, groups: Mapping[str, Sequence[Leg]], at_moves: FloatArray, with_worst: bool = True
    ) -> list[Stressed]:
        contracts = tuple(leg.contract for legs in groups.values() for leg in legs)
        rows: list[Stressed] = []
        if not contracts:
            return rows
        now = self._service.placed(contracts)
        moves = self._moves_of(contracts, at_moves)
        rise = volatility_rise(now, self._sizing.stress_vix, self._sizing.stress_vix_days)[:, None]
        prices = revalued(now, moves, rise * (at_moves != 0.0), 0.0)  # the first node is now
        now = replace(now, price=prices[:, Node.NOW])
        start = 0
        for name, legs in groups.items():
            at = np.arange(start, start + len(legs))
            some = now.rows(at)
            row = _row(name, tuple(legs), some, moves[start], prices[at], self._scan(legs, some))
            if with_worst:
                row = replace(row, largest_loss=row.value - worst_value(some, _units(legs)))
            if max(leg.contract.expiry for leg in legs) <= self._service.now.date():
                row = replace(row, profits=np.minimum(row.profits, 0.0))  # what ends today hedges nothing of tomorrow
            rows.append(row)
            start += len(legs)
        return rows

    def _scan(self, legs: Sequence[Leg], now: Priced) -> float | None:
        """Worst loss over the scan's scenarios; ``None`` for what is not written on futures."""
        underlying = legs[0].contract.underlying
        if underlying.kind is not AssetKind.FUTURE:
            return None
        units = np.array([leg.ratio * leg.contract.multiplier for leg in legs])
        moves = self._margin.scan_of(underlying.ticker) * SCAN_MOVES
        points = 100.0 * now.volatility[:, None] * self._margin.future_volatility_scan * SCAN_VOLATILITIES
        changes = units @ (revalued(now, moves, points, 0.0) - now.price[:, None])
        return max(float(-np.min(changes * SCAN_COVER)), 0.0)

    def _moves_of(self, contracts: Iterable[Contract], moves: FloatArray) -> FloatArray:
        """Fractions by (contract, node): shares of the equity market move by their beta, everything else by itself."""
        return np.array([moves * self._weight(contract.underlying.ticker) for contract in contracts])

    def _weight(self, ticker: str) -> float:
        if group_name(ticker) not in EQUITY_GROUPS:
            return 1.0
        beta = self._service.beta(ticker)
        return np.nan if beta is None else beta

    def _shares(self) -> list[Stressed]:
        """Shares that assignments left, and a person's own in what may be traded here."""
        counts = {ticker: held.quantity for ticker, held in self._book.shares.items()}
        for ticker, quantity in self._book.unowned.items():
            if underlying_named(ticker) is not None:
                counts[ticker] = counts.get(ticker, 0.0) + quantity
        rows = []
        for ticker, quantity in counts.items():
            tick, unit = self._gateway.tick(ticker), unit_of(ticker)
            spots = (tick.price if tick is not None and tick.price > 0.0 else np.nan) * (
                1.0 + self._moves * self._weight(ticker)
            )
            profits, none = quantity * unit * (spots - spots[Node.NOW]), np.zeros((0, len(Node)))
            value = float(quantity * unit * spots[Node.NOW])
            rows.append(Stressed(f"shares {ticker}", ticker, (), spots, none, value, profits, abs(value), 0))
        return rows

    def _dependencies(self) -> tuple[Dependency, ...]:
        tickers = {leg.contract.underlying.price_key for position in self._book.exposed() for leg in position.legs}
        tickers |= set(self._book.shares) | {name.split()[-1] for name in self._unowned()}
        prices = (PriceOf(ticker, self._sizing.stress_tolerance) for ticker in sorted(tickers))
        return (AnyPosition(), TimeToLive(float(self._sizing.stress_seconds)), *prices)


def _row(
    name: str, legs: tuple[Leg, ...], now: Priced, moves: FloatArray, prices: FloatArray, scan: float | None
) -> Stressed:
    units = _units(legs)
    value = float(units @ now.price)
    return Stressed(
        position=name,
        ticker=legs[0].contract.underlying.ticker,
        legs=legs,
        spots=now.spot[0] * (1.0 + moves),
        prices=prices,
        value=value,
        profits=np.asarray(units @ (prices - now.price[:, None]), dtype=np.float64),
        largest_loss=np.nan,
        naked=Package(legs).uncovered,
        scan=scan,
    )


def _units(legs: Sequence[Leg]) -> FloatArray:
    """Dollars a point of each leg, signed."""
    return np.array([leg.ratio * leg.contract.multiplier for leg in legs], dtype=np.float64)
