"""Row 9, diagonal: a put of 60 days bought, one of 30 days sold under it, while volatility is low.

Its delta is near nothing and its vega positive: it gains where the price drifts to the short strike or volatility
rises. Half of the places from VIX 15 on, closed above 18; closed too when the short leg has 7 days left.
"""

from __future__ import annotations

from functools import lru_cache

from core.book import Position
from core.contracts import Contract, Right
from core.parts import BOUGHT, WHOLE, Part, Trait
from core.settings.fields import ExitSettings
from core.settings.strategies import DiagonalSettings
from greeks.american import american_price
from greeks.black_scholes import expires_at, years_between
from risk.proposal import Proposal
from strategies.base import Close, HoldContext, Skip, maximum_debit
from strategies.exits import days_to_expiry, early_profit, loss_of_debit
from strategies.gates import TUESDAY, every, free_place
from strategies.look import Look
from strategies.picks import Chain
from strategies.row import Entry, Row, by_part
from strategies.tools import Tools


class Diagonal(Row):
    """Buys a put and sells a nearer one at a lower strike."""

    name = "diagonal"
    opens = every(TUESDAY)
    traits = by_part(whole=BOUGHT | {Trait.LOW_VIX_ONLY, Trait.SPARED_BY_21_DTE})

    def __init__(self, tools: Tools, settings: DiagonalSettings, exits: ExitSettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        self.gates = (self._places,)
        at, slots = settings.entry_time, settings.tickers
        self.entries = (Entry("open", self.opens, at, self.open, slots=slots, parts=(WHOLE,)),)
        self.exits_of_all = (self._vix_rose,)
        self.exits = {
            WHOLE: (
                loss_of_debit(settings.stop_multiple),
                days_to_expiry(settings.short_exit_days),
                early_profit(exits),
                self._earned,
            )
        }

    def roots_of(self, slot: str) -> tuple[str, ...]:
        """Each ticker's own options."""
        return (slot or self.settings.tickers[0],)

    def open(self, look: Look) -> Proposal:
        """The long put, and the short one whose delta leaves the least of the package."""
        own, far, near = (
            self.settings,
            look.chain(days=self.settings.days_to_expiry),
            look.chain(days=self.settings.short_days),
        )
        if near.expiry >= far.expiry:
            raise look.skip("no_expiry", f"one expiry, {far.expiry}, is nearest to both terms")
        long = far.put(delta=own.long_delta)
        short = self._short(look, near, long, far.delta(long))
        legs = {long: +1, short: -1}
        proposal = look.structure("put_diagonal", whole=legs, must=maximum_debit(own.max_debit * look.spot), wanted=1)
        bought, sold = _vega(far, long), _vega(near, short)
        if bought is None or sold is None:
            raise look.wait("vega", "the vega of a leg is unknown")
        if bought <= sold:
            raise look.skip("vega", f"its vega {bought - sold:.3f} is not positive", 0.0, bought - sold)
        return proposal

    def _short(self, look: Look, near: Chain, long: Contract, wanted: float | None) -> Contract:
        """Strikes under the long one, the highest first, down to where their delta is under the long put's."""
        under = [strike for strike in near.strikes(Right.PUT) if strike < long.strike]
        if not under:
            raise look.skip("strikes", f"no strike of {near.expiry} is under {long.name}")
        best = near.put(strike=under[-1])
        for strike in reversed(under[:-1]):
            delta = near.delta(best)
            if wanted is None or delta is None or delta <= wanted:
                break
            lower = near.put(strike=strike)
            other = near.delta(lower)
            if other is not None and abs(other - wanted) >= abs(delta - wanted):
                break
            best = lower
        if best.strike >= long.strike:
            raise look.wait("quotes", f"no quote of a strike under {long.name}")
        return best

    def _places(self, look: Look) -> Skip | None:
        """The phase's places, from the settings' VIX on a share of them."""
        own, most = self.settings, self.settings.contracts_by_phase[look.phase - 1]
        if look.vix >= own.full_size_under_vix:
            most = int(most * own.half_size_share)
        answer = free_place(most)(look)
        return answer if isinstance(answer, Skip) else None

    # What is held

    def _vix_rose(self, position: Position, context: HoldContext) -> Close | None:
        """It is held in a calm market alone."""
        most = self.settings.max_vix
        if context.vix is None or context.vix <= most:
            return None
        return Close("vix_window", f"VIX {context.vix:.2f} is above {most:g}")

    def _earned(self, part: Part, context: HoldContext) -> Close | None:
        """Its share of the most that it can be worth when the short put ends."""
        profit = context.profit(part)
        if profit is None or profit < 0.0:  # no share of what can be gained: half of all minutes end here
            return None
        value = self._most_worth(part)
        if value is None:
            return None
        most = value + part.credit
        if most <= 0 or profit < self.settings.profit_target * most:
            return None
        return Close("profit_target", f"{profit:.2f} of {most:.2f} points gained that it can gain by {part.expiry}")

    def _most_worth(self, part: Part) -> float | None:
        """Points of the long put at the short one's expiry, the price at the short strike and volatility as now."""
        long = next((leg.contract for leg in part.legs if leg.ratio > 0), None)
        short = next((leg.contract for leg in part.legs if leg.ratio < 0), None)
        volatility = None if long is None else self.tools.greeks.volatility_of(long)
        if long is None or short is None or volatility is None:
            return None
        return _worth_at_end(short, long, volatility, *self.tools.greeks.carry_of(long.underlying.ticker))


@lru_cache(maxsize=64)
def _worth_at_end(short: Contract, long: Contract, volatility: float, rate: float, dividend_yield: float) -> float:
    """Points of the long put; kept, for it is asked each minute and its volatility is measured each five."""
    left = years_between(expires_at(short), expires_at(long))
    return float(american_price(short.strike, long.strike, left, volatility, rate, dividend_yield, False)[0])


def _vega(chain: Chain, contract: Contract) -> float | None:
    known = chain.figures()
    figures = None if known is None else known.of(contract)
    return None if figures is None else figures.vega
