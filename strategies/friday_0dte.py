"""Row 1, Friday 0DTE: sell what today's move made expensive, at 10:30 and never earlier, and be out by 15:30.

A move since the open over 0.5 % sells the call spread, under -0.5 % the put spread, between them the iron condor. Short
strikes stand at a multiple of ATR14 from the price and are checked to be 10 to 25 delta; wings are 30 index points, 50
on the side that the trend tests, at an index of 4500.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.book import EntryIntent, Position
from core.contracts import Contract, Leg, Package, Right
from core.instruments import INSTRUMENTS, Instrument
from core.parts import Terms, Trait
from core.settings.fields import MarginSettings, OrderSettings
from core.settings.strategies import FridayZeroDaySettings
from greeks.service import CentralGreeksService
from greeks.smile import ChainGreeks
from market.chains import OptionChainManager, current_quotes, nearest_strike, of_right, package_price
from market.trend import Trend, TrendDirection, TrendWatcher
from risk.margin import package_margin
from risk.proposal import Proposal
from strategies.base import Action, Answer, Deadline, EntryContext, HoldContext, Skip, Strategy, Wait, Window
from strategies.exits import closing_time, first_of, hard_deadline, profit_target, stop_loss
from strategies.floors import thin_credit

INDEX = "SPX"
ROOTS = ("SPXW", "SPY")  # largest that fits
TRAITS = frozenset({Trait.SHORT_VOLATILITY, Trait.SHORT_DATED, Trait.ENDS_TODAY, Trait.SPARED_BY_21_DTE})
_FRIDAY = 4
_REACH = 1.8  # how much farther than the wanted short strikes are quoted, to find 10 to 25 delta


@dataclass(frozen=True, slots=True)
class _Plan:
    """What today's move and trend ask for: sides to sell, distance in ATR, and the side with the broken wing."""

    sides: tuple[Right, ...]
    distance: float
    tested: Right | None
    structure: str


