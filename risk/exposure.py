"""The August 5, 2024 lesson: how many positions may depend on one thing."""

from __future__ import annotations

from core.book import Position
from core.instruments import Group, group_of, is_sp500
from core.settings.fields import CorrelationSettings
from market.history import Correlations
from risk.proposal import Allow, Deny, Proposal, RiskContext, RiskPlugin, Verdict


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


class CorrelationPlugin(RiskPlugin):
    """At most so many positions in a group; measured correlation joins symbols of different groups."""

    name = "correlation"
    order = 70

    def __init__(self, correlations: Correlations, settings: CorrelationSettings) -> None:
        self._correlations = correlations
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny symbols that may never be traded, symbols in no group, and a group that is full."""
        ticker = proposal.package.underlying.ticker
        if ticker in self._settings.never_traded:
            return Deny("never_traded", f"{ticker} is never traded")
        if ticker == "NG" and not self._settings.experienced_with_natural_gas:
            return Deny("never_traded", "NG only with correlation.experienced_with_natural_gas")
        group = group_of(ticker)
        if group is None:
            return Deny(self.name, f"{ticker} is in no correlation group")
        if not proposal.terms.short_volatility:
            return Allow(self.name)
        limit = limit_of(group, self._settings)
        joined = [row for row in context.book.exposed() if self._joined(row, ticker, group)]
        if len(joined) >= limit:
            reason = f"{len(joined)} of {limit} positions are open in group {group.value}"
            return Deny(self.name, reason, float(limit), float(len(joined)))
        return Allow(self.name)

    def _joined(self, position: Position, ticker: str, group: Group) -> bool:
        if not position.short_volatility:
            return False
        other = position.underlying.ticker
        if group_of(other) is group:
            return True
        measured = self._correlations.between(ticker, other)
        return measured is not None and abs(measured) > self._settings.measured_joins

    def verify(self) -> tuple[str, ...]:
        """Every group has a limit."""
        missing = [group.value for group in Group if limit_of(group, self._settings) < 0]
        return tuple(f"group {name} has no limit" for name in missing)


class ConcentrationPlugin(RiskPlugin):
    """S&P 500 equivalents, short volatility in the whole account, and one expiration of one strategy."""

    name = "concentration"
    order = 80

    def __init__(self, settings: CorrelationSettings) -> None:
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny the second position of a strategy, underlying and expiration, and full counts."""
        held = list(context.book.exposed())
        key = (proposal.strategy, proposal.package.underlying.ticker, proposal.package.expiry)
        if any((row.strategy, row.underlying.ticker, row.expiry) == key for row in held):
            return Deny("same_expiration", f"{key[0]} already holds {key[1]} {key[2]}", 1.0, 1.0)
        if not proposal.terms.short_volatility:
            return Allow(self.name)
        sold = [row for row in held if row.short_volatility]
        if is_sp500(proposal.package.underlying.ticker):
            limit = self._settings.sp500_limit
            count = sum(1 for row in sold if is_sp500(row.underlying.ticker))
            if count >= limit:
                return Deny("sp500", f"{count} of {limit} S&P 500 equivalents are open", float(limit), float(count))
        limit = self._settings.short_volatility_limit
        if len(sold) >= limit:
            return Deny("short_volatility", f"{len(sold)} of {limit} are open", float(limit), float(len(sold)))
        return Allow(self.name)
