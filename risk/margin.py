"""What a broker asks for options: the requirement of any legs on one underlying, by the best pairing that there is.

Exchange rules: CBOE rule 12.3 and its margin manual (naked options, short straddles, and since 2012 the "universal
spread": the largest loss at intrinsic values, Federal Register 77 FR 54626). The broker's figures: tastytrade's help
pages (its examples are worked in ``tests/risk/test_margin.py``). Options on futures: a
scan of prices and volatilities like SPAN's
(``greeks.stress``). Dollars, positive; premiums are part of a naked requirement, as the broker prints it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import product
from math import gcd, isfinite, prod

from core.book import Book
from core.contracts import AssetKind, Contract, Leg, Package, Right, Settlement, uncovered
from core.factory import Manager
from core.instruments import facts_of
from core.settings.fields import CircuitBreakerSettings, MarginSettings
from greeks.stress import Node, StressBook, Stressed, StressEngine
from market.vix import UnifiedVIXManager
from risk.proposal import Allow, Deny, Proposal, RiskContext, RiskPlugin, Shrink, Verdict, is_covered

_MOST_PAIRINGS = 4096  # of both sides together; beyond, the dearest shorts are covered first
_KEPT = 512  # legs of which the pairings are kept
_DEAREST = {Right.PUT: -1.0, Right.CALL: 1.0}
_CASH = (Settlement.CASH_AFTERNOON, Settlement.CASH_MORNING)


@dataclass(frozen=True, slots=True)
class _Side:
    """One way to pair a side: how many of each of its shorts stay naked, and what is margined as a spread."""

    naked: tuple[tuple[int, int], ...]
    """Which short, and how many of it; all shorts of the side."""
    is_naked: bool
    covered: tuple[Leg, ...]
    spread: float
    """Largest loss of what is covered, dollars."""


@dataclass(frozen=True, slots=True)
class _Pairings:
    """Every way to pair legs that may be paired, by themselves alone: no price changes it.

    ``lots`` times each contract of ``shorts``; ``ways`` are a side of puts, one of calls, and the largest loss of both.
    """

    lots: int
    shorts: tuple[tuple[int, Contract], ...]
    """Shorts with the place that they have among all legs."""
    ways: tuple[tuple[_Side, _Side, float], ...]


def package_margin(package: Package, spot: float, prices: Sequence[float], settings: MarginSettings) -> float:
    """Margin of one package in positive dollars; ``prices`` are mids by leg, in points.

    Verticals ask their width, a condor its wider side, naked options 20 % (shares) or 15 % (index) of the underlying;
    of two naked sides the larger and the other's premium. What is bought asks nothing beyond its price.
    """
    return requirement(package.legs, spot, prices, settings)


def buying_power(legs: Sequence[Leg], spot: float, prices: Sequence[float], settings: MarginSettings) -> float:
    """Dollars of buying power that legs take: what they ask, and the debit paid for them.

    A credit stays in the account and counts for nothing, but for a short box: that is a loan, its width is owed for
    certain, and what it brought is there to pay it.
    """
    value = sum(leg.ratio * leg.contract.multiplier * price for leg, price in zip(legs, prices, strict=True))
    asked = requirement(legs, spot, prices, settings)
    return max(asked + value, 0.0) if value > 0.0 or is_loan(legs) else asked


def is_loan(legs: Sequence[Leg]) -> bool:
    """Whether European legs of one expiry owe one certain sum, whatever the underlying does: a short box."""
    return _is_loan(tuple(legs))


@lru_cache(maxsize=_KEPT)
def _is_loan(legs: tuple[Leg, ...]) -> bool:
    if len({leg.contract.expiry for leg in legs}) != 1 or any(leg.contract.settlement not in _CASH for leg in legs):
        return False
    calls = sum(leg.ratio for leg in legs if leg.contract.right is Right.CALL)
    strikes = {leg.contract.strike for leg in legs}
    payoffs = [_payoff(legs, price) for price in (0.0, *strikes)]
    return calls == 0 and payoffs[0] < 0.0 and max(payoffs) - min(payoffs) < 1e-6


def requirement(legs: Sequence[Leg], spot: float, prices: Sequence[float], settings: MarginSettings) -> float:
    """Dollars asked for legs on one underlying whose ratios are contracts; ``prices`` are points by leg.

    The smallest sum over every pairing of shorts with longs. Of cash-settled indices only contracts of one expiry are
    paired (tastytrade recognises no calendars there). Options on futures: each naked one asks its share of the future.
    """
    return settings.house_multiple * sum(_best(one, spot, prices, settings) for one in _pairings(tuple(legs)))


@lru_cache(maxsize=_KEPT)
def _pairings(legs: tuple[Leg, ...]) -> tuple[_Pairings, ...]:
    """All ways to pair them, once for each group that is paired by itself."""
    numbered = tuple(enumerate(legs))
    if legs[0].contract.settlement not in _CASH:
        return (_paired(numbered),)
    expiries = sorted({leg.contract.expiry for leg in legs})
    return tuple(_paired(tuple(row for row in numbered if row[1].contract.expiry == expiry)) for expiry in expiries)


def _paired(legs: tuple[tuple[int, Leg], ...]) -> _Pairings:
    lots = reduce(gcd, (abs(leg.ratio) for _, leg in legs))
    some = [(at, Leg(leg.contract, leg.ratio // lots)) for at, leg in legs]
    puts, calls = ([row for row in some if row[1].contract.right is right] for right in (Right.PUT, Right.CALL))
    most = _MOST_PAIRINGS
    if _ways(puts) * _ways(calls) > most:  # of both sides together
        most = max(most // min(_ways(puts), _ways(calls)), 1)
    ways = product(_sides(puts, most), _sides(calls, most))
    shorts = tuple((at, leg.contract) for at, leg in some if leg.ratio < 0)
    return _Pairings(lots, shorts, tuple((p, c, _spread_loss((*p.covered, *c.covered))) for p, c in ways))


def _best(one: _Pairings, spot: float, prices: Sequence[float], settings: MarginSettings) -> float:
    """The smallest sum over the ways at these prices."""
    asked = {at: naked(contract, spot, prices[at], settings) for at, contract in one.shorts}
    premium = {at: contract.multiplier * prices[at] for at, contract in one.shorts}
    return one.lots * min(_together(put, call, loss, asked, premium) for put, call, loss in one.ways)


def _ways(legs: Sequence[tuple[int, Leg]]) -> int:
    return prod(1 - leg.ratio for _, leg in legs if leg.ratio < 0)


def _sides(legs: Sequence[tuple[int, Leg]], most: int) -> list[_Side]:
    """Every number of each short that may stay naked while the longs cover the rest."""
    longs = tuple(leg for _, leg in legs if leg.ratio > 0)
    shorts = [(at, leg) for at, leg in legs if leg.ratio < 0]
    found = []
    for counts in _naked_counts([leg for _, leg in shorts], longs, most):
        left = [(leg, leg.ratio + count) for (_, leg), count in zip(shorts, counts, strict=True)]
        covered = (*longs, *(Leg(leg.contract, ratio) for leg, ratio in left if ratio))
        if not uncovered(covered):
            open_ones = tuple((at, count) for (at, _), count in zip(shorts, counts, strict=True))
            found.append(_Side(open_ones, any(counts), covered, _spread_loss(covered)))
    return found


def _naked_counts(shorts: Sequence[Leg], longs: Sequence[Leg], most: int) -> Iterable[tuple[int, ...]]:
    """How many of each short stay naked, in every way; of very many shorts only with the dearest covered first.

    The dearest: of puts the highest strike, of calls the lowest, whatever the prices are.
    """
    if prod(1 - leg.ratio for leg in shorts) <= most:
        return product(*(range(1 - leg.ratio) for leg in shorts))
    covered: dict[str, Leg] = {}
    for leg in sorted(shorts, key=lambda item: item.contract.strike * _DEAREST[item.contract.right]):
        for count in range(-1, leg.ratio - 1, -1):
            tried = {**covered, leg.contract.name: Leg(leg.contract, count)}
            if uncovered((*longs, *tried.values())):
                break
            covered = tried
    kept = (covered.get(leg.contract.name) for leg in shorts)
    return [tuple(-leg.ratio + (0 if some is None else some.ratio) for leg, some in zip(shorts, kept, strict=True))]


def _together(put: _Side, call: _Side, loss: float, asked: dict[int, float], premium: dict[int, float]) -> float:
    """Both sides of an account: only one of them can lose at a price, so the larger counts."""
    sides = [sum(count * asked[at] for at, count in side.naked) + side.spread for side in (put, call)]
    if put.is_naked and call.is_naked:
        larger, other = (sides[0], call) if sides[0] >= sides[1] else (sides[1], put)
        return max(larger + sum(count * premium[at] for at, count in other.naked), loss)
    return max(*sides, loss)


def _spread_loss(legs: Sequence[Leg]) -> float:
    """Largest loss at intrinsic values over every price, zero or positive; premiums are paid or kept besides."""
    prices = {0.0, *(leg.contract.strike for leg in legs)}
    return max(0.0, *(-_payoff(legs, price) for price in prices)) if legs else 0.0


def _payoff(legs: Iterable[Leg], price: float) -> float:
    total = 0.0
    for leg in legs:
        contract = leg.contract
        inside = price - contract.strike if contract.right is Right.CALL else contract.strike - price
        total += leg.ratio * max(inside, 0.0) * contract.multiplier
    return total


def naked(contract: Contract, spot: float, price: float, settings: MarginSettings) -> float:
    """Dollars asked for one uncovered short option at a price in points.

    The greatest of: premium and a share of the underlying less what is out of the money; premium and a floor (of the
    strike for puts, of the underlying for calls); a minimum a share. An option on a future: premium and the future's
    scanning range, which is what it becomes when it is exercised.
    """
    kind, call = contract.underlying.kind, contract.right is Right.CALL
    if kind is AssetKind.FUTURE:
        return contract.multiplier * (price + settings.scan_of(contract.underlying.ticker) * spot)
    index = kind is AssetKind.INDEX
    share = settings.naked_index if index else settings.naked_equity
    outside = max(contract.strike - spot if call else spot - contract.strike, 0.0)
    floor = settings.naked_floor * (spot if call else contract.strike)
    return contract.multiplier * max(price + max(share * spot - outside, floor), settings.naked_minimum)


def is_amount(value: float | None) -> bool:
    """Whether a figure in dollars can be true: known, finite and not negative."""
    return value is not None and isfinite(value) and value >= 0.0


def breaker_level(vix: float | None, phase: int, settings: CircuitBreakerSettings) -> float:
    """Share of equity in margin at which the breaker trips (methodology, section 4); the strictest without a VIX."""
    level = settings.margin_foundation if phase == 1 else settings.margin
    if vix is None:
        return min(level, settings.margin_vix_40)
    for bound, cap in (
        (settings.vix_extreme, settings.margin_vix_40),
        (settings.vix_high, settings.margin_vix_30),
        (settings.vix_raised, settings.margin_vix_20),
    ):
        if vix >= bound:
            return min(level, cap)
    return level


@dataclass(frozen=True, slots=True)
class MarginUse:
    """Dollars of buying power in use; ``unknown`` names positions that count with what they asked at entry."""

    dollars: float
    unknown: tuple[str, ...]


class MarginFigures(Manager):
    """Margin of what is held and on its way, at today's prices, and the cap that it must stay under."""

    def __init__(
        self,
        engine: StressEngine,
        book: Book,
        vix: UnifiedVIXManager,
        settings: MarginSettings,
        breakers: CircuitBreakerSettings,
    ) -> None:
        self._engine = engine
        self._book = book
        self._vix = vix
        self._settings = settings
        self._breakers = breakers
        self._counted: tuple[StressBook, dict[Node, MarginUse], dict[tuple[str, Node], float | None]] | None = None

    def used(self, node: Node = Node.NOW) -> MarginUse:
        """Buying power in use now, or after the move of a node; worked out once for the figures that it rests on."""
        held, uses, _ = self._known()
        if node not in uses:
            uses[node] = self._count(held, node)
        return uses[node]

    def _known(self) -> tuple[StressBook, dict[Node, MarginUse], dict[tuple[str, Node], float | None]]:
        held = self._engine.held()
        if self._counted is None or self._counted[0] is not held:
            self._counted = (held, {}, {})
        return self._counted

    def after(self, nodes: Mapping[str, Node]) -> float:
        """Dollars that everything held asks when each underlying stands at its node; what is unknown asks nothing."""
        held, _, known = self._known()
        total = 0.0
        for row in held.rows:
            key = (row.position, nodes[row.ticker])
            if key not in known:
                known[key] = self.of(row, key[1])
            total += known[key] or 0.0
        return total

    def used_without(self, gone: frozenset[str]) -> MarginUse:
        """Buying power that would be in use without these positions (by id)."""
        return self._count(self._engine.held(), Node.NOW, gone)

    def _count(self, held: StressBook, node: Node, gone: frozenset[str] = frozenset()) -> MarginUse:
        total, unknown, known = 0.0, [], self._known()[2]
        for row in held.rows:
            if row.position in gone:
                continue
            if (row.position, node) not in known:
                known[row.position, node] = self.of(row, node)
            asked = known[row.position, node]
            if asked is None:
                unknown.append(row.position)
                position = self._book.positions.get(row.position) or self._book.pending.get(row.position)
                asked = 0.0 if position is None else position.margin
            total += asked
        return MarginUse(total, tuple(unknown))

    def of(self, row: Stressed, node: Node = Node.NOW) -> float | None:
        """Buying power of one row of the stress; ``None`` while a leg is unknown."""
        if not row.known:
            return None
        if not row.legs:
            share = self._share_of(row.ticker)
            return self._settings.house_multiple * share * abs(row.value + float(row.profits[node]))
        value = row.value + float(row.profits[node])
        if node is Node.NOW and row.scan is not None:
            return max(self._settings.house_multiple * max(row.scan - value, 0.0) + max(value, 0.0), 0.0)
        return buying_power(row.legs, float(row.spots[node]), row.prices[:, node].tolist(), self._settings)

    def _share_of(self, key: str) -> float:
        """Of the value of shares, or of a future that an assignment left: its scanning range."""
        facts = facts_of(key)
        if facts is not None and facts.kind is AssetKind.FUTURE:
            return self._settings.scan_of(facts.ticker)
        return self._settings.shares

    def cap(self, context: RiskContext) -> float | None:
        """Share of equity that may be used now; ``None`` without a VIX."""
        bound = self.binding_cap(context)
        return None if bound is None else bound[1]

    def binding_cap(self, context: RiskContext) -> tuple[str, float] | None:
        """The smallest of the caps of phase, regime, reserve and breaker, and whose it is; ``None`` without a VIX."""
        if context.vix is None:
            return None
        level = breaker_level(context.vix.value, context.phase, self._breakers)
        share = self._settings.breaker_share
        caps = {
            f"phase {context.phase}": context.limits.buying_power_cap,
            f"VIX regime {context.vix.regime.value}": self._vix.cap_of(context.vix.regime),
            "the reserve": 1 - self._settings.reserve,
            f"{share:g} of the margin breaker's {level:.0%}": share * level,
        }
        return min(caps.items(), key=lambda row: row[1])


