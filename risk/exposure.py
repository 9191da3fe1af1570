"""The August 5, 2024 lesson: how many positions may depend on one thing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from core.book import Book
from core.events import Event, RiskThreshold, SessionOpened, Severity
from core.instruments import Group, group_of, is_sp500
from core.parts import Trait
from core.settings.fields import CorrelationSettings
from greeks.exposure import LegGreeks
from greeks.service import CentralGreeksService
from market.history import Correlations
from risk.proposal import Allow, Deny, Exposed, Opening, Proposal, RiskContext, RiskPlugin, Shrink, Verdict


def limit_of(group: Group, settings: CorrelationSettings) -> int:
    """How many positions a group may hold."""
    own = {
        Group.EQUITY_FUTURES: settings.equity_futures_limit,
        Group.EQUITY_OPTIONS: settings.equity_options_limit,
        Group.SAFE_HAVEN: settings.safe_haven_limit,
        Group.METALS: settings.metals_limit,
        Group.CRUDE: settings.crude_limit,
        Group.NATURAL_GAS: settings.natural_gas_limit,
        Group.GRAINS: settings.grains_limit,
        Group.PROTEINS: settings.proteins_limit,
        Group.CURRENCIES: settings.currencies_limit,
    }
    return min(own[group], settings.group_limit)


TAKES_A_PLACE = frozenset({Trait.SHORT_VOLATILITY, Trait.LASTING})
"""What a correlation group counts: short volatility, and an IPMCC from its long call on (methodology, section 3)."""


class CorrelationPlugin(RiskPlugin):
    """At most so many positions in a group; measured correlation joins symbols of different groups."""

    name = "correlation"
    order = 70
    watches = (SessionOpened,)

    def __init__(self, correlations: Correlations, book: Book, settings: CorrelationSettings) -> None:
        self._correlations = correlations
        self._book = book
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny symbols that may never be traded, symbols in no group, and a group that is full."""
        return self.bars(opening_of(proposal), context) or Allow(self.name)

    def bars(self, opening: Opening, context: RiskContext) -> Deny | None:
        """All of it: a group is of the underlying, and counts parts by what they are."""
        ticker, traits = opening.ticker, opening.traits
        if ticker in self._settings.never_traded:
            return Deny("never_traded", f"{ticker} is never traded")
        if ticker == "NG" and not self._settings.experienced_with_natural_gas:
            return Deny("never_traded", "NG only with correlation.experienced_with_natural_gas")
        group = group_of(ticker)
        if group is None:
            return Deny(self.name, f"{ticker} is in no correlation group")
        if not traits & TAKES_A_PLACE:
            return None
        joined = [row for row in context.exposed(opening.onto) if self._joined(row, ticker, group)]
        limit = limit_of(group, self._settings)
        if group is Group.EQUITY_OPTIONS:
            lasting = sum(1 for row in joined if Trait.LASTING in row.traits)
            if Trait.LASTING in traits and lasting >= self._settings.lasting_places:
                reason = f"{lasting} of {self._settings.lasting_places} places for what never ends are taken"
                return Deny("lasting_places", reason, float(self._settings.lasting_places), float(lasting))
            limit -= kept_places(traits, self._settings)
        if len(joined) >= limit:
            reason = f"{len(joined)} of {limit} positions are open in group {group.value}"
            return Deny(self.name, reason, float(limit), float(len(joined)))
        return None

    def _joined(self, row: Exposed, ticker: str, group: Group) -> bool:
        if not row.traits & TAKES_A_PLACE:
            return False
        if row.group is group:
            return True
        measured = self._correlations.between(ticker, row.ticker)
        return measured is not None and abs(measured) > self._settings.measured_joins

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """At each open: pairs of what is held in different groups whose measured correlation is worth a word."""
        if not isinstance(event, SessionOpened):
            return ()
        tickers = sorted({position.underlying.ticker for position in self._book.positions.values()})
        found = []
        for one, other in combinations(tickers, 2):
            measured = self._correlations.between(one, other)
            if measured is not None and group_of(one) is not group_of(other):
                share = abs(measured) / self._settings.measured_reported
                severity = Severity.WARNING if share > 1.0 else Severity.NORMAL
                rule, limit = f"correlation_{one}_{other}", self._settings.measured_reported
                row = RiskThreshold(time=event.time, rule=rule, severity=severity, limit=limit, observed=measured)
                found.append(row)
        return found

    def verify(self) -> tuple[str, ...]:
        """Every group has a limit."""
        missing = [group.value for group in Group if limit_of(group, self._settings) < 0]
        return tuple(f"group {name} has no limit" for name in missing)


