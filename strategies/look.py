"""What a row sees when it looks for an entry: the account, the market, chains to pick from, and the proposal's making.

A row's act is a plain function of its look. It is called a few minutes ahead, to learn which contracts it will want,
and each minute of its window until it stands; it may not keep anything between calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from core.book import Position
from core.contracts import AssetKind, Contract, Leg, Package, Quote
from core.identifiers import part_kind
from core.instruments import INSTRUMENTS, Group, Instrument, group_of
from core.parts import WHOLE, Part, PartPlan, Terms, Trait
from core.settings.strategies import StrategySettings
from market.chains import PackagePrice, current_quotes, package_price
from market.trend import DayRange, Trend
from risk.margin import package_margin
from risk.proposal import Proposal
from strategies.base import EntryContext, Must, Skip, Wait, least_cash, too_little
from strategies.picks import Chain
from strategies.tools import Tools

_QUARTER = 0.25  # how far an expiry may be from the wanted days, as a share of them (methodology, 6a)
_VIX_RATIO = (0.5, 2.0)
_KEPT_BACK = 2  # quotes that looks ahead of the last leave for picks
_LAST_SPARES = 4
"""How many strikes beside each pick are quoted too at the last look before the window, as far as there is room."""
_MOVED_BY_VIX = (Group.EQUITY_FUTURES, Group.EQUITY_OPTIONS)


class EndedLookError(Exception):
    """The look ended without a proposal, with its reason."""

    def __init__(self, answer: Skip | Wait) -> None:
        super().__init__(answer.reason)
        self.answer = answer


@dataclass(slots=True)
class Watched:
    """Contracts that an entry asked quotes of today, by name, in the order of asking; ``user`` holds them.

    ``found``: whether an early look ahead missed nothing.
    """

    user: str
    day: date
    contracts: dict[str, Contract] = field(default_factory=dict)
    found: bool = False


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What a look must know of its row: its name, its settings, and what each kind of part is."""

    name: str
    own: StrategySettings
    traits: Mapping[str, frozenset[Trait]]