class FridayZeroDay(Strategy):
    """Sells a spread or a condor that expires today."""

    name = "friday_0dte"

    def __init__(
        self,
        chains: OptionChainManager,
        trend: TrendWatcher,
        settings: FridayZeroDaySettings,
        greeks: CentralGreeksService,
        margin: MarginSettings,
        orders: OrderSettings,
    ) -> None:
        self._chains = chains
        self._trend = trend
        self._settings = settings
        self._greeks = greeks
        self._margin = margin
        self._orders = orders
        self._rules = (
            hard_deadline(settings.deadline, settings.half_day_deadline_minutes),
            stop_loss(settings.stop_multiple),
            profit_target(settings.profit_target),
            closing_time(settings.exit_time, settings.half_day_exit_minutes),
        )

    @property
    def family_size(self) -> int:
        """SPX, and SPY at a tenth."""
        return len(ROOTS)

    def entry_windows(self) -> tuple[Window, ...]:
        """Fridays from 10:30."""
        return (Window("open", (_FRIDAY,), self._settings.entry_time, self._settings.entry_until),)

    def deadlines(self) -> tuple[Deadline, ...]:
        """15:00 and 15:30, earlier on half days."""
        settings = self._settings
        return (
            Deadline("exit", settings.exit_time, settings.half_day_exit_minutes),
            Deadline("deadline", settings.deadline, settings.half_day_deadline_minutes),
        )

    def manage(self, position: Position, context: HoldContext) -> Action:
        """Deadline, stop, profit, time: in this order."""
        return first_of(self._rules, position, context)

    def still_wanted(self, entry: EntryIntent, brings: float, context: EntryContext) -> Skip | None:
        """Its VIX window and its credit floor, at a step of the walk; without a VIX nothing opens."""
        blocked = self._vix_gate(context)
        if isinstance(blocked, Wait):
            return Skip(blocked.rule, blocked.reason)
        return blocked or thin_credit(entry.package, brings, self._settings, self._orders)

    def propose(self, context: EntryContext, rank: int) -> Answer:
        """Today's package on the contract of a rank, or why there is none."""
        if context.now.time() < self._settings.entry_time:
            return Wait("entry_time", f"it is {context.now:%H:%M}, entries are from {self._settings.entry_time:%H:%M}")
        blocked = self._vix_gate(context)
        if blocked is not None:
            return blocked
        day, trend = self._trend.day(INDEX), self._trend.trend(INDEX)
        if day is None:
            return Skip("open_unknown", f"{INDEX}'s price at today's open was not seen")
        if trend is None:
            return Skip("history", f"not enough daily history of {INDEX} for ATR and averages")
        plan = self._plan(day.move, trend)
        return self._build(context, plan, day.move, INSTRUMENTS[ROOTS[rank]])

    def _vix_gate(self, context: EntryContext) -> Skip | Wait | None:
        vix, settings = context.vix, self._settings
        if vix is None:
            return Wait("vix_missing", "no VIX that is fresh enough")
        if settings.min_vix > 0 and vix.value <= settings.min_vix:
            reason = f"VIX {vix.value:.2f} is not above {settings.min_vix:g}"
            return Skip("vix_window", reason, settings.min_vix, vix.value)
        if vix.value > settings.max_vix:
            reason = f"VIX {vix.value:.2f} is above {settings.max_vix:g}"
            return Skip("vix_window", reason, settings.max_vix, vix.value)
        return None

    def _plan(self, move: float, trend: Trend) -> _Plan:
        settings = self._settings
        tested = {TrendDirection.UP: Right.CALL, TrendDirection.DOWN: Right.PUT}.get(trend.direction)
        if move > settings.trend_move:
            return _Plan((Right.CALL,), settings.spread_distance, tested, "call_spread")
        if move < -settings.trend_move:
            return _Plan((Right.PUT,), settings.spread_distance, tested, "put_spread")
        return _Plan((Right.PUT, Right.CALL), settings.condor_distance, tested, "iron_condor")

    def _build(self, context: EntryContext, plan: _Plan, move: float, family: Instrument) -> Answer:
        day, trend = self._trend.day(family.underlying), self._trend.trend(family.underlying)
        if day is None or trend is None:
            return Skip("history", f"not enough history of {family.underlying}")
        listed = self._chains.expiring(family.root, context.today)
        if not listed:
            return Skip("no_expiry", f"no {family.root} contract expires today")
        distance = plan.distance * trend.average_true_range
        near = self._near(listed, day.price, distance, family)
        self._chains.watch(self.name, near)
        quotes = self._chains.quotes(near)
        if not quotes:
            return Wait("quotes", f"no {family.root} contract is quoted yet")
        chain = self._greeks.chain(near, quotes, day.price, context.now)
        legs: list[Leg] = []
        for side in plan.sides:
            found = self._side(of_right(near, side), chain, day.price, distance, plan.tested is side, family)
            if isinstance(found, Skip):
                return found
            legs.extend(found)
        return self._proposal(context, plan, Package(tuple(legs)), chain, f"moved {move:+.2%} since the open")

    def _near(self, listed: Sequence[Contract], spot: float, distance: float, family: Instrument) -> list[Contract]:
        """Contracts that may become a leg: from the money to beyond the farthest wing."""
        reach = distance * _REACH + self._points(self._settings.broken_wing_points, spot, family) * 1.2
        return [
            contract
            for contract in listed
            if (spot < contract.strike <= spot + reach and contract.right is Right.CALL)
            or (spot - reach <= contract.strike < spot and contract.right is Right.PUT)
        ]

    def _points(self, points: float, spot: float, family: Instrument) -> float:
        """Index points of the row in points of a family's underlying, at the index's level now."""
        return self._settings.index_points(points, spot * family.index_scale) / family.index_scale

    def _side(
        self,
        contracts: list[Contract],
        chain: ChainGreeks,
        spot: float,
        distance: float,
        tested: bool,
        family: Instrument,
    ) -> list[Leg] | Skip:
        """Short and wing of one side."""
        settings = self._settings
        label = f"{family.root} {contracts[0].right.value}s" if contracts else family.root
        sign = 1.0 if contracts and contracts[0].right is Right.CALL else -1.0
        deltas = {row: abs(delta) * 100 for row in contracts if (delta := chain.delta(row)) is not None}
        fitting = [row for row, delta in deltas.items() if settings.min_delta <= delta <= settings.max_delta]
        short = nearest_strike(fitting, spot + sign * distance)
        if short is None:
            wanted = nearest_strike(contracts, spot + sign * distance)
            seen = deltas.get(wanted) if wanted is not None else None
            reason = f"no strike of {label} is {settings.min_delta:g} to {settings.max_delta:g} delta"
            low = seen is not None and seen < settings.min_delta
            return Skip("delta", reason, settings.min_delta if low else settings.max_delta, seen)
        width = self._points(settings.broken_wing_points if tested else settings.wing_points, spot, family)
        wing = nearest_strike(contracts, short.strike + sign * width)
        if wing is None or (wing.strike - short.strike) * sign <= 0:
            return Skip("wing", f"no wing is listed {width:g} beyond {short.name}")
        off = abs(abs(wing.strike - short.strike) - width)
        if off > settings.wing_tolerance * width:
            return Skip(
                "wing", f"the nearest wing is {off:g} off {width:g} points", settings.wing_tolerance, off / width
            )
        return [Leg(short, -1), Leg(wing, 1)]

    def _proposal(
        self, context: EntryContext, plan: _Plan, package: Package, chain: ChainGreeks, reason: str
    ) -> Answer:
        price = package_price(package.legs, current_quotes(self._chains, package))
        if price is None or context.vix is None:
            return Wait("quotes", "a leg has no two-sided quote")
        thin = thin_credit(package, price.natural, self._settings, self._orders)
        if thin is not None:
            return thin
        multiplier = package.legs[0].contract.multiplier
        figures = [chain.of(leg.contract) for leg in package.legs]
        mids = [0.0 if row is None else row.price for row in figures]
        known = [row for row in figures if row is not None]
        complete = len(known) == len(figures)

        model = sum(leg.ratio * row.price for leg, row in zip(package.legs, known, strict=True)) if complete else None
        widths = [abs(wing.contract.strike - short.contract.strike) for short, wing in _pairs(package)]
        return Proposal(
            strategy=self.name,
            day=context.today,
            package=package,
            terms=Terms(
                strategy=self.name,
                structure=plan.structure,
                max_loss=(max(widths) - price.natural) * multiplier,
                margin=package_margin(package, chain.spot, mids, self._margin),
                traits=TRAITS,
            ),
            wanted=self._contracts(context) * round(INSTRUMENTS[package.legs[0].contract.root].index_scale),
            mid_cash=price.mid,
            natural_cash=price.natural,
            model_cash=None if model is None else -model,
            spot=chain.spot,
            vix=context.vix.value,
            win_rate=self._settings.win_rate,
            reward_ratio=self._settings.reward_ratio,
            reason=f"{plan.structure} {reason}",
        )

    def _contracts(self, context: EntryContext) -> int:
        """The phase's maximum, one under 40k, in contracts of full size; ten of a tenth-size product count as one."""
        most = self._settings.contracts_by_phase[context.phase - 1]
        return min(most, 1) if context.equity < self._settings.one_contract_under else most

    def verify(self) -> tuple[str, ...]:
        """Its roots are known to the gateway."""
        return tuple(f"root {root} is unknown" for root in ROOTS if root not in INSTRUMENTS)


def _pairs(package: Package) -> list[tuple[Leg, Leg]]:
    """Short and wing of each side, as they were built."""
    return list(zip(package.legs[::2], package.legs[1::2], strict=True))
