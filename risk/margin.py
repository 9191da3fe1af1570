"""What a broker asks for options: the requirement of any legs on one underlying, by the best pairing that there is.

Exchange rules: CBOE rule 12.3 and its margin manual (naked options, short straddles, and since 2012 the "universal
spread": the largest loss at intrinsic values, Federal Register 77 FR 54626). The broker's figures: tastytrade's help
pages (its examples are worked in ``tests/risk/test_margin.py``). Options on futures: a
scan of prices and volatilities like SPAN's
(``greeks.stress``). Dollars, positive; premiums are part of a naked requirement, as the broker prints it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
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

_MOST_PAIRINGS = 4096  # of one side; beyond, the dearest shorts are covered first
_CASH = (Settlement.CASH_AFTERNOON, Settlement.CASH_MORNING)


@dataclass(frozen=True, slots=True)
class _Side:
    """One way to pair a side: dollars that its naked shorts ask, their premium, and what is margined as a spread."""

    naked: float
    premium: float
    covered: tuple[Leg, ...]


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
    price_of = {leg.contract.name: price for leg, price in zip(legs, prices, strict=True)}
    if legs[0].contract.settlement in _CASH:
        expiries = sorted({leg.contract.expiry for leg in legs})
        groups = [[leg for leg in legs if leg.contract.expiry == expiry] for expiry in expiries]
    else:
        groups = [list(legs)]
    return settings.house_multiple * sum(_best(group, spot, price_of, settings) for group in groups)


def _best(legs: Sequence[Leg], spot: float, price_of: dict[str, float], settings: MarginSettings) -> float:
    lots = reduce(gcd, (abs(leg.ratio) for leg in legs))
    some = [Leg(leg.contract, leg.ratio // lots) for leg in legs]
    puts, calls = (
        list(_pairings([leg for leg in some if leg.contract.right is right], spot, price_of, settings))
        for right in (Right.PUT, Right.CALL)
    )
    return lots * min(_together(put, call) for put, call in product(puts, calls))


def _pairings(
    legs: Sequence[Leg], spot: float, price_of: dict[str, float], settings: MarginSettings
) -> Iterator[_Side]:
    """Every number of each short that may stay naked while the longs cover the rest."""
    longs = tuple(leg for leg in legs if leg.ratio > 0)
    shorts = [leg for leg in legs if leg.ratio < 0]
    asked = {leg.contract.name: naked(leg.contract, spot, price_of[leg.contract.name], settings) for leg in shorts}
    for counts in _naked_counts(shorts, longs, asked):
        rest = tuple(
            Leg(leg.contract, leg.ratio + count) for leg, count in zip(shorts, counts, strict=True) if leg.ratio + count
        )
        if uncovered((*longs, *rest)):
            continue
        pairs = [(leg.contract, count) for leg, count in zip(shorts, counts, strict=True)]
        premium = sum(count * contract.multiplier * price_of[contract.name] for contract, count in pairs)
        yield _Side(sum(count * asked[contract.name] for contract, count in pairs), premium, (*longs, *rest))


def _naked_counts(shorts: Sequence[Leg], longs: Sequence[Leg], asked: dict[str, float]) -> Iterable[tuple[int, ...]]:
    """How many of each short stay naked, in every way; of very many shorts only with the dearest covered first."""
    if prod(1 - leg.ratio for leg in shorts) <= _MOST_PAIRINGS:
        return product(*(range(1 - leg.ratio) for leg in shorts))
    covered: dict[str, Leg] = {}
    for leg in sorted(shorts, key=lambda item: -asked[item.contract.name]):
        for count in range(-1, leg.ratio - 1, -1):
            tried = {**covered, leg.contract.name: Leg(leg.contract, count)}
            if uncovered((*longs, *tried.values())):
                break
            covered = tried
    kept = (covered.get(leg.contract.name) for leg in shorts)
    return [tuple(-leg.ratio + (0 if some is None else some.ratio) for leg, some in zip(shorts, kept, strict=True))]


def _together(put: _Side, call: _Side) -> float:
    """Both sides of an account: only one of them can lose at a price, so the larger counts."""
    loss = _spread_loss((*put.covered, *call.covered))
    sides = (put.naked + _spread_loss(put.covered), call.naked + _spread_loss(call.covered))
    if put.naked and call.naked:
        larger, other = (sides[0], call) if sides[0] >= sides[1] else (sides[1], put)
        return max(larger + other.premium, loss)
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
        self._counted: tuple[StressBook, dict[Node, MarginUse]] | None = None

    def used(self, node: Node = Node.NOW) -> MarginUse:
        """Buying power in use now, or after the move of a node; worked out once for the figures that it rests on."""
        held = self._engine.held()
        if self._counted is None or self._counted[0] is not held:
            self._counted = (held, {})
        uses = self._counted[1]
        if node not in uses:
            uses[node] = self._count(held, node)
        return uses[node]

    def used_without(self, gone: frozenset[str]) -> MarginUse:
        """Buying power that would be in use without these positions (by id)."""
        return self._count(self._engine.held(), Node.NOW, gone)

    def _count(self, held: StressBook, node: Node, gone: frozenset[str] = frozenset()) -> MarginUse:
        total, unknown = 0.0, []
        for row in held.rows:
            if row.position in gone:
                continue
            asked = self.of(row, node)
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