class MarginPlugin(RiskPlugin):
    """Keeps used margin within the smallest cap: phase, VIX regime, reserve, and a distance from the breaker."""

    name = "margin"
    order = 120

    def __init__(self, figures: MarginFigures, engine: StressEngine, settings: MarginSettings) -> None:
        self._figures = figures
        self._engine = engine
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Contracts that the free part of the cap carries; a margin that cannot be true denies."""
        cap = self._figures.cap(context)
        if cap is None:
            return Deny(self.name, "no fresh VIX, so no cap on buying power")
        own = self._figures.of(self._engine.one_lot(proposal.package))
        if own is None or not is_amount(proposal.terms.margin):
            return Deny(self.name, f"the margin of one contract is unknown ({proposal.terms.margin} proposed)")
        if is_covered(proposal, context.book):
            return Allow(self.name)  # a long of its position stands for it: it asks no margin of its own
        used = self._figures.used()
        if used.unknown:
            return Deny(self.name, f"the margin of {', '.join(used.unknown)} is unknown")
        free = cap * context.account.equity - used.dollars
        if self._settings.authority == "engine" and context.account.engine_margin_free is not None:
            free = min(free, context.account.engine_margin_free)
        each = own if is_loan(proposal.package.legs) else max(own, proposal.terms.margin)
        if each <= 0.0:
            return Allow(self.name)
        contracts = max(math.floor(free / each + 1e-9), 0)
        reason = f"{free:.0f} of buying power left (cap {cap:.1%}) over {each:.0f} a contract allows {contracts}"
        return Shrink(self.name, contracts, free, each, reason)