class ConcentrationPlugin(RiskPlugin):
    """S&P 500 equivalents by count and by size, short volatility in the account, one expiration of one strategy."""

    name = "concentration"
    order = 80

    def __init__(self, service: CentralGreeksService, settings: CorrelationSettings) -> None:
        self._service = service
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny the second position of a strategy, underlying and expiration, and full counts."""
        key = (proposal.strategy, proposal.package.underlying.ticker, proposal.package.expiry)
        others = [row for row in context.book.exposed() if row.id != proposal.onto]
        same = (row for row in others if (row.strategy, row.underlying.ticker) == key[:2])
        if any(row.expiry == key[2] for row in same):
            return Deny("same_expiration", f"{key[0]} already holds {key[1]} {key[2]}", 1.0, 1.0)
        traits = traits_of(proposal)
        if Trait.SHORT_VOLATILITY not in traits:
            return Allow(self.name)
        sold = [row for row in context.exposed(proposal.onto) if Trait.SHORT_VOLATILITY in row.traits]
        kept = kept_places(traits, self._settings)
        limit = self._settings.short_volatility_limit - kept
        if len(sold) >= limit:
            return Deny("short_volatility", f"{len(sold)} of {limit} are open", float(limit), float(len(sold)))
        if not is_sp500(key[1]):
            return Allow(self.name)
        limit = self._settings.sp500_limit - kept
        count = sum(1 for row in sold if is_sp500(row.ticker))
        if count >= limit:
            return Deny("sp500", f"{count} of {limit} S&P 500 equivalents are open", float(limit), float(count))
        return self._size(proposal, context)

    def _size(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Contracts at which the delta of all S&P 500 equivalents, in dollars, stays within its share of equity."""
        asked = self._service.what_if(
            proposal.package, 1
        )  # its legs together: one without a bid takes the others' volatility
        before, after = self._delta(asked.before.legs), self._delta(asked.after.legs)
        if before is None or after is None:
            return Deny("sp500_delta", "the delta of an S&P 500 equivalent is unknown")
        held, each = before, after - before
        limit = self._settings.sp500_delta_share * context.account.equity
        for contracts in range(proposal.wanted, 0, -1):
            after = abs(held + contracts * each)
            if after <= limit or after <= abs(held):
                return Shrink(self.name, contracts, limit, after, f"delta of {after:.0f} dollars in the S&P 500")
        reason = f"one contract would bring the S&P 500's delta to {abs(held + each):.0f} dollars"
        return Shrink("sp500_delta", 0, limit, abs(held + each), reason)

    def _delta(self, legs: Iterable[LegGreeks]) -> float | None:
        """Dollars of index that options on S&P 500 equivalents move like; ``None`` when one is unknown."""
        dollars = 0.0
        for leg in legs:
            if is_sp500(leg.underlying):
                spot = self._service.spot_of(leg.contract)
                if leg.figures is None or spot is None:
                    return None
                dollars += leg.units * leg.figures.delta * spot
        return dollars


def traits_of(proposal: Proposal) -> frozenset[Trait]:
    """What any part of a proposal is."""
    return frozenset().union(*(plan.terms.traits for plan in proposal.plans))


def opening_of(proposal: Proposal) -> Opening:
    """What is known of a proposal without its contracts."""
    return Opening(proposal.package.underlying.ticker, traits_of(proposal), proposal.onto)


def kept_places(traits: frozenset[Trait], settings: CorrelationSettings) -> int:
    """Places that stay free for what ends the same day."""
    return 0 if Trait.ENDS_TODAY in traits else settings.kept_for_today


class OverlapPlugin(RiskPlugin):
    """No contract is held both ways, and nothing is proposed twice (methodology, section 5)."""

    name = "overlap"
    order = 85

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """A broker nets a long and a short of one contract, whoever opened them: the package moves a strike."""
        ratios = {leg.contract.name: leg.ratio for leg in proposal.package.legs}
        held = {leg.contract.name: leg.ratio for row in context.book.exposed() for leg in row.legs}
        held |= {name: round(quantity) for name, quantity in context.book.unowned.items() if quantity == quantity}
        for name, ratio in ratios.items():
            if ratio * held.get(name, 0) < 0:
                return Deny(self.name, f"{name} is held the other way round")
        for row in context.book.pending.values():
            same = {leg.contract.name for leg in row.legs} == set(ratios)
            if same and row.strategy == proposal.strategy:
                return Deny("duplicate", f"{row.id} is on its way with the same contracts")
        return Allow(self.name)