class Look:
    """One look of one row at one moment. Everything it cannot know ends it: as Skip with its number, or as Wait.

    ``full_size`` is the root that the row's numbers of contracts are for; ``part`` what a roll is for.
    """

    def __init__(self, tools: Tools, row: RowFacts, context: EntryContext, root: str, watched: Watched) -> None:
        self.tools = tools
        self.row = row
        self.context = context
        self.root = root
        self.part: Part | None = None
        self.full_size = root
        self.is_ahead = self._is_early = False
        self.spares = 0
        self._kept_back = 0
        self._watched = watched
        self._chains: dict[tuple[str, date], Chain] = {}
        self._wanted: dict[str, Contract] = {}
        self._spare: dict[str, int] = {}
        self._known: dict[str, Contract] = {}
        self._missing: set[str] = set()

    # The moment

    @property
    def own(self) -> StrategySettings:
        """The row's settings."""
        return self.row.own

    @property
    def now(self) -> datetime:
        """Naive New York time."""
        return self.context.now

    @property
    def today(self) -> date:
        """The market's date."""
        return self.context.now.date()

    @property
    def phase(self) -> int:
        """The account's phase, 1 to 4."""
        return self.context.phase

    @property
    def equity(self) -> float:
        """Of the account, dollars."""
        return self.context.equity

    @property
    def slot(self) -> str:
        """Which of the row's entries this is, or its position came from; empty where it has one."""
        return self.context.slot if self.position is None else self.position.slot

    @property
    def position(self) -> Position | None:
        """What the entry adds to."""
        return self.context.position

    @property
    def instrument(self) -> Instrument:
        """The option root looked at."""
        return INSTRUMENTS[self.root]

    @property
    def vix(self) -> float:
        """The fresh VIX. Ends the look without one."""
        if self.context.vix is None:
            raise self.wait("vix_missing", "no VIX that is fresh enough")
        return self.context.vix.value

    @property
    def vix_ratio(self) -> float:
        """The VIX over its last close where the VIX is about the underlying; 1 elsewhere."""
        close = self.tools.trend.previous_close("VIX")
        if self.context.vix is None or not close or group_of(self.instrument.underlying) not in _MOVED_BY_VIX:
            return 1.0
        return min(max(self.context.vix.value / close, _VIX_RATIO[0]), _VIX_RATIO[1])

    # The underlying

    def spot_of(self, price_key: str) -> float:
        """Newest price of an underlying in points. Ends the look before its first."""
        spot = self.tools.spot(price_key)
        if spot is None:
            self.tools.gateway.watch((price_key,))
            raise self.wait("price", f"no price of {price_key} yet")
        return spot

    @property
    def spot(self) -> float:
        """Newest price of what the root is written on: of the front contract for a family of futures."""
        return self.spot_of(self.instrument.underlying)

    def day(self, ticker: str) -> DayRange:
        """A ticker's day so far. Ends the look where its open was not seen."""
        found = self.tools.trend.day(ticker)
        if found is None:
            raise self.skip("open_unknown", f"{ticker}'s price at today's open was not seen")
        return found

    def trend(self, ticker: str) -> Trend:
        """A ticker's trend of completed days. Ends the look without enough history."""
        found = self.tools.trend.trend(ticker)
        if found is None:
            raise self.skip("history", f"not enough daily history of {ticker} for ATR and averages")
        return found

    def index_points(self, points: float) -> float:
        """Index points of the row in points of the root's underlying, at the index's level now."""
        scale = self.instrument.index_scale
        return self.own.index_points(points, self.spot * scale) / scale

    # What the row holds

    def held(self, part: str) -> Part:
        """An open part of the position that the look is for. Ends the look where it is gone."""
        found = None if self.position is None else self.position.part(part)
        if found is None:
            raise self.skip("no_part", f"{part} is not open any more")
        return found

    def contracts_left(self) -> int:
        """Contracts of full size that the phase leaves the row beside what it has open or on its way.

        Ten of a tenth-size product count as one, a begun one as a whole. Ends the look where none is left.
        """
        most = self.own.contracts_by_phase[self.phase - 1]
        held = sum(self._full_sized(row) for row in self.tools.book.exposed() if row.strategy == self.row.name)
        if most <= held:
            reason = f"{held} of {most} that phase {self.phase} allows are open"
            raise self.skip("places", reason, float(most), float(held))
        return most - held

    def _full_sized(self, position: Position) -> int:
        contracts = max(part.contracts for part in position.parts)
        return math.ceil(contracts / self._tenths(position.parts[0].package.legs[0].contract.root))

    def _tenths(self, root: str) -> int:
        """How many contracts of a root count as one of full size: ten SPY for an SPX, five for an E-mini of 50 dollars.

        Dollars of a point of the index tell; one of one where they are not both on it.
        """
        full, one = INSTRUMENTS[self.full_size], INSTRUMENTS[root]
        if full.facts.sp500_scale is None or one.facts.sp500_scale is None:
            return 1
        return max(round(full.multiplier / full.index_scale * one.index_scale / one.multiplier), 1)

    # Contracts

    def chain(
        self,
        days: int | None = None,
        *,
        expiry: date | None = None,
        root: str | None = None,
        tolerance: int | None = None,
    ) -> Chain:
        """The listed expiry nearest to so many days ahead, within a quarter of them or a tolerance in days.

        0 days is today and nothing else. Ends the look where none is listed.
        """
        name = root or self.root
        if not self._trades_now(name):
            raise self.skip("market_closed", f"{INSTRUMENTS[name].exchange} is closed at {self.now:%H:%M}")
        found = expiry if days is None else self._expiry(name, days, tolerance)
        listed = () if found is None else self.tools.chains.expiring(name, found)
        if not listed and self.tools.chains.may_come(name):
            raise self.wait("listing", f"nothing of {name} is listed yet")
        if found is None or not listed:
            wanted = f"on {expiry}" if days is None else "today" if days == 0 else f"about {days} days ahead"
            raise self.skip("no_expiry", f"no {name} contract expires {wanted}")
        key = (name, found)
        if key not in self._chains:
            self._chains[key] = Chain(self, listed)
        return self._chains[key]

    def _trades_now(self, root: str) -> bool:
        if INSTRUMENTS[root].kind is not AssetKind.FUTURE:
            return True
        session = self.tools.gateway.session(self.today, root)
        return session is not None and session.opens_at <= self.now < session.closes_at

    def _expiry(self, root: str, days: int, tolerance: int | None) -> date | None:
        if days == 0:
            return self.today
        span = math.floor(days * _QUARTER) if tolerance is None else tolerance
        return self.tools.chains.nearest_expiry(root, self.today, days, span)

    @property
    def pool(self) -> tuple[Contract, ...]:
        """What this entry has asked quotes of today."""
        return tuple(self._watched.contracts.values())

    def quotes_of(self, contracts: Iterable[Contract]) -> dict[Contract, Quote]:
        """Usable two-sided quotes of watched contracts; what has none is absent."""
        names = self._watched.contracts
        return self.tools.chains.quotes([row for row in contracts if row.name in names])

    def want(self, best: Contract, after: Sequence[Contract], spares: int) -> None:
        """Ask quotes of a pick, and of so many that may become it; until the pick has a quote the look waits.

        One side is enough here: a wing that nobody bids for is bought at its offer.
        """
        self._wanted[best.name] = best
        for place, row in enumerate(after[: max(spares, self.spares)]):
            self._known[row.name] = row
            self._spare[row.name] = min(place, self._spare.get(row.name, place))
        if not self.is_quoted(best):
            self._missing.add(best.name)

    def miss(self, *contracts: Contract) -> None:
        """These must be quoted before the look can stand."""
        self._missing.update(row.name for row in contracts)

    def subscribe(self) -> None:
        """Start the quotes that the look asked for: picks, then each one's next best, and so on.

        Never more than the settings allow a look.
        """
        pool, spares_end = self._watched.contracts, self._most - self._kept_back
        spare = [self._known[name] for name in sorted(self._spare, key=lambda name: self._spare[name])]
        picks = [row for name, row in self._wanted.items() if name not in pool]
        picks = picks[: max(self._most - len(pool), 0)]
        others = [row for row in spare if row.name not in pool and row.name not in self._wanted]
        added = [*picks, *others[: max(spares_end - len(pool) - len(picks), 0)]]
        if added:
            pool.update({row.name: row for row in added})
            self.tools.chains.watch(self._watched.user, added)

    def look_ahead(self, last: bool) -> bool:
        """This look decides nothing, it asks quotes: the last of all there is room for, an earlier one leaves some.

        Whether there is anything to look for: not early again after one that missed nothing.
        """
        self.is_ahead, self._is_early = True, not last
        self.spares, self._kept_back = (_LAST_SPARES, 0) if last else (0, _KEPT_BACK)
        return last or not self._watched.found

    def ends(self, answer: object) -> None:
        """The look is over: an early one that missed nothing need not be had again before the last."""
        self.subscribe()
        if self._is_early and answer is not None and not self._missing and not isinstance(answer, Wait):
            self._watched.found = True

    @property
    def _most(self) -> int:
        return self.tools.orders.contracts_looked_at

    @property
    def is_full(self) -> bool:
        """Whether no more quotes may be asked."""
        return len(self._watched.contracts) >= self._most

    def is_quoted(self, contract: Contract) -> bool:
        """Whether a contract was asked for and has a quote."""
        return contract.name in self._watched.contracts and self.tools.chains.quote(contract) is not None

    # The end

    def skip(self, rule: str, reason: str, limit: float | None = None, observed: float | None = None) -> EndedLookError:
        """No entry today: to be raised."""
        return EndedLookError(Skip(rule, reason, limit, observed))

    def wait(self, rule: str, reason: str) -> EndedLookError:
        """Not yet: to be raised."""
        return EndedLookError(Wait(rule, reason))

    def structure(
        self,
        structure: str,
        parts: Mapping[str, Mapping[Contract, int]] | None = None,
        *,
        must: Must | tuple[Must, ...] = (),
        wanted: int | None = None,
        planned_loss: float | None = None,
        reason: str = "",
        **named: Mapping[Contract, int],
    ) -> Proposal:
        """The proposal: parts by name, each a mapping of contracts to signed ratios.

        ``wanted`` is the most contracts of full size (else what the phase leaves the row; on a position, contracts as
        it holds them), ``planned_loss`` dollars that one is expected to lose at worst (else its largest loss; for what
        has none, the row's stop). Ends the look while a leg has no quote to trade at, and where a ``must`` does not
        hold.
        """
        plans = {name: legs for name, legs in {**(parts or {}), **named}.items() if legs}
        package = self._package(plans)
        if self._missing:
            raise self.wait("quotes", f"{', '.join(sorted(self._missing))}: no quote yet")
        price = package_price(package.legs, current_quotes(self.tools.chains, package))
        if price is None:
            raise self.wait("quotes", "a leg has no two-sided quote")
        least = least_cash(must if isinstance(must, tuple) else (must,), package, self.own, self.tools.orders)
        failed = too_little(price.natural, least)
        if failed is not None:
            raise EndedLookError(failed)
        loss = self._loss(package, price.natural) if planned_loss is None else planned_loss
        terms = self._terms(structure, package, tuple(plans), loss)
        most = self.contracts_left() if wanted is None else wanted
        return Proposal(
            strategy=self.row.name,
            day=self.today,
            package=package,
            terms=terms,
            wanted=most * (self._tenths(self.root) if self.position is None else 1),
            mid_cash=price.mid,
            natural_cash=price.natural,
            model_cash=self._model_cash(package),
            spot=self.spot_of(package.underlying.price_key),
            vix=self.vix,
            win_rate=self.own.win_rate,
            reward_ratio=self.own.reward_ratio,
            reason=reason or structure,
            parts=self._plans(structure, plans, price),
            onto="" if self.position is None else self.position.id,
            slot=self.slot,
            least_cash=least,
        )

    def _package(self, plans: Mapping[str, Mapping[Contract, int]]) -> Package:
        legs = [Leg(contract, ratio) for part in plans.values() for contract, ratio in part.items()]
        names = [leg.contract.name for leg in legs]
        for name, part in plans.items():  # a long and a short of one contract are one entry of a mapping: the last
            if Trait.DEBIT in self._traits(name) and max(part.values()) <= 0:
                raise self.skip("strikes", f"the legs of {name} fall on one strike: {', '.join(sorted(names))}")
        if len(set(names)) < len(names):
            raise self.skip("strikes", f"two legs fall on one strike: {', '.join(sorted(names))}")
        return Package(tuple(legs))

    def _traits(self, part: str) -> frozenset[Trait]:
        kind = part_kind(part)
        return self.row.traits[kind if kind in self.row.traits else WHOLE]

    def _terms(self, structure: str, package: Package, parts: tuple[str, ...], loss: float) -> Terms:
        traits = frozenset().union(*(self._traits(part) for part in parts))
        return Terms(self.row.name, structure, loss, self._margin(package), traits)

    def _plans(
        self, structure: str, plans: Mapping[str, Mapping[Contract, int]], price: PackagePrice
    ) -> tuple[PartPlan, ...]:
        if tuple(plans) == (WHOLE,):
            return ()
        found = []
        for name, legs in plans.items():
            package = Package(tuple(Leg(contract, ratio) for contract, ratio in legs.items()))
            own = package_price(package.legs, current_quotes(self.tools.chains, package)) or price
            loss = self._loss(package, own.natural)
            terms = Terms(self.row.name, structure, loss, self._margin(package), self._traits(name))
            found.append(PartPlan(name, package, terms))
        return tuple(found)

    def _margin(self, package: Package) -> float:
        mids = [0.0 if quote is None else quote.mid or 0.0 for quote in current_quotes(self.tools.chains, package)]
        return package_margin(package, self.spot_of(package.underlying.price_key), mids, self.tools.margin)

    def _model_cash(self, package: Package) -> float | None:
        """What the package brings by the Greeks' own prices, in points; ``None`` where a leg's is unknown."""
        total = 0.0
        for leg in package.legs:
            chain = self._chains.get((leg.contract.root, leg.contract.expiry))
            found = None if chain is None else chain.figures()
            figures = None if found is None else found.of(leg.contract)
            if figures is None:
                return None
            total -= leg.ratio * figures.price
        return total

    def _loss(self, package: Package, natural: float) -> float:
        """Dollars that one package loses at worst: at expiry, or by the row's stop where nothing bounds it."""
        multiplier = package.legs[0].contract.multiplier
        if package.uncovered:
            stressed = self.tools.stress.one_lot(package)
            stop = self.own.stop_multiple * max(natural, 0.0) * multiplier
            return stop if stop > 0 else max(-float(stressed.profits.min()), 0.0)
        if len({leg.contract.expiry for leg in package.legs}) == 1:
            return max((worst_at_expiry(package) - natural) * multiplier, 0.0)
        return max(float(self.tools.stress.one_lot(package).largest_loss), 0.0)


def worst_at_expiry(package: Package) -> float:
    """The most points that closing a package of one expiry can cost, positive; every short of it is covered."""
    strikes = [leg.contract.strike for leg in package.legs]
    worst = 0.0
    for price in (0.0, *strikes, 2 * max(strikes)):
        value = 0.0
        for leg in package.legs:
            inside = price - leg.contract.strike
            value += leg.ratio * max(inside if leg.contract.right == "call" else -inside, 0.0)
        worst = min(worst, value)
    return -worst
