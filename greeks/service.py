"""The one place that knows the Greeks of what is held, of a chain, and of what might be added.

Whoever asks, what is held is computed once per change: the result stays in the cache until a position changes, an
underlying moves past its tolerance or its time to live is over. A contract without a price or a volatility is named as
unknown, and is asked for again the next time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Final, TypeAlias

import numpy as np

from core.book import Book
from core.bus import EventBus
from core.cache import AnyPosition, Dependency, PriceOf, TimeToLive, UnifiedIntelligentCache
from core.clock import MarketClock
from core.contracts import MOST_POINTS, Contract, Package, Quote
from core.events import PositionChanged, SessionClosed
from core.gateway import Gateway
from core.instruments import facts_of, group_name, unit_of
from core.settings.fields import GreeksSettings
from greeks.black_scholes import FloatArray, Greeks, Layout, expires_at
from greeks.exposure import (
    LegGreeks,
    Line,
    Neighbours,
    PortfolioGreeks,
    Priced,
    RoughGreeks,
    ScenarioGrid,
    WhatIf,
    exposure_of,
    held_lines,
    held_shares,
    lines_of,
    measured_beta,
    revalued,
    rough_greeks,
    share_counts,
    total,
    treasury_bill,
    unknown_names,
)
from greeks.implied import NoVolatility, judge_quotes
from greeks.smile import (
    UNKNOWN,
    WIDEST_HALF_SPREAD,
    ChainGreeks,
    Columns,
    ContractGreeks,
    KeptSmile,
    KnownVolatility,
    Smile,
    VolatilitySource,
    chain_greeks,
    figures_of_rows,
    fit_smile,
    half_spreads,
    sides,
)
from market.history import DailyHistory, history_of

SPOT_MOVES: Final = (-0.20, -0.15, -0.10, -0.05, -0.02, 0.0, 0.02, 0.05, 0.10, 0.15, 0.20)
VOLATILITY_MOVES: Final = (-10.0, 0.0, 10.0, 20.0, 30.0)
DAYS_FORWARD: Final = (0.0, 1.0, 7.0)

_Placed: TypeAlias = tuple[Columns, FloatArray, FloatArray, tuple[VolatilitySource, ...]]


@dataclass(frozen=True, slots=True)
class _Computed:
    """Contracts with everything that was found out about them; NaN where unknown."""

    columns: Columns
    spot: FloatArray
    volatility: FloatArray
    source: tuple[VolatilitySource, ...]
    greeks: Greeks


LARGEST_LEAP: Final = 0.5  # of a volatility between two measurements that one quote alone may bring about
SMALL_LEAP: Final = 0.05  # volatility: smaller ones are no leap
_PORTFOLIO_KEY: Final = "greeks.portfolio"


class CentralGreeksService:
    """Computes Greeks for everybody, once per change."""

    def __init__(
        self,
        cache: UnifiedIntelligentCache,
        bus: EventBus,
        clock: MarketClock,
        gateway: Gateway,
        book: Book,
        history: DailyHistory,
        settings: GreeksSettings,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._gateway = gateway
        self._book = book
        self._history = history
        self._settings = settings
        self._needs: tuple[Dependency, ...] | None = None
        self._lines: tuple[object, tuple[Line, ...], Layout] | None = None
        self._asked: tuple[object, _Computed] | None = None
        self._chained: tuple[object, ChainGreeks] | None = None
        self._placed: tuple[object, dict[tuple[str, ...], _Placed]] = (None, {})
        self._version = 0  # of the volatilities and smiles
        self._smiles: dict[tuple[str, datetime], KeptSmile] = {}
        self._known: dict[str, KnownVolatility] = {}
        self._leaps: dict[str, tuple[float, datetime]] = {}
        self._rough: dict[str, RoughGreeks | None] = {}
        self._deltas: tuple[object, list[float]] = (None, [])
        self._neighbours = Neighbours()
        self._last: tuple[_Placed, object, PortfolioGreeks] | None = None
        self.computations: Counter[str] = Counter()
        bus.subscribe(PositionChanged, self._on_position_changed, component="greeks", critical=True)
        bus.subscribe(SessionClosed, self._on_session_closed, component="greeks")

    # What others ask

    @property
    def holds_anything(self) -> bool:
        """Whether anything is in the account whose Greeks count: a position, shares, or what belongs to none."""
        return bool(self._book.positions or self._book.shares or self._book.unowned)

    def portfolio(self) -> PortfolioGreeks:
        """Greeks of every open position, from the cache while nothing changed."""
        needs = self._needs
        if needs is None:
            needs = self._needs = self._dependencies(self._tickers())
        found = self._cache.get_or_compute(_PORTFOLIO_KEY, self._compute_portfolio, depends_on=needs)
        if found.unknown:  # the next quote may tell: ask again next time
            self._cache.invalidate(_PORTFOLIO_KEY)
        return found

    def chain(
        self, contracts: Sequence[Contract], quotes: Mapping[Contract, Quote], underlying_price: float, now: datetime
    ) -> ChainGreeks:
        """Greeks of a chain on one underlying at ``now`` (naive New York), prices in points.

        The last one is kept: asked for again with the same quotes it is not computed again. Raises ``ValueError`` for
        an empty chain or one on several underlyings.
        """
        listed = tuple(contracts)
        tickers = {contract.underlying.price_key for contract in listed}
        if len(tickers) != 1:
            raise ValueError(f"contracts: on underlyings {sorted(tickers)}; expected contracts on exactly one")
        ticker = tickers.pop()
        seen = (listed, [quotes.get(contract) for contract in listed], underlying_price, now)
        if self._chained is not None and self._chained[0] == seen:
            return self._chained[1]
        self.computations["chain"] += 1
        found = chain_greeks(listed, quotes, underlying_price, now, self._rate(now), self._yield(ticker))
        for moment, smile in found.smiles.items():
            at = next(i for i, contract in enumerate(listed) if expires_at(contract) == moment)
            self._version += 1
            self._smiles[ticker, moment] = KeptSmile(smile, float(found.columns.dividend_yield[at]), now)
        self._chained = (seen, found)
        return found

    def figures_of(self, contract: Contract) -> ContractGreeks | None:
        """One contract's figures for one unit, at its newest quote; ``None`` when price or volatility is unknown."""
        needs = self._dependencies({contract.underlying.price_key})[1:]
        key = ("greeks.contract", contract.name)
        found = self._cache.get_or_compute(key, lambda: self._compute_one(contract), depends_on=needs)
        if found is None:
            self._cache.invalidate(key)
        return found

    def volatility_of(self, contract: Contract) -> float | None:
        """A contract's volatility, measured when the last measurement is too old; ``None`` when it is unknown."""
        known = self._known.get(contract.name)
        if known is None or (self._clock.now() - known.time).total_seconds() >= self._settings.cache_seconds:
            self._known_of(Layout.of((contract,)))
            known = self._known.get(contract.name)
        return None if known is None or known.volatility <= 0.0 else known.volatility

    def delta_of(self, contract: Contract) -> float | None:
        """Signed delta of one unit (a put's is negative), -1 to 1, computed with its own expiry; ``None``: unknown."""
        some, place = self._neighbours.of(self._laid_out()[0], contract)
        placed = self._known_of(some)
        if self._deltas[0] is not placed:  # the same until price, minute or volatility change
            columns, spot, volatility, _ = placed
            self._deltas = (placed, columns.deltas(np.where(np.isnan(spot), columns.strike, spot), volatility).tolist())
        found = self._deltas[1][place]
        return None if math.isnan(found) else found

    def roughly(self, contract: Contract) -> RoughGreeks | None:
        """Figures of a held contract when the portfolio was last computed, which may be half an hour ago."""
        if contract.name not in self._rough:
            self.portfolio()
        return self._rough.get(contract.name)

    @property
    def now(self) -> datetime:
        """The moment that everything is computed for."""
        return self._clock.now()

    def spot_of(self, contract: Contract) -> float | None:
        """The price that a contract stands on; ``None`` before its first."""
        return self._price(contract.underlying.price_key)

    def what_if(self, package: Package, contracts: int, strategy: str = "proposal") -> WhatIf:
        """The portfolio with ``contracts`` of a package added (negative: taken away)."""
        before = self.portfolio()
        self.computations["what_if"] += 1
        found = self._computed_once(package)
        added = self._legs(lines_of("proposal", strategy, package.legs, contracts), found)
        unknown = before.unknown + unknown_names(added)
        after = PortfolioGreeks(before.time, before.legs + added, unknown, before.shares)
        return WhatIf(before, after, total(added))

    def _computed_once(self, package: Package) -> _Computed:
        """A package's figures: several rules ask of one proposal, for several numbers of contracts."""
        prices = tuple(self._price(leg.contract.underlying.price_key) for leg in package.legs)
        asked = (self._clock.now(), package, prices, self._price(self._settings.beta_reference))
        if self._asked is None or self._asked[0] != asked:
            found = self._greeks_of(self._known_of(Layout.of([leg.contract for leg in package.legs])))
            if np.isnan(found.greeks.price).any():  # the next quote may tell
                self._asked = None
                return found
            self._asked = (asked, found)
        return self._asked[1]

    def scenarios(
        self,
        spot_moves: Sequence[float] = SPOT_MOVES,
        volatility_moves: Sequence[float] = VOLATILITY_MOVES,
        days: Sequence[float] = DAYS_FORWARD,
        proposal: tuple[Package, int] | None = None,
    ) -> ScenarioGrid:
        """Profit of what is held (and a proposal) on a grid: fractions of spot, vol points, calendar days forward.

        Each is priced anew, never by adding Greeks up; an option that expires on the way is worth its intrinsic value.
        """
        self.computations["scenarios"] += 1
        lines = self._laid_out()[0] + (
            () if proposal is None else lines_of("proposal", "proposal", proposal[0].legs, proposal[1])
        )
        shape = (len(spot_moves), len(volatility_moves), len(days))
        profits = self._profits(lines, tuple(product(spot_moves, volatility_moves, days)))
        by_position = {name: np.zeros(shape) for name in dict.fromkeys(line.position for line in lines)}
        groups = [group_name(line.contract.underlying.ticker) for line in lines]
        by_group = {name: np.zeros(shape) for name in dict.fromkeys(groups)}
        for line, group, profit in zip(lines, groups, profits, strict=True):
            by_position[line.position] += profit.reshape(shape)
            by_group[group] += profit.reshape(shape)
        whole = profits.sum(axis=0).reshape(shape)
        for ticker, quantity in share_counts(self._book).items():
            price, group = self._price(ticker), group_name(ticker)
            each = np.full(shape, np.nan if price is None else quantity * unit_of(ticker) * price) * np.reshape(
                spot_moves, (-1, 1, 1)
            )
            whole = whole + each
            by_position[f"shares {ticker}"] = each
            by_group[group] = by_group.get(group, np.zeros(shape)) + each
        return ScenarioGrid(tuple(spot_moves), tuple(volatility_moves), tuple(days), whole, by_position, by_group)

    def beta(self, ticker: str) -> float | None:
        """Beta to the reference: of the table, else measured over BETA_DAYS shared sessions, else the settings'.

        ``None`` where none of these knows it: its exposure is unknown then, never zero.
        """
        reference = self._settings.beta_reference
        facts = facts_of(ticker)
        fixed = 1.0 if ticker == reference else None if facts is None else facts.beta
        if fixed is not None:
            return fixed
        ticker = ticker if facts is None else facts.ticker  # a future by its family
        measured = self._cache.get_or_compute(
            ("beta", ticker, reference),
            lambda: measured_beta(self._history.closes(ticker), self._history.closes(reference)),
            depends_on=(history_of(ticker), history_of(reference)),
        )
        return self._settings.betas.get(ticker) if measured is None else measured

    def carry_of(self, ticker: str) -> tuple[float, float]:
        """Rate and dividend yield of an underlying now, continuous a year."""
        return self._rate(self._clock.now()), self._yield(ticker)

    def verify(self) -> tuple[str, ...]:
        """Names the underlyings of open positions that have neither a price nor a beta."""
        tickers = sorted(self._tickers())
        problems = tuple(f"{name}: no price yet" for name in tickers if self._price(name) is None)
        return problems + tuple(f"{name}: no beta" for name in tickers if self.beta(name) is None)

    # How it is computed

    def _compute_portfolio(self) -> PortfolioGreeks:
        """Anew, but where another price of the same minute dropped what these very figures had given."""
        lines, layout = self._laid_out()
        placed, reference = self._known_of(layout) if lines else None, self._price(self._settings.beta_reference)
        shares = held_shares(self._book, reference, self._price, self.beta)
        last, others = self._last, (lines, reference, shares)
        if placed is not None and last is not None and last[0] is placed and last[1] == others:
            return last[2]
        self.computations["portfolio"] += 1
        legs = self._legs(lines, self._greeks_of(placed)) if placed is not None else ()
        self._rough = {leg.contract.name: rough_greeks(leg.figures, self.spot_of(leg.contract)) for leg in legs}
        unknown = unknown_names(legs) + tuple(row.underlying for row in shares if row.exposure is None)
        found = PortfolioGreeks(self._clock.now(), legs, unknown, shares)
        self._last = None if placed is None else (placed, others, found)
        return found

    def _tickers(self) -> set[str]:
        return {line.contract.underlying.price_key for line in self._laid_out()[0]} | set(share_counts(self._book))

    def _compute_one(self, contract: Contract) -> ContractGreeks | None:
        self.computations["contract"] += 1
        found = self._greeks_of(self._known_of(Layout.of((contract,))))
        return figures_of_rows(found.columns, found.volatility, found.source, found.greeks)[0]

    def _laid_out(self) -> tuple[tuple[Line, ...], Layout]:
        """Legs of every position, and contracts of the account that belong to none; made when what is held changes."""
        held = (tuple(self._book.positions.values()), tuple(self._book.unowned.items()))
        if self._lines is None or self._lines[0] != held:
            lines = held_lines(self._book)
            self._lines = (held, lines, Layout.of([line.contract for line in lines]))
        return self._lines[1:]

    def _legs(self, lines: tuple[Line, ...], found: _Computed) -> tuple[LegGreeks, ...]:
        reference = self._price(self._settings.beta_reference)
        betas = {ticker: self.beta(ticker) for ticker in {line.contract.underlying.ticker for line in lines}}
        groups = {ticker: group_name(ticker) for ticker in betas}
        rows = figures_of_rows(found.columns, found.volatility, found.source, found.greeks)
        legs = []
        for line, figures, spot in zip(lines, rows, found.spot.tolist(), strict=True):
            ticker = line.contract.underlying.ticker
            exposure, beta = None, betas[ticker]
            if figures is not None and beta is not None and reference is not None:
                exposure = exposure_of(figures, line.units, beta * spot / reference)
            one = LegGreeks(line.position, line.strategy, groups[ticker], line.contract, line.units, figures, exposure)
            legs.append(one)
        return tuple(legs)

    def priced(self, contracts: tuple[Contract, ...]) -> Priced:
        """Contracts on any underlyings at their newest spots, with volatilities and prices; NaN where unknown."""
        now = self.placed(Layout.of(contracts))
        spot = np.where(np.isnan(now.spot), now.columns.strike, now.spot)
        return replace(now, price=now.columns.prices(spot, now.volatility))

    def placed(self, layout: Layout) -> Priced:
        """The same before anything is priced: all prices are NaN."""
        columns, spot, volatility, _ = self._known_of(layout)
        return Priced(columns, spot, volatility, np.full(spot.size, np.nan))

    @staticmethod
    def _greeks_of(placed: _Placed) -> _Computed:
        columns, spot, volatility, sources = placed
        somewhere = np.where(np.isnan(spot), columns.strike, spot)
        return _Computed(columns, spot, volatility, sources, columns.greeks(somewhere, volatility))

    def _known_of(self, layout: Layout) -> _Placed:
        """Columns, spots, volatilities and their sources; looked up once a minute and price for all who ask.

        A volatility is measured again once it is as old as the cache's time to live; until then it is its strike's.
        """
        prices = tuple(self._price(key) for key in layout.keys)
        moment = (self._clock.now(), self._version)
        if self._placed[0] != moment:
            self._placed = (moment, {})
        kept = self._placed[1].get((*layout.names, *map(str, prices)))
        if kept is not None:
            return kept
        spot: FloatArray = np.array([np.nan if price is None else price for price in prices])[layout.key_at]
        columns = self._columns(layout)
        measured = self._measure(layout.names, columns, spot)
        known = [self._known.get(name, UNKNOWN) for name in layout.names]
        volatility = np.array([one.volatility for one in known])
        volatility[np.isnan(spot)] = np.nan
        volatility[columns.years <= 0.0] = 0.0
        found = (columns, spot, volatility, tuple(one.source for one in known))
        moment = (moment[0], self._version)
        if self._placed[0] != moment and measured:  # nobody who asks again would find another figure
            self._placed = (moment, {})
        if self._placed[0] == moment and not np.isnan(volatility).any():
            self._placed[1][*layout.names, *map(str, prices)] = found
        return found

    def _measure(self, names: tuple[str, ...], columns: Columns, spot: FloatArray) -> bool:
        """Take each unknown or too old volatility of what lives from its quote, else borrow it; whether all are new."""
        now = self._clock.now()
        oldest = now - timedelta(seconds=self._settings.cache_seconds)
        old = [self._known.get(name, UNKNOWN).time <= oldest for name in names]
        if not any(old):
            return True
        at = np.flatnonzero(np.array(old) & ~np.isnan(spot) & (columns.years > 0.0))
        if not at.size:
            return False
        self._version += 1
        some = columns if at.size == spot.size else columns.rows(at)  # as they are, where all are old
        bid, ask = sides([self._gateway.quote(contract) for contract in some.contracts])
        middle, reasons = judge_quotes(bid, ask)
        implied = some.implied(middle, spot[at], reasons)
        half = half_spreads(some, spot[at], implied.volatility, 0.5 * (ask - bid))
        usable = (implied.reason == NoVolatility.FOUND) & (half <= WIDEST_HALF_SPREAD)
        found = zip(some.contracts, usable.tolist(), implied.volatility.tolist(), half.tolist(), strict=True)
        for contract, good, value, width in found:
            if good and self._is_steady(contract.name, value, now):
                self._known[contract.name] = KnownVolatility(value, width, VolatilitySource.QUOTE, now)
        for one in at[~usable].tolist():
            borrowed = self._borrowed(columns, float(spot[one]), one)
            if borrowed is not None:
                self._known[columns.contracts[one].name] = borrowed
        return all(self._known.get(name, UNKNOWN).time > oldest for name in names)

    def _is_steady(self, name: str, value: float, now: datetime) -> bool:
        """Whether a quote's volatility may replace the known one: a leap counts when a later minute repeats it."""
        known, leapt = self._known.get(name), self._leaps.pop(name, None)
        if known is None or abs(value - known.volatility) <= max(LARGEST_LEAP * known.volatility, SMALL_LEAP):
            return True
        if leapt is not None and leapt[1] < now and abs(value - leapt[0]) <= LARGEST_LEAP * value:
            return True
        self._leaps[name] = leapt if leapt is not None and leapt[1] == now else (value, now)
        return False

    def _columns(self, layout: Layout) -> Columns:
        yields = []
        for key, ticker, moment in layout.terms:
            kept = self._smiles.get((key, moment))
            yields.append(self._yield(ticker) if kept is None else kept.dividend_yield)
        now = self._clock.now()
        return Columns.at(layout, now, self._rate(now), np.array(yields)[layout.term_at])

    def _borrowed(self, columns: Columns, spot: float, at: int) -> KnownVolatility | None:
        """Volatility for a contract whose own quote says nothing.

        From a fresh chain's smile, else from what else is held of the same expiry, else from an older smile of the day,
        else the last one known; ``None`` when there is none of these.
        """
        contract, now = columns.contracts[at], self._clock.now()
        ticker, moment = contract.underlying.price_key, expires_at(contract)
        forward = spot * math.exp((columns.rate[at] - columns.dividend_yield[at]) * columns.years[at])
        kept = self._smiles.get((ticker, moment))
        smile = None if kept is None else kept.smile.moved_to(forward)
        if kept is None or (now - kept.time).total_seconds() > self._settings.cache_seconds:
            smile = self._beside(columns, ticker, moment, forward) or smile
        if smile is not None:
            value = float(smile.at(columns.strike[at : at + 1])[0])
            return KnownVolatility(value, math.inf, VolatilitySource.NEIGHBOURS, now)
        known = self._known.get(contract.name)
        return None if known is None else replace(known, source=VolatilitySource.LAST_KNOWN)

    def _beside(self, columns: Columns, ticker: str, moment: datetime, forward: float) -> Smile | None:
        """A smile through what was just measured by quote of the same expiry; ``None`` when nothing was."""
        oldest = self._clock.now() - timedelta(seconds=self._settings.cache_seconds)
        same = (c for c in columns.contracts if c.underlying.price_key == ticker and expires_at(c) == moment)
        known = [(c.strike, self._known.get(c.name, UNKNOWN)) for c in same]
        quoted = [(strike, k) for strike, k in known if k.source is VolatilitySource.QUOTE and k.time > oldest]
        strikes = np.array([strike for strike, _ in quoted])
        values = np.array([k.volatility for _, k in quoted])
        return fit_smile(strikes, values, np.array([k.half_spread for _, k in quoted]), forward)

    def _profits(self, lines: tuple[Line, ...], nodes: tuple[tuple[float, float, float], ...]) -> FloatArray:
        """Dollars by (line, node): value at the node less value now."""
        if not lines:
            return np.zeros((0, len(nodes)))
        now = self.priced(tuple(line.contract for line in lines))
        moves, points, days = (np.array([column]) for column in zip(*nodes, strict=True))
        units: FloatArray = np.array([[line.units] for line in lines])
        return units * (revalued(now, moves, points, days) - now.price[:, None])

    def _price(self, ticker: str) -> float | None:
        price = self._gateway.price(ticker)
        return price if price is not None and 0.0 < price < MOST_POINTS else None

    def _rate(self, now: datetime) -> float:
        given = self._settings.risk_free_rate
        return treasury_bill(now.year) if given is None else given

    def _yield(self, ticker: str) -> float:
        facts = facts_of(ticker)
        own = None if facts is None else facts.dividend_yield
        return self._settings.dividend_yield if own is None else own

    def _dependencies(self, tickers: set[str]) -> tuple[Dependency, ...]:
        tolerance = self._settings.price_tolerance
        watched = sorted(tickers | {self._settings.beta_reference}) if tickers else ()
        prices = (PriceOf(ticker, tolerance) for ticker in watched)
        return (AnyPosition(), TimeToLive(float(self._settings.cache_seconds)), *prices)

    def _on_position_changed(self, _event: PositionChanged) -> None:
        self._needs = None

    def _on_session_closed(self, event: SessionClosed) -> None:
        self._version += 1
        self._smiles = {key: kept for key, kept in self._smiles.items() if key[1].date() > event.day}
        held = {line.contract.name for line in self._laid_out()[0]}
        self._known = {name: value for name, value in self._known.items() if name in held}
